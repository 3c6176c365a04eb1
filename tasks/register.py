"""Stage register: the hasher becomes a version in MLflow's model registry."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from tasks import paths
from tasks.definition import Lock
from tasks.failure_checks import NONE_RAISED, RAISED_TAG
from tasks.hasher_source import HASH_TAG
from tasks.stage import Stage

if TYPE_CHECKING:
    from ssvh_model.model.hasher import HasherConfig

# What the served model imports beside its backbone's packages, with the versions that it was made with.
REQUIREMENTS = (
    "mlflow",
    "torch",
    "numpy",
    "pandas",
    "h5py",
    "safetensors",
    "av",
    "pillow",
)
EXAMPLE_VIDEOS = 2


def requirements(backbone: str) -> list[str]:
    """What the served model needs, for pip.

    Args:
        backbone: that makes its features of videos; "" if none is known.

    Raises:
        UserError: a package of the backbone is not installed here, so that its version is not known.
    """
    from ssvh_model.video.backbones import packages_of

    found = []
    for name in (*REQUIREMENTS, *packages_of(backbone)):
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError as error:
            raise UserError(
                f"features.backbone: {backbone!r} needs the package {name}, which is not installed"
            ) from error
    return found


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
    from ssvh_model.manifest import read_manifest
    from ssvh_model.model.hasher_file import hasher_digest, save_hasher
    from ssvh_model.training.checkpoint import load_hasher
    from tasks.model_card import Facts
    from tasks.model_card_page import leave_card, lineage_links

    file = FeatureFile(paths.FEATURE_FILE)
    hasher = load_hasher(paths.state(stage.params.last_state))
    folder = stage.work.folder / "hasher"
    save_hasher(folder, hasher, file.meta)
    example = pd.DataFrame({"features": file.read(range(min(EXAMPLE_VIDEOS, len(file)))).float().tolist()})

    mlflow.set_tracking_uri(stage.run.store.uri)
    with mlflow.start_run(run_id=stage.run.id, nested=True, log_system_metrics=False):
        logged = mlflow.pyfunc.log_model(
            name="hasher",
            python_model=str(Path(__file__).with_name("served_hasher.py")),
            artifacts={"hasher": str(folder)},
            code_paths=[str(Path(__file__).parents[1] / "ssvh_model")],
            signature=_signature(hasher.config),
            input_example=example,
            pip_requirements=requirements(file.meta.backbone),
        )
    # Everything that the version was made from, as files: parameters, figures, and the digests of all that DVC knows.
    for path in (paths.PARAMS, paths.LOCK, paths.EVALUATION):
        if path.is_file():
            stage.run.log_artifact(path)
    evaluation = json.loads(paths.EVALUATION.read_text())
    name = stage.params.register_.model
    lineage = _lineage(stage)
    tags = {
        **lineage,
        HASH_TAG: hasher_digest(folder),
        RAISED_TAG: ", ".join(evaluation["checks"]["raised"]) or NONE_RAISED,
        "ssvh.bits": str(evaluation["bits"]),
        **_headline(evaluation),
    }
    registered = mlflow.register_model(logged.model_uri, name, tags=tags)
    facts = Facts(
        model=name,
        version=str(registered.version),
        params=stage.params,
        evaluation=evaluation,
        videos=read_manifest(paths.FEATURES_MANIFEST),
        shape=file.shape,
        features=file.meta,
        lineage=lineage_links(lineage, experiment=stage.run.store.experiment, run=stage.run.id),
        megabytes=sum(one.stat().st_size for one in folder.iterdir()) / 1e6,
    )
    short = leave_card(facts, stage.work.folder / "model_card", stage.run)
    stage.run.store.client.update_model_version(name, registered.version, short)
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


def _headline(evaluation: dict[str, Any]) -> dict[str, str]:
    """The figures that tell versions apart; the run has them all."""
    from tasks.evaluate import evaluation_figures

    figures = evaluation_figures(evaluation)
    return {name: f"{value:.6g}" for name, value in figures.items() if name.endswith("gmap")}


def _lineage(stage: Stage) -> dict[str, str]:
    """From a version back to its commit, its data and its runs."""
    tags = stage.run.store.client.get_run(stage.run.id).data.tags
    kept = ("ssvh.git_commit", "ssvh.prefect_flow_run", "ssvh.prefect_task_run")
    digests = Lock.read().outputs()
    data = (paths.CORPUS, paths.FEATURES, paths.state(stage.params.last_state))
    return {
        **{name: tags[name] for name in kept if tags.get(name)},
        **{f"ssvh.input.{path}": digests[path] for path in data if path in digests},
        "ssvh.parent_run_id": stage.run.parent,
    }


def _point_alias(stage: Stage, registered: dict[str, Any]) -> None:
    stage.run.store.client.set_registered_model_alias(
        registered["model"], registered["alias"], registered["version"]
    )
    for run in (stage.run.id, stage.run.parent):
        stage.run.store.tag(
            run, {"ssvh.model": registered["model"], "ssvh.model_version": registered["version"]}
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

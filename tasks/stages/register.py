"""Stage register: the hasher becomes a version in MLflow's model registry."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ssvh_model
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from tasks import paths
from tasks.pipeline.definition import Lock
from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage import Stage
from tasks.pipeline.stage_task import stage_task
from tasks.records.tags import (
    BITS_TAG,
    FLOW_RUN_TAG,
    GIT_COMMIT_TAG,
    HASH_TAG,
    INPUT_TAG,
    MODEL_TAG,
    MODEL_VERSION_TAG,
    NONE_RAISED,
    PACKAGE_TAG,
    PARENT_RUN_TAG,
    RAISED_TAG,
    SELECTED_TAG,
    TASK_RUN_TAG,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

    from ssvh_model.features import FeatureFile
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
SERVED_HASHER = Path(__file__).parents[1] / "registry" / "served_hasher.py"  # what the server runs
EXAMPLE_VIDEOS = 2
RESULT_TAG = "ssvh.result"  # of a version and of what is logged for it: what the work folder calls its result


def requirements(backbone: str, engine: str, architecture: str = "") -> list[str]:
    """What the served model needs, for pip.

    Args:
        backbone: that makes its features of videos; "" if none is known.
        engine: that runs the backbone.
        architecture: of a backbone that is a file of weights.

    Raises:
        UserError: a package of the backbone is not installed here, so that its version is not known.
    """
    from ssvh_model.video.backbones import packages_of

    found = []
    for name in (*REQUIREMENTS, *packages_of(backbone, engine, architecture)):
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError as error:
            raise UserError(
                f"features.backbone: {backbone!r}, run by {engine}, needs the package {name}, which is not installed"
            ) from error
    return found


@stage_task(tags=("results",))
def register() -> None:
    """Log the model with signature and example, register it and point the alias at the new version.

    One result is one version. What is made in a work folder has a name there, which its version bears as a
    tag: a version that a killed process has registered is found by it and completed. The folder goes when DVC
    has taken its outputs, so the stage run again after that, as with `dvc repro --force`, makes another
    version, of the same weights too: whoever asks for that wants to see it.
    """
    from ssvh_model.features import FeatureFile
    from ssvh_model.model.hasher_file import save_hasher
    from ssvh_model.training.checkpoint import load_model

    with open_stage("register") as stage:
        file = FeatureFile(paths.FEATURE_FILE)
        selected = _evaluation()["selection"]["state"]
        model = load_model(paths.state(stage.params.last_state), selected)
        folder = stage.work.folder / "hasher"
        model_file = paths.FEATURES / file.meta.model_file if file.meta.model_file else None
        grade_net = None if selected == "start" else model.grade_net  # which has learnt nothing there
        save_hasher(folder, model.hasher, file.meta, model_file, grade_net)
        result = _result_name(stage.work.folder / "result")
        registered = _find(stage, result)
        if registered is None:
            registered = _register(stage, result, folder, model.hasher.config, file)
        else:
            stage.say(
                f"version {registered.version} was registered by an earlier run, which was killed: completing it"
            )
        _describe(stage, registered, folder, file)
        record = _record(stage, registered)
        _point_alias(stage, record)
        note = stage.work.folder / "version.json"
        with atomic_path(note) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
        stage.say(f"registered {record['model']} version {record['version']}, alias {record['alias']}")
        stage.work.publish({paths.REGISTERED_VERSION: note})


def _evaluation() -> dict[str, Any]:
    """What the stage evaluate found, of the state that it selected."""
    found: dict[str, Any] = json.loads(paths.EVALUATION.read_text())
    return found


def _result_name(note: Path) -> str:
    """A name for what is made in this work folder, the same after a kill."""
    if not note.is_file():
        with atomic_path(note) as temporary:
            temporary.write_text(uuid.uuid4().hex)
    return note.read_text()


def _find(stage: Stage, result: str) -> ModelVersion | None:
    """The version of a result; None if none has been registered.

    A request whose answer was lost is sent again by MLflow's client: of two versions the first one counts,
    and the others are removed.
    """
    client, name = stage.run.store.client, stage.params.register_.model
    found = client.search_model_versions(f"name = '{name}' and tags.`{RESULT_TAG}` = '{result}'")
    versions = sorted(found, key=lambda version: int(version.version))
    for again in versions[1:]:
        client.delete_model_version(name, again.version)
    return client.get_model_version(name, versions[0].version) if versions else None


def _register(
    stage: Stage, result: str, folder: Path, config: HasherConfig, file: FeatureFile
) -> ModelVersion:
    import mlflow
    import pandas as pd

    from ssvh_model.model.hasher_file import hasher_digest

    example = pd.DataFrame({"features": file.read(range(min(EXAMPLE_VIDEOS, len(file)))).float().tolist()})
    client, experiment = stage.run.store.client, stage.run.store.experiment
    # What a killed process has logged, perhaps in part.
    for model in client.search_logged_models([experiment], f"tags.`{RESULT_TAG}` = '{result}'"):
        client.delete_logged_model(model.model_id)
    mlflow.set_tracking_uri(stage.run.store.uri)
    mlflow.set_experiment(experiment_id=experiment)
    # Not within `mlflow.start_run`, which ends the run as FINISHED whatever comes after.
    logged = mlflow.models.Model.log(
        artifact_path=None,
        flavor=mlflow.pyfunc,
        name="hasher",
        run_id=stage.run.id,
        tags={RESULT_TAG: result},
        python_model=str(SERVED_HASHER),
        artifacts={"hasher": str(folder)},
        code_paths=[str(Path(ssvh_model.__file__).parent)],
        signature=_signature(config),
        input_example=example,
        pip_requirements=requirements(file.meta.backbone, file.meta.engine, file.meta.architecture),
    )
    # Everything that the version was made from, as files: parameters, figures, and the digests of all that
    # DVC knows.
    for path in (paths.PARAMS, paths.LOCK, paths.EVALUATION):
        if path.is_file():
            stage.run.log_artifact(path)
    evaluation = _evaluation()
    tags = {
        **_lineage(stage),
        RESULT_TAG: result,
        HASH_TAG: hasher_digest(folder),
        RAISED_TAG: ", ".join(raised_of_codes(evaluation)) or NONE_RAISED,
        SELECTED_TAG: evaluation["selection"]["state"],
        BITS_TAG: str(evaluation["bits"]),
        **_headline(evaluation),
    }
    mlflow.register_model(logged.model_uri, stage.params.register_.model, tags=tags)
    registered = _find(stage, result)
    assert registered is not None, "it was registered just now"
    return registered


def _describe(stage: Stage, registered: ModelVersion, folder: Path, file: FeatureFile) -> None:
    """Leave the model card: a page among the run's artifacts, and the short one as the version's
    description.
    """
    from ssvh_model.manifest import read_manifest
    from tasks.registry.model_card import CardFacts
    from tasks.registry.model_card_page import leave_card, lineage_links

    facts = CardFacts(
        model=registered.name,
        version=str(registered.version),
        params=stage.params,
        evaluation=_evaluation(),
        videos=read_manifest(paths.FEATURES_MANIFEST),
        shape=file.shape,
        features=file.meta,
        lineage=lineage_links(_lineage(stage), experiment=stage.run.store.experiment, run=stage.run.id),
        megabytes=sum(one.stat().st_size for one in folder.iterdir()) / 1e6,
    )
    short = leave_card(facts, stage.work.folder / "model_card", stage.run)
    stage.run.store.client.update_model_version(registered.name, registered.version, short)


def raised_of_codes(evaluation: Mapping[str, Any]) -> list[str]:
    """Names of the failure checks that are held against a version. They judge what a training has come to;
    its start has nothing of that.
    """
    return [] if evaluation["selection"]["state"] == "start" else list(evaluation["checks"]["raised"])


def _record(stage: Stage, registered: Any) -> dict[str, Any]:
    evaluation = _evaluation()
    return {
        "model": registered.name,
        "version": str(registered.version),
        "alias": stage.params.register_.alias,
        "model_uri": registered.source,
        "run_id": registered.run_id,
        "parent_run_id": stage.run.parent,
        "bits": evaluation["bits"],
        "gmap": evaluation["gmap"],
    }


def _headline(evaluation: dict[str, Any]) -> dict[str, str]:
    """The figures that tell versions apart; the run has them all."""
    from ssvh_model.retrieval.report import evaluation_figures

    figures = evaluation_figures(evaluation)
    # With more digits than are ever shown: what is rounded twice can end in another digit.
    return {name: f"{value:.12g}" for name, value in figures.items() if name.endswith("gmap")}


def _lineage(stage: Stage) -> dict[str, str]:
    """From a version back to its commit, its data and its runs."""
    tags = stage.run.store.client.get_run(stage.run.id).data.tags
    kept = (GIT_COMMIT_TAG, PACKAGE_TAG, FLOW_RUN_TAG, TASK_RUN_TAG)
    digests = Lock.read().outputs()
    data = (paths.CORPUS, paths.FEATURES, paths.state(stage.params.last_state))
    return {
        **{name: tags[name] for name in kept if tags.get(name)},
        **{f"{INPUT_TAG}{path}": digests[path] for path in data if path in digests},
        PARENT_RUN_TAG: stage.run.parent,
    }


def _point_alias(stage: Stage, registered: dict[str, Any]) -> None:
    stage.run.store.client.set_registered_model_alias(
        registered["model"], registered["alias"], registered["version"]
    )
    for run in (stage.run.id, stage.run.parent):
        stage.run.store.tag(run, {MODEL_TAG: registered["model"], MODEL_VERSION_TAG: registered["version"]})


def _signature(config: HasherConfig) -> ModelSignature:
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

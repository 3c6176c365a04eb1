"""A corpus on which hashers of different quality can be made without training, and their registration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.hasher_file import hasher_digest, save_hasher
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.initialization import start_from_itq
from tasks.records.tags import HASH_TAG, RAISED_TAG
from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import write_tiny_params

MODEL = "video-hasher"
VIDEOS, FRAMES, SIZE, KINDS, NUISANCE = 200, 6, 24, 5, 8
META = FeatureMeta("none", "", 1)


def write_project(folder: Path, **changes: Any) -> None:
    """A project's folder with parameters and features, in which nothing is registered."""
    write_tiny_params(folder / "params.yaml", **changes)
    shutil.copy2(REPOSITORY / "dvc.yaml", folder)
    write_features(folder / "data/features/features.h5", corpus_features())


def corpus_features(blind: int = 0) -> np.ndarray:
    """Videos of five kinds. The first `NUISANCE` numbers are strong and tell nothing; `blind` of them are
    0.
    """
    rng = np.random.default_rng(0)
    values = rng.normal(size=(KINDS, 1, SIZE))[np.arange(VIDEOS) % KINDS]
    values = values + 1.5 * rng.normal(size=(VIDEOS, FRAMES, SIZE))
    values[:, :, :NUISANCE] = 5 * rng.normal(size=(VIDEOS, 1, NUISANCE))
    values[:, :, :blind] = 0
    return values


def write_features(path: Path, values: np.ndarray, *, labelled: bool = True) -> None:
    """100 training videos, 20 for validation, 80 queries."""
    write_feature_file(
        path,
        values,
        ids=[f"video {row}" for row in range(VIDEOS)],
        labels=[(f"kind {row % KINDS}",) if labelled else () for row in range(VIDEOS)],
        splits=["train"] * 100 + ["validation"] * 20 + ["query"] * 80,
        meta=META,
    )


def save_hasher_that_is_blind(folder: Path, blind: int, *, bits: int = 16, seed: int = 1) -> None:
    """A hasher that has learnt to leave out `blind` of the 8 nuisances. GMAP: 0 -> 0.08, 4 -> 0.11, 6 ->
    0.17, 8 -> 0.39; ITQ has 0.08.
    """
    folder.mkdir(parents=True)
    write_features(folder / "blind.h5", corpus_features(blind))
    file = FeatureFile(folder / "blind.h5")
    source = FrameSource.from_file(file, file.rows("train"), memory_limit=1e9)
    torch.manual_seed(seed)
    config = HasherConfig(SIZE, FRAMES, bits, SIZE, 1, 2, 2.0, 0.1, "values")
    hasher = VideoHasher(config)
    learn_center(hasher, source, batch_size=16)
    start_from_itq(hasher, source, whitening=0.0, within_video=None, seed=seed, batch_size=16)
    save_hasher(folder, hasher, META)
    (folder / "blind.h5").unlink()


def register(client: Any, hasher: Path, *, alias: str = "challenger", **tags: str) -> str:
    """Register a hasher's folder as the pipeline does, with the alias; its version."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name("autossvh")
    experiment = found.experiment_id if found else client.create_experiment("autossvh")
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(hasher), "model/artifacts/hasher")
    try:
        client.create_registered_model(MODEL)
    except MlflowException as error:
        assert error.error_code == "RESOURCE_ALREADY_EXISTS"
    version = client.create_model_version(
        MODEL,
        f"{run.info.artifact_uri}/model",
        run_id=run.info.run_id,
        tags={HASH_TAG: hasher_digest(hasher), RAISED_TAG: "none", "ssvh.bits": "16", **tags},
        await_creation_for=None,
    )
    client.set_registered_model_alias(MODEL, alias, version.version)
    return str(version.version)

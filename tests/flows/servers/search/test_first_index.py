"""`ssvh serve` in a project that has run and has no index yet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.features import write_feature_file
from tasks import paths
from tests.conftest import REPOSITORY
from tests.hashers import META, register_hasher
from tests.serving import serving

pytestmark = pytest.mark.slow

FRAMES, SIZE = 4, 6


@pytest.fixture
def project(tmp_path: Path, empty_mlflow: Path) -> Path:
    """As a run leaves it, with a hasher that is the challenger."""
    from mlflow import MlflowClient

    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    version = register_hasher(client, tmp_path / "artifacts", bits=16, frames=FRAMES, feature_size=SIZE)
    client.set_registered_model_alias("video-hasher", "challenger", version)
    write_feature_file(
        tmp_path / paths.FEATURE_FILE,
        np.random.default_rng(0).normal(size=(3, FRAMES, SIZE)),
        ids=list("abc"),
        labels=[("cats",), ("cats",), ("dogs",)],
        splits=["train"] * 3,
        meta=META,
    )
    note = tmp_path / paths.REGISTERED_VERSION
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"model": "video-hasher", "alias": "challenger", "version": version}))
    return tmp_path


def test_it_is_made_by_the_hasher_of_the_last_run(project: Path) -> None:
    with serving(project) as server:
        answer = server.client.post("/search", json={"id": "a"})
        assert answer.status_code == 200, answer.text
        assert {hit["id"] for hit in answer.json()["hits"]} <= {"a", "b", "c"}
    made = sorted((project / "index").rglob("*"))
    with serving(project):
        pass
    assert sorted((project / "index").rglob("*")) == made, "there is one now"


def test_a_champion_comes_first(project: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.set_registered_model_alias("video-hasher", "champion", "1")
    second = register_hasher(client, project / "artifacts", bits=32, frames=FRAMES, feature_size=SIZE)
    client.set_registered_model_alias("video-hasher", "challenger", second)
    with serving(project) as server:
        answer = server.client.post("/search", json={"id": "a"}).json()
        assert answer["index"]["bits"] == 16

"""The preset `wsch` in a project: trained by the pipeline, gone on with after a kill, registered, indexed,
searched and served.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ssvh_model.features import FeatureFile
from ssvh_model.retrieval.codes import pack
from ssvh_model.training.checkpoint import load_hasher, load_history
from tests.projects import Project

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1500)]


def test_from_the_preset_to_a_served_hasher(
    clone: Callable[[], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    project = clone()
    folder = project.folder
    changed = project.run("flows.cli", "preset", "apply", "wsch")
    assert "model.encoder: transformer -> state_space" in changed
    project.set(
        model__width=48,
        model__decoder_width=32,
        sampler__mask_ratio=0.6,
        training__batch_size=16,
        warmup__epochs=3,
        rounds={"1": {"after": "warmup", "clusters": [4], "epochs": 20, "refresh_every": 1}},
    )
    # Once the round has a checkpoint.
    project.kill_when(lambda: any((folder / ".work").glob("p2set-1/*/epoch-*")), seconds=900)
    project.run("dvc", "repro")
    history = load_history(folder / "states/round-1")
    assert [row["epoch"] for row in history] == list(range(1, 24))
    assert history[-1]["reconstruction"] < history[0]["reconstruction"]
    figures = project.json("metrics/evaluation.json")
    assert figures["bits"] == 16 and figures["gmap"] > 0

    version = project.client().get_model_version_by_alias("video-hasher", "challenger")
    assert "encoder: state space, 1 layer, width 48" in (version.description or "")
    file = FeatureFile(folder / "data/features/features.h5")
    wanted = pack(load_hasher(folder / "states/round-1").codes(file.read([0, 1]).float()).numpy())
    monkeypatch.chdir(folder)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    served = mlflow.pyfunc.load_model("models:/video-hasher@challenger")
    videos = pd.DataFrame({"features": file.read([0, 1]).float().tolist()})
    assert served.predict(videos).tolist() == wanted.tolist()

    project.run("flows.cli", "index", "data/features/features.h5", "--hasher", "challenger")
    clip = next(path for path in sorted(Path("data/corpus").rglob("*.mp4")) if path.stem in file.ids[0])
    hits = json.loads(project.run("flows.cli", "search", str(clip), "--json"))["hits"]
    assert hits[0]["distance"] <= 2  # features of the clip itself, perhaps by another engine's last digits

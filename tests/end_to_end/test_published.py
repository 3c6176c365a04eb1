"""The pipeline on files in the form of a published data set, with FCVID's protocol: no videos, every database
video is a query.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.manifest import read_manifest
from tests.projects import Project
from tests.published_files import FRAMES, features_of, write_published

# All stages in one process: their imports take longer than they do.
RUN_STAGES = """
import sys
from tasks.stage import main
sys.exit(max(main([name]) for name in sys.argv[1:]))
"""
pytestmark = pytest.mark.timeout(1500)


@pytest.mark.slow
def test_from_a_preset_and_published_files_to_a_registered_hasher(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    write_published(project.folder / "published", "fcvid", videos=40)
    (project.folder / "run_stages.py").write_text(RUN_STAGES)
    assert "corpus.source: arcade -> published" in project.run("flows.cli", "preset", "apply", "fcvid")
    project.set(
        corpus__published__counts="ignore",
        corpus__split__validation=0.2,
        features__frames=FRAMES,
        model__bits=16,
        model__layers=1,
        sampler__mask_ratio=0.5,
        training__batch_size=16,
        training__validate_every=1,
        warmup__epochs=3,
        rounds={},
    )
    output = project.run("run_stages", "corpus", "features", "warmup", "evaluate", "register")
    assert "no pictures of frames" in output

    evaluation = project.json("metrics/evaluation.json")
    assert evaluation["n_query"] == evaluation["n_database"] == 40
    assert evaluation["exclude_self"] is False
    # Every query finds itself and its class first, and so does the float yardstick on features this clear.
    assert evaluation["yardsticks"]["float"]["map_at_k"]["5"] == pytest.approx(1.0, abs=0.05)
    assert evaluation["gmap"] > 0.2  # codes drawn by lot have 0.14 to 0.16
    assert {
        row["epoch"] for row in project.json("states/warmup/history.json") if "validation_gmap" in row
    } == {
        1,
        2,
        3,
    }
    videos = read_manifest(project.folder / "data/features/manifest.csv")
    assert [video.split for video in videos].count("validation") == 8
    assert {path.name for path in (project.folder / "data/features").iterdir()} == {
        "features.h5",
        "manifest.csv",
    }
    with h5py.File(project.folder / "data/features/features.h5") as file:
        assert file["features"].is_virtual
    pictures = {path.stem for path in (project.folder / "pictures").glob("*.png")}
    assert {"training", "bits", "map_at_k", "precision_recall"} <= pictures
    assert not pictures & {"frames", "neighbours"}

    monkeypatch.chdir(project.folder)
    mlflow.set_tracking_uri(f"sqlite:///{project.folder}/mlflow.db")
    model = mlflow.pyfunc.load_model("models:/video-hasher@challenger")
    features = features_of(project.folder / "published", "fcvid")
    codes = model.predict(pd.DataFrame({"features": features[:3].tolist()}))
    assert codes.shape == (3, 2) and codes.dtype == np.uint8
    with pytest.raises(UserError, match=r"clip.mp4: this hasher was trained on .*published/fcvid"):
        model.predict(pd.DataFrame({"path": [str(Path("clip.mp4"))]}))

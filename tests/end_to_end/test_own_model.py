"""An image model of the user's own, from its file in the project to codes that are served and found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ssvh_model.features import FeatureFile
from ssvh_model.files import sha256_of
from ssvh_model.index.coded_videos import CodesFile
from tests.onnx_models import small_network, write_onnx
from tests.projects import SECONDS_TO_END, Project
from tests.ssvh_model.video.odd_videos import video_maker

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1500)]

SERVED = """
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/video-hasher/1")
print(json.dumps(model.predict(pandas.DataFrame({"path": sys.argv[1:]})).tolist()))
"""


def served(project: Project, clip: Path) -> list[list[int]]:
    """What the registered model answers, with the code that came with it."""
    environment = {name: value for name, value in project.environment.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", SERVED, str(clip)],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_END,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def refused(project: Project, *command: str) -> str:
    """The one line with which a command ends."""
    process = project.start("flows.cli", *command)
    output, _ = process.communicate(timeout=SECONDS_TO_END)
    assert process.returncode == 2, output
    return output.splitlines()[-1]


def test_it_makes_features_goes_into_service_and_a_change_of_it_makes_them_anew(project: Project) -> None:
    if find_spec("openvino") is None and find_spec("onnxruntime") is None:
        pytest.skip("nothing that runs ONNX is installed")
    folder, model = project.folder, project.folder / "backbones/mine.onnx"
    make = video_maker(folder / "videos")
    for number in range(24):
        make(f"{'ab'[number % 2]}/{number:02d}.mp4", frames=6 + number, width=48, height=40)
    model.write_bytes(write_onnx(small_network(24)))
    project.set(
        corpus__source="folder",
        features__backbone="backbones/mine.onnx",
        features__size=32,
        features__own__colours="bgr",
        warmup__epochs=2,
        rounds={},
    )
    project.run("dvc", "repro")
    made = FeatureFile(folder / "data/features/features.h5")
    assert made.shape == (24, 8, 24) and (made.meta.backbone, made.meta.colours) == ("mine.onnx", "bgr")
    assert made.meta.weights_sha256 == sha256_of(model) == sha256_of(folder / "data/features/backbone.onnx")
    before = made.read(range(24))

    # The version, and the index that is made with it, carry the model: it may go from where it was.
    moved = model.rename(folder / "moved.onnx")
    clip = sorted((folder / "videos/a").glob("*.mp4"))[3]
    project.set(features__backbone="efficientnet_lite0")
    project.run("flows.cli", "index", "data/features/features.h5", "--hasher", "challenger")
    hits = json.loads(project.run("flows.cli", "search", str(clip), "--json"))["hits"]
    assert {hit["id"]: hit["distance"] for hit in hits}[f"a/{clip.stem}"] == 0
    codes = served(project, clip)
    assert project.run("flows.cli", "encode", str(clip), "--hasher", "challenger", "--out", "codes.h5")
    assert CodesFile(folder / "codes.h5").whole().codes.tolist() == codes
    for carried in folder.glob("index/*/hasher/backbone.onnx"):
        carried.write_bytes(write_onnx(small_network(23)))
        assert "has the hash" in refused(project, "search", str(clip))
        carried.unlink()
        said = refused(project, "search", str(clip))
        assert "backbone.onnx is not beside the hasher any more: it is mine.onnx" in said
    project.run("flows.cli", "params", "check")

    # What is in the file counts, not its name.
    project.set(features__backbone="backbones/mine.onnx")
    assert "no such file" in refused(project, "params", "check")
    shutil.copy(moved, model)
    (folder / "backbones/other.onnx").write_bytes(b"another file in the folder")
    assert "0 videos are new" in project.run("dvc", "repro", "features")
    model.write_bytes(write_onnx(small_network(24)).replace(b"small", b"large"))
    project.run("dvc", "repro", "features")
    anew = FeatureFile(folder / "data/features/features.h5")
    assert anew.meta.weights_sha256 == sha256_of(model) != made.meta.weights_sha256
    assert anew.read(range(24)).equal(before), "only its name has changed"
    assert "features were made with" in refused(
        project, "encode", "data/features/features.h5", "--hasher", "challenger"
    )

"""`mlflow models serve` with the champion, as the README has it; and the card of the version that the
pipeline made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from flows.servers.server import HOST, free_port
from ssvh_model.features import FeatureFile
from ssvh_model.retrieval.codes import pack
from ssvh_model.training.checkpoint import load_hasher
from tasks.machine import programs
from tasks.machine.services import answers
from tests.projects import Project

pytestmark = pytest.mark.timeout(1500)

SECONDS_TO_START = 240


@pytest.mark.slow
def test_the_champion_is_served_and_answers_features_with_codes(
    finished: tuple[Project, str], tmp_path: Path
) -> None:
    project, _ = finished
    project.client().set_registered_model_alias("video-hasher", "champion", "1")
    port = free_port()
    # Nothing of the project is on the path: the served model brings its own code.
    environment = {name: value for name, value in project.environment.items() if name != "PYTHONPATH"}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{project.folder}/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/video-hasher@champion"]
    command += ["--env-manager", "local", "--host", HOST, "--port", str(port)]
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + SECONDS_TO_START
        while not answers(f"http://{HOST}:{port}/ping"):
            assert server.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.2)
        features = FeatureFile(project.folder / "data/features/features.h5").read([0, 1]).float()
        body = {"dataframe_records": [{"features": video.tolist()} for video in features]}
        request = urllib.request.Request(
            f"http://{HOST}:{port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            answer = json.load(response)
        codes = pack(load_hasher(project.folder / "states/round-2").codes(features).numpy())
        assert answer == {"predictions": codes.tolist()}
    finally:
        programs.stop(server)
        project.client().delete_registered_model_alias("video-hasher", "champion")


def test_the_version_has_a_card_with_its_figures_and_pictures(finished: tuple[Project, str]) -> None:
    project, _ = finished
    client = project.client()
    version = client.get_model_version("video-hasher", "1")
    evaluation = project.json("metrics/evaluation.json")
    assert f"| this hasher | {evaluation['gmap']:.4f} |" in version.description
    assert (
        f"| ITQ, same bits, no training | {evaluation['yardsticks']['itq']['gmap']:.4f} |"
        in version.description
    )
    assert version.run_id in version.description
    pictures = {os.path.basename(one.path) for one in client.list_artifacts(version.run_id, "model_card")}
    assert {"model_card.md", "model_card.html", "training.png", "map_at_k.png"} <= pictures
    assert version.tags["ssvh.checks_raised"] == (", ".join(evaluation["checks"]["raised"]) or "none")

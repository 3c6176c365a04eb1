"""The wheel in an environment of its own, without a clone: a project from nothing to a service, and commands
in any folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects import REPOSITORY, SECONDS_TO_END, TINY, Project, copy_repository, environment_in
from tests.serving import serving
from tests.ssvh_model.video.odd_videos import video_maker

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1500)]

# Smaller still: what matters here is that all of it is there.
SETTINGS = {name: value for name, value in TINY.items() if name != "corpus.arcade"}
SETTINGS |= {"warmup.epochs": 2, "rounds": {}}


@dataclass
class Installed:
    """An environment with the wheel.

    Attributes:
        scripts: folder of its programs.
        environment: variables for them.
    """

    scripts: Path
    environment: dict[str, str]

    def run(self, folder: Path, *command: str, status: int = 0) -> str:
        """Run one of its programs in a folder; what it prints."""
        program, *arguments = command
        done = subprocess.run(
            [str(self.scripts / program), *arguments],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS_TO_END,
        )
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel out of the sdist, and the locked packages of the running environment, but not the
    repository.
    """
    folder = tmp_path_factory.mktemp("wheel")
    copy_repository(folder / "repository")
    environment = environment_in(folder)
    for name in ("PYTHONPATH", "PREFECT_HOME"):
        del environment[name]

    def run(*command: str) -> None:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS_TO_END
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "repository")
    (wheel,) = (folder / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", "e")
    python = folder / "e/bin/python"
    packages = folder / f"e/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    # Of a folder that is named so, Python reads no such files: the editable repository is not found through
    # it.
    locked = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "locked.pth").write_text("".join(f"{path}\n" for path in sorted(locked)))
    install = ("install", "--quiet", "--no-deps", "--no-index", str(wheel))
    run(sys.executable, "-m", "pip", "--python", str(python), *install)
    shutil.rmtree(folder / "repository")
    git = os.path.dirname(shutil.which("git") or "")
    environment["PATH"] = os.pathsep.join([str(folder / "e/bin"), git, "/usr/bin", "/bin"])
    return Installed(folder / "e/bin", environment)


def test_a_project_from_nothing_to_a_service_and_commands_elsewhere(
    installed: Installed, tmp_path: Path, empty_mlflow: Path, empty_prefect: Path
) -> None:
    where = installed.run(
        tmp_path, "python", "-c", "import flows, ssvh_model, tasks.project as p; print(p.__file__)"
    )
    assert Path(where.strip()).is_relative_to(installed.scripts.parent)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert installed.run(tmp_path, "ssvh", "--version") == f"autossvh {project['version']}\n"
    make = video_maker(tmp_path / "clips")
    for number in range(12):
        make(f"{'ab'[number % 2]}/{number:02d}.mp4", frames=6 + number, width=48, height=40)

    said = installed.run(tmp_path, "ssvh", "new", "p", "--videos", "clips").splitlines()
    assert said[1:] == ["  cd p", "  ssvh run"]
    assert "is not empty" in installed.run(tmp_path, "ssvh", "new", "p", status=2)
    folder = tmp_path / "p"
    Project(folder, {}).set(**{name.replace(".", "__"): value for name, value in SETTINGS.items()})
    assert installed.run(folder, "ssvh", "params", "check") == "params.yaml is in order\n"
    assert installed.run(folder, "ssvh", "upgrade").startswith("no changes; the project is as autossvh ")
    shutil.copy(empty_mlflow, folder / "mlflow.db")  # their tables, which take seconds to make
    (folder / ".prefect").mkdir()
    shutil.copy(empty_prefect, folder / ".prefect/prefect.db")

    said = installed.run(folder, "ssvh", "run")
    assert "registered      models:/video-hasher@challenger, version 1" in said
    assert "\n  ssvh promote " in said, "what is said next can be typed"
    assert installed.run(folder, "ssvh", "run").startswith("nothing to do")
    assert "up to date" in installed.run(folder, "python", "-m", "dvc", "repro")
    assert json.loads((folder / "runs/register.json").read_text())["ssvh.package"].startswith("autossvh ")

    assert "12 videos" in installed.run(folder, "ssvh", "index", "--hasher", "challenger")
    # The first video: others may have the same code, and equally near ones come in the order of the index.
    found = json.loads(installed.run(folder, "ssvh", "search", "../clips/a/00.mp4", "--json", "-k", "3"))
    assert (found["hits"][0]["id"], found["hits"][0]["distance"], len(found["hits"])) == ("a/00", 0, 3)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    clips = ("../clips/a", "--label", "a")
    refused = installed.run(elsewhere, "ssvh", "encode", *clips, status=2)
    assert len(refused.splitlines()) == 1 and "no hasher has been registered" in refused
    assert "--index names another" in installed.run(
        elsewhere, "ssvh", "search", "../clips/a/00.mp4", status=2
    )
    said = installed.run(elsewhere, "ssvh", "encode", *clips, "--hasher", "../p/index/")
    assert "codes.h5: 6 videos, codes of 16 bits by video-hasher version 1" in said
    installed.run(elsewhere, "ssvh", "index", "codes.h5", "--index", "codes", "--hasher", "../p/index/")
    asked = ("search", "../clips/a/00.mp4", "--index", "codes", "--json")
    found = json.loads(installed.run(elsewhere, "ssvh", *asked))
    assert (found["index"]["videos"], found["hits"][0]["id"], found["hits"][0]["distance"]) == (6, "00", 0)
    with serving(
        elsewhere,
        "--index",
        "../p/index",
        ssvh=[str(installed.scripts / "ssvh")],
        variables=installed.environment,
    ) as server:
        answer = server.search((tmp_path / "clips/a/00.mp4").read_bytes(), k=2)
        assert [hit["id"] for hit in answer.json()["hits"]][:1] == ["a/00"]
        assert server.client.get("/").status_code == 200

    # Another version of the package: the stages that lean on what it changed are out of date, and are not run
    # under the old name.
    changed = Path(where.strip()).parents[1] / "registry/served_hasher.py"
    changed.write_text(changed.read_text() + "# another version\n")
    refused = installed.run(folder, "python", "-m", "tasks.stage", "register", status=2)
    assert refused.splitlines()[-1] == (
        "error: code/register.txt: is not of the autossvh that is installed; `ssvh run` brings it up to date"
    )
    out_of_date = "from flows.running.reproduce import out_of_date; print(out_of_date())"
    assert installed.run(folder, "python", "-c", out_of_date).splitlines() == [
        "the installed autossvh has other code than before for register: run anew",
        "{'register'}",
    ]

"""What `ssvh new` lays out: the repository's pipeline, parameters and settings, for a project without its
code.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ssvh_model.errors import UserError
from tasks.params.load import load_params
from tasks.params.reading import read_yaml
from tasks.project.layout import lay_out_project
from tasks.project.template import FILES, project_files
from tests.conftest import REPOSITORY

STAGES = ["corpus", "features", "warmup", "clusters", "p2set", "evaluate", "register"]
# Files of the repository that a project has as they are.
SAME = [
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "backbones/.gitignore",
    "backbones/README.md",
    "docs/outgrown.env",
    "prefect.yaml",
    *(f"presets/{preset.name}" for preset in (REPOSITORY / "presets").iterdir()),
    "published/.gitignore",
    "published/README.md",
    "videos/.gitignore",
    "videos/README.md",
]


@pytest.fixture
def laid_out(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    lay_out_project(tmp_path / "p", str(tmp_path / "clips"))
    return tmp_path / "p"


def plain(content: Any) -> Any:
    """A pipeline without its stages' deps."""
    stages = {
        name: {key: value for key, value in stage.get("do", stage).items() if key != "deps"}
        for name, stage in content["stages"].items()
    }
    return {**content, "stages": stages}


def deps(content: Any, stage: str) -> list[str]:
    found = content["stages"][stage]
    return list(found.get("do", found)["deps"])


def test_the_stages_are_those_of_the_repository_but_for_their_source_code(laid_out: Path) -> None:
    ours, theirs = read_yaml(laid_out / "dvc.yaml"), read_yaml(REPOSITORY / "dvc.yaml")
    assert list(ours["stages"]) == STAGES
    assert plain(ours) == plain(theirs)
    for stage in STAGES:
        code = [dep for dep in deps(theirs, stage) if dep.startswith(("ssvh_model/", "tasks/"))]
        data = [dep for dep in deps(theirs, stage) if dep not in code]
        assert code and deps(ours, stage) == [*data, f"code/{stage}.txt"]
        lines = (laid_out / f"code/{stage}.txt").read_text().splitlines()
        assert [line.split()[0] for line in lines] == code
        assert len({line.split()[1] for line in lines}) == len(code)
    assert sorted(path.stem for path in (laid_out / "code").glob("*.txt")) == sorted(STAGES)


def test_the_comments_of_the_pipeline_stay(laid_out: Path) -> None:
    text = (laid_out / "dvc.yaml").read_text()
    assert "# The whole folder `states` is an input" in text
    assert "`ssvh run` keeps it up to date" in text


def test_the_parameters_are_the_defaults_for_a_folder_of_videos(laid_out: Path) -> None:
    ours, theirs = load_params(laid_out / "params.yaml"), load_params(REPOSITORY / "params.yaml")
    assert ours.corpus.source == "folder"
    assert ours.corpus.path == str(laid_out.parent / "clips")
    corpus = {"source": theirs.corpus.source, "path": theirs.corpus.path}
    assert ours.model_copy(update={"corpus": ours.corpus.model_copy(update=corpus)}) == theirs
    lines = (laid_out / "params.yaml").read_text().splitlines()
    others = (REPOSITORY / "params.yaml").read_text().splitlines()
    assert len(lines) == len(others)
    assert len([pair for pair in zip(lines, others, strict=True) if pair[0] != pair[1]]) == 2


def test_without_a_folder_of_videos_the_project_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    lay_out_project(tmp_path / "empty", None)
    assert load_params(tmp_path / "empty/params.yaml").corpus.path == "videos"
    assert (tmp_path / "empty/videos").is_dir()


def test_the_videos_may_be_elsewhere(tmp_path: Path) -> None:
    lay_out_project(tmp_path / "p", "s3://corpus/films")
    assert load_params(tmp_path / "p/params.yaml").corpus.path == "s3://corpus/films"


def test_the_other_files_are_the_repositorys(laid_out: Path) -> None:
    for name in SAME:
        assert (laid_out / name).read_text() == (REPOSITORY / name).read_text(), name
    made = {
        "dvc.yaml",
        "params.yaml",
        "Makefile",
        "code/files.sha256",
        *(f"code/{stage}.txt" for stage in STAGES),
    }
    there = {
        file.relative_to(laid_out).as_posix()
        for file in laid_out.rglob("*")
        if file.is_file() and ".git" not in file.relative_to(laid_out).parts
    }
    assert there == {*SAME, *made}


def test_nothing_of_it_is_there_twice() -> None:
    """But for the Makefile, the package's files are links to those at the root."""
    for path, file in project_files().items():
        if path != Path("Makefile"):
            assert file.resolve() == (REPOSITORY / path).resolve()
    assert not [file for file in FILES.rglob("*") if file.name in (".gitignore", "dvc.yaml", ".dvc")]


def test_git_takes_it_all_and_leaves_out_what_runs_make(laid_out: Path) -> None:
    def git(*command: str) -> str:
        return subprocess.run(
            ["git", *command], cwd=laid_out, capture_output=True, text=True, check=True
        ).stdout

    for name in ("data/x", "mlflow.db", "videos/a/clip.mp4", ".work/x"):
        (laid_out / name).parent.mkdir(parents=True, exist_ok=True)
        (laid_out / name).touch()
    git("add", "-A")
    assert set(git("ls-files").split()) == {
        *SAME,
        "dvc.yaml",
        "params.yaml",
        "Makefile",
        "code/files.sha256",
        *(f"code/{stage}.txt" for stage in STAGES),
    }


def test_its_makefile_lists_what_there_is(laid_out: Path) -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=laid_out, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[1] for line in listed.splitlines()] == [
        "help",
        "run",
        "ui",
        "serve",
        "deploy",
        "clean",
    ]


@pytest.mark.parametrize(
    ("folder", "videos", "message"),
    [
        ("full", None, "full: is not empty; allowed is a new folder or an empty one"),
        ("full/file", None, "full/file: is not empty; allowed is a new folder or an empty one"),
        ("full/file/p", None, "full/file.*: can't be written"),
        ("p", "none", "--videos none: no such folder"),
        ("p", "full/file", "--videos full/file: no such folder"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, videos: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    with pytest.raises(UserError, match=message):
        lay_out_project(Path(folder), videos)
    assert sorted(os.listdir()) == ["full"]
    assert Path("full/file").read_text() == "mine"


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git is not installed"):
        lay_out_project(tmp_path / "p", None)
    assert not (tmp_path / "p").exists()

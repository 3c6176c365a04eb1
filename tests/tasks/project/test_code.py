"""DVC notices that the installed code has changed, in a project that has none of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.pipeline.definition import read_definitions
from tasks.pipeline.open_stage import definition_of
from tasks.project import code
from tasks.project.code import check_code_file, code_digest, code_file, write_code_files
from tasks.project.layout import lay_out_project
from tests.conftest import REPOSITORY

Change = Callable[[str], None]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, just laid out."""
    lay_out_project(tmp_path / "p", None)
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture
def install(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Change]:
    """A function that installs a package in which a file is another."""
    source = tmp_path / "site-packages"
    for name in ("ssvh_model", "tasks"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))

    def change(name: str) -> None:
        with open(source / name, "a") as file:
            file.write("# changed\n")
        monkeypatch.setattr(code, "SOURCE", source)
        code_digest.cache_clear()

    yield change
    code_digest.cache_clear()


def texts() -> dict[str, str]:
    return {path.stem: path.read_text() for path in Path("code").iterdir()}


def test_with_the_same_package_nothing_happens(project: Path) -> None:
    before, said = texts(), []  # type: ignore[var-annotated]
    times = {path: path.stat().st_mtime_ns for path in Path("code").iterdir()}
    write_code_files(said.append)
    assert (texts(), said) == (before, [])
    assert {path: path.stat().st_mtime_ns for path in Path("code").iterdir()} == times


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("ssvh_model/clustering/kmeans.py", "warmup, clusters, p2set, evaluate"),
        ("ssvh_model/video/thumbnails.py", "features, evaluate"),
        ("ssvh_model/corpus/arcade.py", "corpus"),
        ("tasks/registry/served_hasher.py", "register"),
    ],
)
def test_the_stages_that_lean_on_a_change_get_other_files(install: Change, file: str, stages: str) -> None:
    before, said = texts(), []  # type: ignore[var-annotated]
    install(file)
    write_code_files(said.append)
    after = texts()
    assert {name for name in before if before[name] != after[name]} == set(stages.split(", "))
    assert said == [f"the installed autossvh has other code than before for {stages}: run anew"]
    write_code_files(said.append)
    assert len(said) == 1


def test_what_changes_no_number_changes_no_file(install: Change) -> None:
    before = texts()
    for file in ("tasks/stages/warmup.py", "ssvh_model/errors.py"):
        install(file)
    write_code_files(pytest.fail)
    assert texts() == before


def test_a_stage_is_not_run_by_other_code_than_its_file_says(install: Change) -> None:
    stages = read_definitions()
    for name in ("warmup", "clusters@1", "register"):
        check_code_file(definition_of(stages, name))
    install("ssvh_model/clustering/kmeans.py")
    for name in ("warmup", "clusters@1"):
        with pytest.raises(
            UserError, match=r"code/\w+.txt: is not of the autossvh that is installed; `ssvh run`"
        ):
            check_code_file(definition_of(stages, name))
    check_code_file(definition_of(stages, "register"))
    write_code_files(lambda line: None)
    check_code_file(definition_of(stages, "clusters@1"))


def test_a_file_that_is_gone_comes_back_without_a_word(project: Path) -> None:
    before = texts()
    code_file("features").unlink()
    with pytest.raises(UserError, match=r"code/features.txt"):
        check_code_file(definition_of(read_definitions(), "features"))
    write_code_files(pytest.fail)
    assert texts() == before


def test_a_clone_has_its_code_and_no_such_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    write_code_files(pytest.fail)
    check_code_file(definition_of(read_definitions(), "features"))
    assert not Path("code").exists()

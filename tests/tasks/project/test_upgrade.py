"""A project that an earlier package has laid out, brought up to this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks import paths
from tasks.params.load import load_params
from tasks.project.layout import lay_out_project, package_texts, write_laid_out
from tasks.project.upgrade import upgrade_project
from tests.conftest import REPOSITORY

PRESET, OTHER = Path("presets/paper.yaml"), Path("presets/few-recordings.yaml")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "clips").mkdir()
    lay_out_project(tmp_path / "p", str(tmp_path / "clips"))
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def earlier(*changed: Path) -> dict[Path, str]:
    """What an earlier package would have laid out in this folder, where some files were others."""
    texts = package_texts()
    for path in changed:
        texts[path] = "# as it was\n" + texts[path]
        path.write_text(texts[path])
    write_laid_out(Path(), texts)
    return texts


def contents() -> dict[str, str]:
    return {
        str(path): path.read_text()
        for path in Path().rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_a_new_project_needs_nothing(project: Path) -> None:
    before = contents()
    assert upgrade_project() == []
    assert contents() == before


def test_what_nobody_has_changed_becomes_the_packages_and_what_somebody_has_stays(project: Path) -> None:
    earlier(paths.PIPELINE, PRESET, OTHER)
    PRESET.write_text("# mine\n")
    OTHER.unlink()
    Path("Makefile").write_text("# mine, too\n")
    before = contents()
    assert sorted(upgrade_project()) == [
        "dvc.yaml: as in the package now",
        f"{PRESET}: you have changed it and the package has, too; the package's is {PRESET}.new",
    ]
    texts = package_texts()
    changed = {str(paths.PIPELINE): texts[paths.PIPELINE], f"{PRESET}.new": texts[PRESET]}
    after = contents()
    assert after.pop(str(paths.LAID_OUT)) != before.pop(str(paths.LAID_OUT))
    assert after == before | changed, (
        "a file that was taken out stays out, and one of one's own stays as it is"
    )
    assert upgrade_project() == []


def test_files_that_the_package_did_not_have_are_new(project: Path) -> None:
    texts = package_texts()
    PRESET.unlink()
    OTHER.write_text("# mine, of the same name\n")
    write_laid_out(Path(), {path: text for path, text in texts.items() if path not in (PRESET, OTHER)})
    assert sorted(upgrade_project()) == [
        f"{OTHER}: you have changed it and the package has, too; the package's is {OTHER}.new",
        f"{PRESET}: new",
    ]
    assert PRESET.read_text() == texts[PRESET] and OTHER.read_text() == "# mine, of the same name\n"


def test_parameters_keep_their_values_and_get_what_they_lack(project: Path) -> None:
    text = paths.PARAMS.read_text().replace("  step_factor: 0.9\n", "  step_factor: 0.8\n  momentum: 0.5\n")
    paths.PARAMS.write_text(
        "".join(line for line in text.splitlines(True) if not line.startswith("selection:"))
    )
    with pytest.raises(UserError, match="momentum is not known"):
        load_params()
    assert upgrade_project() == [
        "params.yaml: selection is new, auto",
        "params.yaml: training.momentum is not known any more and taken out; it was 0.5",
    ]
    params = load_params()
    assert params.training.step_factor == 0.8 and params.selection == "auto"
    assert params.corpus.path == str(project.parent / "clips")
    assert upgrade_project() == []


def test_who_lacks_a_key_is_told_of_it(project: Path) -> None:
    lines = paths.PARAMS.read_text().splitlines(True)
    paths.PARAMS.write_text("".join(line for line in lines if not line.startswith("selection:")))
    with pytest.raises(UserError, match=r"selection is missing; needed is .*; `ssvh upgrade` adds it$"):
        load_params()
    ended = subprocess.run(
        [sys.executable, "-m", "flows.cli", "upgrade"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    first, last = ended.stdout.splitlines()
    assert first == "params.yaml: selection is new, auto" and last.startswith("1 changes; the project is as")
    load_params()


def test_a_clone_is_no_such_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(UserError, match=r"files\.sha256: no such file; `ssvh upgrade` is for projects that"):
        upgrade_project()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"has no dvc\.yaml"):
        upgrade_project()

"""`ssvh preset` as a person meets it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.cli.app import app, exit_status
from tasks.params.load import load_params

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)


def ssvh(*arguments: str) -> int:
    return exit_status(lambda: app(list(arguments), standalone_mode=True))


def test_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert ssvh("preset") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in Path("presets").glob("*.yaml"))
    assert {"activitynet", "fcvid", "hmdb51", "paper", "ucf101"} <= {line.split()[0] for line in lines}
    assert ssvh("preset", "show", "fcvid") == 0
    assert capsys.readouterr().out == (ROOT / "presets/fcvid.yaml").read_text()


def test_apply_with_bits_and_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert ssvh("preset", "apply", "paper", "fcvid", "--bits", "16", "--path", "/data/fcvid") == 0
    assert "corpus.path: videos -> /data/fcvid" in capsys.readouterr().out
    params = load_params(Path("params.yaml"))
    assert (params.model.bits, params.corpus.path, params.model.layers) == (16, "/data/fcvid", 12)
    assert ssvh("preset", "apply", "fcvid") == 0
    assert load_params(Path("params.yaml")).model.bits == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["apply", "fcvids"], "error: presets: no preset is called 'fcvids'"),
        (["show", "../params"], "error: presets: no preset is called '../params'"),
        (["apply", "fcvid", "--bits", "7"], "error: params.yaml with preset fcvid: model.bits is 7"),
    ],
)
def test_refusals_are_one_line_and_exit_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_text()
    assert ssvh("preset", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1
    assert Path("params.yaml").read_text() == before


def test_outside_of_a_project(capsys: pytest.CaptureFixture[str]) -> None:
    Path("dvc.yaml").unlink()
    assert ssvh("preset") == 2
    assert "start this in the project's folder" in capsys.readouterr().err

"""The command line as a person meets it."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.request

import pytest

from flows.commands.report import short_report
from tests.flows.conftest import ROOT, Project


def test_help_lists_the_commands(stub_project: Project) -> None:
    status, output = stub_project.run("flows.cli", "--help")
    assert status == 0
    for command in ("run", "train", "report", "ui", "params", "clean"):
        assert command in output


def test_parameters_are_checked_in_one_line(stub_project: Project) -> None:
    assert stub_project.run("flows.cli", "params", "check") == (0, "params.yaml is in order\n")
    stub_project.change("mask_ratio: 0.88", "mask_ratio: 1 ")
    for command in (("params", "check"), ("run",)):
        status, output = stub_project.run("flows.cli", *command)
        assert status == 2
        assert (
            output == "error: params.yaml: sampler.mask_ratio is 1; allowed is a number above 0 and below 1\n"
        )


def test_what_the_terminal_s_encoding_lacks_is_no_error(stub_project: Project) -> None:
    status, output = stub_project.run("flows.cli", "new", "äther", PYTHONIOENCODING="ascii")
    assert status == 0
    assert output.startswith("\\xe4ther: laid out")


def test_outside_of_a_project(stub_project: Project) -> None:
    (stub_project.folder / "dvc.yaml").unlink()
    status, output = stub_project.run("flows.cli", "report")
    assert status == 2
    assert output.startswith("error: ")
    assert "Traceback" not in output


def test_the_report(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    assert "no evaluation yet" in short_report()
    (tmp_path / "metrics").mkdir()
    (tmp_path / "registry").mkdir()
    evaluation = {
        "bits": 64,
        "gmap": 0.4321,
        "n_query": 10,
        "n_database": 90,
        "yardsticks": {"float": {"gmap": 0.5}, "itq": {"gmap": 0.25}},
    }
    (tmp_path / "metrics/evaluation.json").write_text(json.dumps(evaluation))
    (tmp_path / "registry/version.json").write_text(
        json.dumps({"model": "video-hasher", "version": "3", "alias": "challenger"})
    )
    text = short_report()
    for part in (
        "0.4321",
        "0.2500",
        "0.5000",
        "pictures/",
        "models:/video-hasher@challenger",
        "version 3",
        "make ui",
    ):
        assert part in text


@pytest.mark.slow
def test_the_three_pages_open_together_and_end_with_ctrl_c(stub_project: Project) -> None:
    shutil.copy(ROOT / "params.yaml", stub_project.folder)
    pages = stub_project.start("flows.cli", "ui")
    try:
        addresses = {}
        assert pages.stdout is not None
        for line in pages.stdout:
            if line.startswith("  "):
                name, address = line.split()
                addresses[name] = address
            if "ctrl-C" in line:
                break
        assert sorted(addresses) == ["MLflow", "Optuna", "Prefect"]
        for address in addresses.values():
            with urllib.request.urlopen(address, timeout=120) as response:
                assert response.status == 200
        pages.send_signal(signal.SIGINT)
        output, _ = pages.communicate(timeout=250)  # three servers, each with its own patience
        assert pages.returncode == 0, output
        for address in addresses.values():
            with pytest.raises(OSError):
                urllib.request.urlopen(address, timeout=5)
    finally:
        pages.kill()

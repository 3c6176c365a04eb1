"""What a stage's process tells the flow that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.pipeline import flow_folder
from tasks.pipeline.flow_folder import ENDED, LINE, WELL, FlowFolder, Told


def test_entries_are_read_once_while_they_are_written(tmp_path: Path) -> None:
    folder = FlowFolder(tmp_path)
    told = Told(folder, "p2set@2")
    assert told.new() == [] and not folder.has_begun("p2set@2")
    folder.tell("p2set@2", LINE, text="epoch 1")
    assert folder.has_begun("p2set@2") and not folder.has_begun("p2set@1")
    assert told.new() == [{"kind": LINE, "text": "epoch 1"}]
    path = tmp_path / "p2set@2.jsonl"
    with open(path, "a") as file:
        file.write('{"kind": "line", "te')
    assert told.new() == [], "an entry that is not whole yet waits"
    with open(path, "a") as file:
        file.write('xt": "epoch 2"}\n{"kind": "cut off by a full disk\n')
    folder.tell("p2set@2", ENDED, how=WELL)
    assert told.new() == [{"kind": LINE, "text": "epoch 2"}, {"kind": ENDED, "how": WELL}]
    assert told.new() == []


def test_a_stage_waits_for_the_id_of_its_task_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FlowFolder(tmp_path)
    assert folder.flow_run() == ""
    folder.name_flow_run("flow")
    folder.name_task_run("warmup", "task")
    assert (folder.flow_run(), folder.task_run("warmup")) == ("flow", "task")
    monkeypatch.setattr(flow_folder, "SECONDS_TO_NAME_THE_TASK", 0.1)
    assert folder.task_run("evaluate") == ""


def test_nothing_is_raised_when_the_flow_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = FlowFolder(tmp_path / "gone")
    folder.tell("warmup", LINE, text="still here")
    monkeypatch.setenv(flow_folder.VARIABLE, str(folder.path))
    assert FlowFolder.given() == folder
    monkeypatch.delenv(flow_folder.VARIABLE)
    assert FlowFolder.given() is None

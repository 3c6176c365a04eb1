"""What is read from dvc.yaml must be what DVC itself makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.pipeline.definition import Lock, read_definitions

ROOT = Path(__file__).resolve().parents[3]


def test_stages_come_in_the_order_of_their_inputs(project: Path) -> None:
    assert [stage.name for stage in read_definitions()] == ["warmup", "p2set@1", "p2set@2", "evaluate"]


def test_templates_are_filled(project: Path) -> None:
    second = {stage.name: stage for stage in read_definitions()}["p2set@2"]
    assert second.inputs == (Path("states/round-1"), Path("code"))
    assert second.parameters == ("seed", "rounds.2")
    assert second.outputs == (Path("states/round-2"), Path("runs/p2set-2.json"))


def test_an_address_is_no_path_of_this_machine(project: Path) -> None:
    pipeline = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(pipeline.replace("code", "'s3://corpus/films'"))
    second = {stage.name: stage for stage in read_definitions()}["p2set@2"]
    assert (second.inputs, second.addresses) == ((Path("states/round-1"),), ("s3://corpus/films",))


def test_options_of_an_output_do_not_matter(project: Path) -> None:
    last = read_definitions()[-1]
    assert last.outputs == (Path("pictures"), Path("runs/evaluate.json"), Path("metrics/evaluation.json"))


def test_a_key_that_params_yaml_lacks(project: Path) -> None:
    (project / "params.yaml").write_text("seed: 1\n")
    with pytest.raises(UserError, match="rounds is missing"):
        read_definitions()


def test_not_in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="project's folder"):
        read_definitions()


def test_the_same_stages_as_dvc_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real dvc.yaml: names, and inputs and outputs of each."""
    monkeypatch.chdir(ROOT)
    program = (
        "import json; from dvc.repo import Repo\n"
        "print(json.dumps({s.addressing: [[str(d.def_path) for d in s.deps if d.def_path != 'params.yaml'],"
        " [str(o.def_path) for o in s.outs]] for s in Repo('.').index.stages}))"
    )
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    theirs = json.loads(asked.stdout.splitlines()[-1])
    ours = {
        stage.name: [sorted(map(str, stage.inputs)), sorted(map(str, stage.outputs))]
        for stage in read_definitions()
    }
    assert ours == {name: [sorted(inputs), sorted(outputs)] for name, (inputs, outputs) in theirs.items()}


def test_the_lock_file(project: Path) -> None:
    assert Lock.read().outputs() == {}
    (project / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  warmup:\n    cmd: 'true'\n    deps: [{path: code, md5: c0}]\n"
        "    outs: [{path: states/warmup, md5: a1.dir}, {path: runs/warmup.json, md5: b2}]\n"
    )
    lock = Lock.read()
    assert lock.digests_under(Path("states")) == {"states/warmup": "a1.dir"}
    assert lock.digests_under(Path("states/warm")) == {}
    assert lock.inputs("warmup") == {"code": "c0"}

"""The promotion as a Prefect flow, by hand and at the end of a training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.flows.conftest import Project
from tests.tasks.registry.registered import MODEL, register, save_hasher_that_is_blind, write_project

AT_THE_END = """
  register:
    cmd: python stub.py register
    deps: [out/second]
    outs: [out/register, runs/register.json]
"""


@pytest.mark.slow
@pytest.mark.nightly
def test_by_hand_with_a_prefect_server_it_is_a_flow_run_whose_state_says_what_came_of_it(
    stub_project: Project, prefect_api: str
) -> None:
    from mlflow import MlflowClient
    from prefect.client.orchestration import SyncPrefectClient

    folder = stub_project.folder
    write_project(folder)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    client.create_experiment("autossvh", artifact_location=(folder / "mlartifacts").as_uri())
    for name, blind in (("fair", 4), ("good", 6)):
        save_hasher_that_is_blind(folder / name, blind)
    register(client, folder / "good")
    states = []
    for arguments, expected in ((["promote"], 0), (["promote", "2"], 1), (["promote", "9"], 2)):
        if arguments[-1] == "2":
            register(client, folder / "fair")
        status, output = stub_project.run("flows.cli", *arguments, PREFECT_API_URL=prefect_api)
        assert status == expected, output
        if status == 2:
            assert "error: video-hasher has no version 9" in output
            continue
        number = 1 if status == 0 else 2
        by = client.get_model_version(MODEL, str(number)).tags["ssvh.promotion.by"]
        assert "Prefect flow run" in by
        with SyncPrefectClient(api=prefect_api) as prefect:
            run = prefect.read_flow_run(by.rpartition("(")[2].rstrip(")"))
        states.append((run.state.name, run.state.message))
    assert [name for name, _ in states] == ["Promoted", "Kept"]
    assert states[0][1].startswith("version 1 promoted, the first champion")
    assert states[1][1].startswith("version 2 not promoted, version 1 stays: better than the champion")


@pytest.mark.slow
def test_a_run_that_registers_a_version_ends_with_a_promotion_if_params_say_so(
    stub_project: Project, prefect_api: str
) -> None:
    folder: Path = stub_project.folder
    with open(folder / "dvc.yaml", "a") as file:
        file.write(AT_THE_END)
    program = folder / "stub.py"  # there is a real stage of that name
    program.write_text(program.read_text().replace('append("stubs")', 'insert(0, "stubs")'))
    stub = (folder / "stubs/second.py").read_text()
    (folder / "stubs/register.py").write_text(stub.replace("second", "register"))
    stub_project.change("after_training: false", "after_training: true")
    status, output = stub_project.run("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert output.count("promotion: no model 'video-hasher' is registered") >= 1
    status, output = stub_project.run("flows.pipeline", PREFECT_API_URL=prefect_api)
    assert status == 0, output
    assert "promotion:" not in output, "nothing new was registered"
    assert os.path.exists(folder / "out/register")

"""`make deploy` against a real server: what it registers, says, leaves alone and removes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, DeploymentFilterTags
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.servers.deploy import ZOMBIES, deploy
from flows.servers.deployments import read_project
from ssvh_model.errors import UserError
from tests.flows.conftest import ROOT

PROJECT = """
name: {tag}
pull:
  - prefect.deployments.steps.set_working_directory: {{directory: "{{{{ $SSVH_PROJECT }}}}"}}
deployments:
  - name: nightly
    entrypoint: one.py:one
    work_pool: {{name: gpu, job_variables: {{env: {{A: "1"}}}}}}
    concurrency_limit: {{limit: 1, collision_strategy: ENQUEUE}}
    schedules:
      - {{slug: night, cron: "0 2 * * *", timezone: UTC, active: false}}
      - {{slug: often, interval: 3600, active: false}}
  - name: after
    entrypoint: one.py:one
    work_pool: {{name: cpu}}
    parameters: {{number: 4}}
    triggers:
      - type: event
        expect: [prefect.flow-run.Completed]
        match_related: {{prefect.resource.role: flow, prefect.resource.name: {tag}-other}}
"""


@pytest.fixture
def deployed(
    tmp_path: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str], str]]:
    """A function that writes prefect.yaml, deploys it and returns what that said. `{tag}` is a name of its
    own.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "PREFECT_API_URL", prefect_api)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "one.py").write_text("from prefect import flow\n\n@flow\ndef one(number: int = 3): ...\n")

    def write_and_deploy(text: str) -> str:
        (tmp_path / "prefect.yaml").write_text(text.format(tag=tmp_path.name))
        with temporary_settings({PREFECT_API_URL: prefect_api}):
            deploy()
        return capsys.readouterr().out

    yield write_and_deploy
    write_and_deploy("name: {tag}\ndeployments: []\n")


def on_server(api: str, tag: str) -> dict[str, Any]:
    with SyncPrefectClient(api=api) as client:
        mine = DeploymentFilter(tags=DeploymentFilterTags(all_=[tag]))
        return {one.name: one for one in client.read_deployments(deployment_filter=mine)}


def slugs(deployment: Any) -> dict[str, Any]:
    return {schedule.slug: schedule for schedule in deployment.schedules}


def test_it_registers_and_says_so_and_a_second_time_changes_nothing(
    deployed: Callable[[str], str], prefect_api: str, tmp_path: Path
) -> None:
    said = deployed(PROJECT)
    assert f"server {prefect_api}" in said
    assert "deployment  nightly        created; schedule night (0 2 * * * UTC) is off; schedule often" in said
    assert "deployment  after          created\n" in said
    found = on_server(prefect_api, tmp_path.name)
    nightly, after = found["nightly"], found["after"]
    assert (nightly.work_pool_name, after.work_pool_name) == ("gpu", "cpu")
    assert nightly.pull_steps == [
        {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $SSVH_PROJECT }}"}}
    ]
    assert nightly.job_variables == {"env": {"A": "1"}}
    assert nightly.global_concurrency_limit.limit == 1
    assert [one.active for one in nightly.schedules] == [False, False]
    assert after.parameters == {"number": 4} and after.parameter_openapi_schema["properties"]["number"]
    with SyncPrefectClient(api=prefect_api) as client:
        assert {client.read_work_pool(pool).type for pool in ("cpu", "gpu")} == {"process"}
        (automation,) = client.read_automations_by_name(ZOMBIES)
        (trigger,) = client.read_resource_related_automations(f"prefect.deployment.{after.id}")
        assert str(trigger.actions[0].deployment_id) == str(after.id)

        again = deployed(PROJECT)
        lines = again.splitlines()[1:]
        assert len(lines) == 5 and all("unchanged" in line for line in lines), again
        assert on_server(prefect_api, tmp_path.name) == found
        assert client.read_automations_by_name(ZOMBIES) == [automation]
        assert client.read_resource_related_automations(f"prefect.deployment.{after.id}") == [trigger]


@pytest.mark.slow
def test_what_is_changed_or_taken_out_is_so_on_the_server_too(
    deployed: Callable[[str], str], prefect_api: str, tmp_path: Path
) -> None:
    deployed(PROJECT)
    without = PROJECT.replace("      - {{slug: often, interval: 3600, active: false}}\n", "")
    said = deployed(without)
    assert "updated; schedule night (0 2 * * * UTC) is off; removed schedule often" in said
    assert [one.slug for one in on_server(prefect_api, tmp_path.name)["nightly"].schedules] == ["night"]
    none = without.replace('      - {{slug: night, cron: "0 2 * * *", timezone: UTC, active: false}}\n', "")
    deployed(none)
    assert on_server(prefect_api, tmp_path.name)["nightly"].schedules == []

    before = on_server(prefect_api, tmp_path.name)["after"]
    said = deployed(none[: none.index("  - name: after")])
    assert "after          removed" in said
    assert set(on_server(prefect_api, tmp_path.name)) == {"nightly"}
    with SyncPrefectClient(api=prefect_api) as client:
        assert client.read_resource_related_automations(f"prefect.deployment.{before.id}") == []


@pytest.mark.slow
def test_a_schedule_that_is_switched_on_there_stays_on_and_one_that_is_deleted_there_comes_back(
    deployed: Callable[[str], str], prefect_api: str, tmp_path: Path
) -> None:
    deployed(PROJECT)
    nightly = on_server(prefect_api, tmp_path.name)["nightly"]
    with SyncPrefectClient(api=prefect_api) as client:
        client.update_deployment_schedule(nightly.id, slugs(nightly)["night"].id, active=True)
        assert "nightly        unchanged; schedule night (0 2 * * * UTC) is on" in deployed(PROJECT)
        assert slugs(on_server(prefect_api, tmp_path.name)["nightly"])["night"].active

        client.delete_deployment_schedule(nightly.id, slugs(nightly)["often"].id)
        assert "nightly        updated" in deployed(PROJECT)
    assert len(on_server(prefect_api, tmp_path.name)["nightly"].schedules) == 2


@pytest.mark.slow
def test_a_deployment_follows_a_run_of_another_flow(
    deployed: Callable[[str], str], prefect_api: str, tmp_path: Path
) -> None:
    deployed(PROJECT)
    after = on_server(prefect_api, tmp_path.name)["after"]
    first = f"from prefect import flow; flow(name='{tmp_path.name}-other')(lambda: None)()"
    subprocess.run([sys.executable, "-c", first], check=True, timeout=250)
    until = time.monotonic() + 250
    with SyncPrefectClient(api=prefect_api) as client:
        mine = DeploymentFilter(id=DeploymentFilterId(any_=[after.id]))
        while not client.read_flow_runs(deployment_filter=mine):
            assert time.monotonic() < until, "no run follows"
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "entrypoint: one.py:one",
            "entrypoint: two.py:two",
            "prefect.yaml: deployment nightly: entrypoint two.py:two can't be loaded",
        ),
        ("cron: ", "corn: ", "prefect.yaml: deployment nightly: "),
        ("parameters:", "parameter:", "prefect.yaml: deployment after: parameter is not known"),
        ("name: after", "name: nightly", "two deployments are called 'nightly'"),
        ("{{name: cpu}}", "{{name: tpu}}", "the server has no work pool 'tpu'"),
    ],
)
def test_mistakes_are_one_line(deployed: Callable[[str], str], old: str, new: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        deployed(PROJECT.replace(old, new))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_projects_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    project = read_project()
    names = {wanted.name: wanted for wanted in project.deployments}
    assert {"train", "tune", "ablate", "watch", "promote"} <= set(names)
    assert [one.slug for one in names["train"].schedules] == ["nightly"]
    for wanted in names.values():
        assert not any(schedule.active for schedule in wanted.schedules), "schedules are off by default"
        required = wanted.fields["parameter_openapi_schema"].get("required", [])
        assert set(required) <= set(wanted.fields["parameters"]), "a click on Run needs no typing"

"""`make deploy`: the Prefect server gets the work pools, the deployments and the automations of this project,
and what it has already stays.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from flows.running.environment import prepare_environment
from flows.servers.deployments import Project, WantedDeployment, read_project
from ssvh_model.errors import UserError
from tasks.machine.services import answers, without_passwords
from tasks.paths import check_project_folder

POOLS = ("cpu", "gpu")
ZOMBIES = "crash runs without heartbeat"
SECONDS_UNHEARD = 180
END_STATES = ("Completed", "Failed", "Cancelled", "Crashed")


def server_address() -> str:
    """The API address of the server that `PREFECT_API_URL` names.

    Raises:
        UserError: the variable is missing, or nothing answers there.
    """
    address = os.environ.get("PREFECT_API_URL", "")
    if not address:
        raise UserError(
            "PREFECT_API_URL is not set; allowed is the address of a Prefect server, such as http://127.0.0.1:4200/api of `make ui`"
        )
    if not answers(f"{address}/health"):
        raise UserError(f"PREFECT_API_URL is {without_passwords(address)}, where no Prefect server answers")
    return address


def deploy() -> None:
    """Register everything on the server and print, a line each, what was done.

    Raises:
        UserError: no server, or prefect.yaml is not in order.
    """
    prepare_environment()
    check_project_folder()
    print(f"server {without_passwords(server_address())}")
    project = read_project()
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            _say("work pool", pool, _pool(client, pool))
        for wanted in project.deployments:
            _say("deployment", wanted.name, _deployment(client, wanted))
        for name in _remove_others(client, project):
            _say("deployment", name, "removed: prefect.yaml has it no more")
        _say("automation", ZOMBIES, _automation(client, zombie_automation(SECONDS_UNHEARD)))


def _say(kind: str, name: str, done: str) -> None:
    print(f"{kind:<11} {name:<14} {done}", flush=True)


def _pool(client: SyncPrefectClient, name: str) -> str:
    try:
        return f"unchanged ({client.read_work_pool(name).type})"
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        return "created (process)"


def _deployment(client: SyncPrefectClient, wanted: WantedDeployment) -> str:
    try:
        client.read_work_pool(wanted.pool)
    except ObjectNotFound:
        raise UserError(
            f"prefect.yaml: deployment {wanted.name}: the server has no work pool {wanted.pool!r}; "
            f"`prefect work-pool create {wanted.pool} --type docker` makes one"
        ) from None
    try:
        there = client.read_deployment_by_name(f"{wanted.flow}/{wanted.name}")
    except ObjectNotFound:
        there = None
    if there is not None and there.version == wanted.version and not _differs(client, there, wanted):
        return f"unchanged{_schedules(there)}"
    before = set() if there is None else {one.slug or "" for one in there.schedules}
    deployment = client.create_deployment(
        client.create_flow_from_name(wanted.flow),
        wanted.name,
        work_pool_name=wanted.pool,
        version=wanted.version,
        schedules=list(wanted.schedules),
        **wanted.fields,
    )
    owner = f"prefect.deployment.{deployment}"
    client.delete_resource_owned_automations(owner)
    for trigger in wanted.triggers:
        trigger.set_deployment_id(deployment)
        client.create_automation(trigger.as_automation())
    now = client.read_deployment(deployment)
    gone = sorted(before - {one.slug or "" for one in now.schedules})
    removed = f"; removed schedule {', '.join(gone)}" if gone else ""
    return ("created" if there is None else "updated") + _schedules(now) + removed


def _differs(client: SyncPrefectClient, there: DeploymentResponse, wanted: WantedDeployment) -> bool:
    """True if the server has a deployment otherwise than it was registered.

    Parameters, and whether schedules are on, may be changed on the server's pages; they count only when
    prefect.yaml changes.
    """
    fields = ("entrypoint", "description", "job_variables", "pull_steps", "tags")
    if there.work_pool_name != wanted.pool or any(
        getattr(there, one) != wanted.fields[one] for one in fields
    ):
        return True
    limit = there.global_concurrency_limit
    if (limit.limit if limit else None) != wanted.fields.get("concurrency_limit"):
        return True
    if {_times(one) for one in there.schedules} != {_times(one) for one in wanted.schedules}:
        return True
    return len(client.read_resource_related_automations(f"prefect.deployment.{there.id}")) != len(
        wanted.triggers
    )


def _times(schedule: Any) -> tuple[str | None, str]:
    return schedule.slug, str(schedule.schedule.model_dump(exclude={"anchor_date"}))


def _schedules(deployment: DeploymentResponse) -> str:
    """For a person: which schedules there are."""
    shown = []
    for one in sorted(deployment.schedules, key=lambda one: one.slug or ""):
        times = one.schedule.model_dump(exclude={"day_or", "anchor_date"}, exclude_none=True)
        when = " ".join(str(value) for value in times.values())
        shown.append(f"schedule {one.slug or ''} ({when}) is {'on' if one.active else 'off'}")
    return "".join(f"; {text}" for text in shown)


def _remove_others(client: SyncPrefectClient, project: Project) -> list[str]:
    """Remove deployments of this project that prefect.yaml has no more; their names."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[project.tag]))
    names = {wanted.name for wanted in project.deployments}
    others = [one for one in client.read_deployments(deployment_filter=tagged) if one.name not in names]
    for other in others:
        client.delete_resource_owned_automations(f"prefect.deployment.{other.id}")
        client.delete_deployment(other.id)
    return [other.name for other in others]


def zombie_automation(seconds: int) -> AutomationCore:
    """A run of a deployment that has sent no heartbeat for so long, as after a power cut, ends as Crashed.

    See https://docs.prefect.io/v3/advanced/detect-zombie-flows. Runs of the deployments send one every 30
    seconds (prefect.yaml).
    """
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in END_STATES)},
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification({"prefect.resource.role": "deployment"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=seconds),
    )
    message = f"not heard of for {seconds} seconds: its machine or its worker is gone"
    return AutomationCore(
        name=ZOMBIES,
        trigger=trigger,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def _automation(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    content = wanted.model_dump(mode="json", exclude={"trigger": {"id"}})
    content["trigger"]["expect"].sort()
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    described = wanted.model_copy(update={"description": f"made by `make deploy`, version {digest}"})
    found = client.read_automations_by_name(wanted.name)
    if len(found) == 1 and found[0].description == described.description:
        return "unchanged" if found[0].enabled else "unchanged, but it is switched off on the server"
    for old in found:
        client.delete_automation(old.id)
    client.create_automation(described)
    return "updated" if found else "created"

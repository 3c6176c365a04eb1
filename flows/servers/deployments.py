"""What prefect.yaml says: the deployments as the server should have them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.schedules import SCHEDULE_TYPES
from prefect.events import DeploymentTriggerTypes
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter, ValidationError

from ssvh_model.errors import UserError
from tasks.params.reading import read_yaml

FILE = Path("prefect.yaml")
REQUIRED = ("name", "entrypoint", "work_pool")
KEYS = (*REQUIRED, "description", "parameters", "schedules", "triggers", "concurrency_limit", "tags", "pull")
OF_A_SCHEDULE = ("slug", "active", "parameters")

TRIGGERS: TypeAdapter[Any] = TypeAdapter(DeploymentTriggerTypes)
SCHEDULES: TypeAdapter[Any] = TypeAdapter(SCHEDULE_TYPES)


@dataclass(frozen=True)
class WantedDeployment:
    """One deployment.

    Attributes:
        flow: its name.
        name: of the deployment.
        pool: of the workers that run it.
        fields: what `PrefectClient.create_deployment` takes beside flow, name, pool, version and schedules.
        schedules: in the order of the file.
        triggers: events that start it.
        version: 12 hex digits that change with anything that prefect.yaml, or the flow's signature, says of
            it.
    """

    flow: str
    name: str
    pool: str
    fields: dict[str, Any]
    schedules: tuple[DeploymentScheduleCreate, ...]
    triggers: tuple[Any, ...]
    version: str


@dataclass(frozen=True)
class Project:
    """The whole of prefect.yaml; `tag` marks on the server what belongs to it."""

    tag: str
    deployments: tuple[WantedDeployment, ...]


def read_project(path: Path = FILE) -> Project:
    """Read and check prefect.yaml.

    Raises:
        UserError: the file can't be read, a deployment has an unknown key or lacks one, a value is not
            possible, or a flow can't be imported.
    """
    content = read_yaml(path)
    if not (tag := content.get("name")):
        raise UserError(f"{path}: name is missing; needed is text, which marks the deployments on the server")
    entries = content.get("deployments") or []
    deployments = tuple(_deployment(path, entry, content.get("pull") or [], tag) for entry in entries)
    names = [wanted.name for wanted in deployments]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{path}: two deployments are called {twice[0]!r}; allowed is every name once")
    return Project(tag, deployments)


def _deployment(path: Path, entry: dict[str, Any], pull: list[Any], tag: str) -> WantedDeployment:
    where = f"{path}: deployment {entry.get('name', '?')}"
    for key in entry:
        if key not in KEYS:
            raise UserError(f"{where}: {key} is not known; allowed are {', '.join(KEYS)}")
    for key in REQUIRED:
        if not entry.get(key):
            raise UserError(f"{where}: {key} is missing; needed are {', '.join(REQUIRED)}")
    flow = _flow(where, entry["entrypoint"])
    pool, limit = entry["work_pool"], entry.get("concurrency_limit") or {}
    fields = {
        "entrypoint": entry["entrypoint"],
        "description": entry.get("description") or flow.description or "",
        "parameters": entry.get("parameters") or {},
        "parameter_openapi_schema": parameter_schema(flow).model_dump_for_openapi(),
        "enforce_parameter_schema": True,
        "job_variables": pool.get("job_variables") or {},
        "pull_steps": entry.get("pull", pull),
        "tags": [tag, *entry.get("tags", ())],
    }
    version = hashlib.sha256(json.dumps([flow.name, fields, entry], sort_keys=True).encode()).hexdigest()
    try:
        if limit:
            fields["concurrency_limit"] = limit["limit"]
            fields["concurrency_options"] = ConcurrencyOptions(collision_strategy=limit["collision_strategy"])
        schedules = tuple(_schedule(one) for one in entry.get("schedules") or ())
        triggers = tuple(TRIGGERS.validate_python(one) for one in entry.get("triggers") or ())
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except KeyError as error:
        raise UserError(f"{where}: concurrency_limit: {error.args[0]} is missing") from None
    return WantedDeployment(flow.name, entry["name"], pool["name"], fields, schedules, triggers, version[:12])


def _schedule(entry: dict[str, Any]) -> DeploymentScheduleCreate:
    times = {key: value for key, value in entry.items() if key not in OF_A_SCHEDULE}
    own = {key: value for key, value in entry.items() if key in OF_A_SCHEDULE}
    return DeploymentScheduleCreate(schedule=SCHEDULES.validate_python(times), **own)


def _flow(where: str, entrypoint: str) -> Flow[..., Any]:
    try:
        return load_flow_from_entrypoint(entrypoint)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{where}: entrypoint {entrypoint} can't be loaded: {reason}") from error

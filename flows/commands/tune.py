"""`ssvh tune`: starting a study's workers, on this machine or through a work pool, and telling what came
out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from optuna.trial import TrialState
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Crashed, Pending
from rich.box import SIMPLE
from rich.table import Table

from flows.running.console import wide_console
from flows.running.environment import prepare_environment, refuse_nested
from flows.servers.server import prefect_server
from flows.tune import read_plan, tune
from ssvh_model.errors import UserError
from tasks.machine import programs
from tasks.machine.last_line import print_last
from tasks.params.changes import parse_changes
from tasks.paths import check_project_folder
from tasks.tuning.apply import apply_best
from tasks.tuning.schedule import NUMBER
from tasks.tuning.space import ROUNDS
from tasks.tuning.storage import ADDRESS_VARIABLE, shares_workers, shown_address
from tasks.tuning.study import OpenStudy, join_study
from tasks.tuning.trial import first_number

SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_UNTIL_TOLD = 30.0
BEST_SHOWN = 10
ROUND_COUNT = f"{ROUNDS}.{NUMBER}"


@dataclass(frozen=True)
class Settings:
    """What `ssvh tune` was started with.

    Attributes:
        features, study, trials, changes: as for the flow.
        workers: that work at the study.
        pool: work pool that they are started through; "" for processes of this machine.
        apply: whether the best trial goes into params.yaml.
    """

    features: str
    study: str
    trials: int | None
    changes: list[str]
    workers: int
    pool: str
    apply: bool

    def of_flow(self) -> dict[str, Any]:
        """The flow's arguments; what is applied is applied here, once."""
        return {
            "features": self.features,
            "study": self.study,
            "trials": self.trials,
            "changes": self.changes,
        }


def run(settings: Settings) -> int:
    """Bring a study to its end and print what it found. Returns the exit status.

    Raises:
        UserError: parameters, features or services are at fault.
    """
    prepare_environment()
    refuse_nested()
    check_project_folder()
    plan = read_plan(settings.features, settings.study, settings.changes)
    if (settings.workers > 1 or settings.pool) and not shares_workers():
        raise UserError(
            f"Optuna's storage is {shown_address()}, which several workers can't share; "
            f"allowed is one of PostgreSQL, by {ADDRESS_VARIABLE}=postgresql://user@host/optuna"
        )
    # Prefect's settings are those of the moment when it was imported, and the server may have been started
    # since.
    with prefect_server() as address, temporary_settings({PREFECT_API_URL: address}):
        status = _through_pool(settings) if settings.pool else _here(settings)
    if status in (2, 130):
        return status
    opened = join_study(plan)
    left = opened.wanted - len(opened.ended())
    if left > 0:
        print_last(
            f"error: study {plan.study} ended {left} trials short of {opened.wanted}; what is finished is kept, "
            "and the same command goes on"
        )
        return status or 1
    show(opened)
    if settings.apply:
        lines = apply_best(opened, parse_changes(settings.changes))
        print("\n".join([f"params.yaml: {len(lines)} values changed", *(f"  {line}" for line in lines)]))
        print("next: make run trains with them")
    else:
        print("next: the same command with --apply writes the best values into params.yaml")
    return 0


def _here(settings: Settings) -> int:
    """Processes of this machine, which share its cores. One that is killed is not started again: the others
    take its trial up.

    Returns the exit status: 0 if one of them came to its end, as then all trials have.
    """
    extra = {}
    if settings.workers > 1:
        extra["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // settings.workers))
    arguments = settings.of_flow()
    running: dict[subprocess.Popen[bytes], UUID] = {}
    statuses: list[int] = []
    with get_client(sync_client=True) as client:
        try:
            for _ in range(settings.workers):
                flow_run = client.create_flow_run(tune, parameters=arguments, state=Pending()).id
                command = [sys.executable, "-m", "flows.tune", json.dumps(arguments), str(flow_run)]
                running[programs.start(command, extra=extra)] = flow_run
            while running:
                time.sleep(0.2)
                for process in [one for one in running if one.poll() is not None]:
                    flow_run = running.pop(process)
                    statuses.append(process.returncode)
                    if process.returncode < 0:
                        reason = f"its process was killed (signal {-process.returncode})"
                        client.set_flow_run_state(flow_run, Crashed(message=reason), force=True)
                        print(f"a worker has ended, {reason}; {len(running)} go on", flush=True)
        finally:
            for process in running:
                programs.stop(process)
    return 0 if 0 in statuses else max(map(abs, statuses))


def _through_pool(settings: Settings) -> int:
    """Runs of the pool's deployment of the flow `tune`, a worker each."""
    with get_client(sync_client=True) as client:
        deployment = _deployment(client, settings.pool)
        runs = [
            client.create_flow_run_from_deployment(
                deployment, parameters=settings.of_flow(), name=f"tune {number} of {settings.workers}"
            ).id
            for number in range(1, settings.workers + 1)
        ]
        print(f"{len(runs)} runs of the flow tune wait for workers of pool {settings.pool}", flush=True)
        began, told = time.monotonic(), False
        states: list[Any] = []
        try:
            while not states or not all(state.is_final() for state in states):
                time.sleep(SECONDS_BETWEEN_LOOKS)
                states = [client.read_flow_run(run).state for run in runs]
                late = time.monotonic() - began > SECONDS_UNTIL_TOLD
                if late and not told and not any(state.is_running() or state.is_final() for state in states):
                    told = True
                    print(
                        f"no worker has taken them yet; ssvh worker --pool {settings.pool} starts one",
                        flush=True,
                    )
        except KeyboardInterrupt:
            for run in runs:
                client.set_flow_run_state(run, Cancelling())
            print("cancelled", file=sys.stderr)
            return 130
    for number, state in enumerate(states, start=1):
        if not state.is_completed():
            print(f"worker {number}: {state.name}: {state.message}", file=sys.stderr)
    return int(not all(state.is_completed() for state in states))


def _deployment(client: SyncPrefectClient, pool: str) -> UUID:
    """The deployment of the flow `tune` on a work pool."""
    found = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=["tune"])))
    own = [one for one in found if one.work_pool_name == pool]
    if not own:
        pools = ", ".join(sorted({one.work_pool_name for one in found if one.work_pool_name})) or "none"
        raise UserError(
            f"--pool {pool}: the server has no deployment of the flow tune on that work pool, but on {pools}; "
            "prefect.yaml lists them, and make deploy registers them"
        )
    return own[0].id


def show(opened: OpenStudy) -> None:
    """Print the best trials and where the rest is."""
    console = wide_console()
    trials = sorted(opened.ended(), key=lambda trial: -(trial.value or 0.0))
    names = list(opened.plan.space.dimensions)
    short = ["rounds" if name == ROUND_COUNT else name.rpartition(".")[2] for name in names]
    heads = [own if short.count(own) == 1 else name for name, own in zip(names, short, strict=True)]
    table = Table("trial", opened.plan.value_name, "", *heads, box=SIMPLE)
    for trial in trials[:BEST_SHOWN]:
        state = "" if trial.state == TrialState.COMPLETE else "stopped early"
        values = [_shown(trial.params.get(name)) for name in names]
        gmap = "" if trial.value is None else f"{trial.value:.4f}"
        table.add_row(str(first_number(trial)), gmap, state, *values)
    console.print(f"\nstudy {opened.plan.study}, the best of {len(trials)} trials, {opened.plan.measured_on}")
    console.print(table)
    best, first = opened.best(), opened.first()
    if best is None:
        console.print("no trial is complete", highlight=False)
        return
    if first is not None and first.value is not None:
        console.print(
            f"{opened.plan.value_name} {best.value:.4f} with trial {first_number(best)}, {first.value:.4f} with the values that params.yaml had at the start",
            highlight=False,
        )
    console.print(f"table and pictures: {opened.plan.folder}/", highlight=False)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

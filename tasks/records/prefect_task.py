"""Running a stage's work as a Prefect task where there is a Prefect server, and as a plain function where there is none.

Prefect would start a server of its own in every process without an address (5 to 8 seconds, and the runs are lost to the
pages), so `PREFECT_API_URL` decides. A flow that starts stages through DVC hands over its flow run in `SSVH_FLOW_RUN_ID`; the task
run then belongs to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from ssvh_model.errors import UserError
from tasks.machine.errors import ServiceAway
from tasks.machine.services import await_answer, without_passwords

FLOW_RUN_VARIABLE = "SSVH_FLOW_RUN_ID"
SECONDS_BEFORE_RETRIES = (10, 30, 60, 120)  # of work that failed because a service was away

Result = TypeVar("Result")


@dataclass(frozen=True)
class PrefectIds:
    """Of the run that is going on; "" where there is none."""

    flow_run: str = ""
    task_run: str = ""


def run_as_task(
    name: str,
    work: Callable[[PrefectIds, Callable[[str], None]], Result],
    say: Callable[[str], None],
    *,
    wait: float,
) -> Result:
    """Run `work(ids, say)` as the Prefect task `name`, which is retried if a service was away, and for no other reason.

    Args:
        name: of the task and its run.
        work: is given the ids of the Prefect run and a function that logs a line where the run's logs are.
        say: logs a line where there is no Prefect.
        wait: seconds that the end waits for a server that has gone away meanwhile. Without it the work is done all the same,
            but the server never hears of it.

    Raises:
        UserError: there is an address of a server, but no server.
    """
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        say("no PREFECT_API_URL: running without a Prefect server")
        return work(PrefectIds(), say)

    # A server that is away is told again for 4 minutes; by default for one.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "7")
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.client.orchestration import get_client
    from prefect.context import TaskRunContext
    from prefect.logging import get_run_logger
    from prefect.states import Failed
    from prefect.task_engine import run_task_sync

    with get_client(sync_client=True) as client:
        if (problem := client.api_healthcheck()) is not None:
            raise UserError(
                f"PREFECT_API_URL is {without_passwords(address)}, where no Prefect server answers ({problem}); start one or unset the variable"
            )

    failed: list[UserError] = []

    def body() -> Any:
        run = TaskRunContext.get()
        assert run is not None, "the task engine sets it"
        logger = get_run_logger()
        ids = PrefectIds(str(run.task_run.flow_run_id or ""), str(run.task_run.id))
        failed.clear()
        result: Any
        try:
            result = work(ids, logger.info)
        except UserError as error:
            # One line is enough: as an exception, Prefect would print where in the program it came from.
            failed.append(error)
            result = Failed(message=str(error))
        await_answer("the Prefect server", f"{address}/health", wait, say)
        return result

    def worth_retrying(*_: object) -> bool:
        return bool(failed) and isinstance(failed[0], ServiceAway)

    run_of_flow = os.environ.get(FLOW_RUN_VARIABLE)
    context = _flow_run_context(run_of_flow) if run_of_flow else None
    stage: Any = task(
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(SECONDS_BEFORE_RETRIES),
        retry_delay_seconds=list(SECONDS_BEFORE_RETRIES),
        retry_condition_fn=worth_retrying,
    )(body)
    state: Any = run_task_sync(stage, parameters={}, context=context, return_type="state")
    if failed:
        raise failed[0]
    result: Any = state.result()
    return result


def _flow_run_context(flow_run_id: str) -> dict[str, Any]:
    """The part of Prefect's run context that makes a task run one of a flow run that goes on in another process."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.results import ResultStore

    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(flow_run_id))
    return {
        "flow_run_context": {
            "flow": flow(name="pipeline")(_elsewhere),
            "flow_run": flow_run,
            "parameters": {},
            "result_store": ResultStore(),
            "persist_result": False,
        }
    }


def _elsewhere() -> None:
    """Stands for the flow, which runs in another process."""

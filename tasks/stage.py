"""What runs a stage: `python -m tasks.stage <name>`, the command of every stage in dvc.yaml.

It calls the stage's function, which stands in `tasks/stages/<name>.py`:

    @stage_task()
    def warmup() -> None:
        with open_stage("warmup") as stage:
            spec = ...(stage.params.warmup)                       # typed (tasks/params/sections.py)
            checkpoints = stage.work.folder / "checkpoints"       # is found again after a kill
            result = train(..., seed=stage.params.seed, progress=stage.progress("epochs"))
            stage.run.log_metrics({"loss": 0.5}, step=epoch)      # to the stage's MLflow run
            stage.run.log_artifact(picture, "pictures")
            stage.say("one line for the log")
            stage.work.publish({paths.state("warmup"): checkpoints / "last"})  # output: what it is made of

Stages of a round (`clusters@2`) are given its number. Heavy imports (torch, the library) stand inside the
function. Bad input raises `UserError`, anything else shows a traceback.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

from ssvh_model.errors import UserError
from tasks.machine.disk import disk_full
from tasks.machine.errors import ServiceAway
from tasks.machine.last_line import await_prefect, print_last
from tasks.machine.process_tree import end_with_root
from tasks.machine.processes import (
    end_with,
    kill_children,
    leave_garbage,
    pipeline_process,
    terminate_as_interrupt,
)
from tasks.machine.services import without_passwords
from tasks.machine.threads import sleep_when_idle
from tasks.params.load import load_params
from tasks.pipeline.definition import read_definitions
from tasks.pipeline.flow_folder import BAD_INPUT, BEGAN, ENDED, FAILED, SERVICE_AWAY, WELL, FlowFolder
from tasks.pipeline.open_stage import definition_of
from tasks.pipeline.stage_task import StageTask
from tasks.project.code import check_code_file

sleep_when_idle()


def run_stage(name: str) -> None:
    """Run one stage from its parameters to its published outputs: as a Prefect task where there is a server.

    A flow that wants it shows it as a task of its own, so that it runs as a plain function here.

    Raises:
        UserError: parameters, inputs or services are at fault.
    """
    terminate_as_interrupt()
    if (starter := pipeline_process()) is not None:
        end_with(starter, lambda text: print(text, flush=True))
    end_with_root()
    check_code_file(definition_of(read_definitions(), name))
    load_params()  # its stage asks again, after imports that take seconds
    address = None if FlowFolder.given() else os.environ.get("PREFECT_API_URL")
    if address:
        _check_server(address)
    elif not FlowFolder.given():
        print("no PREFECT_API_URL: running without a Prefect server", flush=True)
    base, _, number = name.partition("@")
    stage: StageTask = getattr(importlib.import_module(f"tasks.stages.{base}"), base)
    arguments = (int(number),) if number else ()
    if address:
        stage(*arguments, return_state=True).result()
    else:
        stage.fn(*arguments)


def _check_server(address: str) -> None:
    # A server that is away is told again for 4 minutes; by default for one.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "7")
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        if (problem := client.api_healthcheck()) is not None:
            raise UserError(
                f"PREFECT_API_URL is {without_passwords(address)}, where no Prefect server answers ({problem}); start one or unset the variable"
            )


def main(arguments: list[str]) -> int:
    """Run the stage that is named; 0 if it went well, 2 after bad input, 130 if it was asked to stop."""
    if len(arguments) != 1:
        print("usage: python -m tasks.stage <name>", file=sys.stderr)
        return 2
    name = arguments[0]
    _tell_flow(name, BEGAN)
    # Until the stage's own work begins: to collect garbage while Prefect and MLflow are imported takes a
    # quarter of that time.
    gc.disable()
    try:
        run_stage(name)
    except UserError as error:
        how = SERVICE_AWAY if isinstance(error, ServiceAway) else BAD_INPUT
        _tell_flow(name, ENDED, how=how, reason=str(error))
        print_last(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        print(f"stage {name} was stopped; what is done so far is kept", file=sys.stderr)
        kill_children()
        return 130
    except Exception as error:
        if (full := disk_full(error)) is not None:
            _tell_flow(name, ENDED, how=BAD_INPUT, reason=full)
            print_last(f"error: {full}")
            return 2
        reason = f"stage {name}: {type(error).__name__}: {' '.join(str(error).split())}"
        _tell_flow(name, ENDED, how=FAILED, reason=reason)
        await_prefect()
        raise
    else:
        _tell_flow(name, ENDED, how=WELL)
    finally:
        leave_garbage()
    return 0


def _tell_flow(stage: str, kind: str, **content: str) -> None:
    if (folder := FlowFolder.given()) is not None:
        folder.tell(stage, kind, **content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

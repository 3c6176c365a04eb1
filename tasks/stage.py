"""What runs a stage: `python -m tasks.stage <name>`, the command of every stage in dvc.yaml.

It checks params.yaml, waits for its turn, finds the work folder, opens the MLflow run and starts the Prefect task; then it calls
the stage's own function and puts the MLflow run's record among the outputs. So a stage's file, `tasks/stages/<name>.py`, holds one
function and no ceremony:

    def run(stage: Stage) -> None:
        spec = ...(stage.params.warmup)                                      # typed parameters (tasks/params/sections.py)
        checkpoints = stage.work.folder / "checkpoints"                      # is found again after a kill
        result = train(..., seed=stage.params.seed, progress=stage.progress("epochs"))
        stage.run.log_metrics({"loss": 0.5}, step=epoch)                     # to the stage's MLflow run
        stage.run.log_artifact(picture, "pictures")
        stage.say("one line for the log")
        stage.work.publish({paths.state("warmup"): checkpoints / "last"})    # declared output: what it is made of

`run` must expect to be called again with the same work folder, after a kill at any moment, and go on from what it finds there;
also when all its work was done but its outputs or its MLflow run were not. Stages of a round (`clusters@2`) find its number in
`stage.round`. `run` publishes every output that dvc.yaml declares but `runs/<name>.json`. Heavy imports (torch, the library) stand inside
the function. Bad input raises `UserError`, anything else shows a traceback.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from tasks import paths
from tasks.machine.disk import disk_full
from tasks.machine.last_line import await_prefect, print_last
from tasks.machine.process_tree import end_with_root
from tasks.machine.processes import (
    end_with,
    kill_children,
    leave_garbage,
    pipeline_process,
    terminate_as_interrupt,
)
from tasks.params.keys import look_up
from tasks.params.load import load_params
from tasks.params.reading import read_yaml
from tasks.params.sections import Params
from tasks.pipeline.definition import Definition, Lock, read_definitions
from tasks.pipeline.dvc_files import keep_lock
from tasks.pipeline.stage import STARTED_VARIABLE, Stage
from tasks.pipeline.work import Work, only_one, open_work, remove_committed_work
from tasks.records.prefect_task import PrefectIds, run_as_task

# Before torch is imported: threads that have nothing to do sleep instead of spinning. Where another process wants the cores too,
# spinning made training several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run_stage(name: str) -> None:
    """Run one stage from its parameters to its published outputs.

    Raises:
        UserError: parameters, inputs or services are at fault.
    """
    params = load_params(paths.PARAMS)
    values = read_yaml(paths.PARAMS)
    definition = _definition(name)

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {name} | {text}", flush=True)

    terminate_as_interrupt()
    if (starter := pipeline_process()) is not None:
        end_with(starter, say)
    end_with_root()
    if folder := os.environ.get(STARTED_VARIABLE):
        (Path(folder) / name).touch()
    with only_one(name, say):
        keep_lock()
        remove_committed_work()
        work = open_work(definition, values)
        work.remove_leftovers()
        run_as_task(
            name,
            lambda ids, log: _tracked(definition, params, values, work, ids, log),
            say,
            wait=params.running.wait_for_services,
        )


def _definition(name: str) -> Definition:
    definitions = {definition.name: definition for definition in read_definitions()}
    if name not in definitions:
        raise UserError(f"stage {name!r} is not in {paths.PIPELINE}; there are {', '.join(definitions)}")
    return definitions[name]


def _tracked(
    definition: Definition,
    params: Params,
    values: dict[str, Any],
    work: Work,
    ids: PrefectIds,
    say: Callable[[str], None],
) -> None:
    from tasks.records.parents import find_parent, stage_tags
    from tasks.records.prefect_page import show_mlflow_run
    from tasks.records.store import SECONDS_WHEN_STOPPED, StageRun, Store
    from tasks.records.system_metrics import watch_system

    store = Store()
    parent = find_parent(store)
    lineage = _lineage(definition, ids)
    run = StageRun(store, store.create_run(definition.name, parent=parent, tags=lineage), parent)
    status = "FAILED"
    try:
        store.set_status(parent, "RUNNING")
        show_mlflow_run(store.experiment, run.id, f"Figures of stage {definition.name} in MLflow", say)
        run.log_parameters(_parameters(definition, values))
        _log_inputs(run, definition)
        gc.enable()
        with watch_system(run):
            function, number = _function(definition.name)
            function(Stage(definition.name, number, params, work, run, say))
        _publish_record(definition, run, work, lineage)
        names = [one.name for one in read_definitions()]
        run.tag_parent(**stage_tags(parent, names[: names.index(definition.name) + 1]))
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except Exception as error:
        if (reason := disk_full(error)) is not None:
            raise UserError(reason) from error
        raise
    finally:
        wait = params.running.wait_for_services if status == "FINISHED" else SECONDS_WHEN_STOPPED
        run.close(status, with_parent=True, final=True, wait=wait)


def _function(name: str) -> tuple[Callable[[Stage], None], int]:
    """The function of a stage, and the number of its round."""
    base, _, number = name.partition("@")
    return importlib.import_module(f"tasks.stages.{base}").run, int(number or 0)


def _parameters(definition: Definition, values: dict[str, Any]) -> dict[str, Any]:
    from tasks.params.keys import flatten

    return flatten({key: look_up(values, key) for key in (*definition.parameters, "running")})


def _lineage(definition: Definition, ids: PrefectIds) -> dict[str, str]:
    """Where a result comes from, as tags: commit, stage, digest of every input, Prefect runs."""
    from tasks.records.store import git_commit

    lock = Lock.read()
    digests = {path: digest for one in definition.inputs for path, digest in lock.digests_under(one).items()}
    return {
        "ssvh.stage": definition.name,
        "ssvh.git_commit": git_commit(),
        "ssvh.prefect_flow_run": ids.flow_run,
        "ssvh.prefect_task_run": ids.task_run,
        **{f"ssvh.input.{path}": digest for path, digest in digests.items()},
    }


def _log_inputs(run: Any, definition: Definition) -> None:
    """Log the data sets among a stage's inputs."""
    from tasks.records.data_sets import log_corpus, log_features

    lock = Lock.read().outputs()
    for path in definition.inputs:
        if path == paths.CORPUS:
            log_corpus(run, "input", lock.get(path, ""))
        if path == paths.FEATURES:
            log_features(run, "input", lock.get(path, ""))


def _publish_record(definition: Definition, run: Any, work: Work, lineage: dict[str, str]) -> None:
    missing = [
        str(output)
        for output in definition.outputs
        if output.parts[0] != str(paths.RUNS) and not output.exists()
    ]
    if missing:
        raise RuntimeError(f"stage {definition.name} ended without its output {missing[0]}")
    record = paths.run_record(definition.name)
    content = {"run_id": run.id, "parent_run_id": run.parent, **lineage}
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    work.note_published(record)


def main(arguments: list[str]) -> int:
    """Run the stage that is named; 0 if it went well, 2 after bad input, 130 if it was asked to stop."""
    if len(arguments) != 1:
        print("usage: python -m tasks.stage <name>", file=sys.stderr)
        return 2
    # Until the stage's own work begins: to collect garbage while Prefect and MLflow are imported takes a quarter of that time.
    gc.disable()
    try:
        run_stage(arguments[0])
    except UserError as error:
        _tell_flow(arguments[0], str(error), bad_input=True)
        print_last(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        print(f"stage {arguments[0]} was stopped; what is done so far is kept", file=sys.stderr)
        kill_children()
        return 130
    except Exception as error:
        if (full := disk_full(error)) is not None:
            _tell_flow(arguments[0], full, bad_input=True)
            print_last(f"error: {full}")
            return 2
        reason = f"stage {arguments[0]}: {type(error).__name__}: {' '.join(str(error).split())}"
        _tell_flow(arguments[0], reason, bad_input=False)
        await_prefect()
        raise
    finally:
        leave_garbage()
    return 0


def _tell_flow(stage: str, reason: str, *, bad_input: bool) -> None:
    """Leave the reason of a failure where the flow that started this looks for it."""
    if folder := os.environ.get(STARTED_VARIABLE):
        with contextlib.suppress(OSError):  # where the disk is full, the output has to do
            (Path(folder) / f"{stage}.error").write_text(
                json.dumps({"reason": reason, "bad_input": bad_input})
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

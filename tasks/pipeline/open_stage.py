"""Everything around a stage's own work: its turn, its work folder, its MLflow run, and the record among its
outputs.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from ssvh_model.remote_folder import StorageAway
from tasks import paths
from tasks.machine.disk import disk_full
from tasks.machine.errors import ServiceAway
from tasks.machine.services import await_answer
from tasks.params.keys import flatten, look_up
from tasks.params.load import load_params
from tasks.params.reading import read_yaml
from tasks.pipeline.definition import Definition, Lock, read_definitions, stage_name
from tasks.pipeline.dvc_files import keep_lock
from tasks.pipeline.flow_folder import LINE, FlowFolder
from tasks.pipeline.stage import Stage
from tasks.pipeline.work import Work, only_one, open_work, remove_committed_work
from tasks.project.code import installed_package
from tasks.records.prefect_run import PrefectIds, in_a_run, present_ids
from tasks.records.tags import FLOW_RUN_TAG, GIT_COMMIT_TAG, INPUT_TAG, PACKAGE_TAG, STAGE_TAG, TASK_RUN_TAG

if TYPE_CHECKING:
    from tasks.records.stage_run import StageRun


@contextmanager
def open_stage(base: str, number: int = 0) -> Iterator[Stage]:
    """Open a stage; what is done within is its work.

    The block must expect to be entered again with the same work folder, after a kill at any moment, and go on
    from what it finds there; also when all its work was done but its outputs or its MLflow run were not. It
    publishes every output that dvc.yaml declares but `runs/<name>.json`, which is written when it ends well.

    Args:
        base: name of the stage in dvc.yaml, without its round.
        number: of the round; 0 for stages that belong to none.

    Raises:
        UserError: parameters, inputs or services are at fault.
    """
    name = stage_name(base, number)
    params = load_params(paths.PARAMS)
    values = read_yaml(paths.PARAMS)
    definitions = read_definitions()
    definition = definition_of(definitions, name)
    say = _teller(name)
    with only_one(name, say), _videos_in_service():
        keep_lock()
        remove_committed_work()
        work = open_work(definition, values)
        work.remove_leftovers()
        from tasks.records.lent_store import LentStore
        from tasks.records.parents import find_parent, stage_tags
        from tasks.records.prefect_page import show_mlflow_run
        from tasks.records.stage_run import SECONDS_WHEN_STOPPED, RunStore, StageRun
        from tasks.records.store import PARENT_VARIABLE, Store
        from tasks.records.system_metrics import watch_system

        store: RunStore
        if (lent := LentStore.given()) is not None:
            store, parent = lent, os.environ[PARENT_VARIABLE]
        else:
            store = Store()
            parent = find_parent(store)
        lineage = _lineage(definition, _ids(name))
        run = StageRun(store, store.create_run(definition.name, parent=parent, tags=lineage), parent)
        status = "FAILED"
        try:
            store.set_status(parent, "RUNNING")
            show_mlflow_run(store.experiment, run.id, f"Figures of stage {definition.name} in MLflow", say)
            run.log_parameters(_parameters(definition, values))
            _log_inputs(run, definition)
            gc.enable()
            with watch_system(run):
                yield Stage(definition.name, number, params, work, run, say)
            _publish_record(definition, run, work, lineage)
            names = [one.name for one in definitions]
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
            if in_a_run() and (address := os.environ.get("PREFECT_API_URL")):
                # Without it the work is done all the same, but the server never hears of it.
                await_answer("the Prefect server", f"{address}/health", params.running.wait_for_services, say)


@contextmanager
def _videos_in_service() -> Iterator[None]:
    """A bucket that does not answer is a service that is away, whoever asked it."""
    try:
        yield
    except StorageAway as error:
        raise ServiceAway(str(error)) from error


def definition_of(definitions: Sequence[Definition], name: str) -> Definition:
    """What dvc.yaml says of a stage.

    Args:
        definitions: all that it has.
        name: of the stage.

    Raises:
        UserError: it has no such stage.
    """
    by_name = {definition.name: definition for definition in definitions}
    if name not in by_name:
        raise UserError(f"stage {name!r} is not in {paths.PIPELINE}; there are {', '.join(by_name)}")
    return by_name[name]


def _teller(name: str) -> Callable[[str], None]:
    """Says a line where the stage's logs are: in the flow that wants it, in the Prefect run that goes on
    here, or in the output.
    """
    if (folder := FlowFolder.given()) is not None:
        return lambda text: folder.tell(name, LINE, text=text)
    if in_a_run():
        from prefect.logging import get_run_logger

        return get_run_logger().info
    return lambda text: print(f"{time.strftime('%H:%M:%S')} {name} | {text}", flush=True)


def _ids(name: str) -> PrefectIds:
    if (folder := FlowFolder.given()) is not None:
        return PrefectIds(folder.flow_run(), folder.task_run(name))
    return present_ids()


def _parameters(definition: Definition, values: dict[str, Any]) -> dict[str, Any]:

    return flatten({key: look_up(values, key) for key in (*definition.parameters, "running")})


def _lineage(definition: Definition, ids: PrefectIds) -> dict[str, str]:
    """Where a result comes from, as tags: commit, stage, digest of every input, Prefect runs."""
    from tasks.records.store import git_commit

    lock = Lock.read()
    digests = {path: digest for one in definition.inputs for path, digest in lock.digests_under(one).items()}
    return {
        STAGE_TAG: definition.name,
        GIT_COMMIT_TAG: git_commit(),
        PACKAGE_TAG: installed_package(),
        FLOW_RUN_TAG: ids.flow_run,
        TASK_RUN_TAG: ids.task_run,
        **{f"{INPUT_TAG}{path}": digest for path, digest in digests.items()},
    }


def _log_inputs(run: StageRun, definition: Definition) -> None:
    """Log the data sets among a stage's inputs."""
    from tasks.records.data_sets import log_corpus, log_features

    lock = Lock.read().outputs()
    for path in definition.inputs:
        if path == paths.CORPUS:
            log_corpus(run, "input", lock.get(path, ""))
        if path == paths.FEATURES:
            log_features(run, "input", lock.get(path, ""))


def _publish_record(definition: Definition, run: StageRun, work: Work, lineage: dict[str, str]) -> None:
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

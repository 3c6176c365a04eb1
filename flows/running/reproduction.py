"""One `dvc repro` of the whole pipeline, shown stage by stage as tasks of a Prefect flow."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Completed, Failed, State

from flows.running.ending import BAD_INPUT
from flows.running.environment import prepare_environment, refuse_nested
from flows.running.reproduce import DVC, out_of_date, reproducing
from tasks.machine import programs
from tasks.machine.errors import ServiceAway
from tasks.machine.services import answers, await_answer
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.pipeline import flow_folder
from tasks.pipeline.definition import feeds, read_definitions, stage_name
from tasks.pipeline.flow_folder import FlowFolder, Told
from tasks.pipeline.stage_task import StageTask, retried
from tasks.records.lent_store import lend
from tasks.records.parents import close_parent, create_parent, stage_tags
from tasks.records.prefect_page import show_artifact, show_mlflow_run
from tasks.records.stage_run import SECONDS_WHEN_STOPPED
from tasks.records.store import PARENT_VARIABLE, Store
from tasks.records.tags import FLOW_RUN_TAG

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_END = 60.0  # for DVC, after one of its stages has failed


class StageFailed(Exception):
    """A stage, or DVC itself, ended with an error.

    Attributes:
        state: that the flow is to end in.
    """

    def __init__(self, state: State[Any]) -> None:
        super().__init__(state.message)
        self.state = state


class Reproduction:
    """Shows each stage as a task while DVC brings the pipeline up to date.

    Attributes:
        params: of the pipeline.
        stages: names of all that dvc.yaml has, in their order.
        rounds: numbers of the rounds of training with clusters.
        ran: names of the stages that were out of date and have been run.
    """

    def __init__(
        self,
        params: Params,
        stale: Collection[str],
        folder: FlowFolder,
        extra: Mapping[str, str],
        stack: ExitStack,
    ) -> None:
        self.params = params
        self.rounds = [int(number) for number in params.rounds]
        self.ran: set[str] = set()
        self._folder, self._extra, self._stack = folder, extra, stack
        self._definitions = {definition.name: definition for definition in read_definitions()}
        self.stages = list(self._definitions)
        self._told: dict[str, Told] = {}
        self._stale = stale
        self._process: subprocess.Popen[bytes] | None = None
        self._server_gone = False  # Prefect's, for which a stage has waited in vain

    def __call__(self, stage: StageTask, number: int = 0) -> None:
        """Show one stage: until its process has ended, or until it is clear that it is up to date.

        Args:
            stage: which.
            number: of its round.

        Raises:
            StageFailed: it ended with an error.
        """
        name = stage_name(stage.name, number)
        if name in self._definitions:  # a project may do without a stage
            self._show(name, stage.tags)

    def the_rest(self) -> None:
        """Show what dvc.yaml has beside the stages that were shown, and wait until DVC has ended.

        Raises:
            StageFailed: as for a stage, or DVC itself failed.
        """
        for name in self.stages:
            if name not in self._told:
                self._show(name, ())
        if self._process is not None and (status := self._process.wait()) != 0:
            raise StageFailed(Failed(message=f"dvc repro ended with status {status}"))

    def let_end(self) -> None:
        """Give DVC the time to write down what it has, after one of its stages has failed."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=SECONDS_TO_END)

    def _show(self, name: str, tags: Collection[str]) -> None:
        # Prefect asks its server for each tag whether there is room. Where nothing is to be run nothing needs
        # room, and with SQLite the question meets a locked database often, after which the client waits for
        # two seconds.
        asked = tags if self._stale else ()
        shown = task(name=name, task_run_name=name, tags=asked, **retried())(self._follow)
        self._told[name] = Told(self._folder, name)
        state: State[Any] = shown(name, return_state=True)
        if not state.is_completed():
            raise StageFailed(
                Failed(name=state.name if state.name == BAD_INPUT else None, message=state.message)
            )

    def _follow(self, name: str) -> State[Any]:
        """The body of a stage's task."""
        run, logger = TaskRunContext.get(), get_run_logger()
        assert run is not None, "the task engine sets it"
        self._folder.name_task_run(name, str(run.task_run.id))
        state = self._outcome(name, logger)
        self._await_server(logger.info)
        return state

    def _await_server(self, say: Callable[[str], None]) -> None:
        """Wait for a Prefect server that is away, so that it hears how the stage ended. Once it was waited
        for in vain it is only looked at.
        """
        address = f"{os.environ['PREFECT_API_URL']}/health"
        if self._server_gone and not answers(address):
            return
        wait = self.params.running.wait_for_services
        self._server_gone = not await_answer("the Prefect server", address, wait, say)
        if self._server_gone:
            say(
                "the Prefect server is still away: the work goes on, and stages that follow don't wait for it"
            )

    def _outcome(self, name: str, logger: Any) -> State[Any]:
        cached: State[Any] = Completed(
            name="Cached", message=f"the results of {name} are up to date: nothing to run"
        )
        if not self._stale:
            return cached
        process, needing = self._running(), self._needing(name)
        while True:
            # Looked at before the entries are read, so that none is missed.
            over = process.poll() is not None or any(self._folder.has_begun(other) for other in needing)
            for entry in self._told[name].new():
                if entry["kind"] == flow_folder.LINE:
                    logger.info(entry["text"])
                elif entry["kind"] == flow_folder.ARTIFACT:
                    show_artifact(entry["artifact"], entry["content"], logger.info)
                elif entry["kind"] == flow_folder.ENDED:
                    self.ran.add(name)
                    return _ended(entry)
            if over:
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if self._folder.has_begun(name) or process.poll():
            return Failed(message=f"dvc repro ended with status {process.wait()}")
        return cached

    def _running(self) -> subprocess.Popen[bytes]:
        """DVC's process: the one that is running, or a new one where the last one ended with an error."""
        if self._process is None:
            self._stack.enter_context(reproducing())
        elif self._process.poll() in (None, 0):
            return self._process
        self._process = programs.start([*DVC, "--wait-for-lock", "repro"], extra=self._extra)
        self._stack.callback(programs.stop, self._process)
        return self._process

    def _needing(self, name: str) -> set[str]:
        """Stages that need the results of this one: when one of them has begun, this one is done or was up to
        date.
        """
        found: set[str] = set()
        waiting = [self._definitions[name]]
        while waiting:
            maker = waiting.pop()
            new = [
                user
                for user in self._definitions.values()
                if user.name not in found and user.name != name and feeds(maker, user)
            ]
            found |= {user.name for user in new}
            waiting += new
        return found


def _ended(entry: Mapping[str, Any]) -> State[Any]:
    how, reason = entry["how"], entry.get("reason", "")
    if how == flow_folder.WELL:
        return Completed()
    if how == flow_folder.SERVICE_AWAY:
        return Failed(message=reason, data=ServiceAway(reason))
    return Failed(name=BAD_INPUT if how == flow_folder.BAD_INPUT else None, message=reason)


def _open_store_and_ask_dvc() -> tuple[Store, set[str]]:
    """MLflow's store, and the stages that are out of date. To import MLflow takes as long as DVC's process
    does: they run beside each other.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        asked = pool.submit(out_of_date)
        return Store(), asked.result()


@contextmanager
def reproduction() -> Iterator[Reproduction]:
    """Reproduce the pipeline within a flow, under one parent run in MLflow.

    Raises:
        UserError: the parameters, dvc.yaml or a service are at fault, or a stage of the pipeline started
            this.
        StageFailed: a stage, or DVC itself, ended with an error.
    """
    prepare_environment()
    refuse_nested()
    params = load_params()
    context = FlowRunContext.get()
    assert context is not None and context.flow_run is not None, "the flow engine sets it"
    flow_run = str(context.flow_run.id)
    with ExitStack() as stack:
        folder = FlowFolder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        folder.name_flow_run(flow_run)
        extra = {flow_folder.VARIABLE: str(folder.path)}
        store, stale = _open_store_and_ask_dvc()
        reproduce = Reproduction(params, stale, folder, extra, stack)
        stack.enter_context(lend(store, folder))
        parent = create_parent(store, "prefect flow", {FLOW_RUN_TAG: flow_run})
        extra[PARENT_VARIABLE] = parent
        logger = get_run_logger()
        show_mlflow_run(store.experiment, parent, "This run's figures and pictures in MLflow", logger.info)
        status = "KILLED"
        try:
            yield reproduce
            reproduce.the_rest()
            status = "FINISHED"
        except StageFailed:
            reproduce.let_end()
            status = "FAILED"
            raise
        finally:
            # Whether MLflow takes the record says nothing about the stages.
            wait = params.running.wait_for_services if status == "FINISHED" else SECONDS_WHEN_STOPPED
            close_parent(store, parent, status, wait=wait, tags=stage_tags(parent, reproduce.stages))
            logger.info("MLflow run %s", parent)

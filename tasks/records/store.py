"""The MLflow record: one parent run a pipeline run, one child run a stage.

Everything goes through MLflow's client with explicit run ids, because what MLflow reads from the environment
wins over what a caller says (mlflow#15713). The parent's id is handed to a stage in `SSVH_PARENT_RUN_ID`;
without it, as under a `dvc repro` typed by hand, the stages of one process share a parent through a small
file (see `tasks/records/parents.py`).
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from tasks import paths
from tasks.machine.errors import ServiceAway
from tasks.machine.processes import Started
from tasks.machine.services import say, without_passwords
from tasks.records.databases import make_mlflow_database
from tasks.records.journal import Entry, send, send_left_behind
from tasks.records.owners import Owner, note_closed, note_opened, note_opening, open_owned
from tasks.records.tags import GIT_COMMIT_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

EXPERIMENT = "autossvh"
# So that MLflow's page opens as for the training of models, with a word on what is there.
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Hashers for videos: a run for each `make run`, with one for every stage below it; ablations, studies of "
    "tuning and transfers beside them.",
}
PARENT_VARIABLE = "SSVH_PARENT_RUN_ID"
MOST_PARAMETERS_AT_ONCE = 100


def tracking_uri() -> str:
    """Where MLflow keeps its records: `MLFLOW_TRACKING_URI`, or an SQLite file in the project's folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.MLFLOW_STORE.resolve()}"


def git_commit() -> str:
    """The commit that is checked out, with "-dirty" if files differ from it; "" outside a repository."""
    try:
        ask = {"capture_output": True, "text": True, "check": True, "timeout": 10}
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **ask).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **ask).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}-dirty" if changed else commit


def make_tables() -> None:
    """Make MLflow's tables, if its records are to be in a file that does not have them yet.

    Raises:
        ServiceAway: the file can't be written.
    """
    uri = tracking_uri()
    with reported(uri):
        make_mlflow_database(uri, say)


class Store:
    """MLflow's client for the project's experiment.

    Raises:
        ServiceAway: the store can't be reached.
    """

    def __init__(self) -> None:
        self.uri = tracking_uri()
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        make_tables()
        with reported(self.uri):
            from mlflow import MlflowClient

            # It tells of "Creating initial database tables", and shows a traceback of every error that it
            # raises, too.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            self.client = MlflowClient(tracking_uri=self.uri)
            self.experiment = self._experiment()
        self._monitors: dict[str, Any] = {}

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        if (found := self.client.get_experiment_by_name(name)) is not None:
            for tag, value in EXPERIMENT_TAGS.items():
                if tag not in found.tags:
                    self.client.set_experiment_tag(found.experiment_id, tag, value)
            return str(found.experiment_id)
        embedded = self.uri.startswith("sqlite:")
        location = paths.MLFLOW_ARTIFACTS.resolve().as_uri() if embedded else None
        return str(
            self.client.create_experiment(name, artifact_location=location, tags=dict(EXPERIMENT_TAGS))
        )

    def send_left_behind(self) -> bool:
        """Send what earlier processes could not; False if MLflow does not take it now either."""
        return send_left_behind(self.client, self.uri, say)

    def create_run(
        self, name: str, *, parent: str | None, tags: Mapping[str, str], process: Started | None = None
    ) -> str:
        """Start a run and return its id.

        Args:
            name: of the run.
            parent: id of the run that it belongs to.
            tags: to begin with.
            process: that it lives with, so that it is closed should that be killed; None for this one.
        """
        return open_owned(
            process or Started.this(),
            lambda owner: self.make_run(name, parent=parent, tags={**tags, **owner}),
        )

    def make_run(self, name: str, *, parent: str | None, tags: Mapping[str, str]) -> str:
        """Start a run that lives with the process that its tags name, and return its id."""
        all_tags = {**tags, "mlflow.runName": name}
        if parent is not None:
            all_tags["mlflow.parentRunId"] = parent
        with reported(self.uri):
            return str(self.client.create_run(self.experiment, tags=all_tags, run_name=name).info.run_id)

    def find_or_open(
        self,
        known: str | None,
        name: str,
        *,
        parent: str | None,
        tags: Mapping[str, str],
        parameters: Mapping[str, Any],
    ) -> str:
        """The run that is known, open again; where none is, or it was deleted, a new one. Either lives with
        this process from now on.

        Args:
            known: its id.
            name, parent, tags: of a new one.
            parameters: flat, logged once.
        """
        if known is None or self.status_of(known) is None:
            known = self.create_run(name, parent=parent, tags={**tags, GIT_COMMIT_TAG: git_commit()})
            self.log_parameters(known, parameters)
        self.reopen(known)
        return known

    def reopen(self, run: str) -> None:
        """Open a run again, which from now on lives with this process, too."""
        note_opening()
        note_opened(run)
        self.tag(run, Owner.of(Started.this()).tag())
        self.set_status(run, "RUNNING")

    def running(self) -> list[Run]:
        """All runs of the experiment that have not ended."""
        found: list[Run] = []
        token = None
        with reported(self.uri):
            while True:
                page = self.client.search_runs(
                    [self.experiment], "attributes.status = 'RUNNING'", page_token=token
                )
                found += page
                if not (token := page.token):
                    return found

    def status_of(self, run: str) -> str | None:
        """RUNNING, FINISHED, FAILED, KILLED, ...; None if there is no such run."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_run(run).info.status)
        except MlflowException:
            return None

    def children(self, parent: str) -> list[Run]:
        """The runs of the stages that ran under a parent run."""
        query = f"tags.`mlflow.parentRunId` = '{parent}'"
        return list(self.client.search_runs([self.experiment], query, max_results=1000))

    def set_status(self, run: str, status: str) -> None:
        """End a run, or (RUNNING) open it again."""
        with reported(self.uri):
            if status == "RUNNING":
                self.client.update_run(run, status="RUNNING")
            else:
                self.client.set_terminated(run, status)
                note_closed(run)

    def log_parameters(self, run: str, parameters: Mapping[str, Any]) -> None:
        """Log flat parameters, once a run (mlflow#7152)."""
        from mlflow.entities import Param

        entries = [Param(name, str(value)) for name, value in parameters.items()]
        with reported(self.uri):
            for start in range(0, len(entries), MOST_PARAMETERS_AT_ONCE):
                self.client.log_batch(run, params=entries[start : start + MOST_PARAMETERS_AT_ONCE])

    def log_metrics(self, run: str, metrics: Mapping[str, float]) -> None:
        """Log named numbers that have no step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with reported(self.uri):
            self.client.log_batch(
                run, metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()]
            )

    def log_input(self, run: str, data_set: Mapping[str, str], context: str) -> None:
        """Log a data set that a run used or made.

        Args:
            run: which.
            data_set: what `mlflow.entities.Dataset` is made of.
            context: "input" or "output".
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        logged = DatasetInput(Dataset(**data_set), [InputTag("mlflow.data.context", context)])
        with reported(self.uri):
            self.client.log_inputs(run, [logged])

    def log_artifact(self, run: str, path: str, folder: str | None) -> None:
        """Copy a file, or everything in a folder, to a run's artifacts, there to `folder`."""
        with reported(self.uri):
            if os.path.isdir(path):
                self.client.log_artifacts(run, path, folder)
            else:
                self.client.log_artifact(run, path, folder)

    def send(self, batch: Sequence[Entry]) -> str | None:
        """Send entries of a journal; why it failed, in a line, or None (`tasks.records.journal.send`)."""
        return send(self.client, self.uri, batch, say)

    def measure_system(self, run: str) -> dict[str, float]:
        """What MLflow's system monitors measure now, by name; counters begin with a run's first call."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        if run not in self._monitors:
            logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
            self._monitors[run] = SystemMetricsMonitor(run, tracking_uri=self.uri)
        monitor = self._monitors[run]
        monitor.collect_metrics()
        measured: dict[str, float] = monitor.aggregate_metrics()
        for one in monitor.monitors:
            one.clear_metrics()
        return measured

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        with reported(self.uri):
            for name, value in tags.items():
                self.client.set_tag(run, name, value)


@contextmanager
def reported(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises into one line that says where the records should have gone."""
    try:
        yield
    except (UserError, ImportError):
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        line = f"MLflow at {uri} can't be written: {first[0]}"
        raise ServiceAway(
            f"{without_passwords(line)}; the work done so far is kept, and the next run goes on from there"
        ) from error

"""A run of MLflow, as the work that it records sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tasks.machine.services import say
from tasks.records.journal import Entry, Journal
from tasks.records.owners import note_closed

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS_WHEN_STOPPED = 3.0  # that the end of a run waits for MLflow, unless it is told to wait longer


class RunStore(Protocol):
    """What a run needs of a store: it is a `Store` (`tasks/records/store.py`), or the one
    that a flow lends (`tasks/records/lent_store.py`).

    Attributes:
        uri: where MLflow keeps its records.
        experiment: id of the project's.
    """

    uri: str
    experiment: str

    @property
    def client(self) -> MlflowClient:
        """MLflow's own, for what `Store` has not."""

    def status_of(self, run: str) -> str | None:
        """As `Store.status_of`."""

    def set_status(self, run: str, status: str) -> None:
        """As `Store.set_status`."""

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """As `Store.tag`."""

    def log_parameters(self, run: str, parameters: Mapping[str, Any]) -> None:
        """As `Store.log_parameters`."""

    def log_input(self, run: str, data_set: Mapping[str, str], context: str) -> None:
        """As `Store.log_input`."""

    def log_artifact(self, run: str, path: str, folder: str | None) -> None:
        """As `Store.log_artifact`."""

    def measure_system(self, run: str) -> dict[str, float]:
        """As `Store.measure_system`."""

    def send(self, batch: Sequence[Entry]) -> str | None:
        """As `Store.send`."""


@dataclass
class StageRun:
    """The child run of one stage, as the stage's task sees it.

    Metrics, tags and the status go through a journal (`tasks/records/journal.py`): if MLflow can't be
    reached, they wait there and the work goes on.

    Attributes:
        store: where the record is.
        id: of the run.
        parent: id of the pipeline's run.
    """

    store: RunStore
    id: str
    parent: str

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self.store.send, self.store.uri, self.id, say)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log flat parameters, once."""
        self.store.log_parameters(self.id, parameters)

    def log_result(self, metrics: Mapping[str, float]) -> None:
        """Log what came out of the pipeline: to this run, and to the parent, so that whole pipeline runs can
        be compared.
        """
        self.log_metrics(metrics)
        self._journal.metrics(self.parent, metrics, step=0)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Log named numbers at a step, such as an epoch."""
        self._journal.metrics(self.id, metrics, step)

    def log_input(
        self, name: str, *, source: Path, digest: str, context: str, profile: Mapping[str, Any]
    ) -> None:
        """Log a data set that the stage used or made.

        Args:
            name: such as "features".
            source: the file.
            digest: of its content.
            context: "input" or "output".
            profile: numbers that describe it, such as videos a split.
        """
        data_set = {
            "name": name,
            "digest": digest[:36],
            "source_type": "local",
            "source": json.dumps({"uri": str(source)}),
            "profile": json.dumps(dict(profile)),
        }
        self.store.log_input(self.id, data_set, context)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or everything in a folder, to the run's artifacts."""
        self.store.log_artifact(self.id, str(path), folder)

    def tag(self, **tags: str) -> None:
        """Set tags on this run."""
        self._journal.tags(self.id, tags)

    def tag_parent(self, **tags: str) -> None:
        """Set tags on the parent."""
        self._journal.tags(self.parent, tags)

    def tag_both(self, **tags: str) -> None:
        """Set tags on this run and its parent."""
        for run in {self.id, self.parent}:
            self._journal.tags(run, tags)

    def close(
        self,
        status: str,
        *,
        wait: float = SECONDS_WHEN_STOPPED,
        with_parent: bool = False,
        final: bool = False,
    ) -> bool:
        """Send what waits and end the run as FINISHED, FAILED or KILLED.

        Args:
            status: of the run.
            wait: seconds to wait for an MLflow that is away. What it has not taken then stays in the journal,
                which is said.
            with_parent: give the parent run the same status.
            final: whatever status the run has meanwhile; otherwise one that has ended stays as it is.

        Returns:
            Whether MLflow has taken everything.
        """
        runs = {self.id, *([self.parent] if with_parent else ())}
        for run in runs:
            self._journal.status(run, status, final=final and run == self.id)
        sent = self._journal.close(wait)
        if sent:
            for run in runs:
                note_closed(run)
        else:
            say(
                f"MLflow at {self.store.uri} is still away: part of the record of run {self.id} waits in {self._journal.path}; "
                "the next run sends it, or ssvh send-records"
            )
        del self._journal
        return sent

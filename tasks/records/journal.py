"""What MLflow is to be told: a file that outlives outages and kills, and a thread that sends what stands
there.

Training neither waits for MLflow nor loses what it measured. An entry is in the file before it is sent; the
file goes when all of it has arrived. One that a killed process or a long outage left behind is sent by the
next process that opens the store (`tasks.records.store.Store`), before it does anything else there. A
journal's first line names the store that it is for, and it is sent to no other one. Sending twice does no
harm: MLflow keeps one of two metrics that agree in name, step, time and value.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

from ssvh_model.files import check_regular
from ssvh_model.locks import lock_file
from ssvh_model.texts import printable
from tasks import paths
from tasks.machine.services import answers
from tasks.records.journal_entry import is_entry

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS_BETWEEN_WRITES = 5.0
SECONDS_BETWEEN_TRIES = 2.0
MOST_METRICS_AT_ONCE = 1000  # MLflow's limit for one request
REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")


# One thing to tell MLflow: {"run": id} and "metrics" [[name, value, timestamp in ms, step], ...], "tags"
# {...} or "status".
Entry = dict[str, Any]

_told: set[Path] = set()  # journals for other stores that this process has said a line about


def store_name(uri: str) -> str:
    """A store's address as a journal has it: without user, password and settings; of a file in the project's
    folder, relative to that.

    So a journal goes on with a folder that is moved, or with a password that is changed.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        path, here = Path(uri.partition(":///")[2].partition("?")[0]).resolve(), Path.cwd().resolve()
        return f"sqlite:///{path.relative_to(here) if path.is_relative_to(here) else path}"
    return f"{scheme}://{parts.netloc.rpartition('@')[2].lower()}{parts.path.rstrip('/')}"


class Journal:
    """What one process has to tell of one run.

    Args:
        send: sends entries that belong together; why it failed, in a line, or None.
        uri: of the tracking store.
        run: id of the run, which names the file.
        say: takes a line about outages.
    """

    def __init__(
        self, send: Callable[[Sequence[Entry]], str | None], uri: str, run: str, say: Callable[[str], None]
    ) -> None:
        self._send_batch = send
        self._uri = uri
        self._say = say
        self.path = paths.UNSENT / f"{run}-{os.getpid()}-{time.time_ns()}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_locked(self.path)
        self._write({"store": store_name(uri)})
        self._waiting: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._until: float | None = None  # when to give up; None while the journal is open
        self._away = False
        self._thread = threading.Thread(target=self._work, name="mlflow-journal", daemon=True)
        self._thread.start()

    def metrics(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Tell a run's metrics."""
        now = int(time.time() * 1000)
        self._add(
            {"run": run, "metrics": [[name, float(value), now, step] for name, value in metrics.items()]}
        )

    def tags(self, run: str, tags: Mapping[str, str]) -> None:
        """Tell a run's tags."""
        self._add({"run": run, "tags": dict(tags)})

    def status(self, run: str, status: str, *, final: bool = False) -> None:
        """Tell how a run ended; `final` if nobody else can know better, whatever MLflow has been told
        before.
        """
        entry = {"run": run, "status": status, "end_time": int(time.time() * 1000)}
        self._add({**entry, "final": True} if final else entry)

    def _add(self, entry: Entry) -> None:
        with self._changed:
            self._waiting.append(entry)
            self._write(entry)

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            # It is sent from memory; a full disk shall end the work where the work meets it.
            self._say(f"{self.path} can't be written: {error}")

    def close(self, wait: float) -> bool:
        """Send what waits, for at most `wait` seconds; False if something is left, which stays in the
        file.
        """
        with self._changed:
            self._until = time.monotonic() + wait
            self._changed.notify()
        self._thread.join(wait + 1)
        sent = not self._waiting and not self._thread.is_alive()
        if sent:
            self.path.unlink(missing_ok=True)
        self._file.close()
        return sent

    def _work(self) -> None:
        pause = SECONDS_BETWEEN_WRITES
        while True:
            with self._changed:
                if self._until is None:
                    self._changed.wait(pause)
                ending, batch = self._until is not None, _together(self._waiting)
            if not batch:
                if ending:
                    return
                continue
            if self._send(batch):
                with self._changed:
                    for _ in batch:
                        self._waiting.popleft()
                pause = 0.0 if self._waiting else SECONDS_BETWEEN_WRITES
                continue
            pause = SECONDS_BETWEEN_TRIES
            if self._until is not None:
                left = self._until - time.monotonic()
                if left <= 0:
                    return
                time.sleep(min(SECONDS_BETWEEN_TRIES, left))

    def _send(self, batch: Sequence[Entry]) -> bool:
        problem = self._send_batch(batch)
        if problem is not None and not self._away:
            self._say(
                f"MLflow at {self._uri} takes nothing: {problem}; the work goes on, and its record waits in {self.path}"
            )
        if problem is None and self._away:
            self._say("MLflow is there again: what waited for it is sent")
        self._away = problem is not None
        return problem is None


def _together(waiting: Sequence[Entry]) -> list[Entry]:
    """The oldest entries, as many as make one request: metrics of one run, or one entry of another kind."""
    batch: list[Entry] = []
    count = 0
    for entry in waiting:
        count += len(entry.get("metrics", ()))
        if batch and (
            "metrics" not in entry or entry["run"] != batch[0]["run"] or count > MOST_METRICS_AT_ONCE
        ):
            break
        batch.append(entry)
        if "metrics" not in entry:
            break
    return batch


def send(client: MlflowClient, uri: str, batch: Sequence[Entry], say: Callable[[str], None]) -> str | None:
    """Send entries that `_together` has put together; why it failed, in a line, or None.

    What MLflow refuses for good, as for a run that was deleted, is said and counts as sent.
    """
    from mlflow.exceptions import MlflowException

    # MLflow's client would try again for minutes, and its pauses get so long that it misses the server's
    # return.
    if uri.startswith("http") and not answers(f"{uri.rstrip('/')}/health"):
        return "no answer"
    try:
        _tell(client, batch)
    except MlflowException as error:
        line = _first_line(error)
        if error.error_code not in REFUSALS:
            return line
        if len(batch) > 1:  # what one of them is refused for, the others need not suffer from
            return next(filter(None, (send(client, uri, [one], say) for one in batch)), None)
        say(f"MLflow refuses a record of run {batch[0]['run']}: {line}")
    except Exception as error:
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    # MLflow repeats what it does not take, however long that is.
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0][:300])


def _tell(client: MlflowClient, batch: Sequence[Entry]) -> None:
    from mlflow.entities import Metric, RunTag

    first = batch[0]
    if "metrics" in first:
        metrics = [Metric(*metric) for entry in batch for metric in entry["metrics"]]
        for start in range(0, len(metrics), MOST_METRICS_AT_ONCE):
            client.log_batch(first["run"], metrics=metrics[start : start + MOST_METRICS_AT_ONCE])
    elif "tags" in first:
        client.log_batch(first["run"], tags=[RunTag(*tag) for tag in first["tags"].items()])
    elif first.get("final") or client.get_run(first["run"]).info.status == "RUNNING":
        # What is sent late must not reopen the question of how the run ended.
        client.set_terminated(first["run"], first["status"], first["end_time"])


def _open_locked(path: Path) -> TextIO:
    """Open a journal for writing, for this process alone: the lock tells others that its process is alive."""
    while True:
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - stays open as long as the journal
        lock_file(file)
        # Another process may have taken the new file for one that was left behind, and removed it.
        if _still_there(path, file):
            return file
        file.close()


def _still_there(path: Path, file: TextIO) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


@contextmanager
def _left_behind(path: Path) -> Iterator[TextIO | None]:
    """A journal whose process has ended, for this process alone; None if that is alive, or another process is
    sending or has sent it.
    """
    try:
        check_regular(path)
        # To write, because some file systems give locks on nothing else.
        file = open(path, "r+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        yield None
        return
    with file:
        yield file if lock_file(file, wait=False) and _still_there(path, file) else None


def send_left_behind(client: MlflowClient, uri: str, say: Callable[[str], None]) -> bool:
    """Send what processes that have ended could not; False if MLflow does not take it now either.

    What is for another store stays, and is said once a process.
    """
    for path in sorted(paths.UNSENT.glob("*.jsonl")):
        try:
            with _left_behind(path) as file:
                problem = None if file is None else _send_file(client, uri, path, file, say)
        except OSError as error:
            _say_once(path, f"{path} can't be read and stays: {error.strerror or error}", say)
            continue
        if problem is not None:
            say(f"MLflow at {uri} takes nothing: {problem}; {path} waits for it")
            return False
    return True


def _send_file(
    client: MlflowClient, uri: str, path: Path, file: TextIO, say: Callable[[str], None]
) -> str | None:
    """Send a journal, if it is for this store, and remove it; why it failed, in a line, or None."""
    store, entries = _read(file)
    waiting = deque(entries)
    if store is not None and store != store_name(uri):
        _say_once(path, f"{path} waits for another MLflow, {store}; `ssvh send-records` says so, too", say)
        return None
    if store is None and entries:
        # Journals did not always name their store.
        known, problem = _knows(client, uri, entries[0]["run"])
        if problem is not None:
            return problem
        if not known:
            _say_once(
                path, f"{path} stays: the MLflow at {uri} does not know its run, and it names no other", say
            )
            return None
    while batch := _together(waiting):
        if (problem := send(client, uri, batch, say)) is not None:
            return problem
        for _ in batch:
            waiting.popleft()
    path.unlink(missing_ok=True)
    if entries:
        run = path.stem.partition("-")[0]
        say(f"sent {len(entries)} records of run {run} that MLflow could not take before")
    return None


def _knows(client: MlflowClient, uri: str, run: str) -> tuple[bool, str | None]:
    """Whether a store has a run; else why it can't be told."""
    from mlflow.exceptions import MlflowException

    if uri.startswith("http") and not answers(f"{uri.rstrip('/')}/health"):
        return False, "no answer"
    try:
        client.get_run(run)
    except MlflowException as error:
        if error.error_code in REFUSALS:
            return False, None
        return False, _first_line(error)
    return True, None


def _say_once(path: Path, line: str, say: Callable[[str], None]) -> None:
    # The stages of a pipeline are processes of their own: whoever started them has said it.
    if path not in _told and "DVC_STAGE" not in os.environ:
        _told.add(path)
        say(line)


def waiting_for() -> list[str]:
    """What waits, in words: a line a store, and one for the journals of processes that are alive."""
    counts: dict[str, int] = {}
    for path in sorted(paths.UNSENT.glob("*.jsonl")):
        where = "of runs that go on"
        try:
            with _left_behind(path) as file:
                if file is not None:
                    store, _ = _read(file)
                    where = f"for MLflow at {store}" if store else "for an MLflow that they don't name"
        except OSError:
            where = "that can't be read"
        counts[where] = counts.get(where, 0) + 1
    return [f"{count} {'file' if count == 1 else 'files'} {where}" for where, count in counts.items()]


def _read(file: TextIO) -> tuple[str | None, list[Entry]]:
    """The store that a journal is for, None if it does not say, and its entries; without what was cut off by
    a kill or a full disk.
    """
    store, entries = None, []
    for text in file.read().split("\n"):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if is_entry(line):
            entries.append(line)
        elif isinstance(line, dict) and isinstance(line.get("store"), str):
            store = line["store"]
    return store, entries

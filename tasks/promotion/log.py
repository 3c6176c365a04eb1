"""The promotion log: what was decided about the champion, in MLflow, where every machine sees it; and whose
turn it is.

Aliases keep no history (mlflow#2169) and MLflow has no compare-and-set. What it has is that versions of a
registered model are numbered 1, 2, 3, ... without gaps and never twice, because the number is part of a
primary key. So the log is a registered model of its own, `<model>-promotions`, and an entry is a version of
it: taking a number is how a promotion begins. Whoever finds an earlier entry open does not get the turn. An
entry is closed with what was decided; one whose process was killed is settled by the next that comes.

An entry points to the version that it is about, and its description says in words what its tags say in JSON.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tasks.machine.processes import Started
from tasks.records.tags import MOST_CHARACTERS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

STATE, HOLDER, RECORD = "ssvh.state", "ssvh.holder", "ssvh.record"
OPEN, CLOSED = "open", "closed"

# Without a sign of life for so long, an entry is taken for dead; one of this machine as soon as its process
# has ended. MLflow's client tries a request again for up to 4 minutes: a request of a living holder must not
# arrive after its turn was given away.
LEASE_SECONDS = 600.0
SECONDS_BETWEEN_SIGNS = 30.0

MOST_ENTRIES_AT_ONCE = 200
MOVES = ("promoted", "rolled back")


@dataclass(frozen=True)
class Holder:
    """The process that works on an entry."""

    token: str
    host: str
    pid: int
    started: float

    @classmethod
    def this(cls) -> Holder:
        """This process, with a token for one entry."""
        me = Started.this()
        return cls(uuid.uuid4().hex, me.host, me.pid, me.started)


@dataclass(frozen=True)
class Entry:
    """One entry of the log.

    Attributes:
        number: from 1.
        open: whether it is still being worked on.
        holder: by whom.
        record: what was decided: `outcome`, `version`, `before`, `reason`, `by`, ...
        created, seen: by the server's clock, seconds: when it began, and the last sign of life.
    """

    number: int
    open: bool
    holder: Holder
    record: dict[str, Any]
    created: float
    seen: float

    def gone(self, now: float) -> bool:
        """Whether its process has ended, as far as it can be known from here; `now` by the server's clock."""
        ended = not Started(self.holder.pid, self.holder.started, self.holder.host).alive()
        return ended or now - self.seen > LEASE_SECONDS


class PromotionLog:
    """The log of one registered model.

    Args:
        client: MLflow's.
        model: registered name.
    """

    def __init__(self, client: MlflowClient, model: str) -> None:
        self._client = client
        self.model = model
        self.name = f"{model}-promotions"

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_model_versions(
                f"name = '{self.name}'", max_results=MOST_ENTRIES_AT_ONCE, page_token=token
            )
            found += page
            if not (token := page.token):
                break
        return sorted((_entry(version) for version in found), key=lambda entry: entry.number)

    def begin(self, version: str, record: dict[str, Any]) -> Entry:
        """Take a number.

        Args:
            version: of the model, that the entry is about.
            record: what is known at the beginning.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._create()
        holder = Holder.this()
        tags = {STATE: OPEN, HOLDER: json.dumps(asdict(holder)), RECORD: json.dumps(record)}
        self._client.create_model_version(
            self.name, f"models:/{self.model}/{version}", tags=tags, await_creation_for=0
        )
        # A request whose answer was lost is sent again: then there are two with this token, and the first one
        # counts.
        own, *again = [entry for entry in self.entries() if entry.holder.token == holder.token]
        for entry in again:
            self.close(entry, {**record, "outcome": "void", "reason": f"the same as number {own.number}"})
        return own

    def _create(self) -> None:
        from mlflow.exceptions import MlflowException

        description = (
            f"The promotion log of {self.model}: one version an entry, with what was decided, the figures, the reason and who did it. "
            f"Written by `ssvh promote` and `ssvh rollback`; the champion itself is the alias of {self.model}."
        )
        try:
            self._client.create_registered_model(self.name, description=description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def note(self, entry: Entry, record: dict[str, Any]) -> None:
        """Write an entry's record, in one piece."""
        self._client.set_model_version_tag(self.name, str(entry.number), RECORD, json.dumps(record))

    def close(self, entry: Entry, record: dict[str, Any]) -> None:
        """Write the last word."""
        self.note(entry, record)
        self._client.update_model_version(self.name, str(entry.number), description(record))
        self._client.set_model_version_tag(self.name, str(entry.number), STATE, CLOSED)

    def show_life(self, entry: Entry) -> None:
        """Tell others that an entry is being worked on: MLflow notes the time."""
        self._client.update_model_version(self.name, str(entry.number), "going on")

    @contextmanager
    def kept_alive(self, entry: Entry) -> Iterator[None]:
        """Show life from time to time while the block goes on."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(SECONDS_BETWEEN_SIGNS):
                try:
                    self.show_life(entry)
                except Exception:
                    continue  # the server is away; the block itself will meet it, and says so

        thread = threading.Thread(target=work, name="promotion-life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5)


def _entry(version: ModelVersion) -> Entry:
    return Entry(
        number=int(version.version),
        open=version.tags.get(STATE) == OPEN,
        holder=Holder(**json.loads(version.tags[HOLDER])),
        record=json.loads(version.tags[RECORD]),
        created=(version.creation_timestamp or 0) / 1000,
        seen=(version.last_updated_timestamp or 0) / 1000,
    )


def champions(entries: list[Entry]) -> list[str]:
    """The versions that led to the present champion, which is the last one; a rollback takes away what it
    left.
    """
    path: list[str] = []
    for entry in entries:
        record = entry.record
        if entry.open or record.get("outcome") not in MOVES:
            continue
        if record.get("before") and record["before"] != (path[-1] if path else None):
            path.append(record["before"])  # moved by hand, past the log
        if record["outcome"] == "rolled back" and record["version"] in path:
            del path[path.index(record["version"]) + 1 :]
        else:
            path.append(record["version"])
    return path


def description(record: dict[str, Any]) -> str:
    """An entry in words, Markdown."""
    lines = [f"**{headline(record)}**", "", str(record.get("reason", "")), ""]
    if record.get("checks"):
        lines += ["| condition | | found | wanted |", "|---|---|---|---|"]
        states = {True: "passed", False: "failed", None: "not measured"}
        lines += [
            f"| {check['name']} | {states[check['passed']]} | {check['found']} | {check['wanted']} |"
            for check in record["checks"]
        ]
        lines.append("")
    facts = {"by": "by", "corpus": "corpus", "query": "queries", "database": "database", "commit": "commit"}
    lines += [f"- {name}: {record[key]}" for key, name in facts.items() if record.get(key)]
    return "\n".join(lines)[:MOST_CHARACTERS]


def headline(record: dict[str, Any]) -> str:
    """What an entry comes to, in a few words."""
    version, before, outcome = record["version"], record.get("before"), record.get("outcome", "")
    if outcome == "promoted":
        return f"version {version} promoted" + (
            f" over version {before}" if before else ", the first champion"
        )
    if outcome == "rolled back":
        return f"rolled back from version {before} to version {version}"
    if outcome == "kept":
        return f"version {version} not promoted" + (f", version {before} stays" if before else "")
    return {
        "refused": f"version {version} not judged",
        "unchanged": f"version {version} stays the champion",
        "failed": f"version {version} not judged, after an error",
        "abandoned": f"version {version} not promoted: it was killed",
    }.get(outcome, f"version {version}: {outcome or 'going on'}")


def interval(record: dict[str, Any]) -> str:
    """The difference in GMAP with its interval: "+0.0123 [+0.0045, +0.0201] at 95%"; "-" where there is
    none.
    """
    if not (found := record.get("difference")):
        return "-"
    return (
        f"{found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}] at {found['confidence']:.0%}"
    )

"""Which processes an MLflow run lives with, as tags of the run: so that a run is closed once all of them are
gone.

The tags are set in the very request that makes the run. A kill at any moment leaves a run that names its
process, or no run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ssvh_model.files import atomic_path
from tasks import paths
from tasks.machine.processes import Started, this_host

PROCESS = "ssvh.process"  # then a dot, and what tells the processes of one run apart
# A file a process that has open runs, so that it takes no MLflow to see that there may be something to close.
NOTES = paths.WORK / "open-runs"

_open: set[str] = set()  # runs that this process has to close


@dataclass(frozen=True)
class Owner:
    """A process that a run lives with.

    Attributes:
        process: which.
        folder: of its project, where what MLflow could not take waits.
    """

    process: Started
    folder: str

    @classmethod
    def of(cls, process: Started) -> Owner:
        """A process of this project."""
        return cls(process, str(Path.cwd()))

    @property
    def name(self) -> str:
        """Of the tag: a process that gets the number of an earlier one takes its place."""
        return f"{PROCESS}.{self.process.pid}-{_short(self.process.host)}"

    def tag(self) -> dict[str, str]:
        """For a run."""
        return {self.name: json.dumps({**asdict(self.process), "folder": self.folder})}

    def lives(self) -> bool:
        """Whether it runs, or has left records behind that MLflow has not been told, its run's end perhaps
        among them.
        """
        if self.process.alive():
            return True
        folder = Path(self.folder)
        here = self.process.host == this_host() and folder != Path.cwd()
        return here and any((folder / paths.UNSENT).glob("*.jsonl"))


def owners(tags: Mapping[str, str]) -> list[Owner]:
    """The processes that a run lives with, from its tags."""
    found = []
    for name, value in tags.items():
        if not name.startswith(f"{PROCESS}."):
            continue
        try:
            noted = json.loads(value)
            process = Started(int(noted["pid"]), float(noted["started"]), str(noted["host"]))
            found.append(Owner(process, str(noted["folder"])))
        except (ValueError, TypeError, KeyError):  # changed by hand
            continue
    return found


def note_opening() -> None:
    """Note that this process is about to have an open run."""
    if not _open:
        this = Started.this()
        with atomic_path(_note(this)) as temporary:
            temporary.write_text(json.dumps(asdict(this)))


def note_opened(run: str) -> None:
    """Note that this process has to close a run."""
    _open.add(run)


def open_owned(process: Started, make: Callable[[dict[str, str]], str]) -> str:
    """Start a run that lives with a process, and that this one has to close; its id.

    Args:
        process: that it lives with.
        make: starts the run with the process's tag.
    """
    note_opening()
    run = make(Owner.of(process).tag())
    note_opened(run)
    return run


def note_closed(run: str) -> None:
    """Note that a run is closed."""
    _open.discard(run)
    if not _open:
        _note(Started.this()).unlink(missing_ok=True)


def left_open() -> list[Path]:
    """The notes of processes that are gone, and may have left runs open. It takes no MLflow to ask."""
    return [note for note in NOTES.glob("*.json") if not _alive(note)]


def _alive(note: Path) -> bool:
    try:
        return Started(**json.loads(note.read_text())).alive()
    except FileNotFoundError:
        return True  # another process has just seen to it
    except (ValueError, TypeError, OSError):
        return False


def _note(process: Started) -> Path:
    return NOTES / f"{process.pid}-{_short(process.host)}.json"


def _short(host: str) -> str:
    return hashlib.sha256(host.encode()).hexdigest()[:8]

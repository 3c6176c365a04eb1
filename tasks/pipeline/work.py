"""Work in progress that outlives a killed run.

DVC deletes a stage's outputs before it runs the stage again. What a stage has done so far is therefore kept
elsewhere, in `.work/<stage>/<key>/`, where the key is a digest of everything that the result depends on: the
same inputs find the same folder again, other inputs a new one. Finished files are published from there to the
declared outputs; the folder stays until DVC has them in its lock file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ssvh_model.files import TEMPORARY, atomic_path
from ssvh_model.locks import hold_lock, lock_file
from ssvh_model.remote_folder import RemoteFolder
from tasks import paths
from tasks.params.keys import look_up
from tasks.pipeline.definition import Definition, Lock

PUBLISHED = "published.json"
IN_USE = paths.WORK / "in-use.lock"

_used: dict[Path, TextIO] = {}  # by project's folder; closed, and so unlocked, when the process ends


@dataclass(frozen=True)
class Work:
    """The work folder of one stage and one set of inputs.

    Attributes:
        folder: for whatever the stage wants to find again after it was killed.
    """

    folder: Path

    def publish(self, outputs: Mapping[Path, Path]) -> None:
        """Put finished files and folders (values) to where dvc.yaml declares them (keys), replacing what is
        there.

        They are linked, not copied, where the file system can: do not change a file after it was published.
        """
        for output, finished in outputs.items():
            output.parent.mkdir(parents=True, exist_ok=True)
            # Not beside the output: that folder may be an input of a later stage.
            temporary = self.folder / "publishing"
            _remove(temporary)
            if finished.is_dir():
                # DVC would take what a killed process left half written for a part of the result.
                left = shutil.ignore_patterns(TEMPORARY)
                shutil.copytree(finished, temporary, copy_function=link_or_copy, ignore=left)
            else:
                link_or_copy(finished, temporary)
            _remove(output)
            os.replace(temporary, output)

    def remove_leftovers(self) -> None:
        """Remove what killed processes left half written; for the one that holds the stage's lock.

        Where processes share work (a folder `locks` beside it), each removes its own.
        """
        for path in sorted(self.folder.rglob(TEMPORARY)):
            if not any((folder / "locks").is_dir() for folder in path.parents[:2]):
                shutil.rmtree(path, ignore_errors=True)

    def note_published(self, run_record: Path) -> None:
        """Note that all outputs stand there, `run_record` among them. Its digest tells later whether DVC has
        taken them.
        """
        digest = hashlib.md5(run_record.read_bytes(), usedforsecurity=False).hexdigest()
        with atomic_path(self.folder / PUBLISHED) as temporary:
            temporary.write_text(json.dumps({"output": str(run_record), "md5": digest}))
        for other in self.folder.parent.iterdir():
            if other.is_dir() and other != self.folder:
                shutil.rmtree(other, ignore_errors=True)


def open_work(definition: Definition, values: dict[str, Any]) -> Work:
    """The work folder of a stage for the present inputs, made if needed.

    Args:
        definition: of the stage.
        values: the content of params.yaml.
    """
    folder = paths.WORK / definition.name.replace("@", "-") / work_key(definition, values)
    folder.mkdir(parents=True, exist_ok=True)
    return Work(folder)


def work_key(definition: Definition, values: dict[str, Any]) -> str:
    """16 hex digits that change with the stage's parameters, its inputs and the code that it depends on.

    What earlier stages made is told by its digest in dvc.lock, which DVC has just written. Everything else,
    such as source code or a folder of videos, by the names, sizes and, for small files, contents of its
    files; a bucket by its listing.

    Raises:
        UserError, StorageAway: a folder elsewhere can't be listed.
    """
    lock = Lock.read()
    inputs: dict[str, Any] = {
        str(path): lock.digests_under(path) or _fingerprint(path) for path in definition.inputs
    }
    inputs |= {address: dict(RemoteFolder(address.rstrip("/")).stamps) for address in definition.addresses}
    parameters = {key: look_up(values, key) for key in definition.parameters}
    text = json.dumps([definition.name, parameters, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def remove_committed_work() -> None:
    """Remove the work folders whose results DVC has in its lock file by now."""
    if not paths.WORK.is_dir():
        return
    committed = {str(path): digest for path, digest in Lock.read().outputs().items()}
    for note in paths.WORK.glob(f"*/*/{PUBLISHED}"):
        published = json.loads(note.read_text())
        if committed.get(published["output"]) == published["md5"]:
            shutil.rmtree(note.parent, ignore_errors=True)


def use_work() -> None:
    """Keep `ssvh clean` from removing anything until this process ends, however it ends; waits if it is
    removing something just now.

    For whatever reads or writes in the work folder, for others' processes may do the same.
    """
    here = Path.cwd()
    paths.WORK.mkdir(exist_ok=True)
    if here in _used:
        return
    file = open(IN_USE, "a")  # noqa: SIM115 - stays open as long as the process
    lock_file(file, shared=True)
    _used[here] = file


@contextlib.contextmanager
def only_one(stage: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a stage; if another process holds it, say so and wait."""

    def waiting(holder: str) -> None:
        say(f"stage {stage} is being run by process {holder} already; waiting until it ends")

    with hold_work_lock(stage.replace("@", "-"), waiting):
        yield


@contextlib.contextmanager
def hold_work_lock(name: str, waiting: Callable[[str], None] = lambda holder: None) -> Iterator[None]:
    """Hold a lock in the work folder, which nobody cleans meanwhile; `waiting` as for `hold_lock`."""
    use_work()
    with hold_lock(paths.WORK / f"{name}.lock", waiting):
        yield


def _fingerprint(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file): _fingerprint_of_file(file) for file in files if "__pycache__" not in file.parts}


def _fingerprint_of_file(file: Path) -> str:
    status = file.stat()
    if status.st_size <= 1 << 20:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{status.st_size} bytes, changed {status.st_mtime_ns}"


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make `target` the same file as `source` where the file system can, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

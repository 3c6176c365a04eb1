"""DVC's own files after a kill.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place: a kill can cut them off, and DVC then refuses them until
somebody mends them. It also takes any process that has the number of a killed one for its owner.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ssvh_model.files import atomic_path
from tasks import paths
from tasks.machine.processes import is_dvc

KEPT_LOCK = paths.WORK / "dvc.lock"
CUT_OFF_LOCK = paths.WORK / "dvc.lock.cut-off"
HELD_FILES = Path(".dvc/tmp/rwlock")  # which process reads or writes what
SECONDS_BETWEEN_LOOKS = 0.2
LOOKS_AT_A_CUT_OFF_FILE = 10  # DVC may be writing it at this moment


def keep_lock() -> None:
    """Keep a copy of dvc.lock, at a moment when DVC has just read it."""
    if paths.LOCK.is_file():
        KEPT_LOCK.parent.mkdir(exist_ok=True)
        with atomic_path(KEPT_LOCK) as temporary:
            shutil.copyfile(paths.LOCK, temporary)


def lock_is_cut_off() -> bool:
    """True if dvc.lock does not end as DVC ends it, and there is a whole one to put back.

    What is left of one may be of a valid form, so that DVC takes it, and makes what it lacks anew.
    """
    if not paths.LOCK.is_file() or not KEPT_LOCK.is_file():
        return False
    return not paths.LOCK.read_bytes().endswith(b"\n")


def restore_lock(say: Callable[[str], None]) -> None:
    """Put the last whole dvc.lock in the place of one that was cut off, which is kept; without one, DVC makes
    it anew from its cache.
    """
    os.replace(paths.LOCK, CUT_OFF_LOCK)
    done = "there is no whole one to put back, it is made anew"
    if KEPT_LOCK.is_file():
        done = "its last whole content is put back"
        with atomic_path(paths.LOCK) as temporary:
            shutil.copyfile(KEPT_LOCK, temporary)
    say(f"{paths.LOCK} was cut off by a kill: {done}; what was found is in {CUT_OFF_LOCK}")


def await_others(say: Callable[[str], None]) -> None:
    """Wait until no DVC command holds files here, such as one that was typed by hand; drop what killed ones
    hold.

    Call it where no DVC of ours runs.
    """
    said = False
    cut_off = 0
    while HELD_FILES.is_file():
        try:
            holders = [
                entry for entry in _holders(json.loads(HELD_FILES.read_text())) if is_dvc(entry["pid"])
            ]
            cut_off = 0
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            holders, cut_off = [], cut_off + 1
        if not holders and (cut_off == 0 or cut_off > LOOKS_AT_A_CUT_OFF_FILE):
            HELD_FILES.unlink(missing_ok=True)
            return
        if holders and not said:
            said = True
            say(
                f"dvc {holders[0]['cmd']} (process {holders[0]['pid']}) is at work here; waiting until it ends"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _holders(held: Any) -> Iterator[dict[str, Any]]:
    yield from held.get("write", {}).values()
    for readers in held.get("read", {}).values():
        yield from readers

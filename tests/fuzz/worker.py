"""The process that reads inputs: told one by line on its standard input, it answers with a line of JSON each.

It is started by `process.Reader`, which ends it when an input takes too long, and notices when one has ended
it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from tests.fuzz.guard import Guard, limit_memory
from tests.fuzz.readers import READERS, prepare

LONGEST = 2000  # characters of a message that is still one line to a person
OUT_OF_MEMORY = ("Unable to allocate", "can't allocate memory", "bad_alloc", "MemoryError")


def main() -> None:
    """Read what standard input names until it ends: a kind, a tab and a folder a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log
    faulthandler.enable()
    desk = Path(sys.argv[1]).resolve()
    prepare(sys.argv[2:], desk)
    guard = Guard()
    for line in sys.stdin:
        kind, _, folder = line.rstrip("\n").partition("\t")
        os.chdir(desk)
        limit_memory()
        print(json.dumps(read(kind, Path(folder), guard, desk)), file=answers, flush=True)


def read(kind: str, folder: Path, guard: Guard, desk: Path) -> dict[str, Any]:
    """What became of one input: accepted, refused with a line, or failed. Libraries may write to `desk`."""
    began = time.perf_counter()
    outcome, text = "accepted", ""
    failure: BaseException | None = None
    files = (
        folder,
        *folder.rglob("*"),
        *(desk / "seeds" / kind).rglob("*"),
    )  # of the seeds, for one that is gone
    names = {path.name for path in files}
    with guard.watching(folder, desk) as seen:
        try:
            reason = READERS[kind](folder)
            if reason is not None:
                outcome, text = "refused", reason
        except UserError as error:
            outcome, text = "refused", str(error)
            if not any(name in text for name in names):
                outcome, text = "failed", f"names no file: {text[:300]}"
        except BaseException as error:
            outcome, failure = "failed", error
    if failure is not None:  # Python compiles lines of code to show them
        text = "".join(traceback.format_exception(failure))[-3000:]
    if outcome == "refused":
        if len(text.splitlines()) != 1 or not text.isprintable() or len(text) > LONGEST:
            outcome, text = "failed", f"not one line: {text[:300]!r} ({len(text)} characters)"
        elif any(sign in text for sign in OUT_OF_MEMORY):
            outcome, text = "failed", f"asked for too much memory: {text[:300]}"
    if seen:
        outcome, text = "failed", "; ".join(seen)[:1000]
    return {"outcome": outcome, "text": text, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()

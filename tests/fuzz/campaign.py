"""Many inputs of many kinds, one after the other, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.fuzz.inputs import Inputs, keep, kept, packed
from tests.fuzz.process import Reader


@dataclass(frozen=True)
class Failure:
    """An input that failed.

    Attributes:
        kind, seed, number: which it is; the number of a kept one is -1.
        done: what was done to the seed, or the file of a kept one.
        text: what failed.
        kept: its place in the corpus, if it is there.
    """

    kind: str
    seed: int
    number: int
    done: str
    text: str
    kept: str

    @property
    def cause(self) -> str:
        """The same for failures that are most likely one fault: the last place in the project's code, and the
        kind of error.
        """
        lines = [line for line in self.text.splitlines() if line.strip()]
        own = [line for line in lines if "/ssvh_model/" in line or "/tasks/" in line]
        last = lines[-1] if "Traceback" in self.text else lines[0]
        return f"{own[-1] if own else ''} {last.partition(':')[0]}"

    def __str__(self) -> str:
        again = f"python -m tests.fuzz --kinds {self.kind!r} --seed {self.seed} --only {self.number}"
        return f"{self.kind}, {self.done}: {self.text}\n  again: {again if self.number >= 0 else self.kept}"


@dataclass
class Counts:
    """What became of the inputs of one kind."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list)


def fuzz(
    kind: str,
    reader: Reader,
    work: Path,
    *,
    numbers: Sequence[int],
    seed: int,
    keep_failed: bool,
    progress: Callable[[Counts], None],
) -> Counts:
    """Have the kept inputs of a kind read, then new ones.

    Args:
        kind: of inputs.
        reader: that reads them.
        work: a folder for seeds and inputs.
        numbers: of the new inputs.
        seed: of their damage.
        keep_failed: put one that fails into the corpus for each cause.
        progress: told the counts so far, after each input.
    """
    inputs, counts, began = Inputs(kind, seed, work), Counts(), time.monotonic()
    for archive in kept(kind):
        _count(
            counts,
            reader,
            kind,
            inputs.unpack(archive),
            Failure(kind, seed, -1, archive.name, "", str(archive)),
            False,
        )
    for number, (folder, done) in zip(numbers, inputs.each(numbers), strict=True):
        _count(counts, reader, kind, folder, Failure(kind, seed, number, done, "", ""), keep_failed)
        counts.seconds = time.monotonic() - began
        progress(counts)
    counts.seconds = time.monotonic() - began
    return counts


def _count(
    counts: Counts, reader: Reader, kind: str, folder: Path, which: Failure, keep_failed: bool
) -> None:
    content = packed(folder)
    answer = reader.read(kind, folder)
    counts.inputs += 1
    counts.slowest = max(counts.slowest, answer.seconds)
    if answer.outcome == "accepted":
        counts.accepted += 1
    elif answer.outcome == "refused":
        counts.refused += 1
    else:
        failure = replace(which, text=answer.text)
        if keep_failed and failure.cause not in {one.cause for one in counts.failures}:
            failure = replace(failure, kept=str(keep(kind, content) or ""))
        counts.failures.append(failure)

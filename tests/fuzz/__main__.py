"""`make fuzz`: mutated inputs of everything that is read, and a table of what became of them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.campaign import Counts, fuzz
from tests.fuzz.guard import limit_memory
from tests.fuzz.process import SECONDS, Reader
from tests.fuzz.readers import KINDS

COLUMNS = "{:<16}{:>8}{:>10}{:>9}{:>10}{:>10}{:>10}"


def main() -> int:
    """Fuzz, print, and end with 1 if anything failed."""
    arguments = _arguments()
    limit_memory()  # what makes inputs must not take the machine's either
    numbers = range(arguments.inputs) if arguments.only is None else [arguments.only]
    results: dict[str, Counts] = {}
    print(
        COLUMNS.format("kind", "inputs", "accepted", "refused", "failures", "inputs/s", "slowest"), flush=True
    )
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        work = Path(folder).resolve()
        for kind in arguments.kinds:
            # A process of its own for each kind, so that one can't disturb another.
            with Reader([kind], work / "desk" / kind.replace(" ", "-")) as reader:
                counts = fuzz(
                    kind,
                    reader,
                    work,
                    numbers=numbers,
                    seed=arguments.seed,
                    keep_failed=arguments.keep,
                    progress=_Progress(kind, len(numbers)),
                )
            results[kind] = counts
            rate = counts.inputs / max(counts.seconds, 1e-9)
            row = (
                kind,
                counts.inputs,
                counts.accepted,
                counts.refused,
                len(counts.failures),
                f"{rate:.0f}",
                f"{counts.slowest:.2f} s",
            )
            print(COLUMNS.format(*row), flush=True)
            _show(counts, arguments.show)
            if arguments.results:
                _write(Path(arguments.results), results, arguments.seed)
    return int(any(counts.failures for counts in results.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--inputs", type=int, default=200, help="new inputs a kind, beside those that once failed"
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="of all damage; the same gives the same inputs"
    )
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument("--only", type=int, help="one input by its number, as a failure prints it")
    parser.add_argument("--keep", action="store_true", help="put inputs that fail into tests/fuzz/failed")
    parser.add_argument("--show", type=int, default=5, help="causes of failures of a kind that are printed")
    parser.add_argument("--results", help="JSON file for the counts")
    return parser.parse_args()


def _show(counts: Counts, most: int) -> None:
    """One failure of each cause, the most frequent first."""
    causes = Counter(failure.cause for failure in counts.failures)
    for cause, count in causes.most_common(most):
        example = next(failure for failure in counts.failures if failure.cause == cause)
        print(f"\n{count} of {len(counts.failures)} failures: {example}", flush=True)


def _write(path: Path, results: dict[str, Counts], seed: int) -> None:
    """Add the counts to what the file says of other kinds."""
    content = json.loads(path.read_text()) if path.is_file() else {"kinds": {}}
    content["limits"] = {"processor_seconds": SECONDS, "mebibytes": 1024}
    for kind, counts in results.items():
        content["kinds"][kind] = {
            "seed": seed,
            **{
                name: value
                for name, value in asdict(counts).items()
                if name not in ("failures", "seconds", "slowest")
            },
            "failures": len(counts.failures),
            "inputs_a_second": round(counts.inputs / max(counts.seconds, 1e-9), 1),
            "slowest_seconds": round(counts.slowest, 2),
        }
    path.write_text(json.dumps(content, indent=2) + "\n")


class _Progress:
    """A line with the rate and the time left: on a terminal written over again and again, elsewhere one a
    minute.
    """

    def __init__(self, kind: str, total: int) -> None:
        self._kind, self._total, self._done, self._last = kind, total, 0, time.monotonic()

    def __call__(self, counts: Counts) -> None:
        self._done += 1
        on_terminal = sys.stderr.isatty()
        over = on_terminal and self._done == self._total
        if time.monotonic() - self._last < (0.5 if on_terminal else 60) and not over:
            return
        self._last = time.monotonic()
        rate = self._done / max(counts.seconds, 1e-9)
        left = (self._total - self._done) / rate
        line = f"{self._kind}: {self._done} of {self._total}, {rate:.0f}/s, {left:.0f} s left, {len(counts.failures)} failures"
        if on_terminal:
            print(f"\r\x1b[K{line}", end="\r\x1b[K" if over else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

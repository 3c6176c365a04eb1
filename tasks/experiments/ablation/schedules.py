"""Two other orders of the same clusters: all counts at once, and one count a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.params.sections import Round


def refreshes(rounds: Mapping[str, Round]) -> int:
    """How often a schedule clusters the training set."""
    return sum(-(-one.epochs // one.refresh_every) for one in rounds.values())


def at_once(rounds: Mapping[str, Round]) -> dict[str, Any]:
    """One round with all counts, as long as all rounds together."""
    return _schedule(rounds, [_counts(rounds)])


def in_sequence(rounds: Mapping[str, Round]) -> dict[str, Any]:
    """One count a round, ascending, together as long as all rounds."""
    return _schedule(rounds, [[count] for count in _counts(rounds)])


def _counts(rounds: Mapping[str, Round]) -> list[int]:
    return sorted({count for one in rounds.values() for count in one.clusters})


def _schedule(rounds: Mapping[str, Round], counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Rounds with these counts. Epochs are the same in total, clusterings as nearly as whole epochs allow."""
    epochs = sum(one.epochs for one in rounds.values())
    lengths = [epochs // len(counts) + (number < epochs % len(counts)) for number in range(len(counts))]
    lengths = [length for length in lengths if length]
    wanted = refreshes(rounds)

    def made(every: int) -> int:
        return sum(-(-length // every) for length in lengths)

    every = min(range(1, max(lengths) + 1), key=lambda every: (abs(made(every) - wanted), every))
    return {
        str(number): {
            "after": "warmup" if number == 1 else f"round-{number - 1}",
            "clusters": list(of_round),
            "epochs": length,
            "refresh_every": every,
        }
        for number, (of_round, length) in enumerate(zip(counts, lengths, strict=False), start=1)
    }

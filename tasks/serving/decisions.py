"""What people have decided about pairs of near-duplicates: a file in the index's folder that outlives its
versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ssvh_model.errors import UserError
from ssvh_model.files import check_regular, write_json
from ssvh_model.index.known import Known
from ssvh_model.locks import hold_lock

Verdict = Literal["duplicate", "not a duplicate"]
VERDICTS: tuple[Verdict, ...] = ("duplicate", "not a duplicate")
# In a folder of its own: whoever changes the index removes what looks like half a file in the index's folder.
FOLDER = "review"
FILE = "decisions.json"
LOCK = "lock"
FORMAT = 1


@dataclass(frozen=True)
class PairDecision:
    """About one pair of videos.

    Attributes:
        first, second: their ids, in alphabetical order.
        decision: "duplicate" or "not a duplicate".
        at: when, in ISO 8601 with time zone.
        first_path, second_path: of their files then, as the index had them; "" if unknown.
        first_sha256, second_sha256: hex digests of these files; "" if unknown.
    """

    first: str
    second: str
    decision: Verdict
    at: str
    first_path: str = ""
    first_sha256: str = ""
    second_path: str = ""
    second_sha256: str = ""

    def counts(self, known: Mapping[str, Known]) -> bool:
        """True if the index has both videos, of the files that were decided about as far as that is known.

        Codes say nothing about that: the next hasher has others for the same file.

        Args:
            known: what the index says of its videos.
        """
        return (
            self.first in known
            and self.second in known
            and _may_be(known[self.first], self.first_path, self.first_sha256)
            and _may_be(known[self.second], self.second_path, self.second_sha256)
        )


def _may_be(known: Known, path: str, sha256: str) -> bool:
    """Whether a video of the index is of a file. Its bytes say so, if known, or else where it is."""
    if known.sha256 and sha256:
        return known.sha256 == sha256
    return not known.path or not path or known.path == path


def pair(one: str, other: str) -> tuple[str, str]:
    """Two ids in the order in which a decision has them."""
    return (one, other) if one <= other else (other, one)


class Decisions:
    """The file. Every change is written at once, as a whole, whoever else writes.

    Args:
        folder: of the index.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FOLDER / FILE
        self._lock = folder / FOLDER / LOCK

    def read(self) -> dict[tuple[str, str], PairDecision]:
        """All decisions by pair.

        Raises:
            UserError: the file is damaged.
        """
        try:
            check_regular(self.path)
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}; allowed is {FORMAT}")
            found = [PairDecision(**one) for one in content["decisions"]]
            if not all(isinstance(value, str) for one in found for value in vars(one).values()):
                raise ValueError("allowed are texts")
            if wrong := [one.decision for one in found if one.decision not in VERDICTS]:
                raise ValueError(f"a decision is {wrong[0]!r}; allowed are {' and '.join(VERDICTS)}")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self.path}: not readable ({error}); move it away to begin with none"
            ) from error
        return {pair(one.first, one.second): one for one in found}

    def counting(
        self, known_of: Callable[[Sequence[str]], Mapping[str, Known]]
    ) -> dict[tuple[str, str], PairDecision]:
        """Those that are about videos as the index has them now, by pair: of an id that was given to another
        file since, what was decided says nothing.

        Args:
            known_of: what the index says of videos (`Index.known`).

        Raises:
            UserError: the file is damaged, or the index is.
        """
        decisions = self.read()
        known = known_of(sorted({video for both in decisions for video in both}))
        return {both: one for both, one in decisions.items() if one.counts(known)}

    def decide(
        self,
        one: str,
        other: str,
        verdict: Verdict | None,
        known: Mapping[str, Known] = MappingProxyType({}),
    ) -> PairDecision | None:
        """Keep a decision in the place of what was decided before; None takes that back.

        Args:
            one, other: ids of two videos, in any order.
            verdict: what was decided about them.
            known: what the index says of the two.

        Raises:
            UserError: the file is damaged.
        """
        first, second = pair(one, other)
        with hold_lock(self._lock):
            decisions = self.read()
            decision = None
            if verdict is None:
                decisions.pop((first, second), None)
            else:
                nothing = Known("", "", None)
                files = (known.get(first, nothing), known.get(second, nothing))
                decision = PairDecision(
                    first,
                    second,
                    verdict,
                    datetime.now(UTC).isoformat(timespec="seconds"),
                    *(text for file in files for text in (file.path, file.sha256 or "")),
                )
                decisions[first, second] = decision
            kept = [asdict(decisions[key]) for key in sorted(decisions)]
            write_json(self.path, {"format": FORMAT, "decisions": kept})
        return decision

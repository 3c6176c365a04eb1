"""What the command duplicates does. Nothing here needs MLflow, Prefect, DVC or params.yaml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssvh_model.copies.compare import Match

import numpy as np

from flows.running.text_table import text_table
from ssvh_model.errors import UserError
from ssvh_model.index.duplicates import duplicate_groups, duplicate_pairs
from ssvh_model.index.file_paths import file_of_path, project_of
from ssvh_model.index.index import Index, IndexSnapshot, open_index
from ssvh_model.texts import printable
from tasks.index.place import local_folder, present_index_place
from tasks.serving.decisions import Decisions, Verdict

Decided = Mapping[tuple[int, int], Verdict]


@dataclass(frozen=True)
class Verification:
    """How `ssvh duplicates` compares the pairs that codes propose.

    Attributes:
        least: score from which on a pair is one of duplicates, 0 to 1; None for what the decisions of people
            say.
        mirrored: whether mirror images count, too.
    """

    least: float | None
    mirrored: bool


def duplicates(
    place: str | None, *, radius: int, as_json: bool, verification: Verification | None = None
) -> None:
    """Print groups of near-duplicates: by codes alone, or of those that by their frames, or as somebody
    decided, show one recording.

    Raises:
        UserError: there is no index, its codes have less bits than the radius, or it or the file of decisions
            is damaged.
    """
    from flows.running.console import shown

    place = place or present_index_place()
    index = open_index(place)
    snapshot = index.snapshot(loaded=True)
    if radius > snapshot.bits:
        raise UserError(f"--radius is {radius}; codes have {snapshot.bits} bits")
    looked_for: dict[str, Any] = {
        "radius": radius,
        "first_rows": None if snapshot.films is None else snapshot.films.first_rows,
        "progress": shown("codes compared"),
    }
    if verification is None:
        matches: list[tuple[int, int, Match]] = []
        groups, least = duplicate_groups(snapshot.words, **looked_for), 0.0
    else:
        pairs = duplicate_pairs(snapshot.words, **looked_for)
        groups, matches, least = _verified(
            snapshot, pairs, _decided(place, index, snapshot), verification, project_of(index.name)
        )
    found = [
        [{name: snapshot.text(f"{name}s", row) for name in ("id", "label", "path")} for row in group.tolist()]
        for group in groups
    ]
    if as_json:
        record: dict[str, Any] = {"radius": radius, "videos": snapshot.videos, "groups": found}
        if verification is not None:
            record |= {"least": least, "pairs": [_pair(snapshot, *pair) for pair in matches]}
        print(json.dumps(record, indent=2))
        return
    rows: list[Sequence[str]] = [
        (str(number), one["id"], one["label"] or "-", one["path"] or "-")
        for number, group in enumerate(found, start=1)
        for one in group
    ]
    if rows:
        print(text_table(("group", "video", "label", "path"), rows, right={0}))
    if matches:
        lines = [_match_cells(_pair(snapshot, *pair)) for pair in matches]
        print("\n" + text_table(("score", "seconds", "of", "seconds", "of", "speed"), lines, right={0, 5}))
    videos = sum(map(len, found))
    how = "" if verification is None else f", and alike by their frames (score {least} or more)"
    print(
        f"{videos} of {snapshot.videos} videos are in {len(found)} groups of near-duplicates, at most {radius} bits apart{how}"
    )


def _verified(
    snapshot: IndexSnapshot, pairs: np.ndarray, decided: Decided, verification: Verification, project: Path
) -> tuple[list[np.ndarray], list[tuple[int, int, Match]], float]:
    """The groups of pairs that show one recording or were called duplicates, the compared pairs in them, and
    the least score.
    """
    from flows.running.console import print_line, shown
    from ssvh_model.copies.contradiction import joint_scores
    from ssvh_model.copies.groups import consistent_groups, in_one_group
    from ssvh_model.copies.verify import verify

    least = verification.least
    pairs = pairs[np.array([tuple(rows) not in decided for rows in pairs.tolist()], dtype=bool)]
    known = np.array(sorted(decided), dtype=np.int64).reshape(-1, 2)
    called = np.array([decided[first, second] == "duplicate" for first, second in known.tolist()], dtype=bool)
    every = np.concatenate([pairs, known])
    verified = verify(
        pairs if least is not None else every,
        lambda row: file_of_path(snapshot.text("paths", row), project),
        mirrored=verification.mirrored,
        progress=shown("pairs compared by their frames"),
    )
    for row, reason in sorted(verified.unreadable.items()):
        print_line(printable(f"{snapshot.text('ids', row)}: not compared, {reason}"))
    if least is None:
        from ssvh_model.copies.threshold import least_score

        threshold = least_score(joint_scores(every, verified.scores)[len(pairs) :], called)
        least = round(threshold.least, 3)
        print_line(
            f"score {least} or more: {threshold.right} of the {threshold.above} decided pairs that have it were called duplicates, "
            f"{threshold.missed} duplicates have less"
        )
    # What somebody has decided is certain, also where it is the third video that it is about.
    alone = np.concatenate([verified.scores[: len(pairs)], called])
    scores = joint_scores(every, alone)[: len(pairs)]
    groups = consistent_groups(pairs, scores, least=least, same=known[called], videos=len(snapshot))
    matches = [
        (first, second, replace(match, score=score))
        for (first, second), match, score in zip(
            pairs.tolist(), verified.matches[: len(pairs)], scores.tolist(), strict=True
        )
        if match is not None and score >= least
    ]
    together = in_one_group([pair[:2] for pair in matches], groups)
    kept = [pair for pair, both in zip(matches, together, strict=True) if both]
    return groups, sorted(kept, key=lambda pair: -pair[2].score), least


def _decided(place: str, index: Index, snapshot: IndexSnapshot) -> Decided:
    """What was decided about pairs of videos that are in the index, by their rows, the smaller first."""
    row_of: dict[str, int] = {}
    for row, video in enumerate(snapshot.ids()):
        if snapshot.spans[row, 0] == 0:
            row_of[video] = row
    return {
        (min(rows), max(rows)): decision.decision
        for (first, second), decision in Decisions(local_folder(place)).counting(index.known).items()
        if first in row_of and second in row_of and (rows := (row_of[first], row_of[second]))
    }


def _pair(snapshot: IndexSnapshot, first: int, second: int, match: Match) -> dict[str, Any]:
    """A pair that shows one recording, for JSON."""
    return {
        "first": snapshot.text("ids", first),
        "second": snapshot.text("ids", second),
        "score": round(match.score, 3),
        "first_span": [round(second, 2) for second in match.first_span],
        "second_span": [round(second, 2) for second in match.second_span],
        "speed": round(match.speed, 3),
        "mirrored": match.mirrored,
    }


def _match_cells(pair: dict[str, Any]) -> tuple[str, ...]:
    spans = ["{:.1f} to {:.1f}".format(*pair[f"{which}_span"]) for which in ("first", "second")]
    speed = f"{pair['speed']:.2f}" + (", mirrored" if pair["mirrored"] else "")
    return f"{pair['score']:.2f}", spans[0], pair["first"], spans[1], pair["second"], speed

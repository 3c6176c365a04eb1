"""What the commands search and duplicates do. Nothing here needs MLflow, Prefect, DVC or params.yaml: an index has its hasher with it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssvh_model.copies.compare import Match

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads with nothing to do sleep

from ssvh_model.errors import UserError
from ssvh_model.index.hit import Hit
from ssvh_model.index.index import IndexSnapshot, open_index
from ssvh_model.index.searcher import Searcher
from ssvh_model.moments.matching import Group
from ssvh_model.moments.rerank import Rerank
from ssvh_model.texts import printable
from tasks.index.place import local_folder, present_index_place
from tasks.serving.decisions import Decisions, Verdict


def search(
    video: Path,
    place: str | None,
    *,
    count: int,
    group: Group,
    rerank: Rerank,
    as_json: bool,
    sheet: Path | None,
    trust_torchscript: bool,
) -> None:
    """Print the videos nearest to a video, and where in them.

    Raises:
        UserError: the video or the index is at fault.
    """
    if not video.is_file():
        raise UserError(f"{video}: no such video")
    searcher = Searcher(place or present_index_place(), trust_torchscript=trust_torchscript)
    hits = searcher.nearest(video, count, group=group, rerank=rerank)
    if sheet is not None:
        _draw(sheet, video, searcher, hits)
    if as_json:
        record = {
            "query": str(video),
            "hasher": asdict(searcher.hasher),
            "bits": searcher.bits,
            "videos": searcher.videos,
            "hits": [_rounded(hit) for hit in hits],
        }
        print(json.dumps(record, indent=2))
        return
    columns = {
        "distance": [str(hit.distance) for hit in hits],
        "likeness": [_two_places(hit.likeness) for hit in hits],
        "label": [hit.label or "-" for hit in hits],
        "seconds": [f"{hit.duration:.1f}" if hit.duration else "-" for hit in hits],
        "found at": ["all" if hit.whole else f"{hit.start:.1f} to {hit.end:.1f}" for hit in hits],
        "video": [hit.id for hit in hits],
        "path": [hit.path or "-" for hit in hits],
    }
    if rerank == "none":
        del columns["likeness"]
    if all(hit.whole for hit in hits):
        del columns["found at"]
    right = {number for number, name in enumerate(columns) if name in ("distance", "likeness", "seconds")}
    print(_table(tuple(columns), list(zip(*columns.values(), strict=True)), right=right))
    if rerank == "features" and all(hit.likeness is None for hit in hits):
        print("no frame features of these are stored, so that they come in the order of their codes")


def _two_places(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _rounded(hit: Hit) -> dict[str, Any]:
    """A hit for JSON."""
    return {
        name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(hit).items()
    }


@dataclass(frozen=True)
class Verification:
    """How `ssvh duplicates` compares the pairs that codes propose.

    Attributes:
        least: score from which on a pair is one of duplicates, 0 to 1.
        mirrored: whether mirror images count, too.
    """

    least: float
    mirrored: bool


def duplicates(
    place: str | None, *, radius: int, as_json: bool, verification: Verification | None = None
) -> None:
    """Print groups of near-duplicates: by codes alone, or of those that by their frames, or as somebody decided, show one recording.

    Raises:
        UserError: there is no index, or it or the file of decisions is damaged.
    """
    import numpy as np

    from flows.running.console import print_line, shown
    from ssvh_model.copies.verify import verify
    from ssvh_model.index.duplicates import duplicate_groups, duplicate_pairs, groups_of_pairs

    place = place or present_index_place()
    snapshot = open_index(place).snapshot(loaded=True)
    looked_for: dict[str, Any] = {
        "radius": radius,
        "first_rows": snapshot.first_rows,
        "progress": shown("codes compared"),
    }
    if verification is None:
        groups, matches = duplicate_groups(snapshot.words, **looked_for), []
    else:
        decided = _decided(place, snapshot)
        same = [rows for rows, verdict in decided.items() if verdict == "duplicate"]
        pairs = duplicate_pairs(snapshot.words, **looked_for)
        undecided = np.array([tuple(rows) not in decided for rows in pairs.tolist()], dtype=bool)
        verified = verify(
            pairs[undecided],
            lambda row: snapshot.text("paths", row),
            least=verification.least,
            mirrored=verification.mirrored,
            progress=shown("pairs compared by their frames"),
        )
        matches = verified.pairs
        groups = groups_of_pairs(
            np.concatenate([verified.rows(), np.array(same, dtype=np.int64).reshape(-1, 2)]), len(snapshot)
        )
        for row, reason in sorted(verified.unreadable.items()):
            print_line(printable(f"{snapshot.text('ids', row)}: not compared, {reason}"))
    found = [
        [{name: snapshot.text(f"{name}s", row) for name in ("id", "label", "path")} for row in group.tolist()]
        for group in groups
    ]
    if as_json:
        record: dict[str, Any] = {"radius": radius, "videos": snapshot.videos, "groups": found}
        if verification is not None:
            record |= {"least": verification.least, "pairs": [_pair(snapshot, *pair) for pair in matches]}
        print(json.dumps(record, indent=2))
        return
    rows: list[Sequence[str]] = [
        (str(number), one["id"], one["label"] or "-", one["path"] or "-")
        for number, group in enumerate(found, start=1)
        for one in group
    ]
    if rows:
        print(_table(("group", "video", "label", "path"), rows, right={0}))
    if matches:
        lines = [_match_cells(_pair(snapshot, *pair)) for pair in matches]
        print("\n" + _table(("score", "seconds", "of", "seconds", "of", "speed"), lines, right={0, 5}))
    videos = sum(map(len, found))
    how = "" if verification is None else f", and alike by their frames (score {verification.least} or more)"
    print(
        f"{videos} of {snapshot.videos} videos are in {len(found)} groups of near-duplicates, at most {radius} bits apart{how}"
    )


def _decided(place: str, snapshot: IndexSnapshot) -> dict[tuple[int, int], Verdict]:
    """What was decided about pairs of videos that are in the index, by their rows, the smaller first."""
    row_of: dict[str, int] = {}
    for row, video in enumerate(snapshot.ids()):
        if snapshot.spans[row, 0] == 0:
            row_of[video] = row
    return {
        (min(rows), max(rows)): decision.decision
        for (first, second), decision in Decisions(local_folder(place)).read().items()
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


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """Columns as wide as their widest entry."""
    lines = [list(titles), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _draw(sheet: Path, video: Path, searcher: Searcher, hits: Sequence[Hit]) -> None:
    from ssvh_model.pictures.search_sheet import COLUMNS, Found, draw_search_sheet

    found = [
        Found(
            printable(hit.id),
            printable(hit.label),
            hit.distance,
            hit.duration,
            _frame(hit),
            None if hit.whole else hit.start,
        )
        for hit in hits
    ]
    draw_search_sheet(
        sheet,
        query=video.name,
        frames=_frames(video, COLUMNS),
        found=found,
        bits=searcher.bits,
        remark=f"{searcher.videos} videos, codes of {searcher.bits} bits by {searcher.hasher.name}",
    )


def _frame(hit: Hit) -> Any:
    """The frame in the middle of what was found; None where there is no file, or it can't be read any more."""
    from ssvh_model.pictures.search_sheet import SIDE
    from ssvh_model.video.decoding import UnreadableVideo, frame_at

    if not hit.path or not Path(hit.path).is_file():
        return None
    try:
        if hit.whole:
            return _frames(Path(hit.path), 1)[0]
        return frame_at(Path(hit.path), (hit.start + hit.end) / 2, longer_side=2 * SIDE)
    except UnreadableVideo:
        return None


def _frames(path: Path, count: int) -> Any:
    from ssvh_model.pictures.search_sheet import SIDE
    from ssvh_model.video.decoding import sample_frames

    return sample_frames(path, count, longer_side=2 * SIDE).frames

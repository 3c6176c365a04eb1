"""What the command search does. Nothing here needs MLflow, Prefect, DVC or params.yaml: an index has its
hasher with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flows.running.text_table import text_table
from ssvh_model.errors import UserError
from ssvh_model.files import check_writable
from ssvh_model.index.answer import Question
from ssvh_model.index.file_paths import file_of_path, project_of
from ssvh_model.index.filters import Filters, Wanted
from ssvh_model.index.hit import Hit
from ssvh_model.index.searcher import Searcher
from ssvh_model.texts import printable
from tasks.index.place import present_index_place

if TYPE_CHECKING:
    import numpy as np

UNRANKED = {
    "soft": "what was searched for has no soft code (it is a code, has no stored features, or is longer than a segment)",
    "features": "no frame features of these are stored",
}


def search(
    question: Question,
    place: str | None,
    wanted: Wanted,
    filters: Filters,
    *,
    as_json: bool,
    sheet: Path | None,
    trust_torchscript: bool,
) -> None:
    """Print the videos nearest to a video, or to a code, and where in them.

    Raises:
        UserError: the question or the index is at fault, or the sheet can't be written.
    """
    video, rerank = question.video, wanted.rerank
    if video is not None and not video.is_file():
        raise UserError(f"{video}: no such video")
    if sheet is not None:
        check_writable(sheet)
    if sheet is not None and video is None:
        raise UserError("--sheet draws the video that is searched for; there is none with --id and --code")
    place = place or present_index_place()
    searcher = Searcher(place, trust_torchscript=trust_torchscript)
    answer = searcher.ask(question, wanted, filters)
    hits = answer.hits
    if sheet is not None and video is not None:
        _draw(sheet, video, searcher, hits, project_of(place))
    if as_json:
        print(json.dumps(asdict(answer), indent=2))
        return
    columns = {
        "distance": [str(hit.distance) for hit in hits],
        "likeness": [_two_places(hit.likeness) for hit in hits],
        "label": [hit.label or "-" for hit in hits],
        "seconds": [f"{hit.seconds:.1f}" if hit.seconds else "-" for hit in hits],
        "found at": ["all" if hit.whole else f"{hit.start:.1f} to {hit.end:.1f}" for hit in hits],
        "video": [hit.id for hit in hits],
        "path": [hit.path or "-" for hit in hits],
    }
    if rerank == "none":
        del columns["likeness"]
    if all(hit.whole for hit in hits):
        del columns["found at"]
    right = {number for number, name in enumerate(columns) if name in ("distance", "likeness", "seconds")}
    print(text_table(tuple(columns), list(zip(*columns.values(), strict=True)), right=right))
    if rerank != "none" and all(hit.likeness is None for hit in hits):
        print(f"{UNRANKED[rerank]}, so that they come in the order of their codes")


def _two_places(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _draw(sheet: Path, video: Path, searcher: Searcher, hits: Sequence[Hit], project: Path) -> None:
    from ssvh_model.pictures.search_sheet import COLUMNS, Found, draw_search_sheet

    found = [
        Found(
            printable(hit.id),
            printable(hit.label),
            hit.distance,
            hit.duration,
            _frame(hit, file_of_path(hit.path, project)),
            None if hit.whole else hit.start,
        )
        for hit in hits
    ]
    draw_search_sheet(
        sheet,
        query=video.name,
        frames=list(_frames(video, COLUMNS)),
        found=found,
        bits=searcher.bits,
        remark=f"{searcher.videos} videos, codes of {searcher.bits} bits by {searcher.hasher.name}",
    )


def _frame(hit: Hit, file: str) -> np.ndarray | None:
    """The frame in the middle of what was found; None where there is no file, or it can't be read any
    more.
    """
    from ssvh_model.pictures.search_sheet import SIDE
    from ssvh_model.video.decoding import UnreadableVideo, frame_at

    path = Path(file)
    if not file or not path.is_file():
        return None
    try:
        if hit.whole:
            return _frames(path, 1)[0]
        return frame_at(path, (hit.start + hit.end) / 2, longer_side=2 * SIDE)
    except UnreadableVideo:
        return None


def _frames(path: Path, count: int) -> np.ndarray:
    from ssvh_model.pictures.search_sheet import SIDE
    from ssvh_model.video.decoding import sample_frames

    return sample_frames(path, count, longer_side=2 * SIDE).frames

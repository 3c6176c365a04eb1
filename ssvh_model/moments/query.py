"""A video that is searched for: its code as a whole, and those of its segments or shots where it is longer
than the index's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.moments.cutting import Cutting, query_grid
from ssvh_model.moments.film_features import grid_frames
from ssvh_model.moments.grid import GridFrames, grid_features
from ssvh_model.moments.shots import LEAST_AT_AN_END, STEP, shot_spans
from ssvh_model.video.container import UnreadableVideo
from ssvh_model.video.decoding import probe

FRAMES_AT_ONCE = 64
MOST_FRAMES = 4096  # of a query; of a longer one the beginning counts
SEGMENTS_IN_A_SEGMENT = 8  # a query's segments begin at least as closely as that


@dataclass(frozen=True)
class QueryPart:
    """A query, cut into segments that begin more closely than those of films: one of them begins where a
    film's does.

    Attributes:
        seconds: of a segment.
        step: seconds between two frames.
        features: of the query's frames on the grid, [n, D] float16.
        firsts: first frame of each segment, [segments] int64; multiples of `unit`.
        unit: frames between the starts of two segments.
        codes: of the segments, [segments, ceil(K / 8)] uint8.
    """

    seconds: float
    step: float
    features: np.ndarray
    firsts: np.ndarray
    unit: int
    codes: np.ndarray

    @property
    def cutting(self) -> Cutting:
        """Of the films that it is compared with."""
        return self.seconds


@dataclass(frozen=True)
class QueryShots:
    """A query, cut where its content is. The first shot and the last one may be parts of shots of the film.

    Attributes:
        step: seconds between two frames.
        features: of the query's frames on the grid, [n, D] float16.
        spans: seconds at which the shots start and end, [shots, 2] float64, ascending from 0, at least two.
        codes: of the shots, [shots, ceil(K / 8)] uint8.
    """

    step: float
    features: np.ndarray
    spans: np.ndarray
    codes: np.ndarray

    @property
    def cutting(self) -> Cutting:
        """Of the films that it is compared with."""
        return "shots"


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        seconds: of the video; 0 if unknown.
        code: of it as a whole, [ceil(K / 8)] uint8.
        features: of its frames, [M, D] float16; None where only the code is known.
        parts: what it is cut into, one entry for each way in which films of the index are cut, if it is long
            enough.
        frames: of the video; 0 if unknown.
        remark: "" or what is wrong with its file.
    """

    seconds: float
    code: np.ndarray
    features: np.ndarray | None = None
    parts: Sequence[QueryPart | QueryShots] = ()
    frames: int = 0
    remark: str = ""


def unit_of(frames: int) -> int:
    """Frames between the starts of two segments of a query, where a segment has M frames."""
    return max(1, frames // SEGMENTS_IN_A_SEGMENT)


def read_query(encoder: VideoEncoder, path: Path, cuttings: Sequence[Cutting]) -> Query:
    """Decode and encode a video that is searched for.

    Args:
        encoder: with the index's hasher.
        path: of the video.
        cuttings: of the index's films (`FilmRows.cuttings`).

    Raises:
        UserError: the video can't be read, or the hasher's features are not made from videos.
    """
    from ssvh_model.video.shard_extraction import sizes_for

    sampled = encoder.sampled(path)
    features = encoder.features_of(sampled)
    try:
        seconds = probe(path).duration
        frames = encoder.hasher.config.frames
        parts = []
        for cutting in cuttings:
            if (wanted := query_grid(cutting, frames, seconds)) is None:
                continue
            step, cuts_from = wanted
            grid = GridFrames(path, step, sizes_for(encoder.backbone), most=MOST_FRAMES, cuts_from=cuts_from)
            on_grid = grid_features(grid, encoder.backbone, FRAMES_AT_ONCE)
            if (part := cut_query(encoder, cutting, on_grid, grid.cuts, grid.seconds)) is not None:
                parts.append(part)
    except UnreadableVideo as error:
        raise UserError(f"{path}: {error}") from error
    code = encoder.codes_of(features[None])[0]
    return Query(seconds, code, features, parts, sampled.total, sampled.remark)


def cut_query(
    encoder: VideoEncoder, cutting: Cutting, features: np.ndarray, cuts: np.ndarray, seconds: float
) -> QueryPart | QueryShots | None:
    """Cut a query as films are cut.

    Args:
        encoder: with the index's hasher.
        cutting: of the films.
        features: of the query's frames on the grid of `query_grid`, [n, D] float16.
        cuts: seconds and scores of its cuts, [m, 2] float64; of no matter for even segments.
        seconds: of the query; of one that is longer than its grid, the grid counts.

    Returns:
        None if it is one shot, or a little too short for a segment.

    Raises:
        UserError: as `VideoEncoder.codes_of`.
    """
    frames = encoder.hasher.config.frames
    if cutting == "shots":
        end = min(seconds, (len(features) + 1) * STEP)
        spans = shot_spans(cuts, end, least_at_an_end=LEAST_AT_AN_END)
        if len(spans) == 1:
            return None
        wanted = np.minimum(grid_frames(spans, STEP, frames), len(features) - 1)
        return QueryShots(STEP, features, spans, _codes(encoder, features, wanted))
    if len(features) < frames:
        return None
    unit = unit_of(frames)
    firsts = np.arange(0, len(features) - frames + 1, unit)
    codes = _codes(encoder, features, firsts[:, None] + np.arange(frames))
    return QueryPart(cutting, cutting / frames, features, firsts, unit, codes)


def _codes(encoder: VideoEncoder, features: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Codes of segments by the frames [segments, M] that they look at."""
    some = np.array_split(wanted, -(-len(wanted) // FRAMES_AT_ONCE))
    return np.concatenate([encoder.codes_of(features[frames]) for frames in some])

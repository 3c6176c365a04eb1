"""A video that is searched for: its code as a whole, and those of its segments where it is longer than the index's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.moments.grid import GridFrames, grid_features, grid_sizes
from ssvh_model.video.container import UnreadableVideo
from ssvh_model.video.decoding import probe

FRAMES_AT_ONCE = 64
MOST_FRAMES = 4096  # of a query; of a longer one the beginning counts
SEGMENTS_IN_A_SEGMENT = 8  # a query's segments begin at least as closely as that


@dataclass(frozen=True)
class QueryPart:
    """A query, cut into segments that begin more closely than those of films: one of them begins where a film's does.

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


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        seconds: of the video; 0 if unknown.
        code: of it as a whole, [ceil(K / 8)] uint8.
        features: of its frames, [M, D] float16; None where only the code is known.
        parts: its segments, one entry for each length of segments in the index that it is longer than.
    """

    seconds: float
    code: np.ndarray
    features: np.ndarray | None = None
    parts: Sequence[QueryPart] = ()


def unit_of(frames: int) -> int:
    """Frames between the starts of two segments of a query, where a segment has M frames."""
    return max(1, frames // SEGMENTS_IN_A_SEGMENT)


def read_query(encoder: VideoEncoder, path: Path, lengths: Sequence[float]) -> Query:
    """Decode and encode a video that is searched for.

    Args:
        encoder: with the index's hasher.
        path: of the video.
        lengths: seconds of the segments of the index (`FilmRows.lengths`).

    Raises:
        UserError: the video can't be read, or the hasher's features are not made from videos.
    """
    features = encoder.frame_features(path)
    try:
        seconds = probe(path).duration
        frames = encoder.hasher.config.frames
        parts = []
        for length in lengths:
            if seconds > length:
                grid = GridFrames(path, length / frames, grid_sizes(encoder.backbone), most=MOST_FRAMES)
                if len(grid) >= frames:
                    on_grid = grid_features(grid, encoder.backbone, FRAMES_AT_ONCE)
                    parts.append(query_part(encoder, on_grid, length))
    except UnreadableVideo as error:
        raise UserError(f"{path}: {error}") from error
    return Query(seconds, encoder.codes_of(features[None])[0], features, parts)


def query_part(encoder: VideoEncoder, features: np.ndarray, length: float) -> QueryPart:
    """The segments of a query.

    Args:
        encoder: with the index's hasher.
        features: of the query's frames on the grid of segments of `length` seconds, [n, D] float16, n at least M.
        length: of a segment, seconds.

    Raises:
        UserError: as `VideoEncoder.codes_of`.
    """
    frames = encoder.hasher.config.frames
    unit = unit_of(frames)
    firsts = np.arange(0, len(features) - frames + 1, unit)
    codes = [
        encoder.codes_of(features[some[:, None] + np.arange(frames)])
        for some in np.array_split(firsts, -(-len(firsts) // FRAMES_AT_ONCE))
    ]
    return QueryPart(length, length / frames, features, firsts, unit, np.concatenate(codes))

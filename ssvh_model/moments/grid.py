"""Frames of a video on an even grid in time, one after the other: a film of hours needs the memory of one
frame.

Frame i of the grid is what the video shows at (i + 1/2) * step seconds after its first frame; a frame that
does not decode is replaced by the next one that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssvh_model.moments.cuts import CutScores
from ssvh_model.video.container import PacketTable, UnreadableVideo, open_video, read_packets
from ssvh_model.video.decoding import SampledFrames, Sizes
from ssvh_model.video.reader import FrameReader, Picture

if TYPE_CHECKING:  # who only decodes needs no torch
    from torch import Tensor

    from ssvh_model.video.backbones import Backbone

LEAST_DECODED = 0.5  # of the frames that are looked at


class GridFrames:
    """The frames of a video's grid. The file is looked through at the start, and decoded once, as the frames
    are asked for.

    Unlike `sample_frames`, this decodes all of a file that is large, however long that takes.

    Args:
        path: the file.
        step: seconds between two frames.
        sizes: of the pictures, as `sample_frames` has them.
        most: frames at most; None for all.
        cuts_from: score from which on a frame is a cut (`CutScores`); None if cuts are not looked for.

    Attributes:
        step: as given.
        seconds: from the first frame to the end of the last one.
        remark: "" or what is wrong with the file; whole only after the last frame.
        cuts: seconds and scores of the cuts, [n, 2] float64, ascending; whole only after the last frame.

    Raises:
        UnreadableVideo: with the reason. Iterating, too, when fewer than `LEAST_DECODED` of the frames
            decode.
    """

    def __init__(
        self,
        path: Path,
        step: float,
        sizes: Sizes,
        *,
        most: int | None = None,
        cuts_from: float | None = None,
    ) -> None:
        self.step, self.cuts = step, np.empty((0, 2))
        self._path, self._sizes, self._cuts_from = path, sizes, cuts_from
        with open_video(path) as (container, stream):
            table = read_packets(container, stream)
            times = _seconds(table, float(stream.time_base or 0), float(stream.average_rate or 0))
        between = float(np.median(np.diff(times))) if len(times) > 1 else step
        self.seconds = float(times[-1]) + between
        count = max(1, int(self.seconds / step + 1e-6))
        count = count if most is None else min(count, most)
        places = np.searchsorted(times, (np.arange(count) + 0.5) * step + 1e-6, side="right") - 1
        self._by_time, self._times = table.ordered, times
        self._keys = table.presentation if table.ordered else np.arange(len(times))
        self._wanted = self._keys[places]
        self.remark = table.remark

    def __len__(self) -> int:
        return len(self._wanted)

    def __iter__(self) -> Iterator[Picture]:
        wanted = self._wanted.tolist()
        place, replaced = 0, 0
        least = self._cuts_from
        scores = None if least is None else CutScores()
        cuts: list[tuple[float, float]] = []
        picture: Picture | None = None
        with open_video(self._path) as (container, stream):
            reader = FrameReader(container, stream, *self._sizes)
            if self._by_time and not scores:
                reader.wanted = set(wanted)
            for number, frame in enumerate(reader):
                key = frame.pts if self._by_time and frame.pts is not None else number
                if scores and least and (score := scores.next(frame)) >= least:
                    cuts.append((self._second_of(key), score))
                if key < wanted[place]:
                    continue
                picture = reader.picture(frame)
                replaced += key != wanted[place]
                while place < len(wanted) and wanted[place] <= key:
                    place += 1
                    yield picture
                if place == len(wanted):
                    break
        self.cuts = np.array(cuts).reshape(-1, 2)
        if picture is None:
            raise UnreadableVideo(f"none of its frames decodes{reader.first_error}")
        replaced += len(wanted) - place
        if replaced:
            lost = f"{replaced} of {len(wanted)} frames don't decode{reader.first_error}"
            if len(wanted) - replaced < LEAST_DECODED * len(wanted):
                raise UnreadableVideo(lost)
            self.remark = "; ".join(filter(None, [self.remark, lost]))
        for _ in range(len(wanted) - place):
            yield picture

    def _second_of(self, key: int) -> float:
        """When a frame is shown, seconds after the first one."""
        return float(self._times[min(int(np.searchsorted(self._keys, key)), len(self._times) - 1)])


def _seconds(table: PacketTable, time_base: float, average_rate: float) -> np.ndarray:
    """When each frame is shown, seconds after the first one, ascending, [n] float64."""
    if table.ordered and time_base:
        return (table.presentation - table.presentation[0]) * time_base
    return np.arange(len(table)) / (average_rate or 25.0)


def sampled_batches(pictures: Iterable[Picture], batch_size: int) -> Iterator[SampledFrames]:
    """The frames of a grid, so many at a time."""
    waiting = iter(pictures)
    while batch := list(islice(waiting, batch_size)):
        yield as_sampled(batch)


def as_sampled(pictures: Sequence[Picture]) -> SampledFrames:
    """Frames of a grid as `prepared_for` takes them, at least one."""
    squares = [picture.square for picture in pictures if picture.square is not None]
    shown = np.stack([picture.shown for picture in pictures])
    return frames_on_grid(shown, np.stack(squares) if squares else None)


def frames_on_grid(shown: np.ndarray, squares: np.ndarray | None) -> SampledFrames:
    """The same of frames that are arrays already, as `SampledFrames` has them."""
    return SampledFrames(shown, np.arange(len(shown), dtype=np.int32), len(shown), "", squares)


def prepared_batches(frames: GridFrames, backbone: Backbone, batch_size: int) -> Iterator[Tensor]:
    """What a backbone takes, of the frames of a grid, so many at a time."""
    from ssvh_model.video.shard_extraction import prepared_for

    for sampled in sampled_batches(frames, batch_size):
        yield prepared_for(backbone, sampled)


def grid_features(frames: GridFrames, backbone: Backbone, batch_size: int) -> np.ndarray:
    """Features of all frames of a grid, [n, D] float16, for a video whose features fit into memory.

    Raises:
        UnreadableVideo: with the reason.
    """
    import torch

    made = [backbone.features(batch) for batch in prepared_batches(frames, backbone, batch_size)]
    return torch.cat(made).half().numpy()

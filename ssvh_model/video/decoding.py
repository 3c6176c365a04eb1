"""Frames of a video file, evenly in time: what is looked at, and what is done with files that are at fault.

Which frames: a video of n decodable frames, in the order in which they are presented, is cut into `count`
equal intervals, and the frame at the centre of each is taken: frame floor((i + 1/2) * n / count) for i = 0 ..
count - 1. With n < count the same rule repeats frames evenly. Frames count, not seconds: a video of varying
frame rate is sampled by its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssvh_model.video.container import PacketTable, UnreadableVideo, open_video, read_packets
from ssvh_model.video.reader import FrameReader, Picture, quarter_turns

__all__ = ["Probe", "SampledFrames", "UnreadableVideo", "even_indices", "frame_at", "probe", "sample_frames"]

# Pixels that one video may cost to decode, some minutes on one core. A budget in pixels gives the same answer
# on a slow machine as on a fast one, which a limit in seconds would not.
DECODE_BUDGET = 100_000_000_000
# Share of a file's frames from which on it is decoded as a whole, which tells how many of them decode.
WORTH_SEEKING = 0.9


Sizes = tuple[int | None, int | None]  # the longer side of pictures, and the side of squares


@dataclass(frozen=True)
class Probe:
    """What a cheap look at a video tells.

    Attributes:
        frames: number of frames by the file's packets; decoding may find a few less.
        duration: seconds.
        width, height: pixels as shown, after rotation.
        rotation: degrees counterclockwise by which the stored frames are turned to be shown.
        remark: "" or what seems to be wrong with the file.
    """

    frames: int
    duration: float
    width: int
    height: int
    rotation: int
    remark: str


@dataclass(frozen=True)
class SampledFrames:
    """Frames of one video.

    Attributes:
        frames: [count, H, W, 3] uint8, RGB, upright; empty if nobody asked for pictures.
        indices: [count] int32, place of each frame among the video's frames in the order of presentation;
            ascending.
        total: number of frames that decode. Where only parts were decoded (a long video with key frames
            nearby), the number of packets.
        remark: "" or how a file at fault was handled; one line.
        squares: the same frames squeezed into squares, [count, side, side, 3] float32, 0 to 255; None if
            nobody asked for them.
    """

    frames: np.ndarray
    indices: np.ndarray
    total: int
    remark: str
    squares: np.ndarray | None = None


def even_indices(total: int, count: int) -> np.ndarray:
    """Centres of `count` equal intervals over `total` frames, [count] int32, ascending; repeats where total <
    count.
    """
    return ((2 * np.arange(count, dtype=np.int64) + 1) * total // (2 * count)).astype(np.int32)


def probe(path: Path) -> Probe:
    """Check that a file is a video that can be read: count its frames by their packets, decode only the
    first.

    Raises:
        UnreadableVideo: with the reason, for every kind of file that gives no frame.
    """
    with open_video(path) as (container, stream):
        table = read_packets(container, stream)
        time_base, average_rate = float(stream.time_base or 0), float(stream.average_rate or 0)
        duration = float(stream.duration or 0) * time_base
        if not duration and container.duration:
            duration = container.duration / 1_000_000
        if not duration and average_rate:
            duration = len(table) / average_rate
        if table.ordered:
            begins, ends = time_base * table.presentation[0], time_base * table.presentation[-1]
            if begins > 0 and ends <= duration:  # the header counts from 0, where nothing is shown yet
                duration -= float(begins)
    with open_video(path) as (container, stream):
        reader = FrameReader(container, stream, longer_side=None)
        first = next(reader, None)
        if first is None:
            raise UnreadableVideo(f"none of its {len(table)} frames decodes{reader.first_error}")
        turned = quarter_turns(first) % 2 == 1
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        return Probe(len(table), duration, width, height, first.rotation, table.remark)


def sample_frames(
    path: Path, count: int, *, longer_side: int | None = None, square: int | None = None
) -> SampledFrames:
    """Decode `count` frames of a video, evenly in time (see the head of this file).

    At most `count` frames are held, each scaled down as soon as it is decoded, so that a video of hours or of
    8K frames needs little memory. Where key frames make it cheaper, only the stretches before the wanted
    frames are decoded; the frames are the same. A video that would cost more than `DECODE_BUDGET` pixels
    gives the key frames before the wanted ones instead, with a remark. A damaged or truncated video is
    sampled over the frames that decode, with a remark, if these are at least half of min(count, its frames).

    Args:
        path: the file.
        count: M, at least 1.
        longer_side: frames are scaled down to this many pixels on their longer side, never up; None keeps
            their size, 0 makes no pictures.
        square: side of the squares that the decoder's scaler makes of the frames, too; None for none.

    Raises:
        UnreadableVideo: with the reason, for every kind of file that gives no frames.
    """
    sizes = (longer_side, square)
    if count < 1:
        raise ValueError(f"count is {count}; at least 1 is allowed")
    with open_video(path) as (container, stream):
        table = read_packets(container, stream)
        pixels = max(1, stream.codec_context.width * stream.codec_context.height)
    whole_cost = len(table) * pixels
    if table.ordered:
        wanted = table.presentation[even_indices(len(table), count)]
        stretches = _stretches(table, wanted)
        cost = sum(last - first + 1 for first, last in stretches) * pixels
        if min(cost, whole_cost) > DECODE_BUDGET:
            return _sample_key_frames(path, table, wanted, sizes)
        if cost < WORTH_SEEKING * whole_cost:
            found = _decode_stretches(path, table, stretches, wanted, sizes)
            if len(found) == len(np.unique(wanted)):
                return _sampled(found, wanted, table.presentation, count, [table.remark])
    if whole_cost > DECODE_BUDGET:
        raise UnreadableVideo(
            f"too long to decode as a whole ({len(table)} frames of {pixels} pixels), and can't be searched"
        )
    return _sample_whole(path, table, count, sizes)


def frame_at(path: Path, seconds: float, *, longer_side: int | None = None) -> np.ndarray:
    """What a video shows some seconds after its first frame, [H, W, 3] uint8, RGB, upright.

    Only what is needed is decoded, from the key frame before it on; where a file can't be searched, the frame
    in its middle comes instead.

    Args:
        path: the file.
        seconds: from 0; after its end, the last frame.
        longer_side: as for `sample_frames`.

    Raises:
        UnreadableVideo: as `sample_frames`.
    """
    with open_video(path) as (container, stream):
        table = read_packets(container, stream)
        time_base = float(stream.time_base or 0)
    if table.ordered and time_base:
        times = (table.presentation - table.presentation[0]) * time_base
        place = max(0, int(np.searchsorted(times, seconds + 1e-6, side="right")) - 1)
        wanted = table.presentation[place : place + 1]
        found = _decode_stretches(path, table, _stretches(table, wanted), wanted, (longer_side, None))
        if found:
            return found[int(wanted[0])].shown
    return sample_frames(path, 1, longer_side=longer_side).frames[0]


def _sample_whole(path: Path, table: PacketTable, count: int, sizes: Sizes) -> SampledFrames:
    """Decode every frame; a second time if less of them decode than the packets let expect."""
    by_time = table.ordered
    order = table.presentation if by_time else np.arange(len(table), dtype=np.int64)
    for _ in range(3):
        wanted = order[even_indices(len(order), count)]
        wanted_set = set(wanted.tolist())
        found: dict[int, Picture] = {}
        decoded: list[int] = []  # what tells a frame from the others: its time stamp, or its place
        with open_video(path) as (container, stream):
            reader = FrameReader(container, stream, *sizes)
            for number, frame in enumerate(reader):
                by_time = by_time and frame.pts is not None
                key = frame.pts if by_time and frame.pts is not None else number
                decoded.append(key)
                if key in wanted_set and key not in found:
                    found[key] = reader.picture(frame)
        if not decoded:
            raise UnreadableVideo(f"none of its {len(table)} frames decodes{reader.first_error}")
        if by_time and len(set(decoded)) < len(
            decoded
        ):  # the decoder's stamps differ from the container's: trust its order
            by_time = False
        actual = np.sort(np.array(decoded)) if by_time else np.arange(len(decoded), dtype=np.int64)
        if np.array_equal(actual, order):
            break
        order = actual
    else:
        raise UnreadableVideo("its frames differ from one reading to the next")
    expected = max(len(table), table.announced)
    if 2 * len(order) < min(count, expected):
        raise UnreadableVideo(f"only {len(order)} of {expected} frames decode{reader.first_error}")
    lost = (
        f"{reader.failures} of {len(table)} frames don't decode{reader.first_error}"
        if reader.failures
        else ""
    )
    return _sampled(found, wanted, order, count, [table.remark, lost])


def _sample_key_frames(path: Path, table: PacketTable, wanted: np.ndarray, sizes: Sizes) -> SampledFrames:
    """Replace each wanted frame by the last key frame that is not after it."""
    key_times = np.sort(table.times[table.keys])
    chosen = (
        key_times[np.maximum(np.searchsorted(key_times, wanted, side="right") - 1, 0)]
        if len(key_times)
        else key_times
    )
    if 2 * len(np.unique(chosen)) < min(len(wanted), len(table)):
        raise UnreadableVideo(
            f"too large to decode: {len(table)} frames, but only {len(key_times)} key frames"
        )
    found = _decode_stretches(path, table, _stretches(table, chosen), chosen, sizes)
    if 2 * len(found) < len(np.unique(chosen)):
        raise UnreadableVideo(
            f"only {len(found)} of the {len(np.unique(chosen))} key frames that were looked at decode"
        )
    times = np.array(sorted(found), dtype=np.int64)
    nearest = times[np.abs(chosen[:, None] - times[None, :]).argmin(axis=1)]
    remark = "very large: sampled at key frames only"
    return _sampled(found, nearest, table.presentation, len(wanted), [table.remark, remark])


def _sampled(
    found: dict[int, Picture], wanted: np.ndarray, order: np.ndarray, count: int, remarks: list[str]
) -> SampledFrames:
    if len(order) < count:
        remarks = [*remarks, f"{len(order)} frames, fewer than {count}: repeated evenly"]
    indices = np.searchsorted(order, wanted).astype(np.int32)
    pictures = [found[key] for key in wanted.tolist()]
    frames = np.stack([picture.shown for picture in pictures])
    squares = [picture.square for picture in pictures if picture.square is not None]
    return SampledFrames(
        frames, indices, len(order), "; ".join(filter(None, remarks)), np.stack(squares) if squares else None
    )


def _stretches(table: PacketTable, wanted: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of packets (first, last), each from a key frame on, that must be decoded to see the frames at
    `wanted` times.
    """
    by_time = np.argsort(table.times, kind="stable")
    places = by_time[np.searchsorted(table.times, wanted, sorter=by_time)]
    keys = np.flatnonzero(table.keys)
    last_needed: dict[int, int] = {}
    for place, time in zip(places.tolist(), wanted.tolist(), strict=True):
        # Frames that follow a key frame in the file but are shown before it may lean on what came before it.
        before = keys[(keys <= place) & (table.times[keys] <= time)]
        start = int(before[-1]) if len(before) else 0
        last_needed[start] = max(last_needed.get(start, start), place)
    return sorted(last_needed.items())


def _decode_stretches(
    path: Path,
    table: PacketTable,
    stretches: list[tuple[int, int]],
    wanted: np.ndarray,
    sizes: Sizes,
) -> dict[int, Picture]:
    """Pictures by time stamp, of those `wanted` frames that could be reached by seeking."""
    import av

    found: dict[int, Picture] = {}
    missing = set(wanted.tolist())
    with open_video(path) as (container, stream):
        reader = FrameReader(container, stream, *sizes)
        reader.wanted = missing
        for first, last in stretches:
            end_time = int(table.times[first : last + 1].max())
            here = {time for time in missing if int(table.times[first]) <= time <= end_time}
            # Some containers (MPEG-TS) seek to a place after the one asked for: then from an earlier key
            # frame.
            for start in np.flatnonzero(table.keys[: first + 1])[-1:-5:-1].tolist() or [0]:
                try:
                    container.seek(int(table.times[start]), stream=stream)
                except av.error.FFmpegError:
                    continue  # the caller does without these frames, or decodes the whole file
                reader.restart()
                for frame in reader:
                    if frame.pts is not None and frame.pts in here:
                        found[frame.pts] = reader.picture(frame)
                        here.discard(frame.pts)
                        missing.discard(frame.pts)
                    # 64 frames: more than any decoder holds back for reordering.
                    if not here or reader.packets > last - start + 64:
                        break
                if not here:
                    break
    return found

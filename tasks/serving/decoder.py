"""The process that decodes files of strangers; its memory, processor time and open files are limited, and it
writes none.

`python -m tasks.serving.decoder MEGABYTES SECONDS FILE`, started by `decoding.py`.
"""

from __future__ import annotations

import io
import math
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.moments.cutting import query_grid
from ssvh_model.moments.grid import GridFrames, as_sampled, sampled_batches
from ssvh_model.video.container import UnreadableVideo, open_video
from ssvh_model.video.decoding import SampledFrames, frame_at, probe, sample_frames
from tasks.serving.worker import Answer, serve

OPEN_FILES = 64
MOST_ON_A_GRID = (
    256  # frames of a clip that is longer than the index's segments; of a longer one the beginning counts
)
PREVIEW_FRAMES = 12
PREVIEW_SIDE = 320
SIDE_BY_SIDE = 160  # longer side of such a frame
GAP = 4  # pixels between two of them
PREVIEW_MILLISECONDS = 250  # a frame
QUALITY = 78  # of JPEG
PREVIEW_QUALITY = 55  # of WebP


def main() -> None:
    """Import what is needed, limit this process, and answer."""
    import av  # noqa: F401 - before the memory is limited
    from PIL import Image

    Image.preinit()
    megabytes, seconds, file = (int(argument) for argument in sys.argv[1:])
    limit_process(megabytes)
    film = OpenFilm()

    def answer(question: dict[str, Any], arrays: dict[str, np.ndarray]) -> Answer:
        try:
            if question["do"] == "go on with the film":
                return film.next()
            limit_seconds(question.get("processor_seconds", seconds))
            path = Path(question["path"])
            if question["do"] == "film":
                return film.open(path, question)
            if question["do"] == "probe":
                return probed(path)
            if question["do"] == "look":
                return look(path)
            if question["do"] == "picture":
                return {}, {"picture": picture_at(path, question["seconds"])}
            if question["do"] == "side by side":
                return {}, {"picture": side_by_side(path, question["seconds"])}
            return frames_of(path, question)
        except UnreadableVideo as error:
            raise UserError(error.reason) from error
        except MemoryError as error:
            raise UserError("it needs more memory than is allowed") from error

    serve(file, answer)


def limit_process(megabytes: int) -> None:
    """Let this process take `megabytes` more than it has now, write no files and open few."""
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: OPEN_FILES}
    if (
        sys.platform == "linux"
    ):  # elsewhere the system does not say what there is now, or does not keep to the limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def limit_seconds(seconds: int) -> None:
    """Let this process take so many seconds of processor time more; then the system ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def probed(path: Path) -> Answer:
    """How long a video is, and of which format."""
    return {"seconds": probe(path).duration, "format": _format(path)}, {}


class OpenFilm:
    """The film that is decoded from its beginning to its end, some frames for each question. The memory of
    these is all that it takes.
    """

    def __init__(self) -> None:
        self._grid: GridFrames | None = None
        self._batches: Iterator[SampledFrames] = iter(())

    def open(self, path: Path, question: dict[str, Any]) -> Answer:
        """Look through a film, in the place of the one before; decode nothing yet."""
        sizes = (question["longer_side"], question["square"])
        self._grid = GridFrames(path, question["step"], sizes, cuts_from=question["cuts_from"])
        self._batches = sampled_batches(self._grid, question["at_once"])
        return {"frames": len(self._grid), "seconds": self._grid.seconds}, {}

    def next(self) -> Answer:
        """The next frames, or, after the last ones, the cuts."""
        if (sampled := next(self._batches, None)) is not None:
            return {}, _arrays(sampled)
        assert self._grid is not None
        return {"ended": True}, {"cuts": self._grid.cuts}


def frames_of(path: Path, question: dict[str, Any]) -> Answer:
    """The frames that a hasher looks at, and those that it is cut by as `cuttings` say. A video above
    `most_seconds` is not decoded.
    """
    seen = probe(path)
    if seen.duration > question["most_seconds"]:
        return {"too_long": seen.duration}, {}
    sampled = sample_frames(
        path, question["frames"], longer_side=question["longer_side"], square=question["square"]
    )
    arrays = {**_arrays(sampled), "indices": sampled.indices}
    for number, cutting in enumerate(question["cuttings"]):
        if (wanted := query_grid(cutting, question["frames"], seen.duration)) is None:
            continue
        step, cuts_from = wanted
        sizes = (question["longer_side"], question["square"])
        grid = GridFrames(path, step, sizes, most=MOST_ON_A_GRID, cuts_from=cuts_from)
        on_grid = {**_arrays(as_sampled(list(grid))), "cuts": grid.cuts}
        arrays |= {f"{name} on grid {number}": array for name, array in on_grid.items()}
    said = {
        "frames": sampled.total,
        "seconds": seen.duration,
        "remark": sampled.remark,
        "format": _format(path),
    }
    return said, arrays


def look(path: Path) -> Answer:
    """What a person wants to see of a video: facts, the frame in the middle, and a moving picture of some
    frames.
    """
    from PIL import Image

    seen = probe(path)
    sampled = sample_frames(path, PREVIEW_FRAMES, longer_side=PREVIEW_SIDE)
    pictures = [Image.fromarray(frame) for frame in sampled.frames]
    still, moving = io.BytesIO(), io.BytesIO()
    pictures[len(pictures) // 2].save(still, "JPEG", quality=QUALITY)
    pictures[0].save(
        moving,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=PREVIEW_MILLISECONDS,
        loop=0,
        quality=PREVIEW_QUALITY,
        method=2,
    )
    said = {
        "frames": sampled.total,
        "seconds": seen.duration,
        "width": seen.width,
        "height": seen.height,
        "remark": sampled.remark,
        "format": _format(path),
    }
    return said, {"thumbnail": _as_array(still), "preview": _as_array(moving)}


def picture_at(path: Path, seconds: float) -> np.ndarray:
    """What a video shows some seconds after its start, JPEG as bytes."""
    return _as_jpeg(frame_at(path, seconds, longer_side=PREVIEW_SIDE))


def side_by_side(path: Path, seconds: list[float]) -> np.ndarray:
    """What a video shows at some seconds after its start, one beside the other, JPEG as bytes."""
    frames = [frame_at(path, second, longer_side=SIDE_BY_SIDE) for second in seconds]
    white = np.full((len(frames[0]), GAP, 3), 255, dtype=np.uint8)
    parts = [part for frame in frames for part in (frame, white)][:-1]
    return _as_jpeg(np.concatenate(parts, axis=1))


def _as_jpeg(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(picture).save(written, "JPEG", quality=QUALITY)
    return _as_array(written)


def _arrays(sampled: SampledFrames) -> dict[str, np.ndarray]:
    pictures = {"frames": sampled.frames}
    return pictures if sampled.squares is None else {**pictures, "squares": sampled.squares}


def _format(path: Path) -> str:
    with open_video(path) as (container, _):
        return str(container.format.name)


def _as_array(written: io.BytesIO) -> np.ndarray:
    return np.frombuffer(written.getvalue(), dtype=np.uint8)


if __name__ == "__main__":
    main()

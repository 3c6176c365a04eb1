"""Asking processes that may die (`decoder.py`) for frames and pictures of videos."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.moments.cutting import Cutting
from tasks.serving.limits import PATIENCE, Limits
from tasks.serving.problems import (
    ENDING,
    FILE_GONE,
    TOO_EXPENSIVE,
    TOO_LONG,
    TOO_MANY,
    UNREADABLE_VIDEO,
    Kind,
    Problem,
)
from tasks.serving.worker import Answer, WorkerEnded, WorkerProcess

DECODERS = 2  # processes
CACHED_BYTES = 64 * 2**20  # of pictures
SECONDS_TO_NEXT_FILM = 30


@dataclass(frozen=True)
class Frames:
    """Decoded frames of a video, on their way to the encoder.

    Attributes:
        arrays: as `SampledFrames` has them: `frames`, `indices` and perhaps `squares`; for each cutting of
            which the video is long enough `frames on grid 0`, perhaps `squares on grid 0`, and the `cuts on
            grid 0`.
        total: number of frames of the video.
        seconds: of the video.
        remark: "" or what is wrong with the file.
        format: of the container, as FFmpeg names it.
    """

    arrays: Mapping[str, np.ndarray]
    total: int
    seconds: float
    remark: str
    format: str


@dataclass(frozen=True)
class Probed:
    """What a file says of itself.

    Attributes:
        seconds: of the video.
        format: of the container, as FFmpeg names it.
    """

    seconds: float
    format: str


class FilmFrames:
    """The frames of a film, as a `ssvh_model.moments.extraction.Grid`: another process decodes them as they
    are asked for.

    Args:
        ask: tells that process to go on.
        frames: how many there are.
        step: seconds between two of them.
        seconds: of the film.

    Attributes:
        step, seconds: as given.
        cuts: seconds and scores, [n, 2] float64; whole after the last frame.
    """

    def __init__(self, ask: Callable[[], Answer], frames: int, step: float, seconds: float) -> None:
        self.step, self.seconds, self.cuts = step, seconds, np.empty((0, 2))
        self._ask, self._frames = ask, frames

    def __len__(self) -> int:
        return self._frames

    def batches(self) -> Generator[Mapping[str, np.ndarray]]:
        """The frames, some at a time, once: `frames` and perhaps `squares`, as `SampledFrames` has them. Who
        does not want all of them closes it, which waits for those that are on their way.

        Raises:
            Problem: too many of them can't be read, or they cost too much.
        """
        with ThreadPoolExecutor(1, "film") as ahead:  # the next ones are decoded while these are encoded
            asked = ahead.submit(self._ask)
            while True:
                said, arrays = asked.result()
                if "ended" in said:
                    self.cuts = arrays["cuts"]
                    return
                asked = ahead.submit(self._ask)
                yield arrays


@dataclass(frozen=True)
class Look:
    """What a person wants to see of a video.

    Attributes:
        frames, seconds, width, height: of the video; width and height in pixels.
        size: of the file, bytes.
        remark: "" or what is wrong with the file.
        format: of the container, as FFmpeg names it.
        thumbnail: the frame in the middle, JPEG.
        preview: some frames as a moving picture, WebP.
    """

    frames: int
    seconds: float
    width: int
    height: int
    size: int
    remark: str
    format: str
    thumbnail: bytes
    preview: bytes


class Decoding:
    """Some decoder processes, one more for films that are decoded as a whole, and what they have found last.

    Args:
        limits: on what one video may cost.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        numbers = (str(limits.decode_megabytes), str(limits.decode_seconds))
        self._workers = [WorkerProcess("tasks.serving.decoder", *numbers) for _ in range(DECODERS)]
        self._free: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._of_films, self._one_film = WorkerProcess("tasks.serving.decoder", *numbers), threading.Lock()
        self._looks: OrderedDict[tuple[str, int, int], Future[Look]] = OrderedDict()
        self._lock = threading.Lock()
        self.deaths = 0

    def stop(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.stop()
        self.stop_film()

    def stop_film(self) -> None:
        """End the process that decodes films, in the middle of one, too; no other is decoded."""
        self._of_films.stop()

    def frames(
        self,
        path: Path,
        *,
        count: int,
        longer_side: int | None,
        square: int | None,
        cuttings: Sequence[Cutting] = (),
        limited: bool = True,
    ) -> Frames:
        """Frames of a video for an encoder.

        Args:
            path: the video.
            count: M.
            longer_side, square: as `sample_frames` has them.
            cuttings: of the index's films; the frames that the video is cut by are wanted, too.
            limited: refuse a video that is longer than uploads may be.

        Raises:
            Problem: it can't be read, is too long, or costs too much.
        """
        question = {
            "do": "frames",
            "path": str(path.resolve()),
            "frames": count,
            "longer_side": longer_side,
            "square": square,
            "cuttings": list(cuttings),
            "most_seconds": self._limits.seconds if limited else 1e18,
        }
        said, arrays = self._ask(question, UNREADABLE_VIDEO)
        if "too_long" in said:
            raise self._too_long(said["too_long"])
        return Frames(arrays, said["frames"], said["seconds"], said["remark"], said["format"])

    def probe(self, path: Path) -> Probed:
        """What an upload says of itself.

        Raises:
            Problem: it can't be read, or is too long.
        """
        seen = Probed(**self._ask({"do": "probe", "path": str(path.resolve())}, UNREADABLE_VIDEO)[0])
        if seen.seconds > self._limits.seconds:
            raise self._too_long(seen.seconds)
        return seen

    def _too_long(self, seconds: float) -> Problem:
        return Problem(
            TOO_LONG,
            f"the video is {seconds:.0f} seconds long; allowed are {self._limits.seconds}, and more with "
            "`ssvh serve --seconds`",
        )

    @contextmanager
    def film(
        self,
        path: Path,
        *,
        seconds: float,
        longer_side: int | None,
        square: int | None,
        cuts_from: float | None,
        at_once: int,
    ) -> Iterator[Callable[[float], FilmFrames]]:
        """An upload, to be decoded from its beginning to its end. One at a time, by a process of its own: the
        others go on answering.

        Args:
            path: the film.
            seconds: that it says it is long; its processor time is limited by these.
            longer_side, square, cuts_from: as `GridFrames` has them.
            at_once: frames.

        Returns:
            What gives its frames, so many seconds apart; the last ones that were asked for count.

        Raises:
            Problem: another film is being decoded. Opening raises it, too: it can't be read, is longer than
                is allowed, whatever it says, or costs too much.
        """
        allowed = self._limits.film_decode_seconds(seconds)
        if not self._one_film.acquire(blocking=False):
            raise Problem(
                TOO_MANY,
                "another film is being cut into segments; one at a time is",
                retry_after=SECONDS_TO_NEXT_FILM,
            )

        def open_film(step: float) -> FilmFrames:
            question = {
                "do": "film",
                "path": str(path.resolve()),
                "step": step,
                "longer_side": longer_side,
                "square": square,
                "cuts_from": cuts_from,
                "at_once": at_once,
                "processor_seconds": allowed,
            }
            said, _ = self._answer(self._of_films, question, UNREADABLE_VIDEO, allowed)
            if said["seconds"] > self._limits.seconds:
                raise self._too_long(said["seconds"])

            def go_on() -> Answer:
                question = {"do": "go on with the film"}
                return self._answer(self._of_films, question, UNREADABLE_VIDEO, allowed)

            return FilmFrames(go_on, said["frames"], step, said["seconds"])

        try:
            yield open_film
        finally:
            self._of_films.rest()
            self._one_film.release()

    def look(self, path: Path) -> Look:
        """Facts and pictures of a video of the index.

        Raises:
            Problem: its file is not there any more, can't be read as a video, or costs too much.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise Problem(FILE_GONE, f"its file can't be read: {error.strerror}") from error
        key = (str(path), state.st_mtime_ns, state.st_size)
        with self._lock:
            found = self._looks.get(key)
            mine = found is None
            if found is None:
                found = self._looks[key] = Future()
            self._looks.move_to_end(key)
        if mine:
            try:
                said, arrays = self._ask({"do": "look", "path": str(path.resolve())}, FILE_GONE)
                thumbnail, preview = arrays["thumbnail"].tobytes(), arrays["preview"].tobytes()
                found.set_result(Look(**said, size=state.st_size, thumbnail=thumbnail, preview=preview))
            except BaseException as error:
                found.set_exception(error)
                if not isinstance(error, Problem) or error.kind is not FILE_GONE:
                    with self._lock:  # it may go better the next time
                        self._looks.pop(key, None)
            self._forget()
        return found.result()

    def picture(self, path: Path, seconds: float) -> bytes:
        """What a video of the index shows some seconds after its start, JPEG.

        Raises:
            Problem: as `look`.
        """
        question = {"do": "picture", "path": str(path.resolve()), "seconds": seconds}
        return self._ask(question, FILE_GONE)[1]["picture"].tobytes()

    def side_by_side(self, path: Path, seconds: Sequence[float]) -> bytes:
        """What a video of the index shows at some seconds, side by side, JPEG.

        Raises:
            Problem: as `look`.
        """
        question = {"do": "side by side", "path": str(path.resolve()), "seconds": list(seconds)}
        return self._ask(question, FILE_GONE)[1]["picture"].tobytes()

    def _forget(self) -> None:
        """Drop what was asked for longest ago, beyond `CACHED_BYTES`."""
        with self._lock:
            left = CACHED_BYTES
            for key in reversed(list(self._looks)):
                left -= _size(self._looks[key])
                if left < 0:
                    del self._looks[key]

    def _ask(self, question: Mapping[str, Any], unreadable: Kind) -> Answer:
        with self._worker() as worker:
            return self._answer(worker, question, unreadable, self._limits.decode_seconds)

    def _answer(
        self, worker: WorkerProcess, question: Mapping[str, Any], unreadable: Kind, allowed: int
    ) -> Answer:
        try:
            return worker.ask(question, {}, seconds=PATIENCE * allowed)
        except UserError as error:
            raise Problem(unreadable, str(error)) from error
        except WorkerEnded as error:
            if worker.stopped:
                raise Problem(ENDING, "the service is ending") from error
            self.deaths += 1
            raise Problem(
                TOO_EXPENSIVE,
                f"decoding was given up: {error}; allowed are {allowed} s of processor time and "
                f"{self._limits.decode_megabytes} MB, and more with `ssvh serve --decode-seconds` and "
                "`--decode-megabytes`",
            ) from error

    @contextmanager
    def _worker(self) -> Iterator[WorkerProcess]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)


def _size(look: Future[Look]) -> int:
    if not look.done() or look.exception() is not None:
        return 100
    found = look.result()
    return len(found.thumbnail) + len(found.preview)

"""The search service: an index that may change at any time, searched by codes, by its videos and by clips."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from ssvh_model.errors import UserError
from ssvh_model.files import is_address, sha256_of
from ssvh_model.index.answer import Asked, IndexVersion
from ssvh_model.index.file_paths import file_of_path, path_in_index, project_of
from ssvh_model.index.filters import Filters, Wanted
from ssvh_model.index.hit import Hit
from ssvh_model.index.index import IndexSnapshot, open_index
from ssvh_model.index.snapshot import read_card
from ssvh_model.manifest import Video
from ssvh_model.moments.cutting import Cutting
from ssvh_model.remote_folder import StorageAway
from tasks.index.build import add_encoded
from tasks.index.encode import rows_of_video
from tasks.index.place import local_folder
from tasks.serving.decisions import Decisions
from tasks.serving.decoding import Decoding, Look
from tasks.serving.encoding import EncodedClip, Encoding, HasherGone
from tasks.serving.fetched import FetchedVideos
from tasks.serving.limits import Limits
from tasks.serving.problems import (
    BUSY,
    ENDING,
    FILE_GONE,
    ID_TAKEN,
    NOT_READY,
    STORAGE_AWAY,
    Problem,
)
from tasks.serving.uploaded import EncodedUpload, UploadEncoding
from tasks.serving.view import IndexView
from tasks.serving.worker import WorkerEnded

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_STORAGE = 10
FRAMES_SIDE_BY_SIDE = 3
SWITCHES = 5  # of the index while one clip is searched for
SECONDS_FOR_A_TURN = 600.0  # that a film, which took minutes, waits for others who are changing the index
# folder in the index's, or beside where that would be, with the files of videos that were added here
UPLOADS = "uploads"
SUFFIXES = {"mov": ".mp4", "matroska": ".mkv", "avi": ".avi", "mpegts": ".ts", "flv": ".flv", "ogg": ".ogv"}

Result = TypeVar("Result")


@dataclass(frozen=True)
class ClipHits:
    """What was found for a clip.

    Attributes:
        version: of the index that has answered.
        query: what is known of the clip.
        hits: the nearest videos.
    """

    version: IndexVersion
    query: Asked
    hits: list[Hit]


class SearchService:
    """An index, open to be searched and changed; the index is what it has in common with other commands.

    A new version of the index is taken over once its codes and its hasher are loaded. Until then, the version
    before answers.

    Args:
        place: of the index, as `open_index` has it.
        limits: on what clips may cost.
        trust_torchscript: whether an image model that is TorchScript, a program, may run.
        say: takes a line for the log.
    """

    def __init__(
        self,
        place: str | Path,
        limits: Limits,
        *,
        trust_torchscript: bool = False,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self.index, self.folder, self.limits = open_index(place), local_folder(place), limits
        self._project = project_of(self.index.name)
        self.decoding, self.decisions = Decoding(limits), Decisions(self.folder)
        self._encoding = Encoding(trust_torchscript=trust_torchscript)
        self._fetched = FetchedVideos(limits.fetched_megabytes)
        self.uploaded = UploadEncoding(self.decoding, self._encoding)
        self._say = say
        self._view: IndexView | None = None
        self._version: object = None
        self._taking_over, self._changing, self._ended = threading.Lock(), threading.Lock(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="index-watcher", daemon=True)
        self._complaint = ""

    def start(self) -> None:
        """Begin to load the index and to look for new versions; `view` has it when it is there."""
        self._watcher.start()

    def leave_films(self) -> None:
        """Give up films that are being cut or wait for their turn, before the service ends: they take longer
        than it waits for what is being answered.
        """
        self._ended.set()
        self.decoding.stop_film()

    def stop(self) -> None:
        """End the other processes."""
        self._ended.set()
        self._encoding.stop()
        self.decoding.stop()
        self._watcher.join()
        self._fetched.close()

    @property
    def ready(self) -> bool:
        """True once a version of the index is loaded."""
        return self._view is not None

    @property
    def view(self) -> IndexView:
        """The version that answers now. Ask once for each answer.

        Raises:
            Problem: none is loaded yet.
        """
        if self._view is None:
            raise Problem(NOT_READY, self._complaint or "the index is being loaded", retry_after=2)
        return self._view

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self.take_over()
                self._complaint = ""
            except (UserError, WorkerEnded, OSError) as error:
                # The version before goes on answering.
                if str(error) != self._complaint and not self._ended.is_set():
                    self._complaint = str(error)
                    self._say(f"the index can't be taken over: {error}")
            self._ended.wait(SECONDS_BETWEEN_LOOKS)

    def take_over(self) -> None:
        """Load the version of the index that counts now, if it is another one.

        Raises:
            UserError: the index is damaged or gone.
            WorkerEnded: the encoder process does not start.
        """
        with self._taking_over:
            index_version = self.index.version()
            if self._view is not None and index_version == self._version:
                return

            def load(snapshot: IndexSnapshot, hasher: Path) -> IndexView:
                loaded = self._encoding.load(hasher, snapshot.hasher.sha256)
                view = IndexView(self.index, snapshot, loaded, self._encoding, read_card(hasher))
                view.make_ready()
                return view

            self._view, self._version = self.index.load(load), index_version
            version = self._view.version
            self._say(f"index version {version.version}: {version.videos} videos by {version.hasher.name}")

    def search_clip(self, clip: Path, wanted: Wanted, filters: Filters) -> ClipHits:
        """The videos nearest to a video file.

        Raises:
            Problem: the file can't be read or is beyond the limits.
        """

        def search(view: IndexView) -> ClipHits:
            encoded = self._encode(
                clip, view, [] if view.snapshot.films is None else view.snapshot.films.cuttings
            )
            query = encoded.query
            return ClipHits(view.version, Asked.clip(query), view.nearest(query, wanted, filters))

        return self.with_present_hasher(search)

    def _encode(self, clip: Path, view: IndexView, cuttings: Sequence[Cutting]) -> EncodedClip:
        hasher = view.hasher
        hasher.check_takes_videos()
        frames = self.decoding.frames(
            clip,
            count=hasher.frames,
            longer_side=hasher.longer_side,
            square=hasher.square,
            cuttings=cuttings,
        )
        return self._encoding.encode(hasher, frames, cuttings)

    def with_present_hasher(self, work: Callable[[IndexView], Result]) -> Result:
        """Do something with the present version of the index, again if its hasher is replaced meanwhile."""
        for _ in range(SWITCHES):
            try:
                return work(self.view)
            except HasherGone:
                self._take_over_now()
        raise Problem(BUSY, "the index's hasher changes faster than a video is encoded", retry_after=5)

    def look(self, view: IndexView, row: int) -> Look:
        """Facts and pictures of a video's file.

        Raises:
            Problem: there is no file any more, or it is no video.
        """
        with self.file_of(view, row) as path:
            return self.decoding.look(path)

    def picture(self, view: IndexView, row: int, seconds: float) -> bytes:
        """What a video shows some seconds after its start, JPEG.

        Raises:
            Problem: as `look`.
        """
        with self.file_of(view, row) as path:
            return self.decoding.picture(path, seconds)

    def highest_scored(self, video: str, start: float, end: float | None) -> bytes:
        """The frames of a video, from one second to another or to its end, that the hasher's sampler scored
        highest, side by side, JPEG.

        Raises:
            Problem: as `look`; or the index has no such video, or the frames have no scores.
        """

        def draw(view: IndexView) -> bytes:
            row = view.row(video)
            until = float(view.videos.durations[row]) if end is None else end
            seconds = view.highest_scored(row, start, until, FRAMES_SIDE_BY_SIDE)
            with self.file_of(view, row) as path:
                return self.decoding.side_by_side(path, seconds)

        return self.with_present_hasher(draw)

    @contextmanager
    def file_of(self, view: IndexView, row: int) -> Iterator[Path]:
        """The file that the index names for a video; of one elsewhere a copy, which stays while the block
        lasts.

        Raises:
            Problem: it names none, or one elsewhere that can't be fetched.
        """
        path = view.videos.paths[row]
        if not path:
            raise Problem(FILE_GONE, "the index knows no file of this video")
        if not is_address(path):
            yield Path(file_of_path(path, self._project))
            return
        with ExitStack() as opened:
            try:
                copy = opened.enter_context(self._fetched.opened(path))
            except FileNotFoundError as error:
                raise Problem(FILE_GONE, "the storage that the index names has no such file") from error
            except UserError as error:
                # What storages say is for whoever has the keys to them.
                self._say(f"a video can't be shown: {error}")
                detail = "its file can't be fetched from there; the service's log says why"
                if isinstance(error, StorageAway):
                    raise Problem(STORAGE_AWAY, detail, retry_after=SECONDS_TO_STORAGE) from error
                raise Problem(FILE_GONE, detail) from error
            yield copy

    def add(self, clip: Path, video: str, labels: tuple[str, ...]) -> IndexView:
        """Put an uploaded file into the index, cut as `ssvh add` does it; it is kept in the index's folder.

        Args:
            clip: the file, which is moved.
            video: its id.
            labels: of it.

        Returns:
            The index with it.

        Raises:
            Problem: the id is taken, the file can't be read or is beyond the limits, somebody else is
                changing the index, or the service is ending.
        """
        new = Video(video, "", labels, split="database", sha256=sha256_of(clip))

        def work(view: IndexView) -> IndexView:
            if video in view.row_of:
                raise Problem(ID_TAKEN, f"the index has a video {video!r} already")
            view.hasher.check_takes_videos()
            encoded = self.uploaded.encode(clip, new, view.hasher, Path(folder))
            patience = SECONDS_FOR_A_TURN if encoded.is_film else 0.0
            self._in_turn(lambda: self._add(clip, encoded, view), patience)
            return self._changed()

        with TemporaryDirectory(dir=clip.parent, prefix=f"{clip.name}-") as folder:
            try:
                return self.with_present_hasher(work)
            except Problem as problem:
                if problem.kind is not ENDING:
                    raise
                said = f"the service is ending; {video!r} was not added, and can be added again"
                self._say(said)
                raise Problem(ENDING, said) from problem

    def _in_turn(self, change: Callable[[], None], patience: float) -> None:
        """Change the index, after somebody else if need be, for whom so many seconds are waited."""
        until = time.monotonic() + patience
        while True:
            try:
                return change()
            except Problem as problem:
                if problem.kind is not BUSY or time.monotonic() > until:
                    raise
                if self._ended.wait(SECONDS_BETWEEN_LOOKS):
                    raise Problem(ENDING, "the service is ending") from problem

    def _add(self, clip: Path, encoded: EncodedUpload, view: IndexView) -> None:
        video = encoded.video
        suffix = SUFFIXES.get(encoded.format.partition(",")[0], "")
        kept = self.folder / UPLOADS / f"{video.sha256}{suffix}"
        with self._changing, self.index.alone(_refuse_to_wait):
            snapshot = self.index.snapshot()
            if snapshot.hasher.sha256 != view.version.hasher.sha256:
                raise HasherGone(view.version.hasher.name)
            if self.index.known([video.id]):
                raise Problem(ID_TAKEN, f"the index has a video {video.id!r} already")
            one = rows_of_video(
                video,
                encoded.codes,
                encoded.spans,
                bits=snapshot.bits,
                hasher=snapshot.hasher,
                path=path_in_index(kept, self._project),
            )
            kept.parent.mkdir(parents=True, exist_ok=True)
            there = kept.exists()  # another video of the same bytes has it
            shutil.move(clip, kept)
            try:
                add_encoded(self.index, video, one, encoded.features)
            except BaseException:
                if not there:
                    kept.unlink(missing_ok=True)
                raise

    def remove(self, video: str) -> IndexView:
        """Take a video out of the index. Its file is removed if it was uploaded here.

        Returns:
            The index without it.

        Raises:
            Problem: there is no such video, or somebody else is changing the index.
        """
        view = self.view
        path = view.videos.paths[view.row(video)]
        with self._changing, self.index.alone(_refuse_to_wait):
            self.index.remove([video])
            kept = self.folder / UPLOADS / Path(path).name
            # Also as it is kept by who has another folder for the project's.
            names = {path_in_index(kept, self._project), path_in_index(kept), str(kept.resolve())}
            if path in names and names.isdisjoint(self.index.snapshot(loaded=True).whole().paths):
                kept.unlink(missing_ok=True)
        return self._changed()

    def _changed(self) -> IndexView:
        self._take_over_now()
        return self.view

    def _take_over_now(self) -> None:
        try:
            self.take_over()
        except (UserError, WorkerEnded) as error:
            raise Problem(NOT_READY, f"the index can't be taken over: {error}", retry_after=5) from error


def _refuse_to_wait(line: str) -> None:
    raise Problem(BUSY, line, retry_after=10)

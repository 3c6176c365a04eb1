"""Asking the encoder process (`encoder.py`) for codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta
from ssvh_model.moments.cutting import Cutting
from ssvh_model.moments.query import Query, QueryPart, QueryShots, unit_of
from ssvh_model.moments.shots import STEP
from tasks.serving.decoding import Frames
from tasks.serving.problems import ENDING, NO_ENCODER, NOT_READY, Problem
from tasks.serving.worker import Answer, Arrays, WorkerEnded, WorkerProcess

SECONDS_TO_LOAD = 600.0
SECONDS_TO_ENCODE = 600.0


@dataclass(frozen=True)
class LoadedHasher:
    """A hasher that the encoder process has loaded.

    Attributes:
        folder: where its files were.
        sha256: its digest.
        frames: M, that it looks at.
        longer_side, square: what `sample_frames` makes of them.
        meta: how its features are made.
        cannot: "" or why it can't encode videos.
        mean, scale: that it takes off features, [D] and [] float32 (`VideoHasher.center`).
        scores_frames: whether it has a Grade-Net.
    """

    folder: Path
    sha256: str
    frames: int
    meta: FeatureMeta
    mean: np.ndarray
    scale: np.ndarray
    scores_frames: bool
    longer_side: int | None = None
    square: int | None = None
    cannot: str = ""

    def check_takes_videos(self) -> None:
        """Refuse a video, best before it is decoded.

        Raises:
            Problem: the hasher can't encode videos.
        """
        if self.cannot:
            raise Problem(NO_ENCODER, self.cannot)


@dataclass(frozen=True)
class EncodedClip:
    """A video's code.

    Attributes:
        code: packed, [ceil(K / 8)] uint8.
        features: of its frames, [M, D] float16.
        decoded: what is known of the video.
        parts: what it is cut into, where the index has films.
    """

    code: np.ndarray
    features: np.ndarray
    decoded: Frames
    parts: Sequence[QueryPart | QueryShots] = ()

    @property
    def query(self) -> Query:
        """The same, to be searched for."""
        seen = self.decoded
        return Query(seen.seconds, self.code, self.features, self.parts, seen.total, seen.remark)


def arrays_of(cutting: Cutting) -> tuple[str, ...]:
    """Names of what the encoder process answers of a query's part."""
    return ("features", "spans" if cutting == "shots" else "firsts", "codes")


class HasherGone(Exception):
    """The hasher that was asked for is not in service any more."""


class Encoding:
    """The encoder process.

    Args:
        trust_torchscript: whether an image model that is TorchScript, a program, may run there.
    """

    def __init__(self, *, trust_torchscript: bool = False) -> None:
        self._worker = WorkerProcess("tasks.serving.encoder")
        self._trust_torchscript = trust_torchscript

    def stop(self) -> None:
        """End the process."""
        self._worker.stop()

    def load(self, folder: Path, sha256: str) -> LoadedHasher:
        """Have a hasher loaded, with its backbone.

        Raises:
            UserError: its files are gone or not what they were.
            WorkerEnded: the process does not start.
        """
        question = {
            "do": "load",
            "folder": str(folder.resolve()),
            "sha256": sha256,
            "trust_torchscript": self._trust_torchscript,
        }
        said, learnt = self._worker.ask(question, {}, seconds=SECONDS_TO_LOAD)
        # JSON has lists for tuples.
        facts: dict[str, Any] = {
            name: tuple(fact) if isinstance(fact, list) else fact for name, fact in said.pop("meta").items()
        }
        meta = FeatureMeta(**facts)
        return LoadedHasher(folder, sha256, meta=meta, mean=learnt["mean"], scale=learnt["scale"], **said)

    def encode(self, hasher: LoadedHasher, frames: Frames, cuttings: Sequence[Cutting] = ()) -> EncodedClip:
        """The code of a video.

        Args:
            hasher: that makes it.
            frames: of the video.
            cuttings: of the index's films, in the order in which their grids are among the frames.

        Raises:
            HasherGone: another hasher has taken its place for good.
            Problem: the hasher takes no videos, or the process ended.
        """
        hasher.check_takes_videos()
        question = {
            "do": "encode",
            "frames": frames.total,
            "seconds": frames.seconds,
            "cuttings": list(cuttings),
        }
        found = self._found(hasher, question, frames.arrays)
        parts: list[QueryPart | QueryShots] = []
        for number, cutting in enumerate(cuttings):
            if f"codes {number}" not in found:
                continue
            own = {name: found[f"{name} {number}"] for name in arrays_of(cutting)}
            if cutting == "shots":
                parts.append(QueryShots(STEP, **own))
            else:
                parts.append(QueryPart(cutting, cutting / hasher.frames, unit=unit_of(hasher.frames), **own))
        return EncodedClip(found["code"], found["features"], frames, parts)

    def features(self, hasher: LoadedHasher, frames: Arrays) -> np.ndarray:
        """Features of some frames of a film (`FilmFrames.batches`), [n, D] float16.

        Raises:
            HasherGone, Problem: as `encode`.
        """
        hasher.check_takes_videos()
        return self._found(hasher, {"do": "features"}, frames)["features"]

    def codes(self, hasher: LoadedHasher, features: np.ndarray) -> np.ndarray:
        """Packed codes of segments, [n, ceil(K / 8)] uint8.

        Args:
            hasher: that makes them.
            features: of the segments, [n, M, D] float16.

        Raises:
            HasherGone, Problem: as `encode`.
        """
        return self._found(hasher, {"do": "codes"}, {"features": features})["codes"]

    def soft_codes(self, hasher: LoadedHasher, features: np.ndarray) -> np.ndarray:
        """Soft codes of whole videos, [n, K] float32, as `VideoEncoder.soft_codes`.

        Raises:
            HasherGone, Problem: as `encode`.
        """
        return self._found(hasher, {"do": "soft codes"}, {"features": features})["codes"]

    def frame_scores(self, hasher: LoadedHasher, features: np.ndarray) -> np.ndarray:
        """How much the sampler likes to show each frame, [n, M], as `VideoEncoder.frame_scores`.

        Args:
            hasher: one that `scores_frames`.
            features: [n, M, D].

        Raises:
            HasherGone, Problem: as `encode`.
        """
        return self._found(hasher, {"do": "scores"}, {"features": features})["scores"]

    def _found(
        self, hasher: LoadedHasher, question: Mapping[str, Any], arrays: Arrays
    ) -> dict[str, np.ndarray]:
        """What a hasher makes of arrays; it is loaded again if the process has it no more."""
        asked = {**question, "sha256": hasher.sha256}
        try:
            said, found = self._ask_again(asked, arrays)
            if "gone" in said:  # the process is a new one, or others have been loaded since
                try:
                    self.load(hasher.folder, hasher.sha256)
                except UserError as error:
                    raise HasherGone(str(error)) from error
                said, found = self._ask_again(asked, arrays)
            if "gone" in said:
                raise HasherGone(hasher.sha256)
        except UserError as error:
            raise Problem(NO_ENCODER, str(error)) from error
        except WorkerEnded as error:
            if self._worker.stopped:
                raise Problem(ENDING, "the service is ending") from error
            raise Problem(NOT_READY, f"the encoder has ended ({error})", retry_after=5) from error
        return found

    def _ask_again(self, question: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Ask; once more where the process was ended meanwhile, such as by a system that is short of
        memory.
        """
        try:
            return self._worker.ask(question, arrays, seconds=SECONDS_TO_ENCODE)
        except WorkerEnded as error:
            if error.too_slow:
                raise
            return self._worker.ask(question, arrays, seconds=SECONDS_TO_ENCODE)

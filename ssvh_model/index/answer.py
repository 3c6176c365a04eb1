"""The answer to a search: `ssvh search --json` prints it, and `POST /search` of the service sends it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssvh_model.errors import UserError
from ssvh_model.index.hex_codes import code_to_hex
from ssvh_model.index.hit import SECONDS_DIGITS, Hit
from ssvh_model.index.index import IndexSnapshot
from ssvh_model.moments.query import Query


@dataclass(frozen=True)
class Question:
    """What to search for: one of a video file, a video of the index, and a code.

    Attributes:
        video: the file.
        id: of a video of the index; it is not among what is found.
        start: with an id: second at which the segment begins that is searched for, where the video has
            several; otherwise its first one.
        code: of the index's hasher, in hexadecimal digits.

    Raises:
        UserError: it is none of them, or several.
    """

    video: Path | None = None
    id: str | None = None
    start: float = 0.0
    code: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("video", "id", "code") if getattr(self, name) is not None]
        if len(given) != 1:
            raise UserError(
                f"allowed is one of a video, an id and a code; found {' and '.join(given) or 'none of them'}"
            )


@dataclass(frozen=True)
class Hasher:
    """Which hasher made the codes.

    Attributes:
        name: for people.
        model, version: in the registry; "" for a hasher out of a folder.
        sha256: digest of its files.
    """

    name: str
    model: str
    version: str
    sha256: str


@dataclass(frozen=True)
class IndexVersion:
    """What an answer was made from.

    Attributes:
        version: of the index; another one after every change.
        videos: how many it has.
        bits: K.
        hasher: that made its codes.
    """

    version: str
    videos: int
    bits: int
    hasher: Hasher

    @classmethod
    def of(cls, snapshot: IndexSnapshot) -> IndexVersion:
        """The version that a snapshot is of."""
        pointer, made = snapshot.pointer, snapshot.hasher
        return cls(
            f"{pointer.generation}-{pointer.changes}",
            snapshot.videos,
            snapshot.bits,
            Hasher(made.name, made.model, made.version, made.sha256),
        )


@dataclass(frozen=True)
class Asked:
    """What was searched for.

    Attributes:
        kind: of the question.
        id: of the video, if it is one of the index.
        code: in hexadecimal digits.
        frames, seconds: of a clip.
        remark: "" or what is wrong with the clip.
    """

    kind: Literal["clip", "id", "code"]
    code: str
    id: str = ""
    frames: int = 0
    seconds: float = 0.0
    remark: str = ""

    @classmethod
    def clip(cls, query: Query) -> Asked:
        """A video file."""
        code, seconds = code_to_hex(query.code), round(query.seconds, SECONDS_DIGITS)
        return cls("clip", code, "", query.frames, seconds, query.remark)

    @classmethod
    def stored(cls, query: Query, video: str | None) -> Asked:
        """A video of the index, or a code where that is None."""
        return cls("code" if video is None else "id", code_to_hex(query.code), video or "")


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        index: the version that has answered; question, codes and hasher are all of it.
        query: what was searched for.
        hits: nearest first, equally near ones in the order of the index.
        seconds: that it took, from the moment when the whole question was there.
    """

    index: IndexVersion
    query: Asked
    hits: list[Hit]
    seconds: float

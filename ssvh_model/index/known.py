"""What an index says of a video that is to be added again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ssvh_model.errors import UserError


@dataclass(frozen=True)
class Known:
    """A video of an index.

    Attributes:
        label: several joined by "|"; "" if unknown.
        path: of its file, as the index has it; "" if unknown.
        sha256: hex digest of the file that it was added from; None if unknown.
    """

    label: str
    path: str
    sha256: str | None


def id_taken(index: str, video: str) -> UserError:
    """That an index has a video of the same id, with the command, as a shell takes it, that takes it out.

    Args:
        index: name of the index.
        video: the id.
    """
    given = f"{'-- ' if video.startswith('-') else ''}{shlex.quote(video)}"
    return UserError(f"{index}: has a video {video!r} already; `ssvh remove {given}` takes it out")

"""What an index says of a video that is to be added again."""

from __future__ import annotations

from dataclasses import dataclass


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

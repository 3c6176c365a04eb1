"""What the service lets strangers cost it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits on uploads and on the files of the index.

    Attributes:
        megabytes: of an upload.
        seconds: of an uploaded video.
        uploads: at once.
        upload_seconds: by the clock, until the whole upload is there.
        decode_seconds: of processor time for one video, or for a minute of a film that is cut; by the clock
            it may be `PATIENCE` times as much.
        decode_megabytes: of memory for decoding.
        fetched_megabytes: of copies of videos that are elsewhere, all together.
    """

    megabytes: int = 200
    seconds: int = 1800
    uploads: int = 2
    upload_seconds: int = 600
    decode_seconds: int = 60
    decode_megabytes: int = 1024
    fetched_megabytes: int = 1000

    def film_decode_seconds(self, seconds: float) -> int:
        """Processor time for so many seconds of a film, of which every frame is decoded."""
        return self.decode_seconds * max(1, math.ceil(seconds / 60))


PATIENCE = 5  # a machine with other work takes so many times as long by the clock

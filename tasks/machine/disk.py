"""Telling a full disk from a fault in the program."""

from __future__ import annotations

import errno
import os
import shutil

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# h5py, safetensors and SQLite say it in words only.
WORDS = ("no space left on device", "disk is full", "disk quota exceeded", "file too large")


def disk_full(error: BaseException | None) -> str | None:
    """What to tell a person if an exception, or one that led to it, comes from a full disk; else None."""
    seen = 0
    while error is not None and seen < 20:
        full = isinstance(error, OSError) and error.errno in FULL
        if full or any(word in str(error).lower() for word in WORDS):
            named = getattr(error, "filename", None)
            free = shutil.disk_usage(os.getcwd()).free // 2**20
            return (
                f"{named or os.getcwd()}: the disk is full ({free} MiB free); what is done so far is kept, "
                "the last checkpoint too: free some space and start it again"
            )
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None

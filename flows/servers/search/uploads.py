"""Taking a file in: so many at once, so large, and so slow."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import Request
from starlette.requests import ClientDisconnect

from ssvh_model.scratch import scratch_folder
from tasks.serving.limits import Limits
from tasks.serving.problems import TOO_LARGE, TOO_MANY, TOO_SLOW, UNREADABLE_VIDEO, WRONG_TYPE, Problem

MEGABYTE = 10**6
# Of an upload that is refused so much is read and dropped: a client that is still sending would not see why
# otherwise.
DROPPED_BYTES = 32 * MEGABYTE
DROPPED_SECONDS = 5.0
TYPES = ("video/", "application/octet-stream", "image/gif")


class Uploads:
    """Files on their way in. Each is in a folder that goes with this process, under a name that is not the
    client's.

    Attributes:
        now: how many there are.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="uploads-", dir=scratch_folder())
        self.now = 0

    def close(self) -> None:
        """Remove what is left."""
        self._folder.cleanup()

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Path]:
        """The request's body as a file, which is gone after the block; the upload counts until then.

        Raises:
            Problem: it is beyond a limit.
        """
        try:
            self._check(request)
        except Problem:
            await _drop(request)
            raise
        self.now += 1
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as file:
                path = Path(file.name)
            try:
                await self._receive(request, path)
                yield path
            finally:
                path.unlink(missing_ok=True)
        finally:
            self.now -= 1

    def _check(self, request: Request) -> None:
        kind = request.headers.get("content-type", "application/octet-stream")
        if not kind.lower().startswith(TYPES):
            raise Problem(
                WRONG_TYPE,
                f"the body is {kind}; allowed are video/* and application/octet-stream, to search also application/json",
            )
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limits.megabytes * MEGABYTE:
            raise self._too_large()
        if self.now >= self._limits.uploads:
            raise Problem(
                TOO_MANY, f"{self.now} uploads are being worked on, which is what is allowed", retry_after=2
            )

    def _too_large(self) -> Problem:
        allowed = f"allowed are {self._limits.megabytes} MB, and more with `ssvh serve --megabytes`"
        return Problem(TOO_LARGE, allowed)

    async def _receive(self, request: Request, path: Path) -> None:
        size = 0
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                with open(path, "wb") as file:
                    async for chunk in request.stream():
                        size += len(chunk)
                        if size > self._limits.megabytes * MEGABYTE:
                            raise self._too_large()
                        file.write(chunk)
        except TimeoutError as error:
            raise Problem(
                TOO_SLOW, f"it was not there after {self._limits.upload_seconds} seconds"
            ) from error
        except ClientDisconnect as error:
            raise Problem(UNREADABLE_VIDEO, "the upload was broken off") from error
        if not size:
            raise Problem(UNREADABLE_VIDEO, "the body is empty; send the video file as it is")


async def _drop(request: Request) -> None:
    dropped = 0
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(DROPPED_SECONDS):
            async for chunk in request.stream():
                dropped += len(chunk)
                if dropped > DROPPED_BYTES:
                    return

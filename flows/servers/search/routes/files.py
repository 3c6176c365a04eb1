"""The files of the index's videos."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from flows.servers.search.parts import Parts, in_thread
from flows.servers.search.problem_json import ProblemResponse
from ssvh_model.files import check_regular
from tasks.serving.decoding import Look
from tasks.serving.problems import FILE_GONE, WRONG_RANGE, Problem

# What FFmpeg calls a container, and what a browser does.
MEDIA_TYPES = {
    "mov": "video/mp4",
    "matroska": "video/webm",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "ogg": "video/ogg",
    "flv": "video/x-flv",
    "gif": "image/gif",
}


def file_routes(parts: Parts) -> APIRouter:
    """`/files`."""
    router = APIRouter(tags=["videos"])
    service = parts.service

    @router.head("/files/{id:path}", include_in_schema=False)
    @router.get("/files/{id:path}", response_class=FileResponse)
    async def file(id: str) -> VideoFile:
        """The video's file, also parts of it (Range). What is no video is not given out, whatever the index
        says.
        """
        view = service.view
        row = view.row(id)

        def open_file() -> tuple[Path, Look, ExitStack]:
            with ExitStack() as opened:
                path = opened.enter_context(service.file_of(view, row))
                seen = service.decoding.look(path)
                try:
                    check_regular(path)
                except OSError as error:
                    raise Problem(FILE_GONE, f"its file can't be read: {error.strerror}") from error
                return path, seen, opened.pop_all()

        path, seen, opened = await in_thread(open_file, limiter=parts.decoding)
        kind = MEDIA_TYPES.get(seen.format.partition(",")[0], "application/octet-stream")
        name = id.rpartition("/")[2] + PurePath(view.videos.paths[row]).suffix
        return VideoFile(
            path,
            opened,
            media_type=kind,
            filename=re.sub(r"[^\w.-]", "_", name),
            content_disposition_type="inline",
        )

    return router


class VideoFile(FileResponse):
    """A file, whole or in part; a part that it does not have is a problem.

    Args:
        path: of the file.
        opened: is closed when it has been sent.
        given: to `FileResponse`.
    """

    def __init__(self, path: Path, opened: ExitStack, **given: Any) -> None:
        super().__init__(path, **given)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._opened:
            await self._send(scope, receive, send)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def send_or_refuse(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = True
                problem = Problem(
                    WRONG_RANGE, f"the range {Headers(scope=scope).get('range')!r} is none of this file"
                )
                response = ProblemResponse(problem)
                if "content-range" in (headers := Headers(raw=message["headers"])):
                    response.headers["Content-Range"] = headers["content-range"]
                await response(scope, receive, send)
            elif not refused:
                await send(message)

        await super().__call__(scope, receive, send_or_refuse)

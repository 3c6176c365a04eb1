"""The videos of the index: their facts, pictures and files, and changing what is in it."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from flows.servers.search.parts import Filtered, Parts, in_thread
from flows.servers.search.problem_json import ProblemResponse
from ssvh_model.files import check_regular
from ssvh_model.index.answer import IndexVersion
from ssvh_model.index.hit import VideoFacts
from tasks.index.free_ids import has_dot_part
from tasks.serving.decoding import Look
from tasks.serving.problems import BAD_REQUEST, FILE_GONE, WRONG_RANGE, Problem

MOST_LISTED = 500
LONGEST_ID = 200
LONGEST_LABEL = 200
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
IMMUTABLE = {"Cache-Control": "private, max-age=3600"}


@dataclass(frozen=True)
class Listed:
    """Some of the videos.

    Attributes:
        index: the version that has answered.
        total: how many there are, on all pages.
        offset: how many come before these.
        videos: in the order of the index.
    """

    index: IndexVersion
    total: int
    offset: int
    videos: list[VideoFacts]


@dataclass(frozen=True)
class FileFacts:
    """What a look at a video's file has told.

    Attributes:
        frames: that decode.
        seconds: of the video.
        width, height: in pixels, as shown.
        megabytes: of the file.
        remark: "" or what is wrong with it.
    """

    frames: int
    seconds: float
    width: int
    height: int
    megabytes: float
    remark: str


@dataclass(frozen=True)
class Described:
    """All that is known of a video.

    Attributes:
        index: the version that has answered.
        video: as the index knows it.
        spans: seconds at which what has a code of its own starts and ends, ascending: each of its segments,
            or all of it.
        file: None where it is not there or can't be read.
        no_file: "" or why not.
    """

    index: IndexVersion
    video: VideoFacts
    spans: list[tuple[float, float]]
    file: FileFacts | None
    no_file: str


@dataclass(frozen=True)
class Changed:
    """The index after a change.

    Attributes:
        index: the version that the change has made, or a later one.
        id: of the video that was added or removed.
    """

    index: IndexVersion
    id: str


@dataclass(frozen=True)
class FilmUnderWay:
    """An uploaded film that is being cut into segments.

    Attributes:
        id: that it is to have.
        share: of it that is decoded and encoded, 0 to 1.
    """

    id: str
    share: float


@dataclass(frozen=True)
class Additions:
    """What is being added; a video that stays whole takes no time worth telling.

    Attributes:
        films: none, or one: they are cut one at a time.
    """

    films: list[FilmUnderWay]


def video_routes(parts: Parts) -> APIRouter:
    """`/videos`, `/additions`, `/thumbnails`, `/previews` and `/files`. Ids may hold slashes, so they come
    last.
    """
    router = APIRouter(tags=["videos"])
    service = parts.service

    async def look(video: str) -> Look:
        view = service.view
        return await in_thread(service.look, view, view.row(video), limiter=parts.decoding)

    @router.get("/videos")
    async def videos(
        filters: Filtered,
        offset: Annotated[int, Query(ge=0)] = 0,
        count: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    ) -> Listed:
        """List the videos of the index, page by page. `max_distance` means nothing here."""
        view = service.view

        def listed() -> Listed:
            kept = view.rows(filters)
            rows = view.first_rows if kept is None else np.intersect1d(view.first_rows, kept)
            chosen = rows[offset : offset + count].tolist()
            return Listed(view.version, len(rows), offset, [view.facts(row) for row in chosen])

        return await in_thread(listed)

    @router.post("/videos", status_code=201, dependencies=[Depends(parts.changing)], openapi_extra=FILE_BODY)
    async def add(
        request: Request,
        response: Response,
        id: Annotated[str, Query(min_length=1, max_length=LONGEST_ID)],
        label: Annotated[list[str] | None, Query()] = None,
    ) -> Changed:
        """Add a video: the file is the body. It is kept in the index's folder, under a name of its own.

        It is cut as `index.segments` says. A film of hours takes minutes, and is added also if nobody waits
        for the answer.
        """
        labels = tuple(dict.fromkeys(label or ()))
        for text in (id, *labels):
            if not text.isprintable() or not text.strip() or len(text) > LONGEST_LABEL:
                raise Problem(
                    BAD_REQUEST, f"{text!r}: allowed are 1 to {LONGEST_LABEL} characters that can be printed"
                )
        if has_dot_part(id):
            raise Problem(
                BAD_REQUEST,
                f"{id!r}: allowed are ids without the parts '.' and '..', which no address can have",
            )
        if any("|" in text for text in labels):
            raise Problem(BAD_REQUEST, "a label holds '|', which stands between labels")
        async with parts.uploads.received(request) as clip:
            view = await in_thread(service.add, clip, id, labels)
        return Changed(view.version, id)

    @router.get("/additions")
    async def additions() -> Additions:
        """How far films are that are being added."""
        under_way = dict(service.uploaded.films)
        return Additions([FilmUnderWay(id, round(share, 3)) for id, share in under_way.items()])

    @router.get("/videos/{id:path}")
    async def video(id: str) -> Described:
        """All that is known of a video, its file among it."""
        view = service.view
        row = view.row(id)
        file, why = None, ""
        try:
            seen = await in_thread(service.look, view, row, limiter=parts.decoding)
            file = FileFacts(
                seen.frames,
                round(seen.seconds, 3),
                seen.width,
                seen.height,
                round(seen.size / 1e6, 3),
                seen.remark,
            )
        except Problem as problem:
            why = problem.detail
        return Described(view.version, view.facts(row), view.spans(row), file, why)

    @router.delete("/videos/{id:path}", dependencies=[Depends(parts.changing)])
    async def remove(id: str) -> Changed:
        """Take a video out of the index. Its file goes, too, if it was added through this service."""
        view = await in_thread(service.remove, id)
        return Changed(view.version, id)

    @router.get("/thumbnails/{id:path}", response_class=Response, responses=_pictures("image/jpeg"))
    async def thumbnail(
        id: str, at: Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="Seconds.")] = None
    ) -> Response:
        """The frame in the middle of a video, or at a moment, JPEG."""
        if at is None:
            picture = (await look(id)).thumbnail
        else:
            view = service.view
            picture = await in_thread(service.picture, view, view.row(id), at, limiter=parts.decoding)
        return Response(picture, media_type="image/jpeg", headers=IMMUTABLE)

    @router.get("/previews/{id:path}", response_class=Response, responses=_pictures("image/webp"))
    async def preview(id: str) -> Response:
        """Twelve frames of a video, evenly in time, as a moving picture, WebP; for videos that a browser
        can't play.
        """
        return Response((await look(id)).preview, media_type="image/webp", headers=IMMUTABLE)

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


FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("video/*", "application/octet-stream")
        },
    }
}


def _pictures(kind: str) -> dict[int | str, dict[str, object]]:
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}

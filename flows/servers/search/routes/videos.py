"""The videos of the index: their facts, and changing what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from flows.servers.search.parts import Filtered, Parts, in_thread
from ssvh_model.index.answer import IndexVersion
from ssvh_model.index.hit import VideoFacts
from tasks.index.free_ids import has_dot_part
from tasks.serving.problems import BAD_REQUEST, Problem

MOST_LISTED = 500
LONGEST_ID = 200
LONGEST_LABEL = 200


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
    """`/videos` and `/additions`. Ids may hold slashes, so they come last."""
    router = APIRouter(tags=["videos"])
    service = parts.service

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

    return router


FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("video/*", "application/octet-stream")
        },
    }
}

"""What videos of the index look like."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from flows.servers.search.parts import Parts, in_thread
from tasks.serving.decoding import Look

IMMUTABLE = {"Cache-Control": "private, max-age=3600"}

Second = Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="Seconds.")]


def picture_routes(parts: Parts) -> APIRouter:
    """`/thumbnails`, `/frames` and `/previews`. Ids may hold slashes, so they come last."""
    router = APIRouter(tags=["videos"])
    service = parts.service

    async def look(video: str) -> Look:
        view = service.view
        return await in_thread(service.look, view, view.row(video), limiter=parts.decoding)

    @router.get("/thumbnails/{id:path}", response_class=Response, responses=_pictures("image/jpeg"))
    async def thumbnail(id: str, at: Second = None) -> Response:
        """The frame in the middle of a video, or at a moment, JPEG."""
        if at is None:
            picture = (await look(id)).thumbnail
        else:
            view = service.view
            picture = await in_thread(service.picture, view, view.row(id), at, limiter=parts.decoding)
        return Response(picture, media_type="image/jpeg", headers=IMMUTABLE)

    @router.get("/frames/{id:path}", response_class=Response, responses=_pictures("image/jpeg"))
    async def highest_scored(id: str, start: Second = None, end: Second = None) -> Response:
        """The three frames of a video, or of a moment in it, that the sampler scored highest with which the
        hasher was trained, side by side, JPEG.

        There are none of a video whose frame features are not stored, and none by a hasher that was trained
        without such a sampler (`scores_frames` of `/index`).
        """
        picture = await in_thread(service.highest_scored, id, start or 0.0, end, limiter=parts.decoding)
        return Response(picture, media_type="image/jpeg", headers=IMMUTABLE)

    @router.get("/previews/{id:path}", response_class=Response, responses=_pictures("image/webp"))
    async def preview(id: str) -> Response:
        """Twelve frames of a video, evenly in time, as a moving picture, WebP; for videos that a browser
        can't play.
        """
        return Response((await look(id)).preview, media_type="image/webp", headers=IMMUTABLE)

    return router


def _pictures(kind: str) -> dict[int | str, dict[str, object]]:
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}

"""The application: the HTTP interface and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline

from flows.servers.search.guards import Guards, token_needed
from flows.servers.search.measuring import Measures, Measuring
from flows.servers.search.parts import Parts
from flows.servers.search.problem_json import RESPONSES, add_problems
from flows.servers.search.routes.about import about_routes
from flows.servers.search.routes.duplicates import duplicate_routes
from flows.servers.search.routes.files import file_routes
from flows.servers.search.routes.pictures import picture_routes
from flows.servers.search.routes.search import search_routes
from flows.servers.search.routes.videos import video_routes
from flows.servers.search.uploads import Uploads
from tasks.serving.service import SearchService

PAGE = Path(__file__).parent / "page"


def search_app(service: SearchService, *, token: str, only_loopback: bool) -> FastAPI:
    """An ASGI application; it starts and stops the service with itself.

    Args:
        service: that is asked.
        token: that changes need.
        only_loopback: it listens on loopback, so that requests to other hosts are refused.
    """
    uploads = Uploads(service.limits)
    measures = Measures(service, uploads)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            service.stop()
            uploads.close()

    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="Video search",
        summary="Near videos by their binary codes.",
        lifespan=lifespan,
        responses=RESPONSES,
    )
    add_problems(app)
    parts = Parts(service, uploads, token_needed(token))
    for router in (
        search_routes(parts),
        video_routes(parts),
        picture_routes(parts),
        file_routes(parts),
        duplicate_routes(parts),
        about_routes(parts, measures),
    ):
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    app.add_middleware(Guards, only_loopback=only_loopback)
    app.add_middleware(Measuring, measures=measures)
    return app

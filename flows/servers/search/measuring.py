"""What Prometheus is told: requests by address and status, how long they took, and how the service is."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.servers.search.uploads import Uploads
from tasks.serving.service import SearchService

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
NO_ROUTE = "none"
METHODS, OTHER = (
    ("GET", "HEAD", "POST", "PUT", "DELETE"),
    "other",
)  # a client may think up any number of others
BROKEN_OFF = "499"  # the client had gone before there was an answer


class Measures:
    """The service's own measures, apart from those of other parts of the process.

    Args:
        service: that is measured.
        uploads: on their way in.
    """

    def __init__(self, service: SearchService, uploads: Uploads) -> None:
        self.registry = CollectorRegistry()
        self._service = service
        self._requests = Counter(
            "ssvh_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "ssvh_request_seconds",
            "Seconds from a request to the end of its answer.",
            ("method", "route"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._index = Gauge(
            "ssvh_index_info",
            "The index version that answers, and its hasher.",
            ("version", "hasher", "sha256"),
            registry=self.registry,
        )
        for name, said, value in (
            (
                "ssvh_index_videos",
                "Videos in the index.",
                lambda: service.view.version.videos if service.ready else 0,
            ),
            ("ssvh_uploads", "Uploads that are being worked on.", lambda: uploads.now),
            (
                "ssvh_decoders_ended",
                "Decoder processes that a file has ended.",
                lambda: service.decoding.deaths,
            ),
        ):
            Gauge(name, said, registry=self.registry).set_function(value)

    def page(self) -> bytes:
        """All measures, as Prometheus reads them."""
        self._index.clear()
        if self._service.ready:
            version = self._service.view.version
            self._index.labels(version.version, version.hasher.name, version.hasher.sha256).set(1)
        return generate_latest(self.registry)

    def answered(self, scope: Scope, status: str, seconds: float) -> None:
        """Count an answer."""
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)


class Measuring:
    """Counts every answer.

    Args:
        app: whose answers are counted.
        measures: that count them.
    """

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = BROKEN_OFF, time.perf_counter()

        async def look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, look)
        finally:
            self._measures.answered(scope, status, time.perf_counter() - began)

"""What the service says of itself: its index and hasher, a map of the videos, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from flows.servers.search.measuring import Measures
from flows.servers.search.parts import Parts, in_thread
from flows.servers.search.routes.search import MOST_HITS
from ssvh_model.index.answer import IndexVersion
from tasks.serving.limits import Limits

SHOWN_LABELS = 500


@dataclass(frozen=True)
class Label:
    """A label and how many videos have it."""

    label: str
    videos: int


@dataclass(frozen=True)
class About:
    """The index, and what may be asked of the service.

    Attributes:
        index: the version that answers now.
        exact: False if a search looks into some cells only.
        films: True if some videos are cut into segments that are found by themselves.
        longest: seconds of the longest video.
        labels: the most frequent first.
        takes_clips: False if only codes and videos of the index can be searched for.
        no_clips: "" or why not.
        scores_frames: True if the frames that the hasher's sampler scored highest are at `/frames`.
        has_card: True if there is a model card, at `/hasher/card`.
        limits: on uploads.
        most_hits: that a search gives.
    """

    index: IndexVersion
    exact: bool
    films: bool
    longest: float
    labels: list[Label]
    takes_clips: bool
    no_clips: str
    scores_frames: bool
    has_card: bool
    limits: Limits
    most_hits: int


@dataclass(frozen=True)
class Card:
    """A hasher's model card.

    Attributes:
        markdown: as it was written; "" if there is none.
        html: the same to be shown; it holds no scripts, and nothing from elsewhere.
    """

    markdown: str
    html: str


@dataclass(frozen=True)
class Map:
    """The videos in the plane: near codes are near each other.

    Attributes:
        index: the version that has answered.
        labels: that the points name.
        ids: of the videos.
        x, y: where they are; one entry a video, as in `label` and `cluster`.
        label: place in `labels`, of the video's first one; -1 if it has none.
        cluster: of near codes (k-means), from 0, the largest first.
    """

    index: IndexVersion
    labels: list[str]
    ids: list[str]
    x: list[float]
    y: list[float]
    label: list[int]
    cluster: list[int]


@dataclass(frozen=True)
class Ready:
    """The service can answer."""

    status: Literal["ready"]
    index: IndexVersion


def about_routes(parts: Parts, measures: Measures) -> APIRouter:
    """`/index`, `/hasher/card`, `/map`, `/health`, `/ready` and `/metrics`."""
    router = APIRouter(tags=["about"])
    service = parts.service

    @router.get("/index")
    async def index() -> About:
        """The index, its hasher, its labels and the limits on uploads."""
        view = service.view

        def about() -> About:
            labels = [Label(label, videos) for label, videos in list(view.labels.items())[:SHOWN_LABELS]]
            cannot = view.hasher.cannot
            exact, films = view.snapshot.cells is None, view.snapshot.films is not None
            return About(
                view.version,
                exact,
                films,
                view.longest,
                labels,
                not cannot,
                cannot,
                view.hasher.scores_frames,
                bool(view.card),
                service.limits,
                MOST_HITS,
            )

        return await in_thread(about)

    @router.get("/hasher/card")
    async def card() -> Card:
        """The hasher's model card, if the index has one."""
        text = service.view.card
        return Card(text, await in_thread(_shown, text))

    @router.get("/map")
    async def map() -> Map:
        """Where the videos are in the plane (principal components of their codes), and in which clusters; of
        many, thousands evenly chosen.
        """
        view = service.view

        def made() -> Map:
            drawn = view.map
            rows = drawn.rows.tolist()
            names = list(view.labels)
            number = {label: place for place, label in enumerate(names)}
            first = [view.videos.labels[row].partition("|")[0] for row in rows]
            return Map(
                view.version,
                names,
                [view.videos.ids[row] for row in rows],
                [round(x, 3) for x in drawn.places[:, 0].tolist()],
                [round(y, 3) for y in drawn.places[:, 1].tolist()],
                [number.get(label, -1) for label in first],
                drawn.clusters.tolist(),
            )

        return await in_thread(made)

    @router.get("/health")
    async def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    @router.get("/ready")
    async def ready() -> Ready:
        """An index is loaded, and with it its hasher."""
        return Ready("ready", service.view.version)

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(measures.page(), media_type=CONTENT_TYPE_LATEST)

    return router


def _shown(markdown: str) -> str:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    # Its pictures are in the registry, not here; what they show stays.
    reader.add_render_rule(
        "image", lambda renderer, tokens, place, options, env: escape(tokens[place].content)
    )
    return str(reader.render(markdown))

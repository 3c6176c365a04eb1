"""Groups of near-duplicates, and what people decide about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from flows.servers.search.parts import Parts, in_thread
from ssvh_model.index.answer import IndexVersion
from ssvh_model.index.hit import VideoFacts
from tasks.serving.decisions import PairDecision, Verdict, pair
from tasks.serving.problems import BAD_REQUEST, Problem
from tasks.serving.view import IndexView

MOST_GROUPS = 100
MOST_OF_A_GROUP = 200


@dataclass(frozen=True)
class Candidate(VideoFacts):
    """A video that may be a duplicate of the first one of its group.

    Attributes:
        distance: bits between the two.
        decision: None while nobody has decided about the two.
    """

    distance: int
    decision: Verdict | None


@dataclass(frozen=True)
class Group:
    """Near-duplicates: each is at most `radius` bits from another one.

    Attributes:
        number: from 1, the largest group first.
        size: how many there are, the first among them.
        first: what the others are compared with.
        candidates: the others, nearest first; of large groups some.
    """

    number: int
    size: int
    first: VideoFacts
    candidates: list[Candidate]


@dataclass(frozen=True)
class Groups:
    """Some of the groups.

    Attributes:
        index: the version that has answered.
        radius: bits.
        total: how many groups there are.
        videos: how many videos are in groups.
        offset: how many groups come before these.
        groups: the largest first.
    """

    index: IndexVersion
    radius: int
    total: int
    videos: int
    offset: int
    groups: list[Group]


class NewDecision(BaseModel):
    """What somebody has decided about two videos.

    Attributes:
        first, second: their ids, in any order.
        decision: None takes back what was decided.
    """

    model_config = ConfigDict(extra="forbid")

    first: str
    second: str
    decision: Verdict | None


@dataclass(frozen=True)
class AllDecisions:
    """What was decided so far, by pair."""

    decisions: list[PairDecision]


def duplicate_routes(parts: Parts) -> APIRouter:
    """`/duplicates` and `/duplicates/decisions`."""
    router = APIRouter(tags=["duplicates"])
    service = parts.service

    @router.get("/duplicates")
    async def duplicates(
        radius: Annotated[int, Query(ge=0, description="Bits by which near-duplicates may differ.")] = 3,
        offset: Annotated[int, Query(ge=0)] = 0,
        count: Annotated[int, Query(ge=1, le=MOST_GROUPS)] = 20,
    ) -> Groups:
        """Groups of near-duplicates with what was decided about them."""
        view = service.view
        if radius > view.version.bits:
            raise Problem(BAD_REQUEST, f"radius is {radius}; codes have {view.version.bits} bits")

        def found() -> Groups:
            groups = view.duplicates(radius)
            decisions = service.decisions.counting(view.known)
            shown = [
                _group(view, offset + number, rows, decisions)
                for number, rows in enumerate(groups[offset : offset + count], start=1)
            ]
            videos = sum(map(len, groups))
            return Groups(view.version, radius, len(groups), videos, offset, shown)

        return await in_thread(found, limiter=parts.comparing)

    @router.get("/duplicates/decisions")
    async def decisions() -> AllDecisions:
        """All decisions, to take away, also those about files that the index no longer has."""
        found = await in_thread(service.decisions.read)
        return AllDecisions([found[key] for key in sorted(found)])

    @router.put("/duplicates/decisions", dependencies=[Depends(parts.changing)])
    async def decide(new: NewDecision) -> AllDecisions:
        """Decide about two videos of the index; the answer is what was decided about them, if anything."""
        view = service.view
        for video in (new.first, new.second):
            view.row(video)
        if new.first == new.second:
            raise Problem(BAD_REQUEST, "first and second are the same video")

        def made() -> PairDecision | None:
            known = view.known([new.first, new.second])
            return service.decisions.decide(new.first, new.second, new.decision, known)

        decided = await in_thread(made)
        return AllDecisions([decided] if decided is not None else [])

    return router


def _group(
    view: IndexView, number: int, rows: np.ndarray, decisions: dict[tuple[str, str], PairDecision]
) -> Group:
    first = view.facts(int(rows[0]))
    others = rows[1 : MOST_OF_A_GROUP + 1]
    distances = view.distances(int(rows[0]), others)
    candidates = []
    for row, distance in sorted(zip(others.tolist(), distances, strict=True), key=lambda one: one[1]):
        facts = view.facts(row)
        decided = decisions.get(pair(first.id, facts.id))
        verdict = None if decided is None else decided.decision
        candidates.append(Candidate(**vars(facts), distance=distance, decision=verdict))
    return Group(number, len(rows), first, candidates)

"""What the routes are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Query

from flows.servers.search.uploads import Uploads
from tasks.serving.decoding import DECODERS
from tasks.serving.service import SearchService
from tasks.serving.view import Filters

Result = TypeVar("Result")


@dataclass(frozen=True)
class Parts:
    """What the routes share.

    Attributes:
        service: that is asked.
        uploads: on their way in.
        changing: a dependency that lets only those through who know the token.
        decoding: whoever waits for a decoder process waits here, not in a thread that searches need.
        comparing: one search for duplicates at a time.
    """

    service: SearchService
    uploads: Uploads
    changing: Callable[..., Any]
    decoding: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2 * DECODERS))
    comparing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))


async def in_thread(
    work: Callable[..., Result], *given: object, limiter: CapacityLimiter | None = None
) -> Result:
    """Do something that takes a while without keeping other requests waiting."""
    return await to_thread.run_sync(partial(work, *given), limiter=limiter)


# Not a plain function: FastAPI runs these in threads, each of which a question would wait for.
async def _filters(
    label: Annotated[list[str] | None, Query(description="Videos with one of these labels.")] = None,
    min_seconds: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_seconds: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_distance: Annotated[int | None, Query(ge=0, description="In bits.")] = None,
    text: Annotated[str, Query(max_length=200, description="Part of the id, whatever the case.")] = "",
) -> Filters:
    return Filters(tuple(label or ()), min_seconds, max_seconds, max_distance, text)


Filtered = Annotated[Filters, Depends(_filters)]

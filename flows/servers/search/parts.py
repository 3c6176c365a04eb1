"""What the routes are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Query
from pydantic import WithJsonSchema

from flows.servers.search.uploads import Uploads
from ssvh_model.index.filters import LONGEST_TEXT, Filters
from tasks.serving.decoding import DECODERS
from tasks.serving.service import SearchService

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


def _number(kind: str) -> WithJsonSchema:
    """What the interface's description says of a filter; `Filters.parse` reads it, as for the command."""
    return WithJsonSchema({"type": kind, "minimum": 0})


# Not a plain function: FastAPI runs these in threads, each of which a question would wait for.
async def _filters(
    label: Annotated[list[str] | None, Query(description="Videos with one of these labels.")] = None,
    min_seconds: Annotated[str | None, _number("number"), Query()] = None,
    max_seconds: Annotated[str | None, _number("number"), Query()] = None,
    max_distance: Annotated[str | None, _number("integer"), Query(description="In bits.")] = None,
    text: Annotated[
        str,
        Query(
            description="Part of the id, whatever the case.", json_schema_extra={"maxLength": LONGEST_TEXT}
        ),
    ] = "",
) -> Filters:
    return Filters.parse(label, min_seconds, max_seconds, max_distance, text)


Filtered = Annotated[Filters, Depends(_filters)]

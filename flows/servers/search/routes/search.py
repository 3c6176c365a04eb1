"""Searching: by a clip, by a video of the index, or by a code."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from flows.servers.search.parts import Filtered, Parts, in_thread
from ssvh_model.index.answer import Answer, Question
from ssvh_model.index.filters import Filters, Wanted
from ssvh_model.moments.matching import Group
from ssvh_model.moments.rerank import Rerank
from tasks.serving.problems import BAD_REQUEST, OTHER_HASHER, Problem
from tasks.serving.view import IndexView

MOST_HITS = 500
LARGEST_QUESTION = 16_384  # bytes of JSON


class StoredQuestion(BaseModel):
    """What to search for where it is no clip: one of the two.

    Attributes:
        id: of a video of the index; it is not among what is found.
        start: with an id: second at which the segment begins that is searched for, where the video has
            several; otherwise its first one.
        code: in hexadecimal digits.
        hasher: digest of the one that made the code; if the index's is another by now, the question is
            refused.
    """

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    start: float = 0.0
    code: str | None = None
    hasher: str | None = None

    @model_validator(mode="after")
    def _one(self) -> StoredQuestion:
        if (self.id is None) == (self.code is None):
            raise ValueError("allowed is either an id or a code")
        return self


BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "video/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": StoredQuestion.model_json_schema()},
        },
    }
}


def search_routes(parts: Parts) -> APIRouter:
    """`POST /search`."""
    router = APIRouter(tags=["search"])

    @router.post("/search", openapi_extra=BODY)
    async def search(
        request: Request,
        filters: Filtered,
        count: Annotated[int, Query(ge=1, le=MOST_HITS)] = 10,
        group: Annotated[
            Group, Query(description="video: the best moment of each video; none: several of one, too.")
        ] = "video",
        rerank: Annotated[
            Rerank,
            Query(
                description="soft: in the order of the query's soft code, before it is cut to bits; features: of the stored frame features, aligned in time."
            ),
        ] = "none",
    ) -> Answer:
        """Find the videos nearest to a clip (the file is the body), to a video of the index, or to a code
        (JSON), and where in them.
        """
        wanted = Wanted(count, group, rerank)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
            question = await _question(request)
            began = time.perf_counter()
            answer = partial(_by_code, question=question, wanted=wanted, filters=filters, began=began)
            return await in_thread(parts.service.with_present_hasher, answer)
        async with parts.uploads.received(request) as clip:
            began = time.perf_counter()
            found = await in_thread(parts.service.search_clip, clip, wanted, filters)
        return Answer(found.version, found.query, found.hits, _since(began))

    return router


async def _question(request: Request) -> StoredQuestion:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_QUESTION:
            raise Problem(BAD_REQUEST, f"the JSON is longer than {LARGEST_QUESTION} bytes")
    try:
        return StoredQuestion.model_validate_json(body)
    except ValidationError as error:
        raise Problem(
            BAD_REQUEST,
            "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()),
        ) from error


def _by_code(
    view: IndexView, question: StoredQuestion, wanted: Wanted, filters: Filters, began: float
) -> Answer:
    present = view.version.hasher
    if question.hasher not in (None, present.sha256):
        raise Problem(
            OTHER_HASHER, f"the index's codes are by {present.name} now, whose digest is {present.sha256}"
        )
    asked, hits = view.answer(
        Question(id=question.id, start=question.start, code=question.code), wanted, filters
    )
    return Answer(view.version, asked, hits, _since(began))


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 6)

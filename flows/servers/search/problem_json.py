"""Every error as `application/problem+json` (RFC 9457), with a type that a program can tell apart."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ssvh_model.errors import UserError
from tasks.serving.problems import BAD_REQUEST, INTERNAL, KINDS, NOT_ALLOWED, NOT_FOUND, Problem

MEDIA_TYPE = "application/problem+json"
TYPES = "/problems"  # where a type's description is


class ProblemResponse(JSONResponse):
    """A problem as an answer."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, **more: Any) -> None:
        kind = problem.kind
        headers = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
        if kind.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        content = {
            "type": f"{TYPES}/{kind.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": problem.detail,
            **more,
        }
        super().__init__(content, kind.status, headers)


async def send_problem(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer from outside of FastAPI."""
    await ProblemResponse(problem)(scope, receive, send)


# For the description of the interface.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem (RFC 9457)",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string", "enum": [f"{TYPES}/{name}" for name in KINDS]},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            }
        },
    }
}


def add_problems(app: FastAPI) -> None:
    """Make all errors of an application problems."""

    @app.exception_handler(Problem)
    async def refused(request: Request, error: Problem) -> JSONResponse:
        return ProblemResponse(error)

    @app.exception_handler(UserError)
    async def at_fault(request: Request, error: UserError) -> JSONResponse:
        return ProblemResponse(Problem(BAD_REQUEST, str(error)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [{"where": ".".join(map(str, one["loc"])), "what": one["msg"]} for one in error.errors()]
        detail = "; ".join(f"{one['where']}: {one['what']}" for one in errors)
        return ProblemResponse(Problem(BAD_REQUEST, detail), errors=errors)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        kind = {kind.status: kind for kind in (NOT_FOUND, NOT_ALLOWED)}.get(error.status_code, BAD_REQUEST)
        response = ProblemResponse(Problem(kind, f"{request.method} {request.url.path}: {error.detail}"))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return ProblemResponse(Problem(INTERNAL, "the service's log says why"))

    @app.get(f"{TYPES}/{{name}}", include_in_schema=False)
    async def problem_type(name: str) -> dict[str, str | int]:
        if name not in KINDS:
            raise Problem(NOT_FOUND, f"there is no problem of the type {name!r}")
        kind = KINDS[name]
        return {"type": f"{TYPES}/{name}", "title": kind.title, "status": kind.status}

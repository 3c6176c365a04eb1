"""What every request has to pass, and what every answer says to browsers."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.servers.search.problem_json import send_problem
from tasks.serving.problems import CROSS_SITE, NO_TOKEN, WRONG_HOST, Problem

# The page needs nothing from elsewhere; the page of the interface has a script of its own in it.
SOURCES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
INLINE = "'self' 'unsafe-inline'"
POLICY, POLICY_OF_DOCS = (
    "; ".join(f"{name} {allowed}" for name, allowed in sources.items())
    for sources in (SOURCES, {**SOURCES, "script-src": INLINE, "style-src": INLINE})
)
DOCS = "/docs"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
READING = ("GET", "HEAD", "OPTIONS")


def is_loopback(host: str) -> bool:
    """True for an address, or a name, that only this machine reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Guards:
    """Refuses requests that a browser was talked into, and tells browsers what they may do.

    Attributes:
        app: that is guarded.
        only_loopback: the service listens on loopback: a request that names another host was sent by a page
            whose name was pointed here.
    """

    app: ASGIApp
    only_loopback: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Content-Security-Policy"] = POLICY_OF_DOCS if scope["path"] == DOCS else POLICY
            await send(message)

        if (problem := self._refused(scope)) is not None:
            await send_problem(problem, scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)

    def _refused(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if self.only_loopback and not is_loopback(_host_of(headers.get("host", ""))):
            return Problem(
                WRONG_HOST,
                f"the request names the host {headers.get('host', '')!r}; allowed are localhost and 127.0.0.1",
            )
        site = headers.get("sec-fetch-site", "none")
        if scope["method"] not in READING and site not in ("same-origin", "none"):
            return Problem(CROSS_SITE, "the request was sent by a page of another site")
        return None


def _host_of(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


Token = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, description="SSVH_TOKEN, or what `ssvh serve` has printed")),
]


def token_needed(expected: str) -> Callable[[Request, HTTPAuthorizationCredentials | None], None]:
    """A dependency that lets only those through who know the token."""

    def check(request: Request, given: Token) -> None:
        if given is None:
            raise Problem(
                NO_TOKEN,
                "changes need the header `Authorization: Bearer TOKEN`; `ssvh serve` has printed the token",
            )
        if not hmac.compare_digest(given.credentials.encode(), expected.encode()):
            raise Problem(NO_TOKEN, "this is not the service's token")

    return check

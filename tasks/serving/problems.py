"""What the service refuses, and why: kinds of problems with the status that HTTP has for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of problem.

    Attributes:
        name: for programs; the last part of the problem's type.
        status: of HTTP.
        title: for people, the same every time.
    """

    name: str
    status: int
    title: str


BAD_REQUEST = Kind("bad-request", 422, "The request is not of the form that is allowed")
UNREADABLE_VIDEO = Kind("unreadable-video", 422, "The file can't be read as a video")
NO_TOKEN = Kind("no-token", 401, "This needs the service's token")
CROSS_SITE = Kind("cross-site", 403, "Pages of other sites may not use this service")
NOT_FOUND = Kind("not-found", 404, "There is no such thing")
FILE_GONE = Kind("file-gone", 404, "The video's file is not there, or is no video")
NOT_ALLOWED = Kind("not-allowed", 405, "This address has no such method")
TOO_SLOW = Kind("too-slow", 408, "The upload took too long")
ID_TAKEN = Kind("id-taken", 409, "The index has a video of this id already")
OTHER_HASHER = Kind("other-hasher", 409, "The code is by another hasher than the index's")
NO_ENCODER = Kind("no-encoder", 409, "This index can't encode videos")
TOO_LARGE = Kind("too-large", 413, "The upload is too large")
TOO_LONG = Kind("too-long", 413, "The video is too long")
TOO_EXPENSIVE = Kind("too-expensive", 413, "The video takes too much time or memory to decode")
WRONG_TYPE = Kind("wrong-type", 415, "The body's content type is not one of those that are allowed")
WRONG_RANGE = Kind("wrong-range", 416, "The file has no such part")
WRONG_HOST = Kind("wrong-host", 421, "The request is addressed to another host")
TOO_MANY = Kind("too-many", 429, "Too many uploads at once")
INTERNAL = Kind("internal", 500, "The service is at fault")
BUSY = Kind("busy", 503, "Somebody else is changing the index")
NOT_READY = Kind("not-ready", 503, "The service is not ready")
ENDING = Kind("ending", 503, "The service is ending")
STORAGE_AWAY = Kind("storage-away", 503, "The storage that has the video can't be asked")
NO_ROOM = Kind("no-room", 507, "There is no room for a copy of the video")

KINDS = {
    kind.name: kind
    for kind in (
        *(BAD_REQUEST, UNREADABLE_VIDEO, NO_TOKEN, CROSS_SITE, NOT_FOUND, FILE_GONE, NOT_ALLOWED, TOO_SLOW),
        *(ID_TAKEN, OTHER_HASHER, NO_ENCODER, TOO_LARGE, TOO_LONG, TOO_EXPENSIVE, WRONG_TYPE, WRONG_RANGE),
        *(WRONG_HOST, TOO_MANY, INTERNAL, BUSY, NOT_READY, ENDING, STORAGE_AWAY, NO_ROOM),
    )
}


class Problem(Exception):
    """A request that is refused.

    Attributes:
        kind: of the problem.
        detail: one sentence for this time.
        retry_after: seconds after which it may go well; None where the same request never will.
    """

    def __init__(self, kind: Kind, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.retry_after = kind, detail, retry_after

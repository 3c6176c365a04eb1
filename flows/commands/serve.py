"""What the command serve does: listen, with a token for changes."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time

import uvicorn

from flows.servers.search.app import search_app
from flows.servers.search.guards import is_loopback
from ssvh_model.errors import UserError
from ssvh_model.index.index import Index, open_index
from tasks import paths
from tasks.index.place import present_index_place
from tasks.machine.processes import terminate_as_interrupt
from tasks.serving.limits import Limits
from tasks.serving.service import SearchService

TOKEN = "SSVH_TOKEN"
SECONDS_BETWEEN_LOOKS = 1.0  # for an index that is not there yet
SECONDS_TO_FINISH = 10  # what is being answered when the service is to end


def serve(
    place: str | None, *, host: str, port: int, limits: Limits, wait: bool, trust_torchscript: bool
) -> None:
    """Answer searches until ctrl-C or SIGTERM. What is being answered then is finished, but for films.

    Args:
        place: of the index; None for that of the project, which is made first if the project has run and has
            none yet.
        host: address to listen on.
        port: 0 for a free one.
        limits: of uploads.
        wait: for an index, if there is none yet.
        trust_torchscript: run a backbone that is TorchScript.

    Raises:
        UserError: there is no index, no token is set for a service that others reach, or the address can't be
            had.
    """
    terminate_as_interrupt()
    of_project, place = place is None, place or present_index_place()
    index = open_index(place)
    if wait:
        _await(index)
    elif of_project and paths.REGISTERED_VERSION.is_file() and not index.exists():
        from flows.commands.codes import make_first_index  # MLflow, which takes a second, for once

        print(f"{index.name}: there is no index yet; making one of the last run's videos", flush=True)
        make_first_index(place)
    index.snapshot()
    loopback, token = is_loopback(host), os.environ.get(TOKEN, "")
    if not token and not loopback:
        raise UserError(
            f"{TOKEN} is not set; a service that listens on {host}, beyond this machine, needs a token for whoever "
            "changes its index"
        )
    with listening(host, port) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        print(f"search page     {address}/", f"HTTP interface  {address}/docs", sep="\n")
        if token:
            print(f"token           that of {TOKEN}")
        else:
            token = secrets.token_urlsafe(24)
            print(f"token           {token}  (for changes; {TOKEN} sets another)")
        print("ctrl-C ends it", flush=True)
        service = SearchService(place, limits, trust_torchscript=trust_torchscript)
        app = search_app(service, token=token, only_loopback=loopback)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_FINISH,
        )
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
        try:
            _Server(config, service).run(sockets=[listener])
        except KeyboardInterrupt:
            print("\nended")


class _Server(uvicorn.Server):
    """Gives up films as soon as it is told to end."""

    def __init__(self, config: uvicorn.Config, service: SearchService) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.leave_films()
        await super().shutdown(sockets)


def _await(index: Index) -> None:
    if not index.exists():
        print(f"{index.name}: there is no index yet; waiting for `ssvh index` to make one", flush=True)
    while not index.exists():
        time.sleep(SECONDS_BETWEEN_LOOKS)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        UserError: it can't be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With its protocol: asyncio sends small answers at once on sockets that say TCP, and 40 ms later on
        # others.
        listener = socket.socket(*found[:3])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        listener.listen(socket.SOMAXCONN)
    except OSError as error:
        raise UserError(
            f"can't listen on {host}, port {port}: {error.strerror}; --port takes another, 0 a free one"
        ) from error
    return listener

"""Proxies before a server: one calls the test when a certain request comes by, one lets certain connections
wait.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

from flows.servers.server import HOST

Hook = Callable[[], None]
MATTERS_TO_ONE_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "content-length")


class Proxy:
    """Passes everything on to `upstream`.

    A request is watched for by `before` or `after` (method, part of the path, part of the body). The hook is
    called once, and the client's connection is then cut, unless the hook was added with `answer=True`.

    Attributes:
        address: to give to clients.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._hooks: list[tuple[str, str, str, str, bool, Hook]] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if proxy._called("before", self.command, self.path, body):
                    self.close_connection = True
                    return
                try:
                    answer, content = proxy._forward(self.command, self.path, body, dict(self.headers))
                except OSError:
                    self.close_connection = True  # the server is away: so is this
                    return
                if proxy._called("after", self.command, self.path, body):
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in MATTERS_TO_ONE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://{HOST}:{self._server.server_port}"

    def on(
        self, when: str, method: str, path: str, hook: Hook, *, body: str = "", answer: bool = False
    ) -> None:
        """Call `hook` once, "before" or "after" the next such request; a hook with `answer` does not cut the
        connection.
        """
        with self._lock:
            self._hooks.append((when, method, path, body, answer, hook))

    def waiting(self) -> int:
        """Hooks that have not been called yet."""
        return len(self._hooks)

    def _called(self, when: str, method: str, path: str, body: bytes) -> bool:
        with self._lock:
            found = next(
                (
                    one
                    for one in self._hooks
                    if one[0] == when and one[1] == method and one[2] in path and one[3].encode() in body
                ),
                None,
            )
            if found is None:
                return False
            self._hooks.remove(found)
        found[5]()
        return not found[4]

    def _forward(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        assert self._upstream.hostname is not None
        connection = http.client.HTTPConnection(self._upstream.hostname, self._upstream.port, timeout=60)
        try:
            kept = {
                name: value
                for name, value in headers.items()
                if name.lower() not in ("host", "connection", "accept-encoding")
            }
            connection.request(method, path, body=body or None, headers=kept)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    @contextmanager
    def serving(self) -> Iterator[Proxy]:
        """Pass on within the block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


class Gate:
    """Passes every connection on to `upstream` as it is, websockets too; those that begin by asking for
    `path` wait until `open`.

    Attributes:
        address: to give to clients.
    """

    def __init__(self, upstream: str, path: str) -> None:
        at = urlsplit(upstream)
        assert at.hostname is not None and at.port is not None
        where = (at.hostname, at.port)
        self._opened = opened = threading.Event()

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                asked = self.request.recv(2**16)
                if path.encode() in asked.partition(b"\r\n")[0]:
                    opened.wait()
                with contextlib.suppress(OSError), socket.create_connection(where) as server:
                    server.sendall(asked)
                    threading.Thread(target=_pour, args=(server, self.request), daemon=True).start()
                    _pour(self.request, server)

        self._server = ThreadingTCPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://{HOST}:{self._server.server_address[1]}"

    def open(self) -> None:
        """Let all pass from now on."""
        self._opened.set()

    @contextmanager
    def serving(self) -> Iterator[Gate]:
        """Pass on within the block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.open()
            self._server.shutdown()
            self._server.server_close()


def _pour(source: socket.socket, target: socket.socket) -> None:
    """Hand on what one end says until it ends."""
    with contextlib.suppress(OSError):
        while said := source.recv(2**16):
            target.sendall(said)
        target.shutdown(socket.SHUT_WR)

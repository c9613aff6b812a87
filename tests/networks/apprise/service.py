"""A service to which Apprise really sends: an HTTP server on the loopback interface, in threads."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

from tests import needs_network


class Service:
    """Receives what Apprise's scheme `json` sends, in `received` by path.

    Paths in `refused` are answered with 500, and those in `hung` only after `stop`. Those in `endless` are answered with the
    status there, and with a text that has no end. `sent` is the number of its bytes.

    :param threads: Whether each request has a thread of its own.
    """

    def __init__(self, threads: bool = False) -> None:
        needs_network()
        self.received: defaultdict[str, list[str]] = defaultdict(list)
        self.refused: set[str] = set()
        self.hung: set[str] = set()
        self.endless: dict[str, int] = {}
        self.sent = 0
        self._stopped = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path in service.hung:
                    service._stopped.wait(30)
                elif self.path not in service.refused:
                    service.received[self.path].append(body["message"])
                if (status := service.endless.get(self.path)) is not None:
                    service.tell_endlessly(self, status)
                    return
                self.send_response(500 if self.path in service.refused else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Write nothing."""

        self._server = (ThreadingHTTPServer if threads else HTTPServer)(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        """Return the URL of a path in Apprise's notation."""
        return f"json://127.0.0.1:{self._server.server_address[1]}{path}"

    def tell_endlessly(self, request: BaseHTTPRequestHandler, status: int) -> None:
        """Answer with a text that has no end, until the client closes the connection."""
        request.send_response(status)
        request.send_header("Location", self.url("/elsewhere").replace("json", "http", 1))
        request.end_headers()
        with suppress(OSError):
            while not self._stopped.is_set():
                self.sent += request.wfile.write(b"x" * 10_000)

    def stop(self) -> None:
        """Stop the server."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

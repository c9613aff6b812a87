"""A bot with a web server, for tests of the contract."""

from __future__ import annotations

import socket
from typing import Any

import requests

from tests import needs_network
from tests.contract.kit import ContractTest


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class WebhookTest(ContractTest):
    """A test with a web server on a port of its own."""

    def setUp(self) -> None:
        """Configure the web server, and wait until it takes connections."""
        needs_network()
        super().setUp()
        self.port = free_port()
        configuration = {"HOST": "127.0.0.1", "PORT": self.port, "SSL": None}
        self.assertIn("Plugin configuration done.", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.session = requests.Session()
        self.session.trust_env = False
        until_it_listens = requests.adapters.Retry(30, backoff_factor=0.01, backoff_max=0.1)
        self.session.mount("http://", requests.adapters.HTTPAdapter(max_retries=until_it_listens))
        self.addCleanup(self.session.close)

    def send(self, verb: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request."""
        arguments.setdefault("timeout", 10)
        return self.session.request(verb, f"http://127.0.0.1:{self.port}{path}", allow_redirects=False, **arguments)

    def post(self, path: str, data: Any = None, content_type: str | None = None) -> str:
        """What is answered to that body."""
        headers = {"Content-Type": content_type} if content_type else {}
        return self.send("POST", path, data=data, headers=headers).text

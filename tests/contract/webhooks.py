"""A bot with a web server, for the contract's tests of webhooks."""

from __future__ import annotations

import socket
from typing import Any

import requests

from tests import needs_network
from tests.contract.kit import ContractTest


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class WebhookTest(ContractTest):
    """A test whose bot has a web server on its own port."""

    def setUp(self) -> None:
        """Configure the web server and wait until it accepts connections."""
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
        """Send a request and return the response; redirects aren't followed."""
        arguments.setdefault("timeout", 10)
        return self.session.request(verb, f"http://127.0.0.1:{self.port}{path}", allow_redirects=False, **arguments)

    def post(self, path: str, data: Any = None, content_type: str | None = None) -> str:
        """Send the body by POST and return the text of the response."""
        headers = {"Content-Type": content_type} if content_type else {}
        return self.send("POST", path, data=data, headers=headers).text

"""Endpoints are checked before anything starts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.config import ConfigError
from errklein.service import Listening
from errklein.service._endpoint_check import check_endpoint
from tests import needs_network
from tests.authority import Authority
from tests.processes import free_port


class EndpointCheckTests(SynchronousTestCase):
    """The check of an endpoint."""

    def test_free(self) -> None:
        """A free endpoint is valid, and stays free."""
        directory = Path(self.mktemp())
        directory.mkdir()
        port = free_port()
        for description in (f"tcp:{port}:interface=127.0.0.1", f"haproxy:tcp:{port}", f"unix:{directory}/socket"):
            check_endpoint(description)
            check_endpoint(description)
        self.assertEqual(list(directory.iterdir()), [])

    def test_wrapped(self) -> None:
        """An address in use is an error, also within a wrapping endpoint."""
        needs_network()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            self.assertRaises(ConfigError, check_endpoint, f"haproxy:tcp:{other.getsockname()[1]}")

    def test_status(self) -> None:
        """The endpoint of --status can't be one of --web, also in another spelling; errors name the option."""
        port = free_port()
        Listening([f"tcp:{free_port()}"], f"tcp:{port}:interface=127.0.0.1").check()
        both = Listening([f"tcp:port={port}:interface=127.0.0.1"], f"tcp:{port}:interface=127.0.0.1")
        error = self.assertRaises(ConfigError, both.check)
        self.assertIn(f"--status tcp:{port}:interface=127.0.0.1: the endpoint is also that of --web", str(error))
        error = self.assertRaises(ConfigError, Listening([], "9141").check)
        self.assertTrue(str(error).startswith("--status 9141: "), error)

    def test_certificates(self) -> None:
        """A directory with a usable certificate is valid; the error about another one is one line."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        authority = Authority()
        issued, expired = authority.issue("bot.example.org"), authority.issue("bot.example.org", begins=-90, days=-1)
        for contents, reason in (
            (b"", "no .pem file with a private key"),
            (issued.key_pem, "matches no certificate"),
            (authority.bundle(expired), "expired on"),
            (authority.bundle(issued)[:-9], "is incomplete"),
            (authority.bundle(issued, authority.root), ""),
        ):
            (directory / "bot.pem").write_bytes(contents)
            for description in (
                f"tls:{directory}:{free_port()}:interface=127.0.0.1",
                f"haproxy:tls:{directory}:0:interface=127.0.0.1",
            ):
                if reason:
                    error = str(self.assertRaises(ConfigError, check_endpoint, description))
                    self.assertIn(f"{description}: ", error)
                    self.assertIn(reason, error)
                    self.assertNotIn("\n", error)
                    self.assertNotIn("expected", error)
                else:
                    check_endpoint(description)

    def test_unix_sockets(self) -> None:
        """A UNIX socket in use and a file that isn't a socket are errors; a stale socket is valid."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / "s"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(os.path.relpath(path))
            other.listen()
            self.assertRaises(ConfigError, check_endpoint, f"unix:{os.path.relpath(path)}")
        check_endpoint(f"unix:{os.path.relpath(path)}")
        (directory / "file").write_text("")
        self.assertRaises(ConfigError, check_endpoint, f"unix:{directory}/file")

"""Reasons why an endpoint can't be opened."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from errklein.listening import description_problem, listen_problem, unix_problem
from tests import needs_network
from tests.authority import Authority


def error(number: int) -> OSError:
    """Return the system's error of that number."""
    return OSError(number, os.strerror(number))


class ListenProblemTests(SynchronousTestCase):
    """The reason tells the operator what to do."""

    def test_ports(self) -> None:
        """The cause and the remedy for a port are named."""
        in_use = (
            "is in use by another program, perhaps another errklein; "
            "stop it (`ss -ltnp 'sport = :5000'` shows it), or choose another port"
        )
        for raised, port, interface, text in (
            (error(errno.EADDRINUSE), 5000, "127.0.0.1", f"port 5000 of 127.0.0.1 {in_use}"),
            (error(errno.EADDRINUSE), 5000, "", f"port 5000 {in_use}"),
            (
                error(errno.EACCES),
                80,
                "",
                (
                    "port 80 is below 1024, which requires root or the capability CAP_NET_BIND_SERVICE; choose another port, "
                    "such as 8080, or let systemd or a proxy open this one"
                ),
            ),
            (error(errno.EACCES), 5000, "", "Permission denied"),
            (
                error(errno.EADDRNOTAVAIL),
                80,
                "192.0.2.1",
                (
                    "this machine has no address 192.0.2.1; `ip address` lists its addresses, 127.0.0.1 is for local clients "
                    "only, and 0.0.0.0 is for all"
                ),
            ),
            (
                socket.gaierror(-2, "Name or service not known"),
                80,
                "nowhere",
                "nowhere is neither an address nor a known host name; use an address of this machine, such as 127.0.0.1",
            ),
            (ValueError("two\nlines"), 80, "", "two lines"),
            (ValueError(), 80, "", "ValueError"),
        ):
            self.assertEqual(listen_problem(raised, port, interface), text)
            self.assertEqual(listen_problem(CannotListenError(interface, port, raised)), text)

    def test_unix_sockets(self) -> None:
        """A missing directory and a file that isn't a socket are named, with the remedy."""
        directory = Path(self.mktemp()).absolute()
        missing = f"the directory {directory} is missing; create it with `mkdir -p {directory}`, or choose another path"
        self.assertEqual(unix_problem(directory / "socket"), missing)
        directory.mkdir()
        self.assertEqual(unix_problem(directory / "socket"), "")
        file = directory / "file"
        file.touch()
        exists = f"the file {file} exists and isn't a socket; remove it, or choose another path"
        self.assertEqual(unix_problem(file), exists)
        self.assertEqual(unix_problem(file / "socket"), f"{file} isn't a directory; choose another path")
        used = listen_problem(CannotListenError(None, os.fsencode(file), "Cannot acquire lock"))
        self.assertEqual(
            used, f"another program listens on {file}; stop it (`ss -lxp` shows it), or choose another path"
        )


class DescriptionTests(SynchronousTestCase):
    """Endpoints that are checked before anything is opened."""

    def test_what_others_have(self) -> None:
        """An address in use, and a socket that systemd hasn't passed, are valid, also within a wrapping endpoint."""
        needs_network()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
            for description in (
                f"tcp:{port}",
                f"haproxy:tcp:{port}",
                "unix:/no/where/socket",
                "systemd:domain=INET:name=a",
            ):
                self.assertEqual(description_problem(description), "")

    def test_mistakes(self) -> None:
        """The reason names the wrong argument and what is expected; that of a wrapping endpoint is the same."""
        for description, reason in (
            ("tcp:port", "'port' isn't a number; expected a Twisted endpoint such as tcp:3141:interface=127.0.0.1"),
            ("tcp:80:speed=9", "unknown argument 'speed'; expected a Twisted"),
            ("nothing:1", "Unknown endpoint type: 'nothing'"),
            ("tls:port=80", "'path' is missing"),
        ):
            for spelling in (description, f"haproxy:{description}"):
                self.assertIn(reason, description_problem(spelling))

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
        ):
            (directory / "bot.pem").write_bytes(contents)
            for description in (f"tls:{directory}:0:interface=127.0.0.1", f"haproxy:tls:{directory}:0"):
                problem = description_problem(description)
                self.assertIn(reason, problem)
                self.assertNotIn("\n", problem)
                self.assertNotIn("expected", problem)
        (directory / "bot.pem").write_bytes(authority.bundle(issued, authority.root))
        self.assertEqual(description_problem(f"tls:{directory}:0"), "")

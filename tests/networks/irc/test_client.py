"""Message tags."""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import IRCBackend
from errklein.networks.irc._lines import parse_tags
from errklein.networks.irc._protocol import IRCProtocol
from tests.networks.irc.listening import config

KEYS = st.text("abz09-./+", min_size=1)


class RecordingSocket(socket.socket):
    """A socket that records its options."""

    options: tuple[object, ...] = ()

    def setsockopt(self, *option: object) -> None:
        self.options += (option,)


class SocketOptionsTests(SynchronousTestCase):
    """The options of the socket."""

    def test_lines_are_sent_at_once(self) -> None:
        """A line doesn't wait until the server has acknowledged the one before, with TLS neither."""
        for has_tls in (False, True):
            client = IRCProtocol(IRCBackend(NetworkContext(Clock(), config())))
            transport = StringTransport()
            with RecordingSocket() as handle:
                below: Any = StringTransport() if has_tls else transport
                below.getHandle = lambda handle=handle: handle
                if has_tls:
                    transport.transport = below
                client.makeConnection(transport)
                self.addCleanup(client.connectionLost)
                self.assertEqual(handle.options, ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),))

    def test_data_is_acknowledged_at_once(self) -> None:
        """A server with Nagle's algorithm isn't delayed, since its data is acknowledged although nothing is sent."""
        if not hasattr(socket, "TCP_QUICKACK"):
            raise SkipTest("this system has no TCP_QUICKACK")
        client = IRCProtocol(IRCBackend(NetworkContext(Clock(), config())))
        transport = StringTransport()
        with RecordingSocket() as handle:
            transport.getHandle = lambda: handle
            client.makeConnection(transport)
            self.addCleanup(client.connectionLost)
            transport.clear()
            client.dataReceived(b":server NOTICE * :welcome\r\n")
            self.assertEqual(transport.value(), b"")
            self.assertEqual(handle.options[-1], (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1))


class TagsTests(SynchronousTestCase):
    """`parse_tags`."""

    def test_table(self) -> None:
        """Values are unescaped, and invalid ones are handled as specified."""
        for text, tags in (
            ("time=2026-11-25T23:50:23.526Z;batch=1", {"time": "2026-11-25T23:50:23.526Z", "batch": "1"}),
            ("a", {"a": ""}),
            ("a=", {"a": ""}),
            ("a=1;a=2", {"a": "2"}),
            ("+draft/reply=x=y", {"+draft/reply": "x=y"}),
            (r"a=\:\s\\\r\n", {"a": "; \\\r\n"}),
            (r"a=\b\:", {"a": "b;"}),
            ("a=x\\", {"a": "x"}),
            (r"a=\\s", {"a": r"\s"}),
            ("", {}),
            (";;=x;", {}),
        ):
            self.assertEqual(parse_tags(text), tags, text)

    @given(st.dictionaries(KEYS, st.text()))
    def test_round_trip(self, tags: dict[str, str]) -> None:
        """An escaped value is read back."""
        escapes = str.maketrans({";": r"\:", " ": r"\s", "\\": r"\\", "\r": r"\r", "\n": r"\n"})
        text = ";".join(f"{key}={value.translate(escapes)}" for key, value in tags.items())
        self.assertEqual(parse_tags(text), tags)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is parsed without an error or an empty key."""
        self.assertNotIn("", parse_tags(text))

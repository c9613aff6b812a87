"""Tests for the parser of PROXY headers."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks.forwarding import InvalidHeader, Node, ProxyHeader, parse_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
CLIENT, SERVER = ("203.0.113.9", 40000), ("198.51.100.1", 443)


def v2(payload: bytes = b"", command: int = 0x21, family: int = 0x11) -> bytes:
    """Return a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


def ip_payload(source: str, destination: str, *ports: int) -> bytes:
    """Return the addresses of a header of version 2."""
    return ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", *ports)


IPV4 = ip_payload("203.0.113.9", "198.51.100.1", 40000, 443)
IPV6 = ip_payload("2001:db8::9", "2001:db8::1", 40000, 443)
LONG = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"

VALID: list[tuple[bytes, Node | None, Node | None]] = [
    (b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 443\r\n", CLIENT, SERVER),
    (
        b"PROXY TCP6 2001:db8::9 ::1 0 65535\r\n",
        ("2001:db8::9", 0),
        ("::1", 65535),
    ),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::ffff:198.51.100.1 40000 443\r\n", CLIENT, SERVER),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN whatever 1 2 3\r\n", None, None),
    (f"PROXY UNKNOWN {LONG} {LONG} 65535 65535"[:105].encode() + b"\r\n", None, None),
    (v2(IPV4), CLIENT, SERVER),
    (v2(IPV4 + b"\x04\x00\x03abc"), CLIENT, SERVER),
    (v2(IPV4, family=0x12), CLIENT, SERVER),
    (v2(ip_payload("::ffff:203.0.113.9", "::ffff:198.51.100.1", 40000, 443), family=0x21), CLIENT, SERVER),
    (v2(IPV6, family=0x21), ("2001:db8::9", 40000), ("2001:db8::1", 443)),
    (v2(b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0"), family=0x31), ("unix", 0), ("unix", 0)),
    (v2(command=0x20, family=0), None, None),
    (v2(b"anything", command=0x20, family=0xFF), None, None),
    (v2(b"anything", family=0), None, None),
]
"""Valid headers, with the addresses of client and server."""

INVALID = (
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"PROXY\r\n",
    b"proxy UNKNOWN\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY UDP4 203.0.113.9 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 1\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2 3\r\n",
    b"PROXY TCP4  203.0.113.9 198.51.100.1 1 2\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 1 65536\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 01 2\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 -1 2\r\n",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 +1 2\r\n",
    b"PROXY TCP4 2001:db8::9 198.51.100.1 1 2\r\n",
    b"PROXY TCP6 203.0.113.9 ::1 1 2\r\n",
    b"PROXY TCP4 203.0.113 198.51.100.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    b"PROXY TCP4 203.0.113.\xe9 198.51.100.1 1 2\r\n",
    b"PROXY UNKNOWN " + b"x" * 93,
    SIGNATURE[:-1] + b"X",
    v2(IPV4, command=0x11),
    v2(IPV4, command=0x22),
    v2(IPV4, family=0x10),
    v2(IPV4, family=0x13),
    v2(IPV4, family=0x41),
    v2(IPV4[:-1]),
    v2(IPV4, family=0x21),
    v2(IPV6, family=0x31),
    v2(b"/a".ljust(215, b"\0"), family=0x31),
)


class HeaderTests(SynchronousTestCase):
    """The parser."""

    def test_valid(self) -> None:
        """The addresses of a header are returned, with its size; those of a check by the proxy are missing."""
        for raw, source, destination in VALID:
            for rest in (b"", b"GET / HTTP/1.1\r\n\r\n"):
                self.assertEqual(parse_proxy_header(raw + rest), ProxyHeader(len(raw), source, destination), raw)

    def test_incomplete(self) -> None:
        """Each beginning of a header is incomplete."""
        for raw, _, _ in VALID:
            for end in range(len(raw)):
                self.assertIsNone(parse_proxy_header(raw[:end]))

    def test_invalid(self) -> None:
        """A malformed header raises InvalidHeader."""
        for raw in INVALID:
            self.assertRaises(InvalidHeader, parse_proxy_header, raw)

    @given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]), st.binary(max_size=150))
    def test_any_bytes(self, beginning: bytes, rest: bytes) -> None:
        """Any bytes are a header, the beginning of one, or raise InvalidHeader."""
        try:
            header = parse_proxy_header(beginning + rest)
        except InvalidHeader:
            return
        if header is not None:
            self.assertLessEqual(header.size, len(beginning + rest))

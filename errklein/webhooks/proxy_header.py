"""A parser of PROXY headers, versions 1 and 2, in which a proxy sends the client's address before the bytes of the
client. The specification is https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

from errklein.webhooks.forwarding import UNIX, unmapped

Node = tuple[str, int]  # an address and a port; the address is UNIX for Unix sockets

_V1 = b"PROXY "
_LONGEST_V1 = 107
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_HEAD_V2 = struct.Struct("!12sBBH")
_LOCAL, _PROXIED = 0x20, 0x21
_ADDRESS_SIZES = {1: 4, 2: 16, 3: 108}
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")


class InvalidHeader(ValueError):
    """The bytes are not a PROXY header."""


@dataclass(frozen=True)
class ProxyHeader:
    """A header of `size` bytes. Without addresses, those of the connection count, such as for the checks of a proxy."""

    size: int
    source: Node | None = None
    destination: Node | None = None


def parse_proxy_header(received: bytes) -> ProxyHeader | None:
    """Return the header at the beginning of the bytes; None if it isn't complete. Raises InvalidHeader."""
    if _V1.startswith(received[: len(_V1)]):
        end = received.find(b"\r\n", 0, _LONGEST_V1)
        if end >= 0:
            return _parse_v1(received[:end])
        if len(received) >= _LONGEST_V1:
            raise InvalidHeader("the PROXY header has no end")
        return None
    if not _V2.startswith(received[: len(_V2)]):
        raise InvalidHeader("the connection begins without a PROXY header")
    if len(received) < _HEAD_V2.size:
        return None
    _, command, family, length = _HEAD_V2.unpack_from(received)
    size = _HEAD_V2.size + length
    return _parse_v2(command, family, received[_HEAD_V2.size : size], size) if len(received) >= size else None


def _parse_v1(line: bytes) -> ProxyHeader:
    size = len(line) + 2
    words = line.split(b" ")[1:]
    if words[0] == b"UNKNOWN":
        return ProxyHeader(size)
    kinds: dict[bytes, type[IPv4Address | IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
    kind = kinds.get(words[0])
    # Python accepts any text after `%`, as the zone of an address.
    if kind is None or len(words) != 5 or b"%" in line:
        raise InvalidHeader("the PROXY header is malformed")
    hosts, ports = words[1:3], words[3:]
    try:
        source, destination = (
            _node(kind(host.decode("ascii")), int(port) if _PORT.fullmatch(port) else -1)
            for host, port in zip(hosts, ports, strict=True)
        )
    except (AddressValueError, UnicodeDecodeError):
        raise InvalidHeader("the PROXY header has an invalid address") from None
    return ProxyHeader(size, source, destination)


def _parse_v2(command: int, family: int, addresses: bytes, size: int) -> ProxyHeader:
    if command == _LOCAL or (command == _PROXIED and family == 0):
        return ProxyHeader(size)
    width = _ADDRESS_SIZES.get(family >> 4, 0)
    # The client's transport, in the lower four bits, is a stream or, for HTTP/3, datagrams.
    if command != _PROXIED or family & 0xF not in (1, 2) or not width or len(addresses) < 2 * width:
        raise InvalidHeader("the PROXY header is malformed")
    hosts = addresses[:width], addresses[width : 2 * width]
    if family >> 4 == 3:
        return ProxyHeader(size, (UNIX, 0), (UNIX, 0))
    if len(addresses) < 2 * width + 4:
        raise InvalidHeader("the PROXY header is malformed")
    ports = struct.unpack_from("!HH", addresses, 2 * width)
    return ProxyHeader(size, *(_node(ip_address(host), port) for host, port in zip(hosts, ports, strict=True)))


def _node(host: IPv4Address | IPv6Address, port: int) -> Node:
    if not 0 <= port < 65536:
        raise InvalidHeader("the PROXY header has an invalid port")
    return str(unmapped(host)), port

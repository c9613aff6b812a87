"""The client, and of requests the scheme, host and base path, that proxies report for a request or a connection.

The headers are `Forwarded` (RFC 7239), and `X-Forwarded-*` and `X-Real-IP`, which have no standard. Only elements that trusted
proxies have written are read, from right to left; docs/design.md, "Proxies", has the rules. A PROXY header, version 1 or 2,
precedes the bytes of the client: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from errklein.text.errors import InvalidValue

UNIX = "unix"  # the key for the clients of Unix sockets, which have no address
UNKNOWN = "unknown"  # the address of a client that a trusted proxy hides (RFC 7239, 6.2), or whose address is invalid

HEADERS: Mapping[str, frozenset[str]] = {
    "Forwarded": frozenset({"client", "scheme", "host", "port"}),
    "X-Forwarded-For": frozenset({"client"}),
    "X-Real-IP": frozenset({"client"}),
    "X-Forwarded-Proto": frozenset({"scheme"}),
    "X-Forwarded-Host": frozenset({"host"}),
    "X-Forwarded-Port": frozenset({"port"}),
    "X-Forwarded-Prefix": frozenset({"base path"}),
}
"""The forwarding headers, each with what it contains, in the order in which those of a proxy are read."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rb"(%b)=(?:(%b)|\"([\t \x21\x23-\x5b\x5d-\x7e]*)\")" % (_TOKEN, _TOKEN))
_NODE = re.compile(
    r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]|(unknown|_[A-Za-z0-9._-]{1,63}))(?::(?:([0-9]{1,5})|_[A-Za-z0-9._-]+))?"
    r"|([0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)",
    re.IGNORECASE,
)
_SCHEMES = {b"http": False, b"ws": False, b"https": True, b"wss": True}
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
_PORT_OF_HOST = re.compile(rb":([0-9]*)$")
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z_-]{1,63}\.)*[0-9A-Za-z_-]{1,63}\.?)(?::[0-9]{0,5})?")
_BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Headers = Sequence[tuple[bytes, bytes]]  # pairs of name, in lower case, and value


@dataclass(slots=True)
class Forwarded:
    """What trusted proxies report about a request. What they don't report is None."""

    client: tuple[str, int] | None = None  # the address, UNKNOWN or an identifier such as "_hidden"; the port, or 0
    secure: bool | None = None  # whether the client has used HTTPS
    host: bytes | None = None  # the host, with the port unless it is the default of the scheme
    base_path: str | None = None  # the path that the proxies have removed from the beginning of the URL's
    port: bytes | None = field(default=None, repr=False)


class TrustedProxies:
    """The proxies whose forwarding headers are read: a table of the headers that each overwrites, by its address, its network, or
    UNIX. Of several networks with an address, the smallest one counts. Raises InvalidValue."""

    def __init__(self, table: Any) -> None:
        networks: list[tuple[Network, tuple[bytes, ...]]] = []
        self._of_unix: tuple[bytes, ...] | None = None
        if not isinstance(table, Mapping):
            example = "{'127.0.0.1': ['X-Forwarded-For']}"
            raise InvalidValue(f"a dict of proxies to the headers that they overwrite, such as {example}")
        for proxy, names in table.items():
            headers = _checked_headers(proxy, names)
            if proxy == UNIX:
                self._of_unix = headers
            else:
                networks.append((_network(proxy), headers))
        self._networks = sorted(networks, key=lambda entry: -entry[0].prefixlen)
        self._names = {header for _, headers in networks for header in headers}.union(self._of_unix or ())
        self._headers_of = lru_cache(1024)(self._look_up)

    def trusts(self, host: str) -> bool:
        """Return whether a peer with this address, or UNIX, is a trusted proxy."""
        return self._headers_of(host) is not None

    def forwarded(self, peer: str, secure: bool, headers: Headers, proxy: str | None = None) -> Forwarded:
        """Return what trusted proxies report about a request. `peer` is the address that is connected to the server, or UNIX; with
        `proxy`, which has reported it in a PROXY header, the address that is connected to that."""
        forwarded = Forwarded()
        trusted = self._headers_of(peer)
        first = None if proxy is None else self._headers_of(proxy)
        if not trusted and not first:
            return forwarded
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in self._names:
                values.setdefault(name, []).extend(value.split(b","))
        if first:
            _read_elements(forwarded, first, values)
            forwarded.client = None
        while trusted:
            client = forwarded.client
            _read_elements(forwarded, trusted, values)
            if forwarded.client is None or forwarded.client is client:
                break
            trusted = self._headers_of(forwarded.client[0])
        if forwarded.port is not None:
            host = forwarded.host or next((value for name, value in headers if name == b"host"), b"")
            secure = secure if forwarded.secure is None else forwarded.secure
            is_default = forwarded.port == (b"443" if secure else b"80")
            name = _PORT_OF_HOST.sub(b"", host)
            forwarded.host = (name if is_default else b"%b:%b" % (name, forwarded.port)) if host else None
        return forwarded

    def _look_up(self, host: str) -> tuple[bytes, ...] | None:
        if host == UNIX:
            return self._of_unix
        try:
            address = unmapped(ip_address(host))
        except ValueError:
            return None
        return next((headers for network, headers in self._networks if address in network), None)


def _network(proxy: Any) -> Network:
    expected = f"addresses, networks such as '10.0.0.0/8', or {UNIX!r} as keys"
    if not isinstance(proxy, str):
        raise InvalidValue(expected, repr(proxy))
    try:
        network = ip_network(proxy)
    except ValueError:
        with suppress(ValueError):
            expected += f"; the network is {str(ip_network(proxy, strict=False))!r}"
        raise InvalidValue(expected, repr(proxy)) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - 96))


def _checked_headers(proxy: object, names: Any) -> tuple[bytes, ...]:
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, (list, tuple, set, frozenset)):
        raise InvalidValue("lists of headers as values", f"a {type(names).__name__} for {proxy!r}")
    known = {header.lower(): contents for header, contents in HEADERS.items()}
    origins: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or name.lower() not in known:
            raise InvalidValue(f"headers among {', '.join(HEADERS)}", f"{name!r} for {proxy!r}")
        for content in sorted(known[name.lower()]):
            other = origins.setdefault(content, name)
            if other.lower() != name.lower():
                raise InvalidValue(f"one header for the {content}", f"{other!r} and {name!r} for {proxy!r}")
    chosen = {name.lower() for name in names}
    return tuple(name.lower().encode() for name in HEADERS if name.lower() in chosen)


def parse_node(text: bytes) -> tuple[str, int]:
    """Return the address and the port of a node (RFC 7239, 6): the port is 0 if it is unknown. An obfuscated identifier, such as
    "_hidden", is returned in place of the address. If the node is invalid, the address is UNKNOWN. An IPv6 address without
    brackets is valid in `X-Forwarded-For`, and has no port."""
    with suppress(ValueError):
        if node := _NODE.fullmatch(text.decode("latin-1")):
            ipv4, ipv6, name, port, bare = node.groups()
            if name is not None:
                return (UNKNOWN if name.lower() == UNKNOWN else name), 0
            number = int(port or 0)
            return _normal(ipv4 or ipv6 or bare), number if number < 65536 else 0
    return UNKNOWN, 0


@lru_cache(1024)
def _normal(host: str) -> str:
    return str(unmapped(ip_address(host)))


def unmapped(address: Address) -> Address:
    """Return an IPv4 address for one that is mapped to IPv6, as sockets for both versions have it."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(512)
def is_host(value: bytes) -> bool:
    """Return whether the value is a host with an optional port."""
    with suppress(ValueError):
        is_host = _HOST.fullmatch(value) is not None
        return is_host and (value[:1] != b"[" or bool(IPv6Address(value[1 : value.index(b"]")].decode("ascii"))))
    return False


def port_of(host: bytes, secure: bool) -> int:
    """Return the port of a host; without one, the default port of HTTPS or HTTP."""
    port = _PORT_OF_HOST.search(host)
    return int(port[1]) if port and port[1] else 443 if secure else 80


def is_base_path(value: str) -> bool:
    """Return whether the value is a path such as "/bots/one": without escapes, dot segments and "//", which could begin another
    host."""
    return _BASE_PATH.fullmatch(value) is not None


def _read_elements(forwarded: Forwarded, names: Iterable[bytes], values: Mapping[bytes, list[bytes]]) -> None:
    """Read what one proxy has written, and remove it from the values."""
    for name in names:
        if elements := values.get(name):
            _READERS[name](forwarded, elements.pop().strip(b" \t"))


def _read_client(forwarded: Forwarded, value: bytes) -> None:
    forwarded.client = parse_node(value)


def _read_scheme(forwarded: Forwarded, value: bytes) -> None:
    forwarded.secure = _SCHEMES.get(value.lower(), forwarded.secure)


def _read_host(forwarded: Forwarded, value: bytes) -> None:
    if is_host(value):
        # A port that a proxy nearer to the server has reported belongs to its own host.
        forwarded.host, forwarded.port = value, None


def _read_port(forwarded: Forwarded, value: bytes) -> None:
    if _PORT.fullmatch(value) and int(value) < 65536:
        forwarded.port = value


def _read_base_path(forwarded: Forwarded, value: bytes) -> None:
    """Read a part of the base path. The proxy further away from the server has removed the part further to the left."""
    text = value.decode("latin-1").rstrip("/")
    if is_base_path(text):
        forwarded.base_path = text + (forwarded.base_path or "")


def _read_forwarded(forwarded: Forwarded, element: bytes) -> None:
    """Read an element of the header Forwarded (RFC 7239, 4)."""
    parameters: dict[bytes, bytes] = {}
    for pair in element.split(b";"):
        parsed = _PAIR.fullmatch(pair.strip(b" \t"))
        if parsed is None or parsed[1].lower() in parameters:
            forwarded.client = UNKNOWN, 0
            return
        parameters[parsed[1].lower()] = parsed[2] or parsed[3] or b""
    for name, read in ((b"for", _read_client), (b"proto", _read_scheme), (b"host", _read_host)):
        if name in parameters:
            read(forwarded, parameters[name])


_READERS = {
    b"forwarded": _read_forwarded,
    b"x-forwarded-for": _read_client,
    b"x-real-ip": _read_client,
    b"x-forwarded-proto": _read_scheme,
    b"x-forwarded-host": _read_host,
    b"x-forwarded-port": _read_port,
    b"x-forwarded-prefix": _read_base_path,
}


Node = tuple[str, int]  # an address and a port; the address is UNIX for Unix sockets

_V1 = b"PROXY "
_LONGEST_V1 = 107
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_HEAD_V2 = struct.Struct("!12sBBH")
_LOCAL, _PROXIED = 0x20, 0x21
_ADDRESS_SIZES = {1: 4, 2: 16, 3: 108}
_PORT_V1 = re.compile(rb"0|[1-9][0-9]{0,4}")


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
            _node(kind(host.decode("ascii")), int(port) if _PORT_V1.fullmatch(port) else -1)
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

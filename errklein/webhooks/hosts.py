"""The syntax of hosts and base paths in URLs."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[0-9A-Za-z_-]{1,63}\.)*[0-9A-Za-z_-]{1,63}\.?)(?::[0-9]{0,5})?")
_PORT = re.compile(rb":([0-9]+)$")
_BASE_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")


@lru_cache(512)
def is_host(value: bytes) -> bool:
    """Return whether the value is a host with an optional port."""
    return _HOST.fullmatch(value) is not None and (value[:1] != b"[" or _is_ipv6(value))


def _is_ipv6(host: bytes) -> bool:
    try:
        IPv6Address(host[1 : host.index(b"]")].decode("ascii"))
    except ValueError:
        return False
    return True


def port_of(host: bytes, secure: bool) -> int:
    """Return the port of a host; without one, the default port of HTTPS or HTTP."""
    port = _PORT.search(host)
    return int(port[1]) if port else 443 if secure else 80


def is_base_path(value: str) -> bool:
    """Return whether the value is a path such as "/bot" or "/bots/one".

    It has no escapes, no dot segments and no "//", which at the beginning of a link would be another host.
    """
    return _BASE_PATH.fullmatch(value) is not None

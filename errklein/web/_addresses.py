"""Twisted's addresses for clients that a proxy reports."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from errklein.webhooks.forwarding import UNIX


def address_of(host: str, port: int) -> IAddress:
    """Return the address. The host may be an identifier such as "_hidden", which Twisted has no class for, or UNIX."""
    if host == UNIX:
        return UNIXAddress(None)
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)

"""Addresses of clients, for sources that have no secret but publish their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from errklein.verify._values import Received, Refused
from errklein.verify._verification import Verification


def addresses(*, allowed: str | Sequence[str]) -> Verification:
    """Return the verification by the client's address, which must be in one of the ranges.

    Behind a proxy, the address is the one that trusted proxies report; see TRUSTED_PROXIES.

    :param allowed: Addresses and ranges, such as "192.0.2.7", "198.51.100.0/24" and "2001:db8::/32".
    """
    given = (allowed,) if isinstance(allowed, str) else tuple(allowed)
    if not given:
        raise ValueError("no address is allowed; name addresses or ranges, such as '198.51.100.0/24'")
    try:
        networks = [ip_network(one) for one in given]
    except ValueError as error:
        raise ValueError(f"invalid address or range: {error}") from None

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        try:
            peer = ip_address(received.peer)
        except ValueError:
            raise Refused("the client's address is unknown", "address") from None
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped:
            peer = peer.ipv4_mapped
        if not any(peer in network for network in networks):
            raise Refused("the client's address isn't allowed", "address")

    return Verification("addresses", check)

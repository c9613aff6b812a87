"""Logging in with SASL, by the mechanism PLAIN: https://ircv3.net/specs/extensions/sasl-3.1, and RFC 4616."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

_CHUNK = 400

REFUSALS = ("902", "904", "905", "906", "908")
"""Numbers by which a server says that it doesn't let the account in."""


def plain(account: str, password: str) -> Iterator[str]:
    """The lines that say who the bot is, after the server has asked by "AUTHENTICATE +"."""
    secret = b64encode(b"\0".join(part.encode() for part in (account, account, password))).decode()
    for begin in range(0, len(secret), _CHUNK):
        yield f"AUTHENTICATE {secret[begin : begin + _CHUNK]}"
    if len(secret) % _CHUNK == 0:
        # A last part of full length would otherwise be waited after.
        yield "AUTHENTICATE +"

"""Discord: https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint."""

from __future__ import annotations

from binascii import hexlify, unhexlify
from collections.abc import Sequence

from errklein.verify._algorithms import (
    NO_MATCH,
    check_time,
    check_tolerance,
    id_in_json,
    json_of,
    load_key,
    required,
    verifies,
)
from errklein.verify._verification import ImmediateResponse, Received, Refused, Verification, scheme

_SIGNATURE = b"x-signature-ed25519"


@scheme
def discord(*, public_key: str | Sequence[str], tolerance: float = 300.0) -> Verification:
    """Return the verification of Discord's interactions and webhook events, by the Ed25519 signature of time and body.

    Discord's PING, with which it verifies a URL, gets its response.

    :param public_key: The application's public key in hexadecimal, which isn't secret; or several.
    :param tolerance: The greatest difference of the signed time to the present time, in seconds.
    """
    given = (public_key,) if isinstance(public_key, str) else public_key
    keys = [load_key(bytes.fromhex, key) for key in given]
    if not keys:
        raise ValueError("no public key is given; Discord shows that of the application")
    check_tolerance(tolerance)

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        timestamp, signature = required(received, b"x-signature-timestamp"), required(received, _SIGNATURE)
        check_time(timestamp, received.now, tolerance)
        if not any(verifies(key, unhexlify, hexlify, signature, timestamp + received.body) for key in keys):
            raise Refused(NO_MATCH)
        return _response_to_ping(received.body)

    return Verification("discord", check, delivery_id=id_in_json("id"), secret_headers=frozenset({_SIGNATURE}))


def _response_to_ping(body: bytes) -> ImmediateResponse | None:
    """Return the response to a PING: type 1 of interactions, type 0 of webhook events, whose type 1 is an event."""
    payload = json_of(body)
    kind = payload.get("type") if isinstance(payload, dict) else None
    if kind == 1 and "event" not in payload:
        return ImmediateResponse(200, [(b"content-type", b"application/json")], b'{"type":1}')
    return ImmediateResponse(204, [], b"") if kind == 0 else None

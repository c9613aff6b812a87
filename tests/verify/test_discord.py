"""Discord's PING."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from errklein.verify import ImmediateResponse, discord
from tests.verify.kit import SourceCase, request

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()


class DiscordTests(SourceCase):
    """Discord's PING, and its keys."""

    def response(self, body: bytes) -> ImmediateResponse | None:
        """Return the response to a signed body."""
        signature = PRIVATE.sign(b"1700000000" + body).hex().encode()
        received = request(body, x_signature_ed25519=signature, x_signature_timestamp=b"1700000000")
        return discord(public_key=PUBLIC.hex()).verify(received, [])

    def test_ping(self) -> None:
        """The PING of interactions gets JSON, and that of webhook events 204 without a body."""
        pong = ImmediateResponse(200, [(b"content-type", b"application/json")], b'{"type":1}')
        self.assertEqual(self.response(b'{"type":1,"version":1,"token":"x"}'), pong)
        self.assertEqual(self.response(b'{"version":1,"type":0}'), ImmediateResponse(204, [], b""))

    def test_others(self) -> None:
        """Interactions, webhook events and other bodies are for the handler."""
        for body in (
            b'{"type":2}',
            b'{"type":-1}',
            b'{"type":1,"event":{}}',
            b"{}",
            b"[1]",
            b"1",
            b"{",
            b"",
            b'{"type":"1"}',
        ):
            self.assertIsNone(self.response(body), body)

"""Verification by a token in the address."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import Received, Refused, digest_of, url_token

TOKEN = b"ekt" + b"a2" * 13
OTHER = b"ekt" + b"b3" * 13


def received(token: bytes) -> Received:
    """Return a request whose address had the token."""
    return Received("POST", "http://a/hooks/x", (), b"{}", "", 0.0, token)


class URLTokenTests(SynchronousTestCase):
    """Tokens of which the digest is known, and tokens that are secrets by reference."""

    def test_tokens(self) -> None:
        """Each known token is accepted, in both ways."""
        verification = url_token("env:A", digests=[digest_of(TOKEN), digest_of(b"before")])
        for token in (TOKEN, b"before", b"secret"):
            self.assertIsNone(verification.verify(received(token), [b"secret"]))

    def test_other_tokens(self) -> None:
        """Others are refused, and so is a request without one. No error has a token or a digest."""
        verification = url_token(digests=[digest_of(TOKEN)])
        for token in (b"", OTHER, TOKEN[:-1], TOKEN + b"a", TOKEN.upper(), digest_of(TOKEN).encode(), b"\xff"):
            error = str(self.assertRaises(Refused, verification.verify, received(token), []))
            self.assertNotIn(TOKEN.decode(), error)
            self.assertNotIn(digest_of(TOKEN), error)

    def test_nothing_is_known(self) -> None:
        """Without a known token, or with an empty one, every request is refused."""
        for token in (b"", TOKEN):
            self.assertRaises(Refused, url_token().verify, received(token), [])
        self.assertRaises(Refused, url_token("env:A").verify, received(b""), [b""])

    def test_all_are_compared(self) -> None:
        """Each known token is compared in constant time, also after one has fitted."""
        compared: list[Sequence[str]] = []

        def compare(*both: str) -> bool:
            compared.append(both)
            return both[0] == both[1]

        verification = url_token(digests=[digest_of(TOKEN), digest_of(OTHER)])
        with mock.patch("hmac.compare_digest", compare):
            verification.verify(received(TOKEN), [])
        self.assertEqual(len(compared), 2)

    def test_repr(self) -> None:
        """The printed request hides the token."""
        self.assertNotIn(TOKEN.decode(), repr(received(TOKEN)))

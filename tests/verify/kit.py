"""Requests for the tests of single schemes."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import Received, Refused, Verification

NOW = 1700000000.0


def request(body: bytes = b"", peer: str = "", url: str = "https://bot.example/hook", **headers: bytes) -> Received:
    """Return a request; underscores in names of headers become hyphens."""
    given = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return Received("POST", url, given, body, peer, NOW)


def signed(verification: Verification, received: Received, secret: bytes = b"a2V5") -> Received:
    """Return the request with the signature of a scheme."""
    return replace(received, headers=[*received.headers, *verification.sign(received, secret)])


class SourceCase(SynchronousTestCase):
    """Has an assertion for refused requests."""

    def refused(self, verification: Verification, received: Received, *secrets: bytes) -> str:
        """Return the reason."""
        return str(self.assertRaises(Refused, verification.verify, received, secrets))

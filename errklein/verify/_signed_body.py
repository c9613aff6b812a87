"""Signatures that are the HMAC of the body, or of a text that contains it: most sources have such a scheme."""

from __future__ import annotations

import hmac
import math
import re
from base64 import b64encode
from binascii import hexlify
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from errklein.verify._references import Secrets, references
from errklein.verify._values import Header, Received, Refused
from errklein.verify._verification import Verification

_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {"base64": b64encode, "hex": hexlify}
ALGORITHMS = ("sha1", "sha256", "sha384", "sha512")
NO_MATCH = "the signature or token doesn't match"
BODY, TIMESTAMP = b"{body}", b"{timestamp}"


def matches(given: Sequence[bytes], expected: Iterable[bytes]) -> bool:
    """Return whether one of the given values is one of the expected ones. The time doesn't depend on where they differ.

    The encoded values are compared, so that there is one spelling of each signature.
    """
    found = False
    for value in expected:
        for one in given:
            found |= hmac.compare_digest(one, value)
    return found


def match(given: Sequence[bytes], expected: Iterable[bytes]) -> None:
    """Raise Refused unless `matches`."""
    if not matches(given, expected):
        raise Refused(NO_MATCH)


def check_time(timestamp: bytes, now: float, tolerance: float) -> None:
    """Return if a Unix time in seconds is at most `tolerance` seconds before or after `now`.

    :raises Refused: It isn't, or it is malformed.
    """
    if not _TIMESTAMP.fullmatch(timestamp):
        raise Refused("the timestamp is missing or invalid", "malformed")
    if not abs(now - int(timestamp)) <= tolerance:
        raise Refused(f"the timestamp is more than {tolerance:g} s from the present time", "time")


def check_tolerance(tolerance: float) -> float:
    """Return the tolerance in seconds; raise ValueError if it isn't a positive number."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < math.inf:
        raise ValueError(f"invalid tolerance: {tolerance!r}; expected a number of seconds above 0")
    return tolerance


def required(received: Received, name: bytes) -> bytes:
    """Return the value of the header.

    :raises Refused: It is missing, empty or repeated.
    """
    value = received.header(name)
    if not value:
        raise Refused(f"the header {name.decode()} is missing", "malformed")
    return value


@dataclass(frozen=True)
class SignedBody:
    """The form of a signature.

    :param headers: The names of headers that may have the signature, in lower case. The first one that is present counts.
    :param prefix: The text before the signature.
    :param separator: The text between several signatures, of which one must match; None if there is only one.
    :param encode: The encoding of the signature.
    :param signed: The signed text, with the placeholders {body} and {timestamp}.
    :param timestamp_header: The header with the Unix time in seconds that is signed, too.
    :param tolerance: The greatest difference to the present time, in seconds.
    """

    headers: tuple[bytes, ...]
    prefix: bytes = b""
    separator: bytes | None = None
    algorithm: str = "sha256"
    encode: Callable[[bytes], bytes] = hexlify
    signed: bytes = BODY
    timestamp_header: bytes = b""
    tolerance: float = 300.0

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    def verification(
        self, scheme: str, secret: Secrets, delivery_id: Callable[[Received], str | None] | None = None
    ) -> Verification:
        """Return the verification of signatures of this form."""
        names = frozenset(self.headers)
        return Verification(
            scheme, self.check, references(secret), delivery_id=delivery_id, secret_headers=names, signer=self.sign
        )

    def check(self, received: Received, secrets: Sequence[bytes]) -> None:
        """Raise Refused unless the request has a signature with one of the secrets."""
        name = next((name for name in self.headers if received.header(name)), self.headers[0])
        given = required(received, name)
        timestamp = received.header(self.timestamp_header) if self.timestamp_header else b""
        if self.timestamp_header:
            check_time(timestamp, received.now, self.tolerance)
        message = self._message(received.body, timestamp)
        match(given.split(self.separator) if self.separator else [given], (self._of(message, one) for one in secrets))

    def sign(self, received: Received, secret: bytes) -> Sequence[Header]:
        """Return the headers of a request that is signed now."""
        timestamp = b"%d" % received.now
        headers = [(self.timestamp_header, timestamp)] if self.timestamp_header else []
        return [*headers, (self.headers[0], self._of(self._message(received.body, timestamp), secret))]

    def _message(self, body: bytes, timestamp: bytes) -> bytes:
        # The body is inserted last, since it may contain a placeholder.
        before, _, after = self.signed.replace(TIMESTAMP, timestamp).partition(BODY)
        return before + body + after

    def _of(self, message: bytes, secret: bytes) -> bytes:
        return self.prefix + self.encode(hmac.digest(secret, message, self.algorithm))

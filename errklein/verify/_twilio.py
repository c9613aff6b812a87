"""Twilio: https://www.twilio.com/docs/usage/security#validating-requests."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import parse_qs, parse_qsl, urlsplit, urlunsplit

from errklein.verify._algorithms import match, required
from errklein.verify._verification import Header, HeaderId, Received, Refused, Secrets, Verification, references, scheme

_HEADER = b"x-twilio-signature"
_ALGORITHMS = ("sha1", "sha256")
_PORTS = {"http": 80, "https": 443}
_MOST_FIELDS = 1000


@scheme
def twilio(*, secret: Secrets, algorithm: str = "sha1") -> Verification:
    """Return the verification of Twilio's webhooks, by the HMAC of URL and form in `X-Twilio-Signature`.

    The URL is that of PUBLIC_URL. A body that isn't a form is verified by its digest in the query, `bodySHA256`.

    :param secret: The auth token, or the shared key of a webhooks rule.
    :param algorithm: "sha1" for the auth token; "sha256" for a shared key with HMAC_SHA256.
    """
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"invalid algorithm: {algorithm!r}; expected {' or '.join(map(repr, _ALGORITHMS))}")
    return Verification(
        "twilio",
        _check,
        references(secret),
        {"algorithm": algorithm},
        HeaderId(b"i-twilio-idempotency-token"),
        frozenset({_HEADER}),
        _sign,
    )


def _check(received: Received, secrets: Sequence[bytes], algorithm: str) -> None:
    given = required(received, _HEADER)
    fields = _signed_fields(received)
    match([given], [_of(url + fields, secret, algorithm) for url in _spellings(received.url) for secret in secrets])


def _sign(received: Received, secret: bytes, algorithm: str) -> Sequence[Header]:
    return [(_HEADER, _of(_bytes(received.url) + _signed_fields(received), secret, algorithm))]


def _of(message: bytes, secret: bytes, algorithm: str) -> bytes:
    return b64encode(hmac.digest(secret, message, algorithm))


def _spellings(url: str) -> Sequence[bytes]:
    """Return the URL as it is, without its port, and with it: Twilio's services differ in what they sign.

    :raises Refused: The URL is invalid.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        raise Refused("the URL is invalid", "malformed") from None
    host = parts.netloc.removesuffix(f":{parts.port}") if parts.port else parts.netloc
    both = (urlunsplit(parts._replace(netloc=netloc)) for netloc in (host, f"{host}:{port}"))
    return [_bytes(one) for one in dict.fromkeys((url, *both))]


def _signed_fields(received: Received) -> bytes:
    """Return the names and values of the form's fields in order, without separators; b"" for a digest that fits the body.

    :raises Refused: Twilio signs no such body.
    """
    digests = parse_qs(received.url.partition("?")[2].partition("#")[0]).get("bodySHA256")
    if digests:
        match([_bytes(digests[0])], [hashlib.sha256(received.body).hexdigest().encode()])
        return b""
    if not received.body:
        return b""
    kind = received.header(b"content-type").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise Refused("the body isn't a form, and the query has no digest of it", "malformed")
    try:
        fields = parse_qsl(
            received.body.decode("utf-8", "surrogateescape"),
            True,
            errors="surrogateescape",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise Refused("the form is invalid", "malformed") from None
    return b"".join(_bytes(name + value) for name, value in sorted(set(fields)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

"""Redaction of logged requests: headers that authenticate, secrets in URLs, masked fields, large bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import unquote_plus

from errklein.text.masking import is_secret
from errklein.webhooks.deliveries import StoredRequest

MASK = "***"
"""The replacement for a secret. Unlike that of log lines it is ASCII, since a URL must still be valid in a replay."""

MAX_BODY = 1_000_000
"""The size in bytes of the largest body that the log stores."""

MAX_TARGET = 4000
"""The largest stored size of a target, and of the value of a header."""

MAX_HEADERS = 200
"""The number of headers that are stored."""

Level = Literal["off", "heads", "bodies"]

_SECRET_HEADER = re.compile(
    r"token|secret|signature|hmac|passw|passphrase|credential|cookie|jwt|api-?key|access-?key|private-?key|(?:^|[-_])sign(?:ed)?$"
    r"|(?:^|[-_])(?:auth|authorization|authentication)(?:$|[-_])"
)
"""Names of headers that authenticate. Others that end with "key" don't: X-Event-Key of Bitbucket, Idempotency-Key."""

_SIGNATURE = re.compile(r"signature|hmac|^sig$|^code$", re.IGNORECASE)
_USER_INFO = re.compile(rb"(//)[^/?#\s]*@")
_PARAMETER = re.compile(rb"(?<=[?&;#])([^=&;#\s]+)=([^&;#\s]+)")


@dataclass(frozen=True)
class Redaction:
    """What the log stores of a request.

    :param level: "bodies", "heads" for requests without their bodies, or "off" for nothing.
    :param mask_fields: Names of JSON and form fields whose values are masked.
    """

    level: Level = "bodies"
    mask_fields: frozenset[str] = frozenset()

    def redact(self, request: StoredRequest, with_body: bool = True) -> StoredRequest | None:
        """Return the request without what the log must not have; None if it stores no requests.

        In a URL, the values of secret parameters are replaced by MASK, and so are user and password. A body that isn't JSON or
        an urlencoded form is left out if it may have a masked field.

        :param with_body: False leaves the body out.
        """
        if self.level == "off":
            return None
        target, headers = redacted_head(request)
        return replace(request, target=target, headers=headers, body=self.body(request.body if with_body else None))

    def body(self, body: bytes | None) -> bytes | None:
        """Return the body as it is stored; None if it is left out."""
        if body is None or len(body) > MAX_BODY or self.level != "bodies":
            return None
        return self._mask(body)

    def _mask(self, body: bytes) -> bytes | None:
        if not self.mask_fields or not body:
            return body
        names = frozenset(name.lower() for name in self.mask_fields)
        try:
            return _masked_json(body, names)
        except (ValueError, RecursionError):
            pass
        if _FORM.fullmatch(body):
            return _masked_form(body, names)
        small = body.lower()
        return None if any(name.encode() in small for name in names) else body


_FORM = re.compile(rb"[!-~]*=[!-~]*")


def redacted_head(request: StoredRequest) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return the target and the headers without secrets, and bounded."""
    secret = request.secret_headers
    headers = [
        (name, _redact_urls(value)[:MAX_TARGET])
        for name, value in request.headers[:MAX_HEADERS]
        if name not in secret and not is_secret_header(name)
    ]
    target = request.target
    if "?" in target or "@" in target:
        target = _redact_urls(target.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    return target[:MAX_TARGET], headers


@lru_cache(1024)
def is_secret_header(name: bytes) -> bool:
    """Return whether a header of that lower-case name authenticates its sender."""
    return _SECRET_HEADER.search(name.decode("latin-1")) is not None


def _redact_urls(value: bytes) -> bytes:
    if b"@" in value and b"//" in value:
        value = _USER_INFO.sub(rb"\1" + MASK.encode() + b"@", value)
    if b"?" in value and b"=" in value:
        value = _PARAMETER.sub(_masked_parameter, value)
    return value


def _masked_parameter(found: re.Match[bytes]) -> bytes:
    return found[1] + b"=" + MASK.encode() if _is_secret_parameter(found[1]) else found[0]


@lru_cache(1024)
def _is_secret_parameter(name: bytes) -> bool:
    text = unquote_plus(name.decode("utf-8", "replace"))
    return is_secret(text) or _SIGNATURE.search(text) is not None


def _masked_json(body: bytes, names: frozenset[str]) -> bytes:
    masked = _Masked(names)
    value = masked.value(json.loads(body))
    return json.dumps(value).encode() if masked.changed else body


def _masked_form(body: bytes, names: frozenset[str]) -> bytes:
    fields = body.split(b"&")
    for place, field in enumerate(fields):
        name, sign, _ = field.partition(b"=")
        if unquote_plus(name.decode()).lower() in names:
            fields[place] = name + sign + MASK.encode()
    return b"&".join(fields)


class _Masked:
    """Replaces the values of masked fields."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self.changed = False

    def value(self, value: Any) -> Any:
        """Return the value with the fields masked."""
        if isinstance(value, Mapping):
            return {key: self._field(key, item) for key, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [self.value(item) for item in value]
        return value

    def _field(self, key: str, value: Any) -> Any:
        if key.lower() in self._names:
            self.changed = True
            return MASK
        return self.value(value)

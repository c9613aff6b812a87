"""Redaction of logged requests: headers that authenticate, secrets in URLs, masked fields, large bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote_plus, unquote_plus

from errklein.text import masking
from errklein.text.masking import is_secret, masker
from errklein.webhooks.deliveries import MAX_LOGGED_BODY, StoredRequest
from errklein.webhooks.payload import MAX_FIELDS, BadPayload, read_json

MASK = "***"
"""The replacement for a secret. Unlike that of log lines it is ASCII, since a URL must still be valid in a replay."""

MAX_TARGET = 4000  # the largest stored size of a target, and of the value of a header
MAX_NAME = 100  # the size of the longest name of a header or parameter that is examined. Longer ones count as secret.
MAX_HEADERS = 200  # the number of headers that are stored
Level = Literal["off", "heads", "bodies"]

_CODE = re.compile(r"\bcode\b", re.IGNORECASE)
"""The name of a parameter with which OAuth authenticates. In other places it is no secret."""

_USER_INFO = re.compile(rb"(//)[^/?#\s]*@")
_PARAMETER = re.compile(rb"(?<=[?&;#])([^=?&;#\s]++)=")
_VALUE = re.compile(rb"[^&;#\s]++")


@dataclass(frozen=True)
class Redaction:
    """What the log stores of a request."""

    level: Level = "bodies"  # "bodies", "heads" for requests without their bodies, or "off" for nothing
    mask_fields: frozenset[str] = frozenset()  # names of JSON and form fields whose values are masked

    def body(self, body: bytes | None) -> bytes | None:
        """Return the body as it is stored; None if it is left out, like one to mask that is neither JSON nor a form."""
        if body is None or len(body) > MAX_LOGGED_BODY or self.level != "bodies":
            return None
        return self._mask(body)

    def _mask(self, body: bytes) -> bytes | None:
        if not self.mask_fields or not body:
            return body
        fields = _Fields(self.mask_fields)
        if not fields.may_be_in(body):
            return body
        try:
            return fields.masked_json(body)
        except (BadPayload, ValueError, RecursionError):
            is_form = body.count(b"&") < MAX_FIELDS and _FORM.fullmatch(body.strip())
            return fields.masked_form(body) if is_form else None


_FORM = re.compile(rb"""[^\0- "<=>\\{}\x7f-\xff]*+=[^\0- "<>\\{}\x7f-\xff]*+""")
_ENCODED = re.compile(r"\0|\\u|%")
_NAME_PARTS = re.compile(r"[\[\].]")


class _Fields:
    """Masks fields in bodies. Names in upper case or within brackets are the same."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._changed = False

    def may_be_in(self, body: bytes) -> bool:
        """Return whether the body contains one of the names, or could do so in an encoding."""
        try:
            text = body.decode("utf-8").lower()
        except UnicodeDecodeError:
            return True
        return _ENCODED.search(text) is not None or any(name in text for name in self._names)

    def masked_json(self, body: bytes) -> bytes:
        """Return the JSON with the values of the fields masked; unchanged without them."""
        self._changed = False
        # Large JSON is read and written in Python, so that other threads can run meanwhile.
        value = self._masked(read_json(body.decode(json.detect_encoding(body), "surrogatepass")))
        return "".join(json.JSONEncoder().iterencode(value)).encode() if self._changed else body

    def masked_form(self, body: bytes) -> bytes:
        """Return the urlencoded form with the values of the fields masked, also those in fields with JSON."""
        pairs = (field.partition(b"=") for field in body.split(b"&"))
        return b"&".join(name + sign + self._masked_value(name, value) for name, sign, value in pairs)

    def _masked_value(self, name: bytes, value: bytes) -> bytes:
        if self._has(unquote_plus(name.decode())):
            return MASK.encode()
        text = unquote_plus(value.decode())
        if not text.lstrip().startswith(("{", "[")):
            return value
        try:
            masked = self.masked_json(text.encode())
        except (BadPayload, ValueError, RecursionError):
            return MASK.encode() if self.may_be_in(text.encode()) else value
        return quote_plus(masked).encode() if self._changed else value

    def _masked(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._masked_field(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._masked(item) for item in value]
        return value

    def _masked_field(self, name: str, value: Any) -> Any:
        if self._has(name):
            self._changed = True
            return MASK
        return self._masked(value)

    def _has(self, name: str) -> bool:
        return not self._names.isdisjoint(_NAME_PARTS.split(name.lower()))


def redacted_head(request: StoredRequest) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return the target and the headers without secrets, and bounded. In a URL, the values of secret parameters are
    replaced by MASK, and so are user and password."""
    secret = request.secret_headers
    headers = [
        header
        for header in request.headers[:MAX_HEADERS]
        if header[0] not in secret and not is_secret_header(header[0])
    ]
    # Most requests have no such character, and one search takes less time than one for each header.
    values = b"".join([value for _, value in headers])
    if b"@" in values or b"?" in values or len(values) > MAX_TARGET:
        headers = [(name, _cut(_redact_urls(value).decode("latin-1")).encode("latin-1")) for name, value in headers]
    target = request.target
    if "?" in target or "@" in target:
        target = _redact_urls(target.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
    return _cut(target), headers


def _cut(text: str) -> str:
    """Return the text, or its masked beginning: readers of the log would not recognise a secret without its end."""
    return masker.cut(text, MAX_TARGET, "").replace(masking.MASK, MASK)[:MAX_TARGET]


@lru_cache(1024)
def is_secret_header(name: bytes) -> bool:
    return len(name) > MAX_NAME or is_secret(name.decode("latin-1"))


def _redact_urls(value: bytes) -> bytes:
    if b"@" in value and b"//" in value:
        value = _USER_INFO.sub(rb"\1" + MASK.encode() + b"@", value)
    pieces, end = [], 0
    found = _PARAMETER.search(value) if b"?" in value else None
    while found is not None:
        secret = _VALUE.match(value, found.end()) if _is_secret_parameter(found[1]) else None
        pieces += [value[end : found.end()], MASK.encode() if secret else b""]
        end = secret.end() if secret else found.end()
        found = _PARAMETER.search(value, end)
    return b"".join([*pieces, value[end:]])


def _is_secret_parameter(name: bytes) -> bool:
    text = unquote_plus(name.decode("utf-8", "replace"))
    return len(name) > MAX_NAME or is_secret(text) or _CODE.search(text) is not None

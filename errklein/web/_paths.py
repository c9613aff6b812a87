"""Parsing of request targets into path and query, with the checks against ambiguous paths."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from errklein.web._error_pages import Problem
from errklein.web._http1 import is_host

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AUTHORITY_END = re.compile(rb"[/?]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


@lru_cache(512)
def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return the path and the query, still escaped, of a target in origin or absolute form (RFC 9112, 3.2).

    :raises Problem: The target has another form, or an invalid host.
    """
    if target[:1] != b"/":
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise Problem(400, "the request target must be a path")
        authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
        if not is_host(authority):
            raise Problem(400, "the request target has no valid host")
        target = rest[len(authority) :]
    path, _, query = target.partition(b"?")
    return path or b"/", query


def clean_path(path: bytes) -> str:
    """Return the unescaped path.

    An escaped slash would become a separator that a proxy in front has not seen, so it is rejected, as are control characters,
    broken escapes and invalid UTF-8. No route has doubled slashes or dot segments.

    :raises Problem: 400 for an ambiguous or malformed path, 404 for one that no route can have.
    """
    if _BAD_ESCAPE.search(path):
        raise Problem(400, "the path has a broken escape")
    unescaped = unquote_to_bytes(path)
    if any(segment in (b".", b"..") for segment in unescaped.split(b"/")):
        raise Problem(404, "there is no webhook at this path")
    if b"%2f" in path.lower():
        raise Problem(400, "the path has an escaped slash")
    if _CONTROL.search(unescaped):
        raise Problem(400, "the path has a control character")
    try:
        text = unescaped.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "the path is not UTF-8") from None
    if "//" in text:
        raise Problem(404, "there is no webhook at this path")
    return text

"""What a request's target says about its path."""

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
    """The path and query, still escaped, of a target in origin or absolute form (RFC 9112, 3.2). Raises Problem."""
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
    """The unescaped path. Raises Problem: 400 for what can be read in two ways, 404 for what can't exist.

    An escaped slash would become a separator that a proxy in front hasn't seen, so it is refused, as are control
    characters, broken escapes and what isn't UTF-8. Doubled slashes and dot segments lead nowhere: routes have none.
    """
    if _BAD_ESCAPE.search(path):
        raise Problem(400, "the path has a broken escape")
    unescaped = unquote_to_bytes(path)
    if any(segment in (b".", b"..") for segment in unescaped.split(b"/")):
        raise Problem(404, "there is nothing at this path")
    if b"%2f" in path.lower():
        raise Problem(400, "the path has an escaped slash")
    if _CONTROL.search(unescaped):
        raise Problem(400, "the path has a control character")
    try:
        text = unescaped.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "the path is not UTF-8") from None
    if "//" in text:
        raise Problem(404, "there is nothing at this path")
    return text

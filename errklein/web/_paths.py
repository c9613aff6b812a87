"""Parsing of request targets into path and query, with the checks against ambiguous paths."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from errklein.text import truncated
from errklein.text.masking import SHOWN_TARGET, masker
from errklein.web._error_pages import Problem
from errklein.webhooks.hosts import is_host

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_AUTHORITY_END = re.compile(rb"[/?]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

LONGEST_PATH = 200
"""The number of characters of a path that an error response has."""


def shown_path(path: bytes) -> str:
    """Return an escaped path for the log, cut if it is long."""
    return masker.cut(path.decode("ascii", "backslashreplace"), SHOWN_TARGET)


def split_target(target: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the path and the query, still escaped, and the host of a target in origin or absolute form (RFC 9112, 3.2).

    The host is empty in origin form.

    :raises Problem: The target has another form, or an invalid host.
    """
    authority = b""
    if target[:1] != b"/":
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise Problem(400, "the request target must be a path")
        authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
        if not is_host(authority):
            raise Problem(400, "the request target has no valid host")
        target = rest[len(authority) :]
    path, _, query = target.partition(b"?")
    return path or b"/", query, authority


def without_base(path: bytes, base: bytes) -> bytes:
    """Return the path below `base`; the path itself if a proxy has removed the base already."""
    if path == base or path.startswith(base + b"/"):
        return path[len(base) :] or b"/"
    return path


def not_found(path: bytes) -> Problem:
    """Return the 404 for a path. Its text has the path as the client sent it, still escaped, up to LONGEST_PATH characters."""
    return Problem(404, f"there is no webhook at {truncated(path.decode('ascii', 'replace'), LONGEST_PATH)}")


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
        raise not_found(path)
    if b"%2f" in path.lower():
        raise Problem(400, "the path has an escaped slash")
    if _CONTROL.search(unescaped):
        raise Problem(400, "the path has a control character")
    try:
        text = unescaped.decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "the path is not UTF-8") from None
    if "//" in text:
        raise not_found(path)
    return text

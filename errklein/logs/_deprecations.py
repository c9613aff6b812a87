"""Warnings about deprecated names, at the places that use them."""

from __future__ import annotations

import sys

from twisted.logger import Logger

_log = Logger(namespace="errklein.deprecations")

_warned: set[tuple[str, int, str]] = set()


def warn_deprecated(old: str, new: str = "", until: str = "", *, depth: int = 1) -> None:
    """Log once for each line that uses a deprecated name, `depth` calls above the caller of this function.

    `new` is the name to use instead, and `until` the version that removes the old one.
    """
    frame = sys._getframe(depth + 1)
    line = frame.f_code.co_filename, frame.f_lineno, old
    if line not in _warned:
        _warned.add(line)
        end, hint = until and f", and works until errklein {until}", new and f"; use {new}"
        text = "{path}, line {line}: {old} is deprecated{end}{hint}"
        _log.warn(text, path=line[0], line=line[1], old=old, end=end, hint=hint)

"""Warnings about deprecated names, at the places that use them."""

from __future__ import annotations

import sys

from twisted.logger import Logger

_log = Logger(namespace="errklein.deprecations")

_warned: set[tuple[str, int, str]] = set()


def warn_deprecated(old: str, new: str = "", until: str = "", *, depth: int = 1) -> None:
    """Log that a name is deprecated, once for each line that uses it.

    :param old: The name.
    :param new: The name to use instead.
    :param until: The version that removes the old name.
    :param depth: The number of calls between the use and the caller of this function.
    """
    frame = sys._getframe(depth + 1)
    place = frame.f_code.co_filename, frame.f_lineno, old
    if place in _warned:
        return
    _warned.add(place)
    _log.warn(
        "{path}, line {line}: {old} is deprecated{end}{hint}",
        path=place[0],
        line=place[1],
        old=old,
        end=until and f", and works until errklein {until}",
        hint=new and f"; use {new}",
    )

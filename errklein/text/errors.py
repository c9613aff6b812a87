"""Texts of exceptions for log lines and replies, and the lines of code that raised them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from traceback import walk_tb

_MOST_CAUSES = 100


def error_text(error: BaseException) -> str:
    """Return the exception's message, or its type if the message is empty or `__str__` raises."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def one_line(error: BaseException) -> str:
    """Return the same as `error_text`, on one line."""
    return " ".join(error_text(error).split()) or type(error).__name__


def line_in(directory: Path, error: BaseException) -> tuple[Path, int | None] | None:
    """Return the file below the directory, and its line, that raised the exception or called the code that raised it.

    If there is none in the exception's traceback, that of its cause is searched. Returns None if the directory's code isn't
    involved. A syntax error has the line of the mistake.
    """
    for one in _with_causes(error):
        if isinstance(one, SyntaxError) and Path(one.filename or "").is_relative_to(directory):
            return Path(one.filename or ""), one.lineno
        found = None
        for file, line in _lines(one):
            if file.is_relative_to(directory):
                found = file, line
        if found is not None:
            return found
    return None


def line_outside(directories: Iterable[Path], error: BaseException) -> tuple[Path, int] | None:
    """Return the last file and line in the exception's traceback that isn't below one of the directories; None if all are."""
    lines = [(file, line) for file, line in _lines(error) if not any(map(file.is_relative_to, directories))]
    return lines[-1] if lines else None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, its cause, the cause of that, and so on, each once and at most _MOST_CAUSES."""
    seen = set[int]()
    cause: BaseException | None = error
    # `raise error from error` makes an exception its own cause.
    while cause is not None and id(cause) not in seen and len(seen) < _MOST_CAUSES:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _lines(error: BaseException) -> Iterator[tuple[Path, int]]:
    for frame, line in walk_tb(error.__traceback__):
        yield Path(frame.f_code.co_filename), line

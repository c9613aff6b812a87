"""Texts of exceptions for log lines and replies, and the lines of code that raised them."""

from __future__ import annotations

from pathlib import Path
from traceback import walk_tb


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
    involved. A syntax error has the place of the mistake.
    """
    place = None if error.__cause__ is None else line_in(directory, error.__cause__)
    for frame, line in walk_tb(error.__traceback__):
        if Path(frame.f_code.co_filename).is_relative_to(directory):
            place = Path(frame.f_code.co_filename), line
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_relative_to(directory):
        place = Path(error.filename or ""), error.lineno
    return place

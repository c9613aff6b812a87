"""The texts of exceptions, for log lines and replies."""

from __future__ import annotations


def error_text(error: BaseException) -> str:
    """The message of the exception; its type if there is none, or its `__str__` raises."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def one_line(error: BaseException) -> str:
    """As `error_text`, without line breaks."""
    return " ".join(error_text(error).split()) or type(error).__name__

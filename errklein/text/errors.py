"""Texts of exceptions for log lines and replies."""

from __future__ import annotations


def error_text(error: BaseException) -> str:
    """Return the exception's message, or its type if the message is empty or `__str__` raises."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def one_line(error: BaseException) -> str:
    """Return the same as `error_text`, on one line."""
    return " ".join(error_text(error).split()) or type(error).__name__

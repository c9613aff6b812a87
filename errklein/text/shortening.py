"""Long texts cut off, for log lines and replies."""

from __future__ import annotations


def shortened(text: str, most: int) -> str:
    """The text, or its first `most` characters and an ellipsis if it is longer."""
    return text if len(text) <= most else text[:most] + "…"

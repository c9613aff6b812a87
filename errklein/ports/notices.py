"""The interface of parts that notify administrators."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol


class Notify(Protocol):
    """The method `post` of the bot's notice board, for parts that notify administrators."""

    def __call__(self, key: Hashable, text: str, summary: str = "", *, more: str = "", interval: float = 600.0) -> None:
        """Send a notice, or count it; see `bot.NoticeBoard.post`. May be called in any thread."""

"""A notice board that sends nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from errklein.bot._notices import NoticeBoard
from errklein.testing._surroundings import TestReactor


class KeptNotices(NoticeBoard):
    """Keeps the notices in plain text, with their summaries."""

    def __init__(self, reactor: TestReactor) -> None:
        without: Any = None
        fallback: Any = SimpleNamespace(look=lambda: None)
        super().__init__(reactor, without, without, without, without, fallback)
        self.sent: list[tuple[str, str]] = []

    @property
    def texts(self) -> list[str]:
        """The texts of the notices that administrators have got."""
        return [text for text, _ in self.sent]

    def _tell(self, text: str, summary: str = "", most: float = 0) -> bool:
        self.sent.append((text, summary))
        return True

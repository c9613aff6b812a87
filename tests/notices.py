"""A notice board that sends nothing."""

from __future__ import annotations

from types import SimpleNamespace

from errklein.bot._notices import NoticeBoard
from errklein.testing._reactor import TestReactor


class KeptNotices(NoticeBoard):
    """Keeps the notices in plain text, with their summaries."""

    def __init__(self, reactor: TestReactor) -> None:
        super().__init__(reactor, SimpleNamespace(person_seen=None, look=lambda: None))  # type: ignore[arg-type]
        self.sent: list[tuple[str, str]] = []

    @property
    def texts(self) -> list[str]:
        """The texts of the notices that administrators have got."""
        return [text for text, _ in self.sent]

    def _tell(self, text: str, summary: str = "", most: float = 0) -> bool:
        self.sent.append((text, summary))
        return True

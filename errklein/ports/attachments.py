"""Files that came with messages, whose content networks fetch on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from errklein.ports.receipts import on_reactor


class FetchedAttachment:
    """An `Attachment` of a network, which only has to fetch the content on the reactor.

    :param name: The name of the file, as its sender has written it.
    :param type: The content type that the sender has stated; "" if there is none.
    :param size: The number of bytes that the sender has stated; 0 if there is none.
    :param fetch: Returns the content, and gets the largest number of bytes; it fails with BodyTooLarge beyond.
    """

    result_of: Callable[..., Any] = staticmethod(on_reactor)
    """As that of a `Receipt`."""

    def __init__(self, name: str, type: str, size: int, fetch: Callable[[int], Deferred[bytes]]) -> None:
        self.name, self.type, self.size = name, type, size
        self._fetch = fetch

    def read(self, most: int = 25_000_000) -> Any:
        """Return the content; see `Attachment.read`."""
        return self.result_of(self._fetch, most)

    def __repr__(self) -> str:
        return f"<FetchedAttachment {self.name!r}, {self.type or 'of no type'}, {self.size} bytes>"

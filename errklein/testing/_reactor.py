"""A reactor whose time is the test's, and whose sockets are nowhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock


class TestReactor(MemoryReactorClock):
    """Time passes when the test says so."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """There are no other threads: the call is made at once."""
        callable(*args, **kwargs)

"""Notices about files of the bot that were deleted while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from errklein.database import JobThread
from errklein.ports import UsesFiles


class FileWatch:
    """Looks once a second whether the bot's files are there. Writing to them fails otherwise, but an idle bot writes nothing.

    A thread looks, since a disk can hang.

    :param tell_admins: Called on the reactor with a notice, once until the files are there again.
    :param parts: The storage and the journal. Those without files are ignored.
    """

    def __init__(self, reactor: Any, tell_admins: Callable[[str], None], parts: Iterable[object]) -> None:
        self._reactor = reactor
        self._tell_admins = tell_admins
        self._parts = [part for part in parts if isinstance(part, UsesFiles)]
        self._thread: JobThread | None = None
        self.problem = ""
        """What is wrong with the files; "" if nothing is."""

    def start(self) -> None:
        """Start the thread."""
        if self._parts:
            self._thread = JobThread(self._reactor, "file watch", self.check)

    def stop(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._thread.stop()

    def check(self) -> bool:
        """Look for the files; called in the thread. Returns False, since there is nothing more to do."""
        # Both name the directory if that was deleted.
        problems: dict[str, None] = {}
        for part in self._parts:
            try:
                part.check_files()
            except Exception as error:
                problems[str(error)] = None
        problem = "; ".join(problems)
        if problem and not self.problem:
            self._reactor.callFromThread(self._tell_admins, problem)
        self.problem = problem
        return False

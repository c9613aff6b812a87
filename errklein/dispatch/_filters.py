"""Execution of plugins' command filters."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.logger import Logger

from errklein.chat import Message
from errklein.commands import FilterRegistry, RegisteredFilter
from errklein.running import KeyedQueues, Placement, PooledRunner, QueuedWork, place

Passed = tuple[Message, str, Any]
"""The message, the command's name and its arguments, as filters returned them."""


class Filtering:
    """Calls the filters one after the other, in the order in which their plugins were activated.

    Filters use the thread pool of callbacks, so that long commands don't delay them. A filter that runs in a thread gets one
    command at a time, in the order in which they were received, unless it takes long.
    """

    log = Logger()

    def __init__(self, filters: FilterRegistry, runner: PooledRunner, queues: KeyedQueues) -> None:
        self._filters = filters
        self._runner = runner
        self._queues = queues
        self._latest: dict[RegisteredFilter, QueuedWork] = {}

    async def let_through(self, message: Message, command: str, args: Any, *, dry_run: bool = False) -> Passed | None:
        """Return the command as the filters changed it, or None if one of them blocks it or raises an exception."""
        for one in self._filters.all:
            try:
                changed, name, args = await self._ask(one, message, command, args, dry_run)
            except Exception:
                self.log.failure("A filter of {plugin} failed; {command} is blocked", plugin=one.owner, command=command)
                return None
            if not isinstance(changed, Message) or not isinstance(name, str):
                self.log.info("A filter of {plugin} blocked {command}", plugin=one.owner, command=command)
                return None
            message, command = changed, name
        return message, command, args

    async def replies_to_unknown(self, message: Message) -> list[str]:
        """Return the filters' replies to a message with a prefix that matches no command."""
        replies = []
        for one in self._filters.unprocessed:
            try:
                reply = await self._ask(one, message, None, "", False, emptycmd=True)
            except Exception:
                self.log.failure("A filter of {plugin} failed for an unknown command", plugin=one.owner)
                continue
            if reply:
                replies.append(str(reply))
        return replies

    async def _ask(self, one: RegisteredFilter, *args: Any, **kwargs: Any) -> Any:
        ask = partial(self._runner.run, one.handler, *args, **kwargs)
        if place(one.handler) is Placement.REACTOR:
            return await ask()
        asked = self._latest[one] = self._queues.run(object(), ask, self._latest.get(one))
        try:
            return await asked.result
        finally:
            if self._latest.get(one) is asked:
                del self._latest[one]

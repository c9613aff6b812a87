"""Plugins' filters of commands, called one after the other."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.logger import Logger

from errklein.chat import Message
from errklein.commands import FilterRegistry, RegisteredFilter
from errklein.running import KeyedQueues, Placement, PooledRunner, QueuedWork, place

Passed = tuple[Message, str, Any]
"""A message, a command's name and its arguments, as filters have left them."""


class Filtering:
    """Calls the filters in the order in which their plugins were activated, each where it may run.

    They share the threads of callbacks, so that long commands don't delay them. A plain filter gets one command at a
    time, in the order in which they were given, unless it takes long.
    """

    log = Logger()

    def __init__(self, filters: FilterRegistry, runner: PooledRunner, queues: KeyedQueues) -> None:
        self._filters = filters
        self._runner = runner
        self._queues = queues
        self._latest: dict[RegisteredFilter, QueuedWork] = {}

    async def let_through(self, message: Message, command: str, args: Any, *, dry_run: bool = False) -> Passed | None:
        """The command as the filters have changed it; None if one of them blocks it, or fails."""
        for one in self._filters.all:
            try:
                changed, name, args = await self._ask(one, message, command, args, dry_run)
            except Exception:
                self.log.failure(
                    "{plugin}: a filter failed, so {command} is blocked", plugin=one.owner, command=command
                )
                return None
            if not isinstance(changed, Message) or not isinstance(name, str):
                self.log.info("{plugin}: a filter has blocked {command}", plugin=one.owner, command=command)
                return None
            message, command = changed, name
        return message, command, args

    async def answers_to_unknown(self, message: Message) -> list[str]:
        """The filters' replies to a message that has a prefix and is no command."""
        answers = []
        for one in self._filters.unprocessed:
            try:
                answer = await self._ask(one, message, None, "", False, emptycmd=True)
            except Exception:
                self.log.failure("{plugin}: a filter of unknown commands failed", plugin=one.owner)
                continue
            if answer:
                answers.append(str(answer))
        return answers

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

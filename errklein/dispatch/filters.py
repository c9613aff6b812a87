"""Asks plugins' filters about a command, one after the other."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from errklein.chat import Message
from errklein.commands.registry import RegisteredFilter
from errklein.running import Placement, place
from errklein.running.keyed_queues import QueuedWork

if TYPE_CHECKING:
    from errklein.bot import Bot

Passed = tuple[Message, str, Any]
"""A message, a command's name and its arguments, as filters have left them."""


class Filtering:
    """Asks the filters in the order in which their plugins were activated, each where it may run.

    They share the threads of callbacks, so that long commands don't keep them from deciding. A plain filter is asked about
    one command at a time, in the order in which they were given, unless it takes long.
    """

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._latest: dict[RegisteredFilter, QueuedWork] = {}

    async def let_through(self, message: Message, command: str, args: Any, *, dry_run: bool = False) -> Passed | None:
        """What the filters have made of a command; None if one of them blocks it, or fails."""
        for one in self._bot.filters.all:
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
        """What filters say about a message that has a prefix and is no command."""
        answers = []
        for one in self._bot.filters.unprocessed:
            try:
                answer = await self._ask(one, message, None, "", False, emptycmd=True)
            except Exception:
                self.log.failure("{plugin}: a filter of unknown commands failed", plugin=one.owner)
                continue
            if answer:
                answers.append(str(answer))
        return answers

    async def _ask(self, one: RegisteredFilter, *args: Any, **kwargs: Any) -> Any:
        ask = partial(self._bot.runner.run, one.handler, *args, pool=self._bot.plugin_pool, **kwargs)
        if place(one.handler) is Placement.REACTOR:
            return await ask()
        asked = self._latest[one] = self._bot.lines.run(object(), ask, self._latest.get(one))
        try:
            return await asked.result
        finally:
            if self._latest.get(one) is asked:
                del self._latest[one]

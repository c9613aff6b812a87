"""Decides who may do what on the console, by the access rules and filters of the commands in chat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from errklein.bot import Bot
from errklein.chat import Identifier
from errklein.commands.operations import Actor, Guard
from errklein.console._sessions import Visitor
from errklein.ports.chat import Backend, KnowsHolders
from errklein.running.context import handled_network, origin, person_origin


class NotPermitted(Exception):
    """The visitor may not perform an operation. The text is the reason."""


class Left(Exception):
    """The visitor isn't who has got the link any more, or may not enter the console now. The text is the reason."""


class VisitorAccess:
    """Performs operations of a bot for visitors, with the rules and filters of the chat commands that guard them."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot

    def check(self, visitor: Visitor) -> None:
        """Raise Left unless the visitor is still an administrator who is known by more than a name that others can take."""
        if visitor.person is None:
            return
        backend = self._backend(visitor)
        holder: Any = _holder(backend, visitor.person)
        if holder is None or getattr(holder, "client", None) != getattr(visitor.person, "client", None):
            raise Left(f"{backend.network} doesn't know you any more: stay connected, and in a room with the bot")
        if not self.bot.dispatcher.disclosure.is_admin(backend, visitor.person):
            raise Left("you are no administrator any more")
        if not backend.is_certain(holder):
            raise Left("no entry of BOT_ADMINS names you by more than a name that others can take")

    async def perform(
        self, visitor: Visitor, operation: Callable[..., Any], *, dry_run: bool = False, **values: Any
    ) -> Any:
        """Return the result of an operation with these values.

        :param dry_run: The operation only shows something: filters are asked, and do nothing else.

        :raises NotPermitted: The visitor may not perform it.
        """
        if reason := await self.refusal(visitor, operation, dry_run=dry_run, **values):
            raise NotPermitted(reason)
        by = Actor(visitor.name, reads_details=True)
        return await self._in_context(visitor, lambda: maybeDeferred(operation, by, **values))

    async def refusal(self, visitor: Visitor, operation: Callable[..., Any], *, dry_run: bool, **values: Any) -> str:
        """Return why the visitor may not perform an operation with these values; "" if nothing prevents it."""
        guard = Guard.of(operation)
        if guard is None:
            raise TypeError(f"{operation!r} isn't an operation")
        if visitor.person is None:
            return ""
        backend = self._backend(visitor)
        text = f"{guard.command.replace('_', ' ')} {guard.arguments(**values)}"
        message = backend.build_message(f"{self.bot.networks.config(backend).BOT_PREFIX}{text.strip()}")
        message.frm, message.to = _holder(backend, visitor.person), backend.bot_identifier
        judging = self.bot.dispatcher.permissions.judge(message, operation, dry_run=dry_run, **values)
        found: str = await self._in_context(visitor, lambda: Deferred.fromCoroutine(judging))
        return found

    def _backend(self, visitor: Visitor) -> Backend:
        backend = self.bot.backends.get(visitor.network)
        if backend is None:
            raise Left(f"the bot has no network {visitor.network} any more")
        return backend

    def _in_context(self, visitor: Visitor, start: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """Start something as if a message of the visitor were handled."""

        def begin() -> Awaitable[Any]:
            if visitor.person is not None:
                handled_network.set(visitor.network)
                origin.set(person_origin(visitor.network, visitor.person))
            return start()

        return copy_context().run(begin)


def _holder(backend: Backend, person: Identifier) -> Identifier | None:
    return backend.current_holder(person) if isinstance(backend, KnowsHolders) else person

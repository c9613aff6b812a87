"""The way from a message to its reply: find the command, ask for permission, run it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.dispatch.conversations import Conversations
from errklein.dispatch.execution import Execution
from errklein.dispatch.finding import CommandFinder, NothingToRepeat, UnknownCommand
from errklein.dispatch.invocation import Invocation
from errklein.dispatch.permissions import Permissions
from errklein.dispatch.unknown_commands import UnknownCommands
from errklein.ports import Backend, OutboxFull
from errklein.running.in_flight import InFlightCounter

WhenSettled = Callable[[], Deferred[Any] | None]


class Dispatcher:
    """Dispatches messages to commands.

    `when_settled` returns what fires in bounded time when the commands of a plugin that is being reloaded are there again;
    None if no plugin is being reloaded.
    """

    log = Logger()

    def __init__(
        self,
        finder: CommandFinder,
        conversations: Conversations,
        permissions: Permissions,
        execution: Execution,
        unknown_commands: UnknownCommands,
        when_settled: WhenSettled,
    ) -> None:
        self._finder = finder
        self._conversations = conversations
        self._permissions = permissions
        self._execution = execution
        self._unknown_commands = unknown_commands
        self._when_settled = when_settled
        self._in_flight = InFlightCounter()

    def when_idle(self) -> Deferred[None]:
        """Fires as soon as every message that was received has its reply."""
        return self._in_flight.when_none()

    def dispatch(self, backend: Backend, message: Message) -> bool:
        """Reply to one message; never raises, and never waits. False if plugins needn't be shown the message."""
        try:
            answered = self._dispatch(backend, message)
        except NothingToRepeat:
            return False
        except Exception:
            self._lost(Failure())
            return True
        if answered is not None:
            self._in_flight.enter()
            answered.addErrback(self._lost).addBoth(lambda _: self._in_flight.leave())
        return True

    def _dispatch(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        conversations = self._conversations
        if (
            conversations.waiting
            and not self._finder.begins_with_prefix(backend, message)
            and conversations.take(backend, message)
        ):
            return None
        try:
            found = self._finder.find(backend, message)
        except UnknownCommand as unknown:
            return self._unknown(backend, unknown.message)
        if len(found) == 1:
            return self._consider(found[0])
        running = [self._consider(invocation) for invocation in found]
        return DeferredList([one.addErrback(self._lost) for one in running if one is not None]) if running else None

    def _consider(self, invocation: Invocation) -> Deferred[Any] | None:
        """Run the command, unless an access rule or a filter is against it."""
        if self._permissions.denied(invocation):
            return None
        if self._permissions.are_filtered:
            return Deferred.fromCoroutine(self._filter(invocation))
        return self._execution.begin(invocation)

    async def _filter(self, invocation: Invocation) -> None:
        permitted = await self._permissions.filtered(invocation)
        running = None if permitted is None else self._execution.begin(permitted)
        if running is not None:
            await running

    def _unknown(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        settled = self._when_settled()
        if settled is None:
            return self._not_found(backend, message)
        # It may be a command of the plugin that is being reloaded, which may take long.
        again, give_up = (_in_this_context(do, backend, message) for do in (self._dispatch, self._not_found))
        return settled.addCallbacks(again, give_up)

    def _not_found(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        if not self._unknown_commands.are_filtered:
            return None
        return Deferred.fromCoroutine(self._unknown_commands.answer(backend, message))

    def _lost(self, failure: Failure) -> None:
        if failure.check(OutboxFull):
            # A flood of messages shouldn't fill the disk as well, with a traceback for each.
            self.log.warn("An answer is left out: {error}", error=str(failure.value))
            return
        self.log.failure("A message could not be answered", failure)


def _in_this_context(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """A callback that calls the function as if it were called now."""
    context = copy_context()
    return lambda _: context.run(function, *args)

"""The dispatcher, which takes each incoming message through the steps to its reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import EXACT, Identifier, Message
from errklein.commands import CommandRegistry, FilterRegistry, History
from errklein.dispatch._execution import Execution
from errklein.dispatch._finding import CommandFinder, NothingToRepeat, UnknownCommand
from errklein.dispatch._invocation import Invocation
from errklein.dispatch._networks import Networks
from errklein.dispatch._permissions import Filtering, Permissions
from errklein.dispatch.conversations import Conversations
from errklein.dispatch.disclosure import Disclosure
from errklein.dispatch.flow_executor import FlowExecutor
from errklein.dispatch.replies import Deliver, OperatorConsole, Replies
from errklein.ports.chat import Backend, HasNameRules
from errklein.ports.outbox import OutboxFull
from errklein.running import InFlightCounter, result_within
from errklein.running.workers import Workers

LONGEST_RELOAD = 10.0
"""Seconds that a message with an unknown command waits for a plugin that is being reloaded."""


class Dispatcher:
    """Creates the collaborators for each step from a message to its reply, and dispatches messages.

    `histories` maps the names of networks to command histories.

    `deliver` sends a message on a network, and `send` sends Markdown text to an identifier; both may be called in any thread.
    `when_settled` returns a Deferred that fires when a plugin that is being reloaded has its commands again, or None if no
    plugin is being reloaded.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        workers: Workers,
        deliver: Deliver,
        send: Callable[[Identifier, str], object],
        when_settled: Callable[[], Deferred[Any] | None],
    ) -> None:
        def wait_for(awaitable: Awaitable[Any]) -> Any:
            return workers.waits.result_of(workers.commands.runner.result_of, awaitable)

        self._reactor = reactor
        self._when_settled = when_settled
        self._in_flight = InFlightCounter()
        self.registry = registry = CommandRegistry()
        self.filters = FilterRegistry()
        self.histories = {network: History(partial(_folded, backend)) for network, backend in networks.backends.items()}
        self._consoles = {
            network: backend for network, backend in networks.backends.items() if isinstance(backend, OperatorConsole)
        }
        self.disclosure = Disclosure(networks)
        self.replies = replies = Replies(networks, deliver, self.disclosure, wait_for)
        self._filtering = Filtering(self.filters, workers.others, workers.queues)
        self.conversations = Conversations(reactor, networks, replies)
        self.flow_executor = FlowExecutor(reactor, networks, registry, workers.commands, send, self.disclosure)
        self.permissions = Permissions(reactor.seconds, networks, registry, self._filtering, replies)
        self.finder = CommandFinder(networks, registry, self.histories)
        self.execution = Execution(reactor, self.histories, workers, replies, self.flow_executor)

    def when_idle(self) -> Deferred[None]:
        """Return a Deferred that fires when all received messages are handled."""
        return self._in_flight.when_none()

    def dispatch(self, backend: Backend, message: Message) -> bool:
        """Handle one message without blocking; errors are logged.

        Returns False if plugins don't get the message in `callback_message`.
        """
        try:
            handled = self._dispatch(backend, message)
        except NothingToRepeat:
            return False
        except Exception:
            self._lost(Failure())
            return True
        if handled is not None:
            self._in_flight.enter()
            handled.addErrback(self._lost).addBoth(lambda _: self._in_flight.leave())
        return True

    def _dispatch(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        conversations = self.conversations
        if (
            conversations.waiting
            and not self.finder.begins_with_prefix(backend, message)
            and conversations.take(backend, message)
        ):
            return None
        try:
            found = self.finder.find(backend, message)
        except UnknownCommand as unknown:
            return None if self.permissions.too_many(backend, message) else self._unknown(backend, unknown.message)
        if any(one.command.declaration.prefixed for one in found) and self.permissions.too_many(backend, message):
            return None
        if len(found) == 1:
            return self._consider(found[0])
        if not found and (console := self._consoles.get(backend.network)) is not None:
            if hint := console.plain_text_reply(message):
                self.replies.reply(backend, message, hint)
            return None
        running = [self._consider(invocation) for invocation in found]
        return DeferredList([one.addErrback(self._lost) for one in running if one is not None]) if running else None

    def _consider(self, invocation: Invocation) -> Deferred[Any] | None:
        """Run the command unless an access rule denies it or a filter blocks it."""
        if self.permissions.denied(invocation):
            return None
        if self.filters.all:
            return Deferred.fromCoroutine(self._filter(invocation))
        return self.execution.begin(invocation)

    async def _filter(self, invocation: Invocation) -> None:
        permitted = await self.permissions.filtered(invocation)
        running = None if permitted is None else self.execution.begin(permitted)
        if running is not None:
            await running

    def _unknown(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        settled = self._when_settled()
        if settled is None:
            return self._not_found(backend, message)
        # The command may belong to the plugin that is being reloaded, which may take long.
        again, give_up = (_in_this_context(do, backend, message) for do in (self._dispatch, self._not_found))
        return result_within(self._reactor, LONGEST_RELOAD, settled).addCallbacks(again, give_up)

    def _not_found(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        return Deferred.fromCoroutine(self._reply_to_unknown(backend, message)) if self.filters.unprocessed else None

    async def _reply_to_unknown(self, backend: Backend, message: Message) -> None:
        for text in await self._filtering.replies_to_unknown(message):
            self.replies.reply(backend, message, text)

    def _lost(self, failure: Failure) -> None:
        if failure.check(OutboxFull):
            # During a flood of messages, a traceback for each would fill the disk.
            self.log.warn("A reply was dropped: {error}", error=str(failure.value))
            return
        self.log.failure("A message could not be handled", failure)


def _in_this_context(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """Return a callback that calls the function in the current context."""
    context = copy_context()
    return lambda _: context.run(function, *args)


def _folded(backend: Backend, name: str) -> str:
    """Return the name folded by the rules of the network."""
    return (backend.name_rules if isinstance(backend, HasNameRules) else EXACT).fold(name)

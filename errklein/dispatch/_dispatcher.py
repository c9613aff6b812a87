"""The dispatcher, which takes each incoming message through the steps to its reply."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentTypeError
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from logging import INFO
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Identifier, Message
from errklein.commands import CommandError, CommandRegistry, FilterRegistry, History, Sender
from errklein.dispatch._finding import CommandFinder, Invocation, NothingToRepeat, UnknownCommand, folded
from errklein.dispatch._networks import Networks
from errklein.dispatch._permissions import Permissions
from errklein.dispatch.conversations import Conversations
from errklein.dispatch.flow_executor import FlowExecutor
from errklein.dispatch.replies import Deliver, Disclosure, OperatorConsole, Replies, failure_text, refused
from errklein.ports.chat import Backend
from errklein.ports.outbox import OutboxFull
from errklein.running import (
    InFlightCounter,
    Overloaded,
    Placement,
    PoolStopped,
    Runner,
    SerialQueue,
    Workers,
    placement_of,
    result_within,
)
from errklein.running.context import running_command
from errklein.text import code
from errklein.text.masking import masker

LONGEST_RELOAD = 10.0  # seconds that a message with an unknown command waits for a plugin that is being reloaded

HUNG_AFTER = 60.0  # the time for which an admin-only command delays the next one, in seconds

_ABOUT_ARGUMENTS = (ValueError, SystemExit, CommandError, ArgumentError, ArgumentTypeError)
"""Exceptions with which splitters such as shlex and argparse reject arguments. Any other is a bug in the splitter."""


class Dispatcher:
    """Takes messages to their replies: finds commands, checks permissions, splits arguments, and runs the handlers.

    Admin-only commands run one at a time, all others concurrently. Commands of the core, with which administrators repair the
    bot, have threads and a queue of their own. An admin-only command that hangs delays others for a minute only. With
    `BOT_ASYNC = False`, commands that run in threads run one at a time, too.

    `histories` maps the names of networks to command histories. `outcomes` is the number of commands since the start: those
    that raised a CommandError are rejected.

    `deliver` sends a message on a network, and `send` sends Markdown text to an identifier; both may be called in any thread.
    `when_settled` returns a Deferred that fires when a plugin that is being reloaded has its commands again, or None if no
    plugin is being reloaded. `note` stores what a person has chosen.
    """

    log = Logger()
    hint: Callable[[Backend, Message], str | None] = staticmethod(lambda backend, message: None)
    """Returns the reply to a message that is neither a command nor an answer; on a console, that itself replies."""

    def __init__(
        self,
        reactor: Any,
        networks: Networks,
        workers: Workers,
        deliver: Deliver,
        send: Callable[[Identifier, str], object],
        when_settled: Callable[[], Deferred[Any] | None],
        note: Callable[[str, str], None],
    ) -> None:
        self._reactor = reactor
        self._networks = networks
        self._workers = workers
        self._when_settled = when_settled
        self._in_flight = InFlightCounter()
        self.registry = registry = CommandRegistry()
        self.filters = FilterRegistry()
        self.histories = {network: History(partial(folded, backend)) for network, backend in networks.backends.items()}
        self._consoles = {
            network: backend for network, backend in networks.backends.items() if isinstance(backend, OperatorConsole)
        }
        self.disclosure = Disclosure(networks)
        wait_for = partial(workers.waits.result_of, workers.commands.result_of)
        self.replies = replies = Replies(networks, deliver, self.disclosure, wait_for)
        self.permissions = Permissions(reactor.seconds, networks, registry, self.filters, workers, replies)
        self.conversations = Conversations(reactor, networks, replies, self.permissions.denial, note)
        self.flow_executor = FlowExecutor(
            reactor, networks, registry, workers.commands, send, self.disclosure, self.conversations, self.dispatch
        )
        self.finder = CommandFinder(networks, registry, self.histories)
        self._admin_queues = tuple(SerialQueue(reactor, hung_after=HUNG_AFTER) for _ in range(2))
        """Those of plugins and of the core."""
        self._running_alone = ["", ""]  # the names of the commands that run in these queues
        self._blocking_commands = SerialQueue(reactor)
        self.outcomes = {"succeeded": 0, "rejected": 0, "failed": 0}

    def when_idle(self) -> Deferred[None]:
        return self._in_flight.when_none()

    def stop(self) -> None:
        for queue in (*self._admin_queues, self._blocking_commands):
            queue.stop()

    def dispatch(self, backend: Backend, message: Message) -> bool:
        """Handle one message without blocking; errors are logged. Returns False if plugins don't get the message in
        `callback_message`."""
        try:
            handled = self._find_and_run(backend, message)
        except NothingToRepeat:
            return False
        except Exception:
            self._lost(Failure())
            return True
        if handled is not None:
            self._in_flight.enter()
            handled.addErrback(self._lost).addBoth(lambda _: self._in_flight.leave())
        return True

    # Each step returns a Deferred that fires when the message is handled, or None if it already is.

    def _find_and_run(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        conversations, settings = self.conversations, self._networks.config(backend)
        if (
            conversations.open
            and not self.finder.begins_with_prefix(backend, message)
            and conversations.take(backend, message)
        ):
            return None
        try:
            found = self.finder.find(backend, message, settings)
        except UnknownCommand as unknown:
            if self.permissions.too_many(backend, message, settings):
                return None
            return self._unknown(backend, unknown.message)
        is_prefixed = any(one.command.declaration.prefixed for one in found)
        if is_prefixed and self.permissions.too_many(backend, message, settings):
            return None
        if len(found) == 1:
            return self._consider(found[0])
        if not found:
            console = self._consoles.get(backend.network)
            if hint := self.hint(backend, message) if console is None else console.plain_text_reply(message):
                self.replies.reply(backend, message, hint)
            return None
        running = [self._consider(invocation) for invocation in found]
        return DeferredList([one.addErrback(self._lost) for one in running if one is not None])

    def _unknown(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        settled = self._when_settled()
        if settled is None:
            return self._not_found(backend, message)
        # The command may belong to the plugin that is being reloaded, which may take long.
        again, give_up = (_in_this_context(do, backend, message) for do in (self._find_and_run, self._not_found))
        return result_within(self._reactor, LONGEST_RELOAD, settled).addCallbacks(again, give_up)

    def _not_found(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        return Deferred.fromCoroutine(self._reply_to_unknown(backend, message)) if self.filters.unprocessed else None

    async def _reply_to_unknown(self, backend: Backend, message: Message) -> None:
        for text in await self.permissions.replies_to_unknown(message):
            self.replies.reply(backend, message, text)

    def _consider(self, invocation: Invocation) -> Deferred[Any] | None:
        if self.permissions.denied(invocation):
            return None
        if self.filters.all:
            return Deferred.fromCoroutine(self._filter(invocation))
        return self._begin(invocation)

    async def _filter(self, invocation: Invocation) -> None:
        permitted = await self.permissions.filtered(invocation)
        running = None if permitted is None else self._begin(permitted)
        if running is not None:
            await running

    def _begin(self, invocation: Invocation) -> Deferred[Any] | None:
        """Log and remember the permitted command, split its arguments, and run it."""
        command, declaration = invocation.command, invocation.command.declaration
        flows = self.flow_executor
        # Most commands belong to no flow.
        if (flows.in_flight or declaration.flow_only) and not flows.enter(invocation.message, command):
            return None
        # Creating the event costs as much as the rest of a short command.
        if invocation.settings.BOT_LOG_LEVEL <= INFO:
            # The arguments may be secret.
            self.log.info("{sender} runs {command}", sender=invocation.message.frm, command=command.name)
        if declaration.historize and (sender := Sender.of(invocation.message)).person:
            self.histories[invocation.backend.network].remember(sender, command.name, invocation.args)
        if declaration.pattern is not None:
            match = declaration.match(invocation.args)
            return None if match is None else self._line_up(replace(invocation, args=match), self._run)
        if not declaration.splits_synchronously:
            return self._line_up(invocation, self._split_and_run)
        try:
            args = declaration.split(invocation.args)
        except Exception:
            self.replies.reply_to(invocation, self._not_split(Failure(), invocation))
            return None
        return self._line_up(replace(invocation, args=args), self._run)

    def _line_up(self, invocation: Invocation, run: Callable[[Invocation], Any]) -> Deferred[Any] | None:
        """Call `run`, which is `_run` or `_split_and_run`, now or when the commands queued before it have ended."""
        command, begin = invocation.command, partial(run, invocation)
        if not invocation.settings.BOT_ASYNC and not command.core and placement_of(command.handler) is Placement.THREAD:
            begin = partial(self._blocking_commands.run, begin)
        if command.declaration.admin_only and not getattr(command.handler, "_errklein_concurrent", False):
            begin = partial(self._wait_for_admin_commands, invocation, begin)
        try:
            running = begin()
            if not isinstance(running, Deferred):
                self._succeeded(None, invocation)
                return None
        except BaseException:
            self._failed(Failure(), invocation)
            return None
        running.addCallback(self._succeeded, invocation)
        running.addErrback(self._failed, invocation)
        return running

    def _wait_for_admin_commands(self, invocation: Invocation, begin: Callable[[], Any]) -> Deferred[Any]:
        """Run an admin-only command after those before it. One of a plugin also waits for those of the core."""
        command = invocation.command
        core = command.core

        def alone() -> Any:
            self._running_alone[core] = command.name
            if core:
                return begin()
            return self._admin_queues[True].run(lambda: succeed(None)).addCallback(lambda _: begin())

        def reply_that_it_waits() -> None:
            names = (command.name, self._running_alone[core])
            given, other = (f"{invocation.settings.BOT_PREFIX}{name.replace('_', ' ')}" for name in names)
            self.replies.reply_to(
                invocation, f"{code(given)} waits for {code(other)} to end; admin-only commands run one at a time."
            )

        return self._admin_queues[core].run(alone, reply_that_it_waits)

    def _split_and_run(self, invocation: Invocation) -> Deferred[Any]:
        def run(args: Any) -> Any:
            return self._run(replace(invocation, args=args))

        def refuse(failure: Failure) -> Failure:
            if failure.check(PoolStopped, Overloaded):
                return failure
            raise CommandError(self._not_split(failure, invocation))

        runner, split = self._runner(invocation), invocation.command.declaration.split
        return runner.run(split, invocation.args).addCallbacks(run, refuse)

    def _run(self, invocation: Invocation) -> Deferred[Any] | None:
        command = invocation.command
        give, runner = partial(self.replies.give, invocation), self._runner(invocation)
        token = running_command.set(command)
        try:
            if command.yields:
                return runner.run_generator(give, command.handler, invocation.message, invocation.args)
            result = runner.start(command.handler, invocation.message, invocation.args)
        finally:
            running_command.reset(token)
        if not isinstance(result, Deferred):
            give(result)
            return None
        template = command.declaration.template
        if template and placement_of(command.handler) is Placement.THREAD:
            result.addCallback(self._rendered, template, command.owner)
        return result.addCallback(give)

    def _runner(self, invocation: Invocation) -> Runner:
        return self._workers.core if invocation.command.core else self._workers.commands

    def _rendered(self, item: Any, template: str, owner: str) -> Any:
        if not item or not isinstance(item, Mapping):
            return item
        return self._workers.commands.pool.run(
            lambda: partial(self.replies.process_template, template, item, plugin_name=owner)
        )

    def _not_split(self, failure: Failure, invocation: Invocation) -> str:
        """Return the reply to invalid arguments. An exception that isn't in `_ABOUT_ARGUMENTS` is logged."""
        summary = "Sorry, I couldn't parse your arguments"
        text = f"{summary}. {failure_text(failure)}"
        if failure.check(*_ABOUT_ARGUMENTS):
            return masker(text)
        return self.replies.faulty(failure, invocation, text, summary)

    def _failed(self, failure: Failure, invocation: Invocation) -> None:
        failure = refused(failure, invocation.command)
        self.outcomes["rejected" if failure.check(CommandError) else "failed"] += 1
        self.replies.failed(failure, invocation)

    def _succeeded(self, _: Any, invocation: Invocation) -> None:
        self.outcomes["succeeded"] += 1
        self.flow_executor.done(invocation.message, invocation.command)

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

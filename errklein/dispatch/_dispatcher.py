"""The dispatcher, which takes each incoming message through the steps to its reply, and permissions to run commands."""

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
from errklein.commands import CommandError, CommandRegistry, FilterRegistry, RegisteredCommand, unknown_command
from errklein.commands.access import Caller, check_access
from errklein.commands.operations import Guard
from errklein.dispatch._finding import (
    CommandFinder,
    History,
    Invocation,
    NothingToRepeat,
    Sender,
    UnknownCommand,
    folded,
)
from errklein.dispatch._networks import Networks
from errklein.dispatch.conversations import Conversations
from errklein.dispatch.flow_executor import FlowExecutor
from errklein.dispatch.replies import (
    Deliver,
    Disclosure,
    HasOwnReplies,
    OperatorConsole,
    Replies,
    build_reply,
    failure_text,
    refused,
)
from errklein.ports.chat import Backend, KnowsHolders
from errklein.ports.outbox import OutboxFull
from errklein.running import (
    InFlightCounter,
    Overloaded,
    Placement,
    PoolStopped,
    QueuedWork,
    RateLimit,
    Runner,
    SerialQueue,
    TokenBuckets,
    Workers,
    placement_of,
    result_within,
)
from errklein.running.context import origin, running_command
from errklein.text import code
from errklein.text.masking import masker
from errklein.webhooks.option_values import Rate

LONGEST_RELOAD = 10.0  # seconds that a message with an unknown command waits for a plugin that is being reloaded
HUNG_AFTER = 60.0  # the time for which an admin-only command delays the next one, in seconds

Passed = tuple[Message, str, Any]  # the message, the command's name and its arguments, as filters returned them


class Permissions:
    """Decides whether a command may run, by the rate of a person's commands, access rules, then plugins' filters; and which
    commands a person gets to see. Filters are called one after the other, in the order in which their plugins were
    activated. They use the thread pool of callbacks, so that long commands don't delay them. A filter that runs in a thread
    gets one command at a time, in the order in which they were received, unless it takes long."""

    log = Logger()

    def __init__(
        self,
        seconds: Callable[[], float],
        networks: Networks,
        registry: CommandRegistry,
        filters: FilterRegistry,
        workers: Workers,
        replies: Replies,
    ) -> None:
        self._seconds = seconds
        self._networks, self._registry, self._filters = networks, registry, filters
        self._workers, self._replies = workers, replies
        self._latest: dict[Callable[..., Any], QueuedWork] = {}
        self._rates: dict[str, TokenBuckets] = {}
        # Looking at a protocol's members takes longer than the rest of `too_many`.
        self._knowing_holders = {name for name, one in networks.backends.items() if isinstance(one, KnowsHolders)}
        self._rate_notices = RateLimit(seconds)

    def too_many(self, backend: Backend, message: Message, settings: Any) -> bool:
        """Count a command, and return whether it is beyond the sender's COMMAND_RATE. Administrators have no limit. The
        sender gets at most one reply a minute. Two bots that reply to each other with commands get to the limit, and stop."""
        rate = settings.COMMAND_RATE
        if rate is None:
            return False
        if rate not in self._rates:
            limit = Rate.of(rate)
            self._rates[rate] = TokenBuckets(self._seconds, limit.interval, limit.count)
        client = getattr(message.frm, "client", None) if backend.network in self._knowing_holders else None
        # People may change their nicks, but not the user and host behind it.
        sender = f"{backend.network}/{client}" if client else origin.get()
        wait = self._rates[rate].bucket(sender).take()
        if not wait or Caller.from_message(message, self._networks.config(backend)).is_admin:
            return False
        if self._rate_notices.allows(sender):
            self.log.warn("Commands of {sender} are ignored: more than {rate}", sender=str(message.frm), rate=rate)
            text = f"You have given too many commands; the next may follow in {max(1, round(wait))} s."
            reply = build_reply(backend, message, text, False, False, settings)
            # On IRC, no bot replies to a notice.
            reply.extras["notice"] = True
            self._replies.deliver(backend, reply)
        return True

    def denied(self, invocation: Invocation) -> bool:
        """Return whether an access rule denies the command; reply with the reason unless HIDE_RESTRICTED_ACCESS is set."""
        settings, command, sender = invocation.settings, invocation.command, invocation.message.frm
        if not (settings.ACCESS_CONTROLS or settings.ACCESS_CONTROLS_DEFAULT or command.needs_admin):
            return False
        denial = self.denial(invocation.backend, invocation.message, command, invocation.args)
        if denial is None:
            return False
        text = "{sender} may not use {command}: {reason}"
        self.log.info(text, sender=str(sender), command=command.name, reason=denial)
        if not settings.HIDE_RESTRICTED_ACCESS:
            self._replies.reply_to(invocation, denial)
        return True

    async def filtered(self, invocation: Invocation) -> Invocation | None:
        given = (invocation.message, invocation.command.name, invocation.args)
        passed = await self._let_through(*given)
        if passed is None or passed == given:
            return None if passed is None else invocation
        message, name, args = passed
        command = invocation.command if name == given[1] else self._registry.find(name)
        if command is None:
            self.log.warn("A filter replaced {given} by {command}, which is unknown", command=name, given=given[1])
            return None
        changed = replace(invocation, message=message, command=command, args="" if args is None else args)
        # The sender must be permitted to run the changed command, too.
        return None if self.denied(changed) else changed

    async def replies_to_unknown(self, message: Message) -> list[str]:
        replies = []
        for one in self._filters.unprocessed:
            try:
                reply = await self._ask(one.handler, message, None, "", False, emptycmd=True)
            except Exception:
                self.log.failure("A filter of {plugin} failed for an unknown command", plugin=one.owner)
                continue
            if reply:
                replies.append(str(reply))
        return replies

    async def permits(self, message: Message, command: RegisteredCommand, args: str | None = None) -> bool:
        """Return whether the sender of the message may use the command, with at least some arguments if `args` is None."""
        if self.denial(self._networks.current, message, command, args) is not None:
            return False
        return await self._let_through(message, command.name, args, dry_run=True) is not None

    async def judge(
        self, message: Message, operation: Callable[..., Any], *, dry_run: bool = False, **values: object
    ) -> str:
        """Return why the sender of the message may not perform the operation with these values; "" if the access rules and
        filters of its command let it pass. One that changes the message or the arguments blocks it."""
        guard = Guard.of(operation)
        if guard is None or (command := self._registry.find(guard.command)) is None:
            return "the command that guards it isn't loaded"
        args = guard.arguments(**values)
        if denial := self.denial(self._networks.current, message, command, args):
            return denial
        given = message, command.name, args
        return "" if await self._let_through(*given, dry_run=dry_run) == given else "a filter of commands blocks it"

    def denial(self, backend: Backend, message: Message, command: RegisteredCommand, args: Any = None) -> str | None:
        """Return the reply if an access rule denies the command to the sender, else None. None for `args` skips their rules."""
        config = self._networks.config(backend)
        text = None if args is None else str(args)
        return check_access(command, text, Caller.from_message(message, config), config).denial

    def visible(self, backend: Backend, message: Message | None) -> list[RegisteredCommand]:
        """Return the named commands that aren't hidden, or by HIDE_RESTRICTED_COMMANDS from the message's sender, by name."""
        declared = ((command, command.declaration) for command in self._registry)
        commands = [command for command, its in declared if its.pattern is None and not its.hidden]
        if message is not None and self._networks.config(backend).HIDE_RESTRICTED_COMMANDS:
            commands = [command for command in commands if self.denial(backend, message, command) is None]
        return commands

    def suggestions(self, backend: Backend, message: Message | None, text: str) -> str:
        """Return the reply to an unknown command, with the names of similar ones that the sender of the message may see."""
        names = [command.name for command in self.visible(backend, message)]
        return unknown_command(text, names, self._networks.config(backend).BOT_PREFIX)

    def unknown_command(self, message: Message | None, name: str | None, args: str | None) -> str:
        """Return the reply to an unknown command on the current network. The network may have its own, which may block."""
        backend = self._networks.current
        if isinstance(backend, HasOwnReplies):
            return backend.unknown_command_reply(message, name or "", args or "")
        return self.suggestions(backend, message, f"{name or ''} {args or ''}")

    async def _let_through(self, message: Message, command: str, args: Any, *, dry_run: bool = False) -> Passed | None:
        for one in self._filters.all:
            try:
                changed, name, args = await self._ask(one.handler, message, command, args, dry_run)
            except Exception:
                self.log.failure("A filter of {plugin} failed; {command} is blocked", plugin=one.owner, command=command)
                return None
            if not isinstance(changed, Message) or not isinstance(name, str):
                self.log.info("A filter of {plugin} blocked {command}", plugin=one.owner, command=command)
                return None
            message, command = changed, name
        return message, command, args

    async def _ask(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        ask = partial(self._workers.others.run, handler, *args, **kwargs)
        if placement_of(handler) is Placement.REACTOR:
            return await ask()
        asked = self._latest[handler] = self._workers.queues.run(object(), ask, self._latest.get(handler))
        try:
            return await asked.result
        finally:
            if self._latest.get(handler) is asked:
                del self._latest[handler]


_ABOUT_ARGUMENTS = (ValueError, SystemExit, CommandError, ArgumentError, ArgumentTypeError)
"""Exceptions with which splitters such as shlex and argparse reject arguments. Any other is a bug in the splitter."""


class Dispatcher:
    """Takes messages to their replies: finds commands, checks permissions, splits arguments, and runs the handlers. Admin-only
    commands run one at a time, all others concurrently. Commands of the core, with which administrators repair the bot, have
    threads and a queue of their own. An admin-only command that hangs delays others for a minute only. With `BOT_ASYNC =
    False`, commands that run in threads run one at a time, too.

    `deliver` sends a message on a network, and `send` sends Markdown text to an identifier; both may be called in any thread.
    `when_settled` returns a Deferred that fires when a plugin that is being reloaded has its commands again, or None if no
    plugin is being reloaded. `note` stores what a person has chosen."""

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
        self._reactor, self._networks, self._workers, self._when_settled = reactor, networks, workers, when_settled
        self._in_flight = InFlightCounter()
        self.registry = registry = CommandRegistry()
        self.filters = FilterRegistry()
        self.histories = {network: History(partial(folded, backend)) for network, backend in networks.backends.items()}
        self._consoles = {name: one for name, one in networks.backends.items() if isinstance(one, OperatorConsole)}
        self.disclosure = Disclosure(networks)
        wait_for = partial(workers.waits.result_of, workers.commands.result_of)
        self.replies = replies = Replies(networks, deliver, self.disclosure, wait_for)
        self.permissions = Permissions(reactor.seconds, networks, registry, self.filters, workers, replies)
        self.conversations = Conversations(reactor, networks, replies, self.permissions.denial, note)
        self.flow_executor = FlowExecutor(
            reactor, networks, registry, workers.commands, send, self.disclosure, self.conversations, self.dispatch
        )
        self.finder = CommandFinder(networks, registry, self.histories)
        # Those of plugins and of the core.
        self._admin_queues = tuple(SerialQueue(reactor, hung_after=HUNG_AFTER) for _ in range(2))
        self._running_alone = ["", ""]  # the names of the commands that run in these queues
        self._blocking_commands = SerialQueue(reactor)
        # The commands since the start. Those that raised a CommandError are rejected.
        self.outcomes = {"succeeded": 0, "rejected": 0, "failed": 0}

    def when_idle(self) -> Deferred[None]:
        return self._in_flight.when_none()

    def stop(self) -> None:
        for queue in (*self._admin_queues, self._blocking_commands):
            queue.stop()

    def dispatch(self, backend: Backend, message: Message) -> bool:
        """Handle one message without blocking; errors are logged. Return whether plugins get it in `callback_message`."""
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
        may_answer = conversations.open and not self.finder.begins_with_prefix(backend, message)
        if may_answer and conversations.take(backend, message):
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
        return Deferred.fromCoroutine(self._filter(invocation)) if self.filters.all else self._begin(invocation)

    async def _filter(self, invocation: Invocation) -> None:
        permitted = await self.permissions.filtered(invocation)
        running = None if permitted is None else self._begin(permitted)
        if running is not None:
            await running

    def _begin(self, invocation: Invocation) -> Deferred[Any] | None:
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
            text = f"{code(given)} waits for {code(other)} to end; admin-only commands run one at a time."
            self.replies.reply_to(invocation, text)

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
        if command.declaration.template and placement_of(command.handler) is Placement.THREAD:
            result.addCallback(self._rendered, command)
        return result.addCallback(give)

    def _runner(self, invocation: Invocation) -> Runner:
        return self._workers.core if invocation.command.core else self._workers.commands

    def _rendered(self, item: Any, command: RegisteredCommand) -> Any:
        if not item or not isinstance(item, Mapping):
            return item
        template, owner = command.declaration.template, command.owner
        render = partial(self.replies.process_template, template, item, plugin_name=owner)
        return self._workers.commands.pool.run(lambda: render)

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
        else:
            self.log.failure("A message could not be handled", failure)


def _in_this_context(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    context = copy_context()
    return lambda _: context.run(function, *args)

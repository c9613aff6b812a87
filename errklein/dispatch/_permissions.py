"""Permission to run a command: the rate of a person's commands, access rules, then plugins' filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.logger import Logger

from errklein.chat import Message
from errklein.commands import (
    Caller,
    CommandRegistry,
    FilterRegistry,
    RegisteredCommand,
    RegisteredFilter,
    check_access,
    unknown_command,
)
from errklein.commands.operations import Guard
from errklein.dispatch._finding import Invocation
from errklein.dispatch._networks import Networks
from errklein.dispatch.replies import HasOwnReplies, Replies, build_reply
from errklein.ports.chat import Backend, KnowsHolders
from errklein.running import Placement, QueuedWork, RateLimit, TokenBuckets, Workers, placement_of
from errklein.running.context import origin
from errklein.webhooks.option_values import Rate

Passed = tuple[Message, str, Any]  # the message, the command's name and its arguments, as filters returned them


class Permissions:
    """Decides whether a command may run, and which commands a person gets to see.

    Filters are called one after the other, in the order in which their plugins were activated. They use the thread pool of
    callbacks, so that long commands don't delay them. A filter that runs in a thread gets one command at a time, in the order in
    which they were received, unless it takes long.

    :param seconds: Returns the current time in seconds.
    """

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
        self._latest: dict[RegisteredFilter, QueuedWork] = {}
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
        settings = invocation.settings
        command = invocation.command
        if not (settings.ACCESS_CONTROLS or settings.ACCESS_CONTROLS_DEFAULT or command.needs_admin):
            return False
        denial = self.denial(invocation.backend, invocation.message, command, invocation.args)
        if denial is None:
            return False
        self.log.info(
            "{sender} may not use {command}: {reason}",
            sender=str(invocation.message.frm),
            command=command.name,
            reason=denial,
        )
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
        """Return the reply if an access rule denies the command to the sender of the message, else None. Rules for
        arguments are skipped if `args` is None."""
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
                changed, name, args = await self._ask(one, message, command, args, dry_run)
            except Exception:
                self.log.failure("A filter of {plugin} failed; {command} is blocked", plugin=one.owner, command=command)
                return None
            if not isinstance(changed, Message) or not isinstance(name, str):
                self.log.info("A filter of {plugin} blocked {command}", plugin=one.owner, command=command)
                return None
            message, command = changed, name
        return message, command, args

    async def _ask(self, one: RegisteredFilter, *args: Any, **kwargs: Any) -> Any:
        ask = partial(self._workers.others.run, one.handler, *args, **kwargs)
        if placement_of(one.handler) is Placement.REACTOR:
            return await ask()
        asked = self._latest[one] = self._workers.queues.run(object(), ask, self._latest.get(one))
        try:
            return await asked.result
        finally:
            if self._latest.get(one) is asked:
                del self._latest[one]

"""From a message to the answer: finds the command, asks whether it may be used, runs it, and sends what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.commands import (
    Caller,
    CommandError,
    Denial,
    Prefixes,
    RegisteredCommand,
    find_command,
    strip_prefix,
)
from errklein.commands.access import verdict_on
from errklein.ports import Backend
from errklein.running import PoolStopped
from errklein.running.one_by_one import OneByOne
from errklein.running.tally import Tally

if TYPE_CHECKING:
    from errklein.bot import Bot

_network: ContextVar[str] = ContextVar("errklein.network", default="")


def network_of_handled_message() -> str:
    """The network of the message whose command or callback is running, in whichever thread; "" outside of any."""
    return _network.get()


@contextmanager
def handling(backend: Backend) -> Iterator[None]:
    """What is started meanwhile handles a message of that network."""
    token = _network.set(backend.network)
    try:
        yield
    finally:
        _network.reset(token)


class Dispatcher:
    """Answers messages."""

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._tally = Tally()
        self._admins = OneByOne(bot.reactor)

    def when_idle(self) -> Deferred[None]:
        """Fires as soon as every message that was received has its answer."""
        return self._tally.when_none()

    def stop(self) -> None:
        """Forget the admins' commands that wait for the one that runs."""
        self._admins.stop()

    def dispatch(self, backend: Backend, message: Message) -> None:
        """Answer one message; never raises, and never waits."""
        self._tally.enter()
        answered = maybeDeferred(self._dispatch, backend, message)
        answered.addErrback(self._lost).addBoth(lambda _: self._tally.leave())

    def _dispatch(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        text = strip_prefix(message.body, self._prefixes_of(backend), message.is_direct)
        if text is None:
            return None
        registry = self._bot.registry
        found = find_command(text, registry, registry.most_words)
        if found is None:
            settled = self._bot.plugin_manager.when_settled()
            if settled is not None:
                # It may be a command of the plugin that is being reloaded.
                return settled.addCallback(_in_this_context(self._dispatch), backend, message)
            if not self._bot.bot_config.networks[backend.network].SUPPRESS_CMD_NOT_FOUND:
                self._reply(backend, message, self._unknown(text))
            return None
        command = registry.get(found[0])
        return None if command is None else self._run(backend, message, command, found[1])

    def _run(self, backend: Backend, message: Message, command: RegisteredCommand, text: str) -> Deferred[Any] | None:
        config = self._bot.bot_config.networks[backend.network]
        denial = self._denied(config, message, command, text)
        if denial is not None:
            self.log.info(
                "{sender} may not use {command}: {reason}",
                sender=str(message.frm),
                command=command.name,
                reason=denial.reason,
            )
            if not config.HIDE_RESTRICTED_ACCESS:
                self._reply(backend, message, denial.reason, command)
            return None
        try:
            args = command.declaration.split(text)
        except Exception as error:
            self._reply(backend, message, f"Sorry, I couldn't parse your arguments. {error}", command)
            return None

        def deliver(item: Any) -> None:
            if item:
                self._reply(backend, message, str(item), command)

        def run() -> Deferred[Any]:
            runner, pool = self._bot.runner, self._bot.command_pool
            if command.yields:
                return runner.each(deliver, command.handler, message, args, pool=pool)
            return runner.run(command.handler, message, args, pool=pool).addCallback(deliver)

        running = self._admins.run(run) if command.declaration.admin_only else run()
        return running.addErrback(self._failed, backend, message, command)

    def _denied(self, config: Any, message: Message, command: RegisteredCommand, text: str) -> Denial | None:
        return verdict_on(command, text, Caller.of(message, config.BOT_ADMINS), config).denial

    async def permits(self, message: Message, command: RegisteredCommand) -> bool:
        """Whether the sender of the message may use the command there, with some arguments; for `!help`."""
        config = self._bot.bot_config.networks[self._bot.backend.network]
        return verdict_on(command, None, Caller.of(message, config.BOT_ADMINS), config).denial is None

    def _failed(self, failure: Failure, backend: Backend, message: Message, command: RegisteredCommand) -> None:
        if failure.check(CommandError):
            self._reply(backend, message, str(failure.value), command)
            return
        if failure.check(PoolStopped):
            self._reply(backend, message, "The bot is stopping; your command was not run.", command)
            return
        self.log.failure(
            "{plugin}: the command {command} failed for {sender}",
            failure,
            plugin=command.owner,
            command=command.name,
            sender=str(message.frm),
        )
        self._reply(backend, message, f"Computer says nooo. See logs for details:\n{_told(failure)}", command)

    def _lost(self, failure: Failure) -> None:
        self.log.failure("A message could not be answered", failure)

    def _reply(self, backend: Backend, message: Message, text: str, command: RegisteredCommand | None = None) -> None:
        """Answer the message, in private or in a thread where the settings divert the command."""
        config = self._bot.bot_config.networks[backend.network]
        reply = backend.build_reply(
            message,
            text,
            private=_diverted(command, config.DIVERT_TO_PRIVATE),
            threaded=_diverted(command, config.DIVERT_TO_THREAD),
        )
        if config.GROUPCHAT_NICK_PREFIXED and reply.is_group and message.frm is not None:
            backend.prefix_groupchat_reply(reply, message.frm)
        self._bot.deliver(backend, reply)

    def _unknown(self, text: str) -> str:
        """What somebody is told whose command there isn't."""
        words = text.split()
        shown = f'"{" ".join(words[:1])}"' + (f' / "{" ".join(words[:2])}"' if len(words) > 1 else "")
        names = [command.name.replace("_", " ") for command in self._bot.registry]
        near: list[str] = []
        for attempt in (" ".join(words[:1]), " ".join(words[:2])):
            near.extend(name for name in get_close_matches(attempt, names) if name not in near)
        answer = f"Command {shown} not found."
        if near:
            prefix = self._bot.prefix
            answer += "\nDid you mean " + " or ".join(f'"{prefix}{name}"' for name in near) + " ?"
        return answer

    def _prefixes_of(self, backend: Backend) -> Prefixes:
        config = self._bot.bot_config.networks[backend.network]
        return Prefixes(
            prefix=config.BOT_PREFIX,
            optional_in_direct=config.BOT_PREFIX_OPTIONAL_ON_CHAT,
            alternatives=tuple(config.BOT_ALT_PREFIXES),
            separators=tuple(config.BOT_ALT_PREFIX_SEPARATORS),
            ignore_case=config.BOT_ALT_PREFIX_CASEINSENSITIVE,
        )


def _told(failure: Failure) -> str:
    """What the exception says of itself; its type, if it can't say anything."""
    try:
        return str(failure.value)
    except Exception:
        return type(failure.value).__name__


def _in_this_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """Calls the function later as if it were called now."""
    context = copy_context()
    return lambda _, *args: context.run(function, *args)


def _diverted(command: RegisteredCommand | None, names: Any) -> bool:
    return command is not None and (command.name in names or "ALL_COMMANDS" in names)

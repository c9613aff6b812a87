"""From a message to the answer: finds the command, asks whether it may be used, runs it, and sends what it returns."""

from __future__ import annotations

from argparse import ArgumentError, ArgumentTypeError
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from logging import INFO
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Message
from errklein.chat.names import EXACT
from errklein.commands import Caller, CommandError, Prefixes, RegisteredCommand, find_command, strip_prefix
from errklein.commands.access import check_access, needs_admin
from errklein.commands.declaration import is_concurrent
from errklein.commands.history import History, Sender, recall_position
from errklein.commands.suggestions import unknown_command
from errklein.dispatch.filters import Filtering
from errklein.dispatch.replies import Answers, told
from errklein.ports import Backend, HasNameRules, OutboxFull
from errklein.running import Overloaded, Placement, PoolStopped, place
from errklein.running.context import assigned, running_command
from errklein.running.in_flight import InFlightCounter
from errklein.running.serial_queue import SerialQueue
from errklein.running.timeouts import result_within
from errklein.text.masking import masker
from errklein.text.quoting import code

if TYPE_CHECKING:
    from errklein.bot import Bot

_PATIENCE = 10.0
"""Seconds that a message waits for a plugin that is being reloaded, before it is taken for no command."""

_ABOUT_ARGUMENTS = (ValueError, SystemExit, CommandError, ArgumentError, ArgumentTypeError)
"""Errors by which splitters such as shlex and argparse reject arguments. Any other is a bug in the splitter."""


class NothingToRepeat(Exception):
    """Somebody asks for a command of the history that isn't there."""


class Dispatcher:
    """Answers messages."""

    log = Logger()

    def __init__(self, bot: Bot) -> None:
        self.answers = Answers(bot)
        self.histories = {network: History(partial(_folded, backend)) for network, backend in bot.backends.items()}
        """The history of each network's persons."""
        self._bot = bot
        self._filtering = Filtering(bot)
        self._tally = InFlightCounter()
        self._admins = SerialQueue(bot.reactor)
        self._in_turn = SerialQueue(bot.reactor)
        self._running_alone = ""
        self._prefixes: dict[str, tuple[Any, Prefixes]] = {}

    def when_idle(self) -> Deferred[None]:
        """Fires as soon as every message that was received has its answer."""
        return self._tally.when_none()

    def stop(self) -> None:
        """Forget the commands that wait for another one to end."""
        self._admins.stop()
        self._in_turn.stop()

    def dispatch(self, backend: Backend, message: Message) -> bool:
        """Answer one message; never raises, and never waits. False if plugins needn't be shown the message."""
        try:
            answered = self._dispatch(backend, message)
        except NothingToRepeat:
            return False
        except Exception:
            self._lost(Failure())
            return True
        if answered is not None:
            self._tally.enter()
            answered.addErrback(self._lost).addBoth(lambda _: self._tally.leave())
        return True

    async def permits(self, message: Message, command: RegisteredCommand) -> bool:
        """Whether the sender of the message may use the command there, with some arguments; for `!help`."""
        backend = self._bot.backend
        if check_access(command, None, *self._asked_by(backend, message)).denial is not None:
            return False
        return await self._filtering.let_through(message, command.name, None, dry_run=True) is not None

    def unknown(self, backend: Backend, text: str, message: Message | None = None) -> str:
        """What somebody is told whose command there isn't; with the message, nothing that is hidden from its sender."""
        commands = [command for command in self._bot.registry if command.declaration.pattern is None]
        if message is not None and self._bot.bot_config.networks[backend.network].now.HIDE_RESTRICTED_COMMANDS:
            asked_by = self._asked_by(backend, message)
            commands = [command for command in commands if check_access(command, None, *asked_by).denial is None]
        names = [command.name for command in commands]
        return unknown_command(text, names, self._bot.bot_config.networks[backend.network].BOT_PREFIX)

    def asked_for(self, message: Message) -> str:
        """The message without the prefix that it begins with, if it begins with one."""
        text = strip_prefix(message.body, self._prefixes_of(self._bot.backend), message.is_direct)
        return message.body if text is None else text

    # Which command it is

    def _dispatch(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        prefixes = self._prefixes_of(backend)
        body = message.body
        text = strip_prefix(body, prefixes, message.is_direct)
        conversations = self._bot.conversations
        if conversations.waiting and not self._is_command(body, prefixes) and conversations.take(backend, message):
            return None
        if text is None:
            unprefixed = self._bot.registry.unprefixed
            return self._matching(backend, message, unprefixed, body.strip()) if unprefixed else None
        registry = self._bot.registry
        found = find_command(text, registry, registry.most_words)
        if found is not None and (command := registry.get(found[0])) is not None:
            return self._consider(backend, message, command, found[1])
        back = recall_position(text, prefixes.prefix)
        if back is not None and strip_prefix(body, prefixes, False) is not None:
            return self._repeat(backend, message, back)
        return self._matching(backend, message, registry.by_pattern, text) or self._unknown(backend, message)

    def _is_command(self, body: str, prefixes: Prefixes) -> bool:
        """Whether it begins with a prefix. If there is none to begin with, only what is a command's name counts."""
        if prefixes.prefix:
            return strip_prefix(body, prefixes, False) is not None
        return find_command(body, self._bot.registry, self._bot.registry.most_words) is not None

    def _matching(
        self, backend: Backend, message: Message, commands: tuple[RegisteredCommand, ...], text: str
    ) -> Deferred[Any] | None:
        """Run every command whose pattern is found in the text; None if there is no such one."""
        running = [
            self._consider(backend, message, command, text, match)
            for command in commands
            if (match := command.declaration.match(text)) is not None
        ]
        return DeferredList([one.addErrback(self._lost) for one in running if one is not None]) if running else None

    def _repeat(self, backend: Backend, message: Message, back: int) -> Deferred[Any] | None:
        given = self.histories[backend.network].recall(Sender.of(message), back)
        if given is None:
            raise NothingToRepeat
        command = self._bot.registry.find(given[0])
        if command is None:
            asked = message.clone()
            asked.body = f"{self._prefixes_of(backend).prefix}{' '.join(given)}"
            return self._unknown(backend, asked)
        return self._consider(backend, message, command, given[1])

    def _unknown(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        settled = self._bot.plugin_manager.when_settled()
        if settled is None:
            return self._not_found(backend, message)
        # It may be a command of the plugin that is being reloaded, which may take long.
        waiting = result_within(self._bot.reactor, _PATIENCE, settled)
        again, give_up = (_in_this_context(do, backend, message) for do in (self._dispatch, self._not_found))
        return waiting.addCallbacks(again, give_up)

    def _not_found(self, backend: Backend, message: Message) -> Deferred[Any] | None:
        return (
            Deferred.fromCoroutine(self._ask_about_unknown(backend, message)) if self._bot.filters.unprocessed else None
        )

    async def _ask_about_unknown(self, backend: Backend, message: Message) -> None:
        for answer in await self._filtering.answers_to_unknown(message):
            self.answers.reply(backend, message, answer)

    # Whether it may run

    def _consider(
        self, backend: Backend, message: Message, command: RegisteredCommand, text: str, match: Any = None
    ) -> Deferred[Any] | None:
        """Run the command, unless an access rule or a filter is against it."""
        if self._refused(backend, message, command, text):
            return None
        if self._bot.filters.all:
            return Deferred.fromCoroutine(self._filter(backend, message, command, text))
        return self._begin(backend, message, command, text, match)

    async def _filter(self, backend: Backend, message: Message, command: RegisteredCommand, text: str) -> None:
        passed = await self._filtering.let_through(message, command.name, text)
        if passed is None:
            return
        if passed != (message, command.name, text):
            message, name, text = passed
            meant = command if name == command.name else self._bot.registry.find(name)
            if meant is None:
                self.log.warn("A filter has made {command} of {given}; there is none", command=name, given=command.name)
                return
            # What a filter has put there needs as much permission as what was typed.
            command, text = meant, "" if text is None else text
            if self._refused(backend, message, command, str(text)):
                return
        running = self._begin(backend, message, command, text)
        if running is not None:
            await running

    def _refused(self, backend: Backend, message: Message, command: RegisteredCommand, text: str) -> bool:
        """Whether an access rule is against it; the sender has been told."""
        config = self._bot.bot_config.networks[backend.network].now
        if not (config.ACCESS_CONTROLS or config.ACCESS_CONTROLS_DEFAULT or needs_admin(command)):
            return False
        denial = check_access(command, text, *self._asked_by(backend, message)).denial
        if denial is None:
            return False
        self.log.info(
            "{sender} may not use {command}: {reason}",
            sender=str(message.frm),
            command=command.name,
            reason=denial,
        )
        if not config.HIDE_RESTRICTED_ACCESS:
            self.answers.reply(backend, message, denial, command)
        return True

    def _asked_by(self, backend: Backend, message: Message) -> tuple[Caller, Any]:
        config = self._bot.bot_config.networks[backend.network]
        return Caller.from_message(message, config.BOT_ADMINS), config.now

    # How it runs

    def _begin(
        self, backend: Backend, message: Message, command: RegisteredCommand, text: str, match: Any = None
    ) -> Deferred[Any] | None:
        declaration = command.declaration
        if not self._bot.flow_executor.enter(message, command):
            return None
        # What nobody will read isn't made: it costs as much as the rest of a short command.
        if self._bot.bot_config.BOT_LOG_LEVEL <= INFO:
            # Not what it was given: that may be a secret.
            self.log.info("{sender} gives {command}", sender=message.frm, command=command.name)
        if declaration.historize and (sender := Sender.of(message)).person:
            self.histories[backend.network].remember(sender, command.name, text)
        if declaration.pattern is not None:
            args = declaration.match(text) if match is None else match
            return None if args is None else self._line_up(backend, message, command, self._run, args)
        if not declaration.splits_synchronously:
            return self._line_up(backend, message, command, self._split_and_run, text)
        try:
            args = declaration.split(text)
        except Exception:
            self.answers.reply(backend, message, self._not_split(Failure(), backend, message, command), command)
            return None
        return self._line_up(backend, message, command, self._run, args)

    def _line_up(
        self,
        backend: Backend,
        message: Message,
        command: RegisteredCommand,
        do: Callable[[Backend, Message, RegisteredCommand, Any], Deferred[Any]],
        args: Any,
    ) -> Deferred[Any] | None:
        """Do it, which is `_run` or `_split_and_run`, at once or when its turn has come."""
        where = place(command.handler)
        waits = command.declaration.admin_only and not is_concurrent(command.handler)
        if where is Placement.REACTOR and not command.yields and not waits and do == self._run:
            return self._run_here(backend, message, command, args)
        run = partial(do, backend, message, command, args)
        if where is Placement.THREAD and not self._bot.bot_config.BOT_ASYNC:
            run = partial(self._in_turn.run, run)
        running = (
            self._admins.run(partial(self._alone, command, run), self._told_to_wait(backend, message, command))
            if waits
            else run()
        )
        running.addCallback(self._succeeded, message, command)
        running.addErrback(self.answers.failed, backend, message, command)
        return running

    def _alone(self, command: RegisteredCommand, run: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        self._running_alone = command.name
        return run()

    def _told_to_wait(self, backend: Backend, message: Message, command: RegisteredCommand) -> Callable[[], None]:
        def tell() -> None:
            prefix = self._prefixes_of(backend).prefix
            given, other = (f"{prefix}{name.replace('_', ' ')}" for name in (command.name, self._running_alone))
            self.answers.reply(
                backend,
                message,
                f"{code(given)} waits for {code(other)} to end: administrators' commands run one by one.",
            )

        return tell

    def _split_and_run(
        self, backend: Backend, message: Message, command: RegisteredCommand, text: str
    ) -> Deferred[Any]:
        """As `_run`, with a plugin's own splitter, which may wait for something, before it."""

        def refuse(failure: Failure) -> Failure:
            if failure.check(PoolStopped, Overloaded):
                return failure
            raise CommandError(self._not_split(failure, backend, message, command))

        splitting = self._bot.runner.run(command.declaration.split, text, pool=self._bot.command_pool)
        return splitting.addCallbacks(partial(self._run, backend, message, command), refuse)

    def _run(self, backend: Backend, message: Message, command: RegisteredCommand, args: Any) -> Deferred[Any]:
        runner, pool = self._bot.runner, self._bot.command_pool
        give = partial(self.answers.give, backend, message, command)
        with assigned(running_command, command):
            if command.yields:
                return runner.run_generator(give, command.handler, message, args, pool=pool)
            running = runner.run(command.handler, message, args, pool=pool)
        template = command.declaration.template
        if template and place(command.handler) is Placement.THREAD:
            running.addCallback(self._rendered, template, command.owner)
        return running.addCallback(give)

    def _rendered(self, item: Any, template: str, owner: str) -> Any:
        """What a blocking command has returned for its template becomes text in a thread, too: a template may loop long."""
        if not item or not isinstance(item, Mapping):
            return item
        work = partial(self._bot.process_template, template, item, owner)
        return self._bot.command_pool.run(lambda: work)

    def _run_here(
        self, backend: Backend, message: Message, command: RegisteredCommand, args: Any
    ) -> Deferred[Any] | None:
        """As `_run`, on the reactor. What has its result at once, as most commands, is spared the Deferreds."""
        try:
            with assigned(running_command, command):
                result = self._bot.runner.start(command.handler, message, args)
            if not isinstance(result, Deferred):
                self.answers.give(backend, message, command, result)
                self._succeeded(None, message, command)
                return None
        except BaseException:
            self.answers.failed(Failure(), backend, message, command)
            return None
        result.addCallback(partial(self.answers.give, backend, message, command))
        result.addCallback(self._succeeded, message, command)
        result.addErrback(self.answers.failed, backend, message, command)
        return result

    def _not_split(self, failure: Failure, backend: Backend, message: Message, command: RegisteredCommand) -> str:
        """The reply to arguments that can't be split. An error that isn't one of `_ABOUT_ARGUMENTS` is logged."""
        summary = "Sorry, I couldn't parse your arguments"
        text = f"{summary}. {told(failure)}"
        if failure.check(*_ABOUT_ARGUMENTS):
            return masker(text)
        return self.answers.faulty(failure, backend, message, command, text, summary)

    def _succeeded(self, _: Any, message: Message, command: RegisteredCommand) -> None:
        self._bot.flow_executor.done(message, command)

    def _lost(self, failure: Failure) -> None:
        if failure.check(OutboxFull):
            # Whoever floods the bot shouldn't fill the disk as well, with a traceback for each message.
            self.log.warn("An answer is left out: {error}", error=str(failure.value))
            return
        self.log.failure("A message could not be answered", failure)

    def _prefixes_of(self, backend: Backend) -> Prefixes:
        config = self._bot.bot_config.networks[backend.network].now
        alternatives, separators = tuple(config.BOT_ALT_PREFIXES), tuple(config.BOT_ALT_PREFIX_SEPARATORS)
        known = self._prefixes.get(backend.network)
        if known is not None and known[0] is config:
            prefixes = known[1]
            if (prefixes.alternatives, prefixes.separators) == (alternatives, separators):
                return prefixes
        prefixes = Prefixes(
            prefix=config.BOT_PREFIX,
            optional_in_direct=config.BOT_PREFIX_OPTIONAL_ON_CHAT,
            alternatives=alternatives,
            separators=separators,
            ignore_case=config.BOT_ALT_PREFIX_CASEINSENSITIVE,
        )
        self._prefixes[backend.network] = (config, prefixes)
        return prefixes


def _in_this_context(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """A callback that calls the function as if it were called now."""
    context = copy_context()
    return lambda _: context.run(function, *args)


def _folded(backend: Backend, name: str) -> str:
    """The folded form of a name on the network."""
    return (backend.name_rules if isinstance(backend, HasNameRules) else EXACT).fold(name)

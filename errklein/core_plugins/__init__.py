"""The core plugins, with the bot's own chat commands. Each has a `.plug` file; CORE_PLUGINS selects which are loaded."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property, wraps
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred

from errklein.chat import Identifier, Message, RoomError, rules_of
from errklein.chat.identifiers import LookupFailed
from errklein.commands import Caller, CommandError, RegisteredCommand, admin_by_default, botcmd, check_access
from errklein.commands.operations import Actor
from errklein.dispatch import DetailedError
from errklein.logs import escape
from errklein.plugins import BotPlugin
from errklein.ports.chat import KnowsHolders
from errklein.running.context import running_command
from errklein.text import code, plain, plain_lines, truncated
from errklein.text.masking import masker

if TYPE_CHECKING:
    # Commands import this module before they choose a reactor.
    from errklein.bot import CoreHost

__all__ = ["CorePlugin", "admin_command", "callable_anywhere", "shown_lines"]

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=BotPlugin)
T = TypeVar("T")

_LONGEST_REFUSAL = 600


class CorePlugin(BotPlugin):
    """Base class of core plugins, whose commands work while plugins hold all threads."""

    refusals: tuple[type[Exception], ...] = ()
    """The exceptions of operations that are refused. Raised by a command, the text is its reply."""

    failure = ""
    """A sentence that precedes these texts, if they may be those of other exceptions. People who may not read them get it alone."""

    def refusal(self, error: Exception) -> CommandError:
        if self.failure:
            return DetailedError(f"{self.failure}: {plain_lines(str(error))}", self.failure)
        text = truncated(str(error), _LONGEST_REFUSAL)
        return CommandError(plain(text if text.endswith((".", "?")) else f"{text}."))

    @cached_property
    def host(self) -> CoreHost:
        """The operations of administrators, and what core plugins read of the bot."""
        host: CoreHost = self._bot.core_host
        return host

    def actor(self, message: Message) -> Actor:
        return self.host.actor(message)

    def note(self, message: Message, command: str, arguments: str = "") -> None:
        """Note that the sender of a message changes something by a command without an operation."""
        if (note := self.actor(message).note) is not None:
            note(command, masker(arguments))

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        return self.host.dispatcher.replies.process_template(template, values, self.name)

    def __init_subclass__(cls, **options: object) -> None:
        """Mark the commands of the class as the core's, and describe their arguments in the docstrings."""
        super().__init_subclass__(**options)
        for function in vars(cls).values():
            if getattr(function, "_err_command", False):
                function._errklein_core = True
                if function._err_command_syntax:
                    summary, *details = cleandoc(function.__doc__).split("\n\n")
                    name = function._err_command_name.replace("_", " ")
                    usage = f"Usage: !{name} {function._err_command_syntax}"
                    function.__doc__ = "\n\n".join([summary, usage, *details])

    def is_current(self, message: Message) -> bool:
        """Return whether the sender still holds the name that private messages are sent to, such as a nick on IRC."""
        backend = self.host.networks.of(message)
        if not isinstance(backend, KnowsHolders) or message.frm is None:
            return True
        holder: Any = backend.current_holder(message.frm)
        return holder is not None and holder.client == getattr(message.frm, "client", None)

    def reads_alone(self, message: Message) -> bool:
        """Return whether only the sender of a message reads a private one."""
        return self.host.networks.of(message).is_encrypted and self.is_current(message)

    async def may_use(self, message: Message, args: str, webhook: str, *rooms: str) -> bool:
        """Return whether the sender may use the running command for a webhook, "" for a new one, and for further rooms, each with
        its network. Administrators may use it for all. For a webhook of a room, others must be in the room, and the access rules
        must allow them the command there; for those of plugins, the access rules must allow the command at all."""
        networks = self.host.networks
        if ":" in webhook or Caller.from_message(message, networks.config(networks.of(message))).is_admin:
            return True
        found = self.host.room_webhooks.find(webhook)
        if webhook and found is None:
            return False
        of_webhook = () if found is None else found.rooms or (found.room,)
        named = [networks.with_network(room) for room in (*of_webhook, *rooms)]
        command = running_command.get()
        if command is None or not self.is_current(message):
            return False
        return all([await self._is_open(message, command, args, room) for room in named])

    async def check_use(self, message: Message, args: str, webhook: str, *rooms: str) -> None:
        """Raise CommandError unless the sender `may_use` the command so. Others don't learn whether the webhook exists."""
        if not await self.may_use(message, args, webhook, *rooms):
            where = "a room that you are in, or you may not use this command there"
            raise CommandError(f"There is no webhook {code(webhook)} of {where}.")

    async def _is_open(self, message: Message, command: RegisteredCommand, args: str, name: str) -> bool:
        networks, rooms, who = self.host.networks, self.host.rooms, message.frm
        if networks.split(name)[0] is not networks.of(message):
            return False
        try:
            room = await rooms.room(name)
            members = await rooms.do("members", room)
        except (LookupFailed, NotImplementedError, RoomError, ValueError):
            return False

        def is_open() -> bool:
            config, fold = networks.config(networks.of(room)), rules_of(who).fold
            if fold(getattr(who, "person", "")) not in {fold(getattr(one, "person", "")) for one in members}:
                return False
            return check_access(command, args, Caller.from_identifier(who, room, config), config).denial is None

        # Identifiers of errbot's backends may ask a server.
        return await self._bot.plugin_pool.run(lambda: is_open)

    def identifier_of(self, name: str) -> Identifier:
        """Return the person or room of that name, or raise CommandError. It may ask a server, so call it in a thread."""
        try:
            return self.build_identifier(name)
        except ValueError as error:
            raise CommandError(f"{code(name)} is not a valid name: {plain(str(error))}") from error


def admin_command(**options: Any) -> Callable[[F], F]:
    """Declare a command with the options of `botcmd`, for administrators unless the access rules allow it to others."""
    return lambda method: admin_by_default(botcmd(**options)(method))


def callable_anywhere(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], T | Deferred[T]]:
    """Wrap an async method: in a thread, a call blocks until it has returned; on the reactor, it returns a Deferred."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        bot = self._bot
        return bot.waits.result_of(lambda: bot.runner.result_of(method(self, *args, **kwargs)))

    return call


def shown_lines(lines: Sequence[str], most: int = 300) -> list[str]:
    """Return lines as Markdown, each with at most so many characters. Texts from outside are masked, shortened and escaped."""
    return [plain(truncated(escape(masker(" ".join(line.split()))), most)) for line in lines]

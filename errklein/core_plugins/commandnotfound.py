"""Replies to unknown commands."""

from __future__ import annotations

from math import inf
from typing import Any

from errklein.chat import Message
from errklein.commands import command_hint
from errklein.core_plugins import CorePlugin
from errklein.dispatch.replies import HasOwnReplies, OperatorConsole
from errklein.running import RateLimit, on_reactor
from errklein.running.context import person_origin

_GREETINGS = frozenset(("hello", "help"))


class CommandNotFoundFilter(CorePlugin):
    """Reply to unknown commands with suggestions, unless SUPPRESS_CMD_NOT_FOUND is True.

    Punctuation such as `!!!` or `!?` isn't a command, and gets no reply.
    """

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self._hints = RateLimit(bot.reactor.seconds, inf, 10_000)

    @on_reactor
    def callback_message(self, message: Message) -> None:
        """Explain commands once to each person who sends "hello" or "help" in private, unless others read such messages."""
        if message.body.strip(" !.?").lower() not in _GREETINGS or not message.is_direct:
            return
        backend, settings = self.host.networks.current, self.host.config
        if (
            message.delayed
            or message.extras.get("notice")
            or message.extras.get("bot")
            or settings.BOT_PREFIX_OPTIONAL_ON_CHAT
            or settings.SUPPRESS_CMD_NOT_FOUND
            or settings.CHATROOM_RELAY
            or isinstance(backend, OperatorConsole)
            or self.host.dispatcher.finder.begins_with_prefix(backend, message)
            or any(command.declaration.match(message.body) for command in self.host.dispatcher.registry.unprefixed)
            or self.host.plugins_read_messages
        ):
            return
        if message.frm is not None and self._hints.allows(person_origin(backend.network, message.frm)):
            self.send(message.frm, command_hint(settings.BOT_PREFIX))

    async def unknown(self, msg: Message, cmd: None, args: Any, dry_run: bool, emptycmd: bool = True) -> str:
        """Return the reply to a message whose command is unknown, or ""."""
        backend = self.host.networks.current
        if self.host.config.SUPPRESS_CMD_NOT_FOUND:
            return ""
        text = self.host.dispatcher.finder.without_prefix(msg)
        if not any(map(str.isalnum, text)):
            return ""
        name, _, rest = text.partition(" ")
        method = self._bot.unknown_command
        if isinstance(backend, HasOwnReplies):
            # The backend's own method may block.
            reply: str = await self._bot.runner.run(method, msg, name, rest, pool=self._bot.plugin_pool)
        else:
            reply = method(msg, name, rest)
        return reply

    # `@cmdfilter` would also call it for every known command, which would slow down all commands.
    unknown.catch_unprocessed = True  # type: ignore[attr-defined]

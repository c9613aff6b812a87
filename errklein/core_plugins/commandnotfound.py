"""Replies to unknown commands."""

from __future__ import annotations

from math import inf
from typing import Any

from errklein.chat import Message
from errklein.commands import command_hint
from errklein.core_plugins import CorePlugin
from errklein.dispatch.replies import HasOwnReplies
from errklein.ports.chat import Backend
from errklein.running import RateLimit
from errklein.running.context import person_origin

_GREETINGS = frozenset(("hello", "help"))


class CommandNotFoundFilter(CorePlugin):
    """Reply to unknown commands with suggestions, unless SUPPRESS_CMD_NOT_FOUND is True.

    Punctuation such as `!!!` or `!?` isn't a command, and gets no reply.
    """

    def __init__(self, bot: Any, name: str | None = None) -> None:
        super().__init__(bot, name)
        self._hints = RateLimit(bot.reactor.seconds, inf, 10_000)

    def activate(self) -> None:
        """Let the dispatcher ask for hints."""
        super().activate()
        self.host.dispatcher.hint = self.hint

    def deactivate(self) -> None:
        """Give no more hints."""
        vars(self.host.dispatcher).pop("hint", None)
        super().deactivate()

    def hint(self, backend: Backend, message: Message) -> str | None:
        """Explain commands once to each person who sends "hello" or "help" in private, unless others read such messages."""
        if message.body.strip(" !.?").lower() not in _GREETINGS or not message.is_direct:
            return None
        settings = self.host.config
        if (
            settings.BOT_PREFIX_OPTIONAL_ON_CHAT
            or settings.SUPPRESS_CMD_NOT_FOUND
            or settings.CHATROOM_RELAY
            or self.host.plugins_read_messages
            or not self._hints.allows(person_origin(backend.network, message.frm))
        ):
            return None
        return command_hint(settings.BOT_PREFIX)

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
            reply: str = await self._bot.runner.run(method, msg, name, rest)
        else:
            reply = method(msg, name, rest)
        return reply

    # `@cmdfilter` would also call it for every known command, which would slow down all commands.
    unknown.catch_unprocessed = True  # type: ignore[attr-defined]

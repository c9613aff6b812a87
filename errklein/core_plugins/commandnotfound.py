"""Replies to unknown commands."""

from __future__ import annotations

from typing import Any

from errklein.chat import Message
from errklein.core_plugins import CorePlugin
from errklein.ports import HasOwnReplies


class CommandNotFoundFilter(CorePlugin):
    """Reply to unknown commands with suggestions, unless SUPPRESS_CMD_NOT_FOUND is True.

    Punctuation such as `!!!` or `!?` isn't a command, and gets no reply.
    """

    async def unknown(self, msg: Message, cmd: None, args: Any, dry_run: bool, emptycmd: bool = True) -> str:
        """Return the reply to a message whose command is unknown, or ""."""
        backend = self._bot.backend
        if self._bot.bot_config.networks[backend.network].now.SUPPRESS_CMD_NOT_FOUND:
            return ""
        text = self._bot.dispatcher.finder.without_prefix(msg)
        if not any(map(str.isalnum, text)):
            return ""
        name, _, rest = text.partition(" ")
        if not isinstance(backend, HasOwnReplies):
            return self._bot.unknown_command(msg, name, rest)
        # The backend's own method may block.
        method = self._bot.unknown_command
        reply: str = await self._bot.runner.run(method, msg, name, rest, pool=self._bot.plugin_pool)
        return reply

    # `@cmdfilter` would also call it for every known command, which would slow down all commands.
    unknown.catch_unprocessed = True  # type: ignore[attr-defined]

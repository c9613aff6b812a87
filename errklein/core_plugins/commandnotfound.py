"""What is said when somebody gives a command that there isn't."""

from __future__ import annotations

from typing import Any

from errklein.chat import Message
from errklein.core_plugins import CorePlugin
from errklein.ports import HasOwnReplies


class CommandNotFoundFilter(CorePlugin):
    """Tells that there is no such command, and what may have been meant, unless SUPPRESS_CMD_NOT_FOUND is set."""

    async def unknown(self, msg: Message, cmd: None, args: Any, dry_run: bool, emptycmd: bool = True) -> str:
        """What the bot says of the command that the message asks for."""
        backend = self._bot.backend
        if self._bot.bot_config.networks[backend.network].now.SUPPRESS_CMD_NOT_FOUND:
            return ""
        name, _, rest = self._bot.dispatcher.finder.without_prefix(msg).partition(" ")
        if not isinstance(backend, HasOwnReplies):
            return self._bot.unknown_command(msg, name, rest)
        # Somebody else's code, which may block.
        ask = self._bot.unknown_command
        told: str = await self._bot.runner.run(ask, msg, name, rest, pool=self._bot.plugin_pool)
        return told

    # It has nothing to say of commands that there are, as other filters do: each command would be slower for it.
    unknown.catch_unprocessed = True  # type: ignore[attr-defined]

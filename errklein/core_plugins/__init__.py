"""The chat commands that come with the bot, each a plugin like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from errklein.plugins import BotPlugin

if TYPE_CHECKING:
    from errklein.bot import Bot

__all__ = ["CorePlugin"]


class CorePlugin(BotPlugin):
    """A plugin that comes with the bot. Its `_bot` has the type of the bot, so that type checkers check what it uses."""

    _bot: Bot

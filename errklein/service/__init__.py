"""The process: start, stop, signals, the data directory, restart, reloading of changed plugins, endpoint checks."""

from errklein.service.bot_service import BotService, CannotStart, Launch, Startable, settle_memory

__all__ = ["BotService", "CannotStart", "Launch", "Startable", "settle_memory"]

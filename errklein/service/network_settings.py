"""Checks and warnings for the settings of the networks that errklein includes. Each network's own package has its table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from errklein.config import BACKENDS, Config
from errklein.config.identity import NetworkSettings

if TYPE_CHECKING:
    from errklein.bot import Bot


def settings_of(view: Config) -> NetworkSettings | None:
    """Return the table of the network's settings; None for a backend written for errbot, whose settings are unknown."""
    # Imported late, so that problems of the environment are reported first.
    if view.BACKEND == "IRC":
        from errklein.backends.irc.settings import SETTINGS

        return SETTINGS
    from errklein.backends.base import LOCAL_SETTINGS

    return LOCAL_SETTINGS if view.BACKEND in BACKENDS else None


def check_identity(view: Config) -> None:
    """Raise ConfigError if BOT_IDENTITY has an invalid value."""
    if settings := settings_of(view):
        settings.read_identity(view.BOT_IDENTITY)


def network_warnings(config: Config) -> Iterator[str]:
    """Yield a sentence for each valid setting of a network that is probably a mistake."""
    for view in config.networks.values():
        if settings := settings_of(view):
            yield from settings.all_warnings(view)


def log_network_warnings(bot: Bot) -> None:
    """Log the warnings, as the bot does with those about other settings."""
    for warning in network_warnings(bot.bot_config):
        bot.log.warn("{text}", text=warning)

"""Sentry as the configuration describes it: BOT_LOG_SENTRY and the SENTRY_… settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from errklein.config import Config, ConfigError
from errklein.logs import sentry

T = TypeVar("T")


def check_sentry(config: Config) -> None:
    """Raise ConfigError if BOT_LOG_SENTRY is True and events can't be sent to Sentry."""
    if config.BOT_LOG_SENTRY:
        _or_config_error(sentry.check_sentry, config)


def start_sentry(config: Config) -> Callable[[], None]:
    """Send log events to Sentry from now on if BOT_LOG_SENTRY is True; returns a function that ends that.

    Must not be called before a daemon has forked. Raises ConfigError.
    """
    if not config.BOT_LOG_SENTRY:
        return lambda: None
    return _or_config_error(sentry.start_sentry, config)


def _or_config_error(function: Callable[[sentry.SentrySettings], T], config: Config) -> T:
    settings = sentry.SentrySettings(
        dsn=config.SENTRY_DSN,
        level=config.SENTRY_LOGLEVEL,
        event_level=config.SENTRY_EVENTLEVEL,
        options=config.SENTRY_OPTIONS,
        transport=config.SENTRY_TRANSPORT,
        flask=config.BOT_LOG_SENTRY_FLASK,
    )
    try:
        return function(settings)
    except sentry.SentryError as error:
        raise ConfigError(str(error)) from None

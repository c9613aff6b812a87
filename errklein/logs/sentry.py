"""What is logged, for Sentry, a service that collects what goes wrong: BOT_LOG_SENTRY and the SENTRY_… settings.

sentry_sdk has threads and queues of its own, so nobody waits for the network here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

from errklein.config import Config, secrets_of
from errklein.config.settings import ConfigError
from errklein.logs.output import FROM_TWISTED
from errklein.logs.records import record_of
from errklein.text.masking import masker

log = Logger()

_OPTIONS: Mapping[str, Any] = {
    # Local variables hold passwords, and what people have said to the bot.
    "include_local_variables": False,
    "send_default_pii": False,
    # Other libraries are patched by sentry_sdk only if somebody asks for it.
    "auto_enabling_integrations": False,
}
"""What differs from sentry_sdk's own defaults, unless SENTRY_OPTIONS say otherwise."""


def check_sentry(config: Config) -> None:
    """Raise ConfigError if the bot is to tell Sentry what goes wrong, and can't."""
    if not config.BOT_LOG_SENTRY:
        return
    if find_spec("sentry_sdk") is None:
        raise ConfigError("BOT_LOG_SENTRY: sentry_sdk isn't installed; expected it: pip install 'errklein[sentry]'")
    from sentry_sdk.utils import BadDsn, Dsn

    dsn = config.SENTRY_DSN or _options(config).get("dsn")
    if not dsn:
        raise ConfigError("SENTRY_DSN is missing; expected the address that Sentry shows for the project")
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        raise ConfigError("SENTRY_DSN: expected an address such as https://key@sentry.example.org/1") from None
    _transport(config)


def start_sentry(config: Config) -> Callable[[], None]:
    """From now on, Sentry is told of what is logged, if BOT_LOG_SENTRY says so; what is returned ends that.

    What is as grave as SENTRY_EVENTLEVEL is told of; what is as grave as SENTRY_LOGLEVEL is sent along with it. It may
    not be called before a daemon has forked. Raises ConfigError.
    """
    check_sentry(config)
    if not config.BOT_LOG_SENTRY:
        return lambda: None
    import sentry_sdk
    from sentry_sdk.integrations.logging import LoggingIntegration

    options = _options(config)
    # Logging's records come here by way of Twisted's log; to take them twice would send them twice.
    ours = [LoggingIntegration(level=None, event_level=None), *_flask(config)]
    transport = _transport(config)
    if transport is not None:
        options["transport"] = transport
    if config.SENTRY_DSN:
        options["dsn"] = config.SENTRY_DSN
    options["integrations"] = [*ours, *options.get("integrations", ())]
    masker.learn(config, "configuration", secrets_of(config))
    options["before_send"] = Masking(options.get("before_send"))
    try:
        sentry_sdk.init(**options)
    except Exception as error:
        raise ConfigError(f"SENTRY_OPTIONS: {type(error).__name__}: {error}; expected sentry_sdk's options") from None
    observer = SentryObserver(config.SENTRY_LOGLEVEL, config.SENTRY_EVENTLEVEL)
    globalLogPublisher.addObserver(observer)
    return partial(globalLogPublisher.removeObserver, observer)


@implementer(ILogObserver)
class SentryObserver:
    """Tells Sentry of what is logged: events as grave as `event_level`, each with those before as grave as `level`."""

    def __init__(self, level: int, event_level: int) -> None:
        from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler

        self._trail = BreadcrumbHandler(level)
        self._events = EventHandler(event_level)

    def __call__(self, event: LogEvent) -> None:
        """Hand the event over; it goes to Sentry in another thread."""
        import sentry_sdk

        record = record_of(event)
        request = vars(record).pop("request_id")
        del vars(record)[FROM_TWISTED]
        if record.levelno >= self._events.level:
            with sentry_sdk.new_scope() as scope:
                if request != "-":
                    scope.set_tag("request_id", request)
                self._events.handle(record)
        if record.levelno >= self._trail.level:
            self._trail.handle(record)


class Masking:
    """Masks secrets in an event before it is sent; `then`, the operator's own hook if there is one, is called afterwards."""

    def __init__(self, then: Any = None) -> None:
        self._then = then

    def __call__(self, event: Any, hint: Any) -> Any:
        """The event as it is to be sent; None if it isn't."""
        event = masker.values(event)
        return event if self._then is None else self._then(event, hint)


def _options(config: Config) -> dict[str, Any]:
    return {**_OPTIONS, **config.SENTRY_OPTIONS}


def _flask(config: Config) -> Iterator[Any]:
    """What tells of the routes of errbot's backends that have a Flask of their own."""
    if not config.BOT_LOG_SENTRY_FLASK:
        return
    from sentry_sdk.integrations import DidNotEnable

    try:
        # Whether Flask itself is there can't be asked otherwise: errklein stands for it where it isn't.
        from sentry_sdk.integrations.flask import FlaskIntegration
    except DidNotEnable:
        log.info("BOT_LOG_SENTRY_FLASK: Flask isn't installed, so there is nothing of it to tell Sentry")
    else:
        yield FlaskIntegration()


def _transport(config: Config) -> Any:
    """What SENTRY_TRANSPORT means: a class, or what has the name that stands first in the module that stands second."""
    given = config.SENTRY_TRANSPORT
    if not isinstance(given, tuple):
        return given
    name, module = given
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"SENTRY_TRANSPORT: {error}; expected the name of a class, and its module") from None

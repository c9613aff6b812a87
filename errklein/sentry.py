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

from errklein.config import Config
from errklein.log_records import record_of
from errklein.logs import FROM_TWISTED
from errklein.settings import ConfigError, is_secret

log = Logger()

HIDDEN = "[hidden]"
"""What is sent in place of a secret."""

_SHORTEST_SECRET = 4
"""Characters of a secret at least: anything shorter is found everywhere."""

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
    options["before_send"] = Hiding(secrets_of(config), options.get("before_send"))
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


class Hiding:
    """Takes secrets out of what is about to be sent; `then` is what somebody else wants to do with it afterwards."""

    def __init__(self, secrets: frozenset[str], then: Any = None) -> None:
        # A secret may be a part of another.
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._then = then

    def __call__(self, event: Any, hint: Any) -> Any:
        """The event as it is to be sent; None if it isn't."""
        event = self.hidden(event)
        return event if self._then is None else self._then(event, hint)

    def hidden(self, value: Any) -> Any:
        """The value, a string or made of dicts and lists, without any secret."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, HIDDEN)
            return value
        if isinstance(value, Mapping):
            return {self.hidden(key): self.hidden(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.hidden(item) for item in value]
        return value


def secrets_of(config: Config) -> frozenset[str]:
    """The passwords, tokens and the like that the configuration has: of networks, of storages, of plugins."""
    views = (config, *config.networks.values())
    settings = [item for view in views for item in vars(view).items()]
    found = {secret for name, value in settings for secret in _secrets_in(value, is_secret(name))}
    for view in views:
        found.update(room[1] for room in view.CHATROOM_PRESENCE if isinstance(room, (tuple, list)) and len(room) > 1)
    return frozenset(secret for secret in found if isinstance(secret, str) and len(secret) >= _SHORTEST_SECRET)


def _secrets_in(value: Any, secret: bool) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets_in(item, secret or is_secret(str(key)))
    elif isinstance(value, (tuple, list, set, frozenset)):
        for item in value:
            yield from _secrets_in(item, secret)
    elif secret:
        yield value


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

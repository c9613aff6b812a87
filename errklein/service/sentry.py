"""Reports of log events to Sentry, a service that collects errors. sentry_sdk sends events in threads of its own, so
nothing here waits for the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from errklein.config import Config, ConfigError
from errklein.logs import FROM_TWISTED, record_of
from errklein.text.masking import masker

_DEFAULTS: Mapping[str, Any] = {
    # Local variables contain passwords and messages.
    "include_local_variables": False,
    "send_default_pii": False,
    # sentry_sdk patches other libraries only if SENTRY_OPTIONS ask for it.
    "auto_enabling_integrations": False,
}
"""Options that differ from sentry_sdk's own defaults."""


def check_sentry(config: Config) -> None:
    """Raise ConfigError if BOT_LOG_SENTRY is True and events can't be sent to Sentry."""
    if not config.BOT_LOG_SENTRY:
        return
    if find_spec("sentry_sdk") is None:
        raise ConfigError("BOT_LOG_SENTRY requires sentry_sdk, which isn't installed; run `pip install sentry-sdk`")
    from sentry_sdk.utils import BadDsn, Dsn

    dsn = _init_options(config).get("dsn")
    if not dsn:
        raise ConfigError("SENTRY_DSN is missing; BOT_LOG_SENTRY requires the DSN that Sentry shows for the project")
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        raise ConfigError("SENTRY_DSN is invalid; expected a URL such as https://key@sentry.example.org/1") from None


def start_sentry(config: Config) -> Callable[[], None]:
    """Start to send log events to Sentry if BOT_LOG_SENTRY is True, and return a function that stops it. A daemon must
    have forked, since threads don't survive the fork. Raises ConfigError."""
    if not config.BOT_LOG_SENTRY:
        return lambda: None
    check_sentry(config)
    import sentry_sdk
    from sentry_sdk.integrations import DidNotEnable
    from sentry_sdk.integrations.logging import LoggingIntegration

    options = _init_options(config)
    # Records of the standard library arrive through Twisted's log; with LoggingIntegration they would be sent twice.
    ours: list[Any] = [LoggingIntegration(level=None, event_level=None)]
    if config.BOT_LOG_SENTRY_FLASK:
        # find_spec can't tell whether Flask is installed, since errklein provides the module otherwise.
        with suppress(DidNotEnable):
            from sentry_sdk.integrations.flask import FlaskIntegration

            ours.append(FlaskIntegration())
    options["integrations"] = [*ours, *options.get("integrations", ())]
    options["before_send"] = partial(_mask, options.get("before_send"))
    try:
        sentry_sdk.init(**options)
    except Exception as error:
        raise ConfigError(
            f"SENTRY_OPTIONS is invalid; sentry_sdk.init raised {type(error).__name__}: {error}"
        ) from None
    observer = SentryObserver(config.SENTRY_LOGLEVEL, config.SENTRY_EVENTLEVEL)
    globalLogPublisher.addObserver(observer)
    return partial(globalLogPublisher.removeObserver, observer)


def _init_options(config: Config) -> dict[str, Any]:
    options = {**_DEFAULTS, **config.SENTRY_OPTIONS}
    if config.SENTRY_DSN:
        options["dsn"] = config.SENTRY_DSN
    if (given := config.SENTRY_TRANSPORT) is not None:
        try:
            options["transport"] = given if callable(given) else getattr(import_module(given[1]), given[0])
        except Exception as error:
            expected = "a class of sentry_sdk.transport, or the pair of its name and its module"
            raise ConfigError(f"SENTRY_TRANSPORT: {error}; expected {expected}") from None
    return options


@implementer(ILogObserver)
class SentryObserver:
    """Sends events at `event_level` or above to Sentry, each with preceding events at `level` or above as breadcrumbs."""

    def __init__(self, level: int, event_level: int) -> None:
        from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler

        self._breadcrumbs = BreadcrumbHandler(level)
        self._events = EventHandler(event_level)

    def __call__(self, event: LogEvent) -> None:
        """Queue the event; another thread sends it."""
        import sentry_sdk

        record = record_of(event)
        request = vars(record).pop("request_id")
        del vars(record)[FROM_TWISTED]
        if record.levelno >= self._events.level:
            with sentry_sdk.new_scope() as scope:
                if request != "-":
                    scope.set_tag("request_id", request)
                self._events.handle(record)
        if record.levelno >= self._breadcrumbs.level:
            self._breadcrumbs.handle(record)


def _mask(before_send: Callable[[Any, Any], Any] | None, event: Any, hint: Any) -> Any:
    """Return the event with masked secrets, after the operator's own `before_send`; None if it isn't to be sent."""
    event = masker.values(event)
    return event if before_send is None else before_send(event, hint)

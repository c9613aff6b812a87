"""Log events for Sentry, a service that collects errors.

sentry_sdk sends events in threads of its own, so nothing here waits for the network.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

from errklein.logs.output import FROM_TWISTED
from errklein.logs.records import record_of
from errklein.text.masking import masker

log = Logger()

_DEFAULTS: Mapping[str, Any] = {
    # Local variables contain passwords and messages.
    "include_local_variables": False,
    "send_default_pii": False,
    # sentry_sdk patches other libraries only if SENTRY_OPTIONS ask for it.
    "auto_enabling_integrations": False,
}
"""Options that differ from sentry_sdk's own defaults."""


class SentryError(Exception):
    """Sentry can't be used; the text is one line with the setting and the expectation."""


@dataclass(frozen=True)
class SentrySettings:
    """The address of the project, levels of the logging module, and options of `sentry_sdk.init`."""

    dsn: str
    level: int
    """Events at this level or above are sent together with the next error."""
    event_level: int
    """Events at this level or above are errors."""
    options: Mapping[str, Any]
    transport: Any = None
    """A class, or the pair of its name and its module."""
    flask: bool = False
    """Whether routes of a Flask application are reported."""

    def init_options(self) -> dict[str, Any]:
        """The arguments of `sentry_sdk.init`; raises SentryError."""
        options = {**_DEFAULTS, **self.options}
        if self.dsn:
            options["dsn"] = self.dsn
        if self.transport is not None:
            options["transport"] = _transport(self.transport)
        return options


def check_sentry(settings: SentrySettings) -> None:
    """Raise SentryError if events can't be sent with these settings."""
    if find_spec("sentry_sdk") is None:
        raise SentryError("BOT_LOG_SENTRY: sentry_sdk isn't installed; expected it: pip install 'errklein[sentry]'")
    from sentry_sdk.utils import BadDsn, Dsn

    dsn = settings.init_options().get("dsn")
    if not dsn:
        raise SentryError("SENTRY_DSN is missing; expected the address that Sentry shows for the project")
    try:
        Dsn(dsn)
    except (BadDsn, ValueError):
        raise SentryError("SENTRY_DSN: expected an address such as https://key@sentry.example.org/1") from None


def start_sentry(settings: SentrySettings) -> Callable[[], None]:
    """Send log events to Sentry from now on; returns a function that ends that. Raises SentryError."""
    check_sentry(settings)
    import sentry_sdk
    from sentry_sdk.integrations.logging import LoggingIntegration

    options = settings.init_options()
    # Records of the standard library arrive through Twisted's log; with LoggingIntegration they would be sent twice.
    ours = [LoggingIntegration(level=None, event_level=None), *_flask(settings.flask)]
    options["integrations"] = [*ours, *options.get("integrations", ())]
    options["before_send"] = partial(_mask, options.get("before_send"))
    try:
        sentry_sdk.init(**options)
    except Exception as error:
        raise SentryError(f"SENTRY_OPTIONS: {type(error).__name__}: {error}; expected sentry_sdk's options") from None
    observer = SentryObserver(settings.level, settings.event_level)
    globalLogPublisher.addObserver(observer)
    return partial(globalLogPublisher.removeObserver, observer)


@implementer(ILogObserver)
class SentryObserver:
    """Sends events at `event_level` or above to Sentry, each with the events before it at `level` or above."""

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
    """The event with secrets masked, as the operator's own hook, if there is one, returns it; None isn't sent."""
    event = masker.values(event)
    return event if before_send is None else before_send(event, hint)


def _flask(wanted: bool) -> Iterator[Any]:
    if not wanted:
        return
    from sentry_sdk.integrations import DidNotEnable

    try:
        # find_spec can't tell whether Flask is installed, since errklein provides the module otherwise.
        from sentry_sdk.integrations.flask import FlaskIntegration
    except DidNotEnable:
        log.info("BOT_LOG_SENTRY_FLASK is ignored, since Flask isn't installed")
    else:
        yield FlaskIntegration()


def _transport(given: Any) -> Any:
    if not isinstance(given, tuple):
        return given
    name, module = given
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SentryError(f"SENTRY_TRANSPORT: {error}; expected the name of a class, and its module") from None

"""Counts of the errors in the log of the last hour."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

PERIOD = 3600.0
_MOST = 10_000
_PARTS = ("callback", "method", "command")  # the fields of an event that name the part of the plugin


@implementer(ILogObserver)
class RecentErrors:
    """Counts errors by the part of the bot: a webhook, a plugin with its method, such as "Builds.deploy", or else a
    logger. Of more than 10,000 errors an hour, the latest are counted. It may be called in any thread."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.total = 0  # the number of errors since the start
        self._now = now
        self._errors: deque[tuple[float, str]] = deque(maxlen=_MOST)

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if level is LogLevel.critical or level is LogLevel.error:
            self.total += 1
            self._errors.append((self._now(), _part(event)))

    def counts(self) -> Mapping[str, int]:
        since = self._now() - PERIOD
        return dict(Counter(part for time, part in self._errors.copy() if time > since).most_common())


def _part(event: LogEvent) -> str:
    if "webhook" in event:
        return str(event["webhook"])
    if "plugin" not in event:
        return str(event.get("log_namespace", "-"))
    part = next((event[name] for name in _PARTS if name in event), "")
    return f"{event['plugin']}.{part}" if part else str(event["plugin"])

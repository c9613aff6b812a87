"""Warnings before certificates expire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.task import LoopingCall

from errklein.listening._listeners import Listeners

DAYS = (1, 7, 30)
"""The numbers of days before the expiry at which a warning is sent, in ascending order."""

_SECONDS_BETWEEN_CHECKS = 6 * 3600.0


class ExpiryWatch:
    """Warns when a certificate in use has less than 30, 7 and 1 days left, and when it has expired.

    :param listeners: The endpoints whose certificates are checked.
    :param warn: Called with a sentence for each warning.
    :param now: Returns the current time.
    """

    def __init__(
        self,
        reactor: Any,
        listeners: Listeners,
        warn: Callable[[str], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._listeners = listeners
        self._warn = warn
        self._now = now
        self._warned: dict[tuple[str, datetime], int] = {}
        self._loop = LoopingCall(self.check)
        self._loop.clock = reactor

    def start(self) -> None:
        """Check now, and then every six hours."""
        self._loop.start(_SECONDS_BETWEEN_CHECKS)

    def stop(self) -> None:
        """Stop checking."""
        if self._loop.running:
            self._loop.stop()

    def check(self) -> None:
        """Warn of each certificate that has reached its next stage: 30, 7 or 1 days, or expired."""
        for endpoint, file, expires in self._listeners.expiries():
            place = f"{file} ({endpoint})"
            left = expires - self._now()
            stage = 0 if left.total_seconds() <= 0 else next((days for days in DAYS if left.days < days), None)
            if stage is None or self._warned.get((place, expires), max(DAYS) + 1) <= stage:
                continue
            self._warned[place, expires] = stage
            when = "has expired" if stage == 0 else f"expires on {expires:%Y-%m-%d}, in less than {stage} day"
            self._warn(f"The certificate in {place} {when}{'s' if stage > 1 else ''}; replace it.")

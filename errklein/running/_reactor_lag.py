"""The reactor lag: how long calls wait until the reactor is free."""

from __future__ import annotations

_NOTABLE = 0.05
_BACKLOG = 1.0


class ReactorLag:
    """The lag of the reactor, in seconds. `service.Watchdog` measures it while the reactor works."""

    def __init__(self) -> None:
        self.last = 0.0
        """The last measured lag; 0 while the reactor waits for events."""
        self.backlog_until = 0.0
        """The time on the reactor's clock until which input may be read that has waited for the reactor."""
        self._maximum = 0.0

    def record(self, seconds: float) -> None:
        """Store a measured lag."""
        self.last = seconds
        self._maximum = max(self._maximum, seconds)

    def ended(self, seconds: float, now: float) -> None:
        """Note that the reactor, which was busy for this time, is about to read its input. `now` is the time on its clock."""
        if seconds >= _NOTABLE:
            self.backlog_until = now + _BACKLOG

    def take_maximum(self) -> float:
        """Return the largest lag since the last call."""
        maximum, self._maximum = max(self._maximum, self.last), 0.0
        return maximum

"""Notices to administrators about messages that were dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

INTERVAL = 600.0
"""The seconds between two notices about a network."""


class DropNotices:
    """Notifies administrators at once, and then of all messages that a network drops within INTERVAL together.

    While a network is absent, messages become too old one by one. A notice for each would fill the outboxes, and be sent before
    everything else when the network is back.
    """

    def __init__(self, reactor: Any, tell_admins: Callable[[str], object]) -> None:
        self._reactor = reactor
        self._tell_admins = tell_admins
        self._dropped: dict[str, tuple[int, str]] = {}
        self._timers: dict[str, IDelayedCall] = {}
        self._stopped = False

    def add(self, network: str, count: int, reason: str) -> None:
        """Report dropped messages, now or later."""
        self._dropped[network] = self._dropped.get(network, (0, ""))[0] + count, reason
        if network not in self._timers:
            self._report(network)

    def stop(self) -> None:
        """Report what wasn't reported yet, and from now on all at once."""
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for network in list(self._dropped):
            self._tell(network)

    def _report(self, network: str) -> None:
        self._timers.pop(network, None)
        if network in self._dropped:
            if not self._stopped:
                self._timers[network] = self._reactor.callLater(INTERVAL, self._report, network)
            self._tell(network)

    def _tell(self, network: str) -> None:
        count, reason = self._dropped.pop(network)
        what = "A message was" if count == 1 else f"{count} messages were"
        self._tell_admins(f"{what} not sent on {network}, since {reason}. The log has the recipients and texts.")

"""Notices to administrators about deliveries of webhooks that are given up."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall

from errklein.bot._webhook_warnings import TellAdmins
from errklein.webhooks.deliveries import Outcome, StoredDelivery
from errklein.webhooks.exported import described

INTERVAL = 60.0
"""The seconds between two notices about a route. The second one has the number of deliveries since the first."""


class DeadDeliveries:
    """Announces each dead delivery once: the first of a route at once, and further ones by their number.

    :param tell_admins: Sends a notice.
    :param prefix: The prefix of commands.
    """

    def __init__(self, reactor: Any, tell_admins: TellAdmins, prefix: str) -> None:
        self._reactor = reactor
        self._tell_admins = tell_admins
        self._prefix = prefix
        self._further: dict[str, int] = {}
        self._timers: dict[str, IDelayedCall] = {}

    def announce(self, delivery: StoredDelivery, outcome: Outcome) -> None:
        """Announce a delivery that has just been given up."""
        route = delivery.route
        if route in self._timers:
            self._further[route] = self._further.get(route, 0) + 1
            return
        self._timers[route] = self._reactor.callLater(INTERVAL, self._summarise, route)
        dead = f"The delivery {delivery.id} of {route} is dead after {_counted(delivery.attempt, 'attempt')}"
        self._tell_admins(
            f"{dead}: {described(outcome)}. See {self._prefix}delivery {delivery.id}",
            f"{dead}, see {self._prefix}delivery {delivery.id}",
        )

    def stop(self) -> None:
        """Announce what is still to be announced, and cancel the timers."""
        for route, timer in list(self._timers.items()):
            timer.cancel()
            self._summarise(route, last=True)

    def _summarise(self, route: str, last: bool = False) -> None:
        del self._timers[route]
        count = self._further.pop(route, 0)
        if not count:
            return
        self._tell_admins(
            f"{_counted(count, 'more delivery')} of {route} became dead. See {self._prefix}deliveries {route} dead"
        )
        if not last:
            self._timers[route] = self._reactor.callLater(INTERVAL, self._summarise, route)


def _counted(count: int, noun: str) -> str:
    return (
        f"{count} {noun}" if count == 1 else f"{count} {noun.removesuffix('y')}{'ies' if noun.endswith('y') else 's'}"
    )

"""The joining of rooms, at the pace of the server and again after a refusal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.backends.irc._rate_limiter import IRCRateLimiter
from errklein.backends.irc._rooms import Rooms, join_line
from errklein.backends.irc.connection import Backoff

_PAUSE = 4
"""The pause between two JOIN commands, in intervals of the server's pace. Half of the lines are left to messages."""


@dataclass
class _Absence:
    """A room that the bot isn't in: the reason, the delays of further attempts, and the next one."""

    reason: str
    backoff: Backoff
    timer: IDelayedCall | None = None


class Joins:
    """Joins the rooms that the bot should be in, several with one command, until it is in them.

    :param rooms: The rooms.
    :param limiter: The rate limits.
    :param send: Writes a line.
    :param chance: Returns random numbers from 0 to 1, for the delays between attempts.
    """

    log = Logger()

    TIMEOUT = 30.0
    """Seconds without a reply to JOIN after which the room is tried again."""

    def __init__(
        self,
        reactor: Any,
        network: str,
        rooms: Rooms,
        limiter: IRCRateLimiter,
        send: Callable[[str], None],
        chance: Callable[[], float],
    ) -> None:
        self.most = 1000
        """Maximum number of rooms in a command."""
        self._reactor = reactor
        self._network = network
        self._rooms = rooms
        self._limiter = limiter
        self._send = send
        self._chance = chance
        # By name: the server may announce another case mapping.
        self._queue: dict[str, None] = {}
        self._absences: dict[str, _Absence] = {}
        self._next: IDelayedCall | None = None
        self._timeouts: set[IDelayedCall] = set()

    def reason(self, name: str) -> str:
        """Return why the bot isn't in a room that it should be in. May be called in any thread."""
        absence = self._absences.get(self._rooms.key(name))
        return "it has not joined the room yet" if absence is None else absence.reason

    def has_failed(self, name: str) -> bool:
        """Return whether an attempt to join the room has failed, or the bot was removed from it."""
        return self._rooms.key(name) in self._absences

    def join(self, *names: str) -> None:
        """Join rooms as soon as the pace of the server allows it."""
        self._queue.update(dict.fromkeys(names))
        if self._next is None:
            self._go_on()

    def joined(self, name: str) -> None:
        """Note that the bot is in the room."""
        absence = self._absences.pop(self._rooms.key(name), None)
        if absence is not None:
            _cancel(absence.timer)

    def failed(self, name: str, reason: str, delay: float | None = None) -> None:
        """Join the room later: after `delay` seconds, or after twice the time that the last attempt has waited."""
        absence = self._absences.get(self._rooms.key(name))
        if absence is None:
            absence = self._absences[self._rooms.key(name)] = _Absence("", Backoff(self._chance))
        if reason != absence.reason:
            self.log.warn("{network}: not in {room} ({reason})", network=self._network, room=name, reason=reason)
        absence.reason = reason
        _cancel(absence.timer)
        absence.timer = self._reactor.callLater(absence.backoff.delay() if delay is None else delay, self.join, name)

    def stop(self) -> None:
        """Join no more rooms."""
        for timer in (self._next, *self._timeouts, *(absence.timer for absence in self._absences.values())):
            _cancel(timer)
        self._next = None
        self._timeouts.clear()
        self._queue.clear()
        self._absences.clear()

    def _go_on(self) -> None:
        """Send one command if the pace allows it, and the next one later."""
        self._next = None
        missing = ((name, self._rooms.password_of(name)) for name in self._queue if self._is_missing(name))
        if (first := next(missing, None)) is None:
            self._queue.clear()
            return
        wait = self._limiter.take_join()
        if not wait:
            line, names = join_line(chain((first,), missing), self.most)
            for name in names:
                del self._queue[name]
            self._await_replies(names)
            self._send(line)
            wait = _PAUSE * self._limiter.interval
        self._next = self._reactor.callLater(wait, self._go_on)

    def _await_replies(self, names: Sequence[str]) -> None:
        def check() -> None:
            self._timeouts.discard(timer)
            for name in names:
                absence = self._absences.get(self._rooms.key(name))
                if self._is_missing(name) and (absence is None or absence.timer is None or not absence.timer.active()):
                    self.failed(name, "the server does not reply to JOIN")

        timer = self._reactor.callLater(self.TIMEOUT, check)
        self._timeouts.add(timer)

    def _is_missing(self, name: str) -> bool:
        return self._rooms.is_wanted(name) and self._rooms.state(name) is None


def _cancel(timer: IDelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()

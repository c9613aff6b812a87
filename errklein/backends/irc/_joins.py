"""The joining of rooms, at the pace of the server and again after a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.backends.irc._rate_limiter import IRCRateLimiter
from errklein.backends.irc._rooms import Rooms, join_line
from errklein.backends.irc.connection import Backoff
from errklein.chat.outgoing import Wait
from errklein.running import cancel_timers

_PAUSE = 4
"""The pause between two JOIN commands, in intervals of the server's pace. Half of the lines are left to messages."""

_STABLE_AFTER = 60.0
"""The seconds in a room after which attempts to join it begin anew."""


@dataclass
class _Attempts:
    """The attempts to join a room.

    `reason` is why the last one has failed: "" if none has, None if there is no other one; `text` is the reason in any case. `timer` is
    the next one, at `next_at`, or the end of the wait for a reply. `since` is the time at which the bot has joined or left the room.
    """

    backoff: Backoff
    reason: str | None = ""
    timer: IDelayedCall | None = None
    joined_at: float | None = None
    text: str = ""
    next_at: float = 0.0
    since: float = 0.0


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
        self._attempts: dict[str, _Attempts] = {}
        self._next: IDelayedCall | None = None

    def reason(self, name: str) -> str | None:
        """Return why the bot isn't in a room that it should be in; "" if no attempt has failed, None without further attempts.

        May be called in any thread.
        """
        attempts = self._attempts.get(self._rooms.key(name))
        return "" if attempts is None else attempts.reason

    def status(self, name: str) -> Wait:
        """Return since when the bot is in a room or not, why not, and when the next attempt is. Times are those of the reactor."""
        attempts = self._attempts.get(self._rooms.key(name)) or _Attempts(Backoff(self._chance))
        return Wait("", attempts.since, attempts.text, attempts.next_at)

    def join(self, *names: str) -> None:
        """Join rooms as soon as the pace of the server allows it."""
        self._queue.update(dict.fromkeys(names))
        if self._next is None:
            self._go_on()

    def joined(self, name: str) -> None:
        """Note that the bot is in the room."""
        attempts = self._of(name)
        attempts.reason = attempts.text = ""
        attempts.joined_at = attempts.since = self._reactor.seconds()
        attempts.next_at = 0.0
        cancel_timers(attempts.timer)

    def failed(self, name: str, reason: str, delay: float | None = None) -> None:
        """Join the room later: after `delay` seconds, or after twice the time that the last attempt has waited."""
        attempts = self._of(name)
        if attempts.joined_at is not None and self._reactor.seconds() - attempts.joined_at >= _STABLE_AFTER:
            attempts.backoff.reset()
        if attempts.joined_at is not None or not attempts.since:
            attempts.since = self._reactor.seconds()
        attempts.joined_at = None
        if reason != attempts.reason:
            self._log(name, reason)
        attempts.reason = attempts.text = reason
        delay = attempts.backoff.delay() if delay is None else delay
        attempts.next_at = self._reactor.seconds() + delay
        self._later(attempts, delay, self.join, name)

    def give_up(self, name: str, reason: str) -> None:
        """Note that the bot doesn't join the room until `forget` is called."""
        self.forget(name)
        attempts = self._of(name)
        attempts.reason, attempts.since = None, self._reactor.seconds()
        attempts.text = f"{reason}; it doesn't join again by itself"
        self._log(name, reason)

    def forget(self, name: str) -> None:
        """Forget earlier attempts to join the room."""
        if (attempts := self._attempts.pop(self._rooms.key(name), None)) is not None:
            cancel_timers(attempts.timer)

    def stop(self) -> None:
        """Join no more rooms."""
        cancel_timers(self._next, *(attempts.timer for attempts in self._attempts.values()))
        self._next = None
        self._queue.clear()
        self._attempts.clear()

    def _of(self, name: str) -> _Attempts:
        return self._attempts.setdefault(self._rooms.key(name), _Attempts(Backoff(self._chance)))

    def _log(self, name: str, reason: str) -> None:
        self.log.warn("{network}: not in {room} ({reason})", network=self._network, room=name, reason=reason)

    def _go_on(self) -> None:
        """Send one command as soon as the pace allows it, and the next one later."""
        self._next = None
        if not any(map(self._is_missing, self._queue)):
            self._queue.clear()
        elif wait := self._limiter.take_join():
            self._next = self._reactor.callLater(wait, self._send_next)
        else:
            self._send_next()

    def _send_next(self) -> None:
        missing = ((name, self._rooms.password_of(name)) for name in self._queue if self._is_missing(name))
        line, names = join_line(missing, self.most)
        for name in names:
            del self._queue[name]
            self._of(name).next_at = 0.0
            self._later(self._of(name), self.TIMEOUT, self._timed_out, name)
        if names:
            self._send(line)
        self._next = self._reactor.callLater(_PAUSE * self._limiter.interval, self._go_on)

    def _later(self, attempts: _Attempts, delay: float, call: Callable[[str], None], name: str) -> None:
        cancel_timers(attempts.timer)
        attempts.timer = self._reactor.callLater(delay, call, name)

    def _timed_out(self, name: str) -> None:
        if self._is_missing(name):
            self.failed(name, "the server does not reply to JOIN")

    def _is_missing(self, name: str) -> bool:
        return self._rooms.is_wanted(name) and self._rooms.state(name) is None

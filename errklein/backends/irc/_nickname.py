"""The bot's nick on one connection: which nicks it tries at registration, and how it regains the configured one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

REGAIN_EVERY = 60.0
"""Seconds between two attempts to regain the configured nick."""


def nicks(wanted: str) -> Iterator[str]:
    """Nicks to try, in order. Later ones are shorter, because a server may allow as few as nine characters."""
    longer = (wanted, f"{wanted}_", f"{wanted}__", f"{wanted[:8]}_")
    return iter((*longer, *(f"{wanted[:7]}_{number}" for number in range(1, 10))))


class Nickname:
    """The nick `current`, and the attempts to have `wanted`, the configured one, instead.

    `same(one, other)` compares nicks as the server does. `send_line` sends a line to it.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        network: str,
        wanted: str,
        same: Callable[[str, str], bool],
        send_line: Callable[[str], object],
    ) -> None:
        self.wanted = wanted
        self.current = wanted
        self._network = network
        self._same = same
        self._send_line = send_line
        self._candidates = nicks(wanted)
        self._regaining = LoopingCall(self._request)
        self._regaining.clock = reactor

    @property
    def is_wanted(self) -> bool:
        """Whether the bot has the configured nick."""
        return self._same(self.current, self.wanted)

    def try_next(self) -> bool:
        """Ask for the first nick, or for the next one if the server rejects a nick. Returns False if none is left."""
        nick = next(self._candidates, None)
        if nick is not None:
            self._send_line(f"NICK {nick}")
        return nick is not None

    def registered(self, nick: str) -> None:
        """The server has registered the bot by this nick. If it isn't the configured one, begin to regain that."""
        self.current = nick
        if self.is_wanted:
            return
        self.log.warn(
            "{network}: the nick {wanted} is taken, the bot is {nick} until it gets it",
            network=self._network,
            wanted=self.wanted,
            nick=nick,
        )
        self._regaining.start(REGAIN_EVERY, now=False)

    def identify(self, password: str) -> None:
        """Identify to NickServ, which also gives a bot without the configured nick that nick."""
        # Not by way of the outbox: it is said before anything else.
        request = "IDENTIFY" if self.is_wanted else f"REGAIN {self.wanted}"
        self._send_line(f"PRIVMSG NickServ :{request} {password}")

    def changed(self, old: str, new: str) -> None:
        """Somebody, perhaps the bot, has changed the nick."""
        if self._same(old, self.current):
            self.current = new
            if self.is_wanted:
                self.stop()
        self.released(old)

    def released(self, nick: str) -> None:
        """Nobody has the nick any more: ask for it if it is the configured one."""
        if self._regaining.running and self._same(nick, self.wanted):
            self._request()

    def stop(self) -> None:
        """Regain nothing any more."""
        if self._regaining.running:
            self._regaining.stop()

    def _request(self) -> None:
        self._send_line(f"NICK {self.wanted}")

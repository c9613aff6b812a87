"""The bot's nick on one connection: which nicks it tries at registration, and how it regains the configured one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from errklein.text import sanitize

REGAIN_EVERY = 60.0
"""Seconds between two attempts to regain the configured nick."""

_IDENTIFIED = re.compile(r"\b(?:identified|logged in|logged into|recognized|accepted)\b", re.IGNORECASE)
_REJECTED = re.compile(
    r"incorrect|invalid|wrong|fail|denied|mismatch|not (?:a )?registered|n't registered|(?:not|n't) exist",
    re.IGNORECASE,
)
"""Replies of NickServ on Atheme, Anope and ergo, which have no numbers."""


def nicks(wanted: str) -> Iterator[str]:
    """Return the nicks to try, in order. The last ones are short, since a server may allow only nine characters."""
    longer = (wanted, f"{wanted}_", f"{wanted}__", f"{wanted[:8]}_")
    return iter((*longer, *(f"{wanted[:7]}_{number}" for number in range(1, 10))))


class Nickname:
    """The bot's nick on one connection: `current`, and `wanted`, the configured one, which it tries to regain.

    :param same: `same(one, other)` compares nicks as the server does.
    :param send_line: Sends a line to the server.
    :param password: The password for NickServ; "" without one.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        network: str,
        wanted: str,
        same: Callable[[str, str], bool],
        send_line: Callable[[str], object],
        password: str = "",
    ) -> None:
        self.wanted = wanted
        self.current = wanted
        self._network = network
        self._same = same
        self._send_line = send_line
        self._password = password
        self._identifying = False
        self._candidates = nicks(wanted)
        self._regaining = LoopingCall(self._request)
        self._regaining.clock = reactor

    @property
    def is_wanted(self) -> bool:
        """True if the bot has the configured nick."""
        return self._same(self.current, self.wanted)

    def try_next(self) -> bool:
        """Request the first nick, or the next one after a rejection. Returns False if none is left."""
        nick = next(self._candidates, None)
        if nick is not None:
            self._send_line(f"NICK {nick}")
        return nick is not None

    def registered(self, nick: str) -> None:
        """Store the nick that the server has registered. If it isn't the configured one, start to regain that."""
        self.current = nick
        if self.is_wanted:
            return
        self.log.warn(
            "{network}: the nick {wanted} is in use; the bot is {nick} until it can be regained",
            network=self._network,
            wanted=self.wanted,
            nick=nick,
        )
        self._regaining.start(REGAIN_EVERY, now=False)

    def identify(self) -> None:
        """Identify to NickServ if there is a password. Without the configured nick, also request that nick."""
        if not self._password:
            return
        self._identifying = True
        # Sent without the outbox, since it must precede all queued messages. ergo has no REGAIN.
        requests = ["IDENTIFY"] if self.is_wanted else [f"IDENTIFY {self.wanted}", f"REGAIN {self.wanted}"]
        for request in requests:
            self._send_line(f"PRIVMSG NickServ :{request} {self._password}")

    def nickserv_replied(self, text: str) -> None:
        """Handle a notice of NickServ: request the configured nick if the bot is identified, and log a rejection."""
        if not self._identifying:
            return
        if _REJECTED.search(text):
            self._identifying = False
            self.log.warn(
                "{network}: NickServ rejects the identification of {nick}, see BOT_IDENTITY['nickserv_password']: {reason}",
                network=self._network,
                nick=self.wanted,
                reason=sanitize(text).replace(self._password, "***"),
            )
        elif _IDENTIFIED.search(text):
            self._identifying = False
            if not self.is_wanted:
                self._request()

    def changed(self, old: str, new: str) -> None:
        """Handle a nick change of the bot, perhaps by services, or of another person."""
        if not self._same(old, self.current):
            self.released(old)
            return
        self.current = new
        if self.is_wanted:
            self.stop()
            self.identify()
        elif not self._regaining.running:
            self.log.warn("{network}: the bot was renamed from {old} to {new}", network=self._network, old=old, new=new)
            self._regaining.start(REGAIN_EVERY, now=False)
            self.identify()

    def released(self, nick: str) -> None:
        """Request the nick if it is the configured one. Call this when its holder has quit or changed it."""
        if self._regaining.running and self._same(nick, self.wanted):
            self._request()

    def stop(self) -> None:
        """Stop trying to regain the configured nick."""
        if self._regaining.running:
            self._regaining.stop()

    def _request(self) -> None:
        self._send_line(f"NICK {self.wanted}")

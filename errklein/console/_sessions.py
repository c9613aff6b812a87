"""The links by which people enter the console, and their sessions. Both are in memory, and end with the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_hex

from errklein.chat import Identifier

LINK_SECONDS, SESSION_SECONDS = 120.0, 8 * 3600.0
_MOST_LINKS = 5  # the open links of a visitor
_MOST_RESULTS = 20  # the results of actions that a session remembers


@dataclass(frozen=True)
class Visitor:
    """Who uses the console: a person on a network, or without one the bot's user or root, who may do everything."""

    name: str
    network: str = ""
    person: Identifier | None = None


@dataclass(eq=False)
class Session:
    """A visitor's session."""

    visitor: Visitor
    ends_at: float  # by the reactor
    form_token: str = field(default_factory=token_hex, repr=False)  # what each form must send
    results: dict[str, str] = field(default_factory=dict)  # of the latest actions, by number
    _number: int = 0

    def remember(self, result: str) -> int:
        """Keep the result of an action for the next page, and return its number."""
        self._number += 1
        self.results[str(self._number)] = result
        self.results.pop(str(self._number - _MOST_RESULTS), None)
        return self._number


class Sessions:
    """Links and sessions. Tokens are kept as hashes, so that a comparison takes no time that depends on them."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._links: dict[bytes, tuple[Visitor, float]] = {}
        self._sessions: dict[bytes, Session] = {}

    def invite(self, visitor: Visitor) -> str:
        """Return the token of a link that is valid once, for LINK_SECONDS."""
        self._forget_ended()
        own = [key for key, (other, _) in self._links.items() if other == visitor]
        for key in own[: max(0, len(own) + 1 - _MOST_LINKS)]:
            del self._links[key]
        # Only digits and letters: chat takes underscores for markup.
        token = token_hex(32)
        self._links[_hash(token)] = visitor, self._seconds() + LINK_SECONDS
        return token

    def enter(self, token: str) -> tuple[str, Session] | None:
        """Use up a link, and return the cookie and the session; None if it is unknown, was used, or is too old."""
        self._forget_ended()
        found = self._links.pop(_hash(token), None)
        if found is None:
            return None
        cookie, session = token_hex(32), Session(found[0], self._seconds() + SESSION_SECONDS)
        self._sessions[_hash(cookie)] = session
        return cookie, session

    def find(self, cookie: str) -> Session | None:
        session = self._sessions.get(_hash(cookie))
        return session if session is not None and session.ends_at > self._seconds() else None

    def end(self, session: Session) -> None:
        self._sessions = {key: one for key, one in self._sessions.items() if one is not session}

    def end_all(self) -> int:
        """End all sessions and links, and return the number of sessions."""
        self._forget_ended()
        number = len(self._sessions)
        self._links.clear()
        self._sessions.clear()
        return number

    def _forget_ended(self) -> None:
        now = self._seconds()
        self._links = {key: one for key, one in self._links.items() if one[1] > now}
        self._sessions = {key: one for key, one in self._sessions.items() if one.ends_at > now}


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()

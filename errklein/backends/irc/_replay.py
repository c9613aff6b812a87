"""Detection of messages that a server or bouncer replays from its history.

Replayed messages are in a playback batch (https://ircv3.net/specs/extensions/batch) or have an old `time` tag
(https://ircv3.net/specs/extensions/server-time). Times of the server are compared with each other only, never with the local
clock, which may differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(?:60(?:\.\d+)?|(\d\d(?:\.\d+)?))Z", re.ASCII)

_PLAYBACK = frozenset({"chathistory", "playback"})
"""Types of playback batches, without the vendor prefix of `draft/chathistory` and `znc.in/playback`."""

MOST_BATCHES = 100
"""Limit of open batches. Beyond it the oldest is dropped, since a server may never end a batch."""


def server_time(tags: Mapping[str, str]) -> datetime | None:
    """Return the time of a message from its `time` tag; None if the tag is missing or invalid."""
    match = _TIME.fullmatch(tags.get("time", ""))
    if match is None:
        return None
    try:
        # datetime has no leap seconds.
        return datetime.fromisoformat(f"{match[1]}{match[2] or '59.999999'}Z")
    except ValueError:
        return None


class Replay:
    """The batches and reference times of one connection. Rooms are identified by their folded names."""

    def __init__(self) -> None:
        self._first: datetime | None = None
        self._welcome: datetime | None = None
        self._joined: dict[str, datetime | None] = {}
        self._batches: dict[str, bool] = {}

    def received(self, tags: Mapping[str, str]) -> None:
        """Record the tags of a line. Call this for every line, before the other methods."""
        if self._first is None and not self.in_playback(tags):
            self._first = server_time(tags)

    def welcomed(self, tags: Mapping[str, str]) -> None:
        """Record the tags of the welcome (001)."""
        self._welcome = server_time(tags)

    def joined(self, room: str, tags: Mapping[str, str]) -> None:
        """Record the tags of the bot's own JOIN of the room."""
        self._joined[room] = server_time(tags)

    def answered(self, tags: Mapping[str, str]) -> None:
        """Record the tags of a reply to the bot, such as PONG. If the server's clock was set back, the reference times are set back too."""
        now = server_time(tags)
        if now is None:
            return
        self._first, self._welcome = (None if time is None else min(time, now) for time in (self._first, self._welcome))
        self._joined = {room: None if time is None else min(time, now) for room, time in self._joined.items()}

    def batch(self, params: Sequence[str], tags: Mapping[str, str]) -> None:
        """Handle BATCH: "+reference type …" begins a batch, "-reference" ends it. A batch inside a playback is a playback."""
        sign, reference = params[0][:1], params[0][1:]
        if sign == "+":
            kind = params[1].rpartition("/")[2].lower() if len(params) > 1 else ""
            self._batches.pop(reference, None)
            while len(self._batches) >= MOST_BATCHES:
                del self._batches[next(iter(self._batches))]
            self._batches[reference] = kind in _PLAYBACK or self.in_playback(tags)
        elif sign == "-":
            self._batches.pop(reference, None)

    def in_playback(self, tags: Mapping[str, str]) -> bool:
        """Return whether a line is in a playback batch. Unknown batches count as playback, to fail closed."""
        reference = tags.get("batch")
        return reference is not None and self._batches.get(reference, True)

    def is_replayed(self, tags: Mapping[str, str], room: str | None) -> bool:
        """Return whether a message is replayed; `room` is None for a private message.

        A message is replayed if it is in a playback batch, or older than the bot's JOIN of the room. A private message is
        compared with the welcome. If that line has no time tag, the connection's first line outside of playback batches is
        used instead.
        """
        if self.in_playback(tags):
            return True
        said = server_time(tags)
        came = (self._welcome if room is None else self._joined.get(room)) or self._first
        return said is not None and came is not None and said < came

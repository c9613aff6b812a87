"""The extensions of IRCv3 that the bot uses, without I/O: capabilities with SASL, message tags, and replayed messages.
See https://ircv3.net/specs/extensions/capability-negotiation and https://ircv3.net/specs/extensions/sasl-3.1."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

LABELS = frozenset({"batch", "labeled-response"})  # the capabilities with which a server replies to each line

WANTED = ("batch", "server-time", "labeled-response", "echo-message", "message-tags")
"""Capabilities to request if the server offers them. `echo-message` is only requested if LABELS aren't offered. With
`message-tags`, messages of bots are marked.

`batch` covers the batch types `chathistory` and `znc.in/playback`. `draft/chathistory` is not requested: servers such as ergo
expect clients with it to fetch the history themselves, and stop replaying missed messages.
"""


BEGIN = "CAP LS 302"  # the first line to send. Version 302 enables multi-line lists, CAP NEW and CAP DEL.


class Capabilities:
    """A capability negotiation: `enabled` has the capabilities in effect, and `settled` is True when CAP END may be
    sent. With `label_lines`, lines may have labels, to which the server replies. With `confirm_lines`, the server
    replies to each line, or sends it back. `sasl_mechanisms` are those that the server has announced, in upper case;
    empty if it hasn't. `wanted` are requested if the server offers them."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.enabled: set[str] = set()
        self.settled = self.label_lines = self.confirm_lines = False
        self.sasl_mechanisms: Sequence[str] = ()
        self._wanted = tuple(wanted)
        self._offered: set[str] = set()
        self._requested: set[str] = set()

    def received(self, subcommand: str, params: Sequence[str]) -> list[str]:
        """Handle a CAP line of the server, and return the lines to send. `params` are the parameters after the subcommand."""
        tokens = [token.lstrip("-~=").partition("=") for token in params[-1].split()] if params else []
        names = [name for name, _, _ in tokens]
        requests: list[str] = []
        if subcommand in ("LS", "NEW"):
            self._offered.update(set(names).intersection(self._wanted))
            for name, _, value in tokens:
                if name == "sasl" and value:
                    self.sasl_mechanisms = value.upper().split(",")
            # "*" means that more lines of the list follow.
            if subcommand == "LS" and len(params) > 1 and params[0] == "*":
                return []
            requests = list(self._requests())
        elif subcommand == "ACK":
            removed = {token[1:] for token in params[-1].split() if token.startswith("-")} if params else set()
            self.enabled.update(self._requested.intersection(names))
            self.enabled -= removed
            self._requested.difference_update(names)
        elif subcommand == "NAK":
            self._requested.difference_update(names)
            self._offered.difference_update(names)
        elif subcommand == "DEL":
            for granted in (self.enabled, self._offered, self._requested):
                granted.difference_update(names)
        self.label_lines = self.enabled >= LABELS
        self.confirm_lines = self.label_lines or "echo-message" in self.enabled
        if subcommand != "NEW" and not self._requested:
            self.settled = True
        return requests

    def _requests(self) -> Iterator[str]:
        unwanted = "echo-message" if self._offered >= LABELS else "labeled-response"
        # A server grants or refuses a request as a whole, so each capability gets its own.
        for name in self._wanted:
            if name in self._offered - self.enabled - self._requested - {unwanted}:
                self._requested.add(name)
                yield f"CAP REQ :{name}"


_CHUNK = 400

REFUSALS = ("902", "904", "905", "906")
"""Numeric replies that reject a SASL authentication. 908 lists the server's mechanisms, and comes before one of them."""


def authenticate_lines(account: str, password: str) -> Iterator[str]:
    """Yield the AUTHENTICATE lines of SASL PLAIN (RFC 4616), to send after the server's "AUTHENTICATE +"."""
    secret = b64encode(b"\0".join(part.encode() for part in (account, account, password))).decode()
    for begin in range(0, len(secret), _CHUNK):
        yield f"AUTHENTICATE {secret[begin : begin + _CHUNK]}"
    if len(secret) % _CHUNK == 0:
        # After a chunk of full length the server expects another one.
        yield "AUTHENTICATE +"


_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {":": ";", "s": " ", "r": "\r", "n": "\n"}


def parse_tags(text: str) -> dict[str, str]:
    r"""Return the message tags by key, from the text between "@" and the first space. A tag without a value has the
    value "". If a key occurs twice, the last value counts. An invalid escape such as `\b` yields the character after
    the backslash; a backslash at the end is dropped. Source: https://ircv3.net/specs/extensions/message-tags."""
    tags = {}
    for tag in text.split(";"):
        key, _, value = tag.partition("=")
        if key:
            tags[key] = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), value)
    return tags


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(?:60(?:\.\d+)?|(\d\d(?:\.\d+)?))Z", re.ASCII)

_PLAYBACK = frozenset({"chathistory", "playback"})
"""Types of playback batches, without the vendor prefix of `draft/chathistory` and `znc.in/playback`."""

MOST_BATCHES = 100  # Limit of open batches. Beyond it the oldest is dropped, since a server may never end a batch.


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
    """Detects replayed messages on one connection, by its batches and reference times. A server or bouncer replays
    messages from its history in a playback batch (https://ircv3.net/specs/extensions/batch) or with an old `time` tag
    (https://ircv3.net/specs/extensions/server-time). Times of the server are compared with each other only, never with
    the local clock, which may differ. Rooms are identified by their folded names."""

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
        self._welcome = server_time(tags)

    def joined(self, room: str, tags: Mapping[str, str]) -> None:
        self._joined[room] = server_time(tags)

    def answered(self, tags: Mapping[str, str]) -> None:
        """Record the tags of a reply to the bot, such as PONG. If the server's clock was set back, the reference times are set back too."""
        now = server_time(tags)
        if now is None:
            return
        self._first, self._welcome = (None if time is None else min(time, now) for time in (self._first, self._welcome))
        self._joined = {room: None if time is None else min(time, now) for room, time in self._joined.items()}

    def batch(self, params: Sequence[str], tags: Mapping[str, str]) -> None:
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
        """Return whether a message is replayed; `room` is None for a private message. A message is replayed if it is in
        a playback batch, or older than the bot's JOIN of the room. A private message is compared with the welcome. If
        that line has no time tag, the connection's first line outside of playback batches is used instead."""
        if self.in_playback(tags):
            return True
        said = server_time(tags)
        came = (self._welcome if room is None else self._joined.get(room)) or self._first
        return said is not None and came is not None and said < came

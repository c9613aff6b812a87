"""The lines of IRC: capabilities with SASL, message tags, and replayed messages (https://ircv3.net/specs/extensions/…); and
encoding, pace, transmission and confirmation of what is sent, see "Sent messages" in docs/design.md. RFC 1459, section 2.3:
a line has at most 512 bytes, CR LF included. The sender's mask before the lines that other clients receive counts."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from errklein.networks.context import Latest
from errklein.running import TokenBucket
from errklein.text import grapheme_boundary

LABELS = frozenset({"batch", "labeled-response"})  # the capabilities with which a server replies to each line
WANTED = ("batch", "server-time", "labeled-response", "echo-message", "message-tags")
"""Capabilities to request if the server offers them. `echo-message` is only requested if LABELS aren't offered. With
`message-tags`, messages of bots are marked. `draft/chathistory` is not requested: servers such as ergo expect clients with
it to fetch the history themselves, and stop replaying missed messages."""


class Capabilities:
    """A capability negotiation: `enabled` has the capabilities in effect, and `settled` is True when CAP END may be
    sent. With `label_lines`, lines may have labels, to which the server replies. With `confirm_lines`, the server
    replies to each line, or sends it back. `sasl_mechanisms` are those that the server has announced, in upper case;
    empty if it hasn't. `wanted` are requested besides WANTED if the server offers them."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self.enabled: set[str] = set()
        self.settled = self.label_lines = self.confirm_lines = False
        self.sasl_mechanisms: Sequence[str] = ()
        self._wanted = (*WANTED, *wanted)
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
    r"""Return the message tags by key, from the text between "@" and the first space. A tag without a value has the value "".
    An invalid escape such as `\b` yields the character after the backslash; a backslash at the end is dropped."""
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
    if match := _TIME.fullmatch(tags.get("time", "")):
        with suppress(ValueError):
            # datetime has no leap seconds.
            return datetime.fromisoformat(f"{match[1]}{match[2] or '59.999999'}Z")
    return None


class Replay:
    """Detects replayed messages on one connection. A server or bouncer replays messages from its history in a playback batch
    or with an old `time` tag. Times of the server are compared with each other only, never with the local clock, which may
    differ. Rooms are identified by their folded names."""

    def __init__(self) -> None:
        self._first: datetime | None = None
        self._joined: dict[str | None, datetime | None] = {}
        """The times of the bot's JOIN by room, and for None that of the welcome."""
        self._batches: dict[str, bool] = Latest(MOST_BATCHES)

    def received(self, tags: Mapping[str, str]) -> None:
        """Record the tags of a line. Call this for every line, before the other methods."""
        if self._first is None and not self.in_playback(tags):
            self._first = server_time(tags)

    def joined(self, room: str | None, tags: Mapping[str, str]) -> None:
        self._joined[room] = server_time(tags)

    def answered(self, tags: Mapping[str, str]) -> None:
        """Record the tags of a reply to the bot, such as PONG. If the server's clock was set back, the reference times are set back too."""
        if (now := server_time(tags)) is None:
            return
        self._first = None if self._first is None else min(self._first, now)
        self._joined = {room: None if time is None else min(time, now) for room, time in self._joined.items()}

    def batch(self, params: Sequence[str], tags: Mapping[str, str]) -> None:
        sign, reference = params[0][:1], params[0][1:]
        if sign == "+":
            kind = params[1].rpartition("/")[2].lower() if len(params) > 1 else ""
            self._batches.pop(reference, None)
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
        came = self._joined.get(room) or self._first
        return said is not None and came is not None and said < came


LINE = 512  # the maximum length of a line in bytes, CR LF included (RFC 2812, section 2.3)
# Servers truncate user names to 10 characters and may put a "~" before them. RFC 2812 limits host names to 63.
_USER, _HOST = 11, 63
_NEWLINE = re.compile(r"\r\n|\r|\n")
# Bold, colour, hex colour, reset, monospace, reverse, italics, strikethrough and underline are kept. \x01 marks CTCP
# requests, and \x10 is an old escape for line breaks; the others have no meaning in a chat.
_CONTROLS = re.compile(r"[\x00\x01\x05-\x08\x0b\x0c\x0e\x10\x12-\x15\x17-\x1c\x7f]")


def encode_line(line: str) -> bytes:
    """Encode a line, without CR LF, as at most 510 bytes of UTF-8. CR and NUL are removed, and LF becomes a space."""
    line = line.replace("\r", "").replace("\n", " ").replace("\x00", "")
    data = line.encode("utf-8", "replace")
    return data[: LINE - 2].decode("utf-8", "ignore").encode("utf-8") if len(data) > LINE - 2 else data


def text_capacity(nick: str, user: str, command: str, target: str) -> int:
    """Return the number of bytes for text in a line, as other clients receive it from `nick` with the longest host name."""
    around = f":{nick}!@ {command} {target} :\r\n"
    return LINE - max(_USER, len(user.encode("utf-8")) + 1) - _HOST - len(around.encode("utf-8"))


def split_lines(text: str, size: int) -> list[str]:
    """Split text into non-empty lines of at most `size` bytes of UTF-8, which is enough for any character. A long line is
    split after a space in the second half of the piece, else between characters. Joined, the pieces are the line."""
    lines: list[str] = []
    for line in _NEWLINE.split(text):
        line = strip_controls(line)
        if line.strip():
            lines.extend(_pieces(line, size))
    return lines


def strip_controls(line: str) -> str:
    """Return the text as one line without control characters of the protocol; formatting codes are kept."""
    line = _CONTROLS.sub("", _NEWLINE.sub(" ", line)).replace("\t", " ")
    return line.encode("utf-8", "replace").decode("utf-8")


def _pieces(line: str, size: int) -> list[str]:
    pieces: list[str] = []
    start = 0
    # Encodes no more than fits into a piece: encoding the whole rest each time would be quadratic.
    while len((ahead := line[start : start + size + 1]).encode("utf-8")) > size:
        head = ahead.encode("utf-8")[:size].decode("utf-8", "ignore")
        cut = head.rfind(" ") + 1
        if cut <= len(head) // 2 or not head[:cut].strip():
            cut = grapheme_boundary(ahead, len(head))
        pieces.append(ahead[:cut])
        start += cut
    return [*pieces, ahead]


SLOWEST = 2.0  # seconds between two lines that every server accepts: RFC 1459, section 8.10
RECOVERY, LONGEST_RECOVERY = 600.0, 6 * 3600.0
"""The seconds in which the pace returns to normal after a flood, doubled by each further one, and at most."""


@dataclass(frozen=True)
class ServerPace:
    """What a server accepts by default, without a delay or the end of the connection: `burst` commands at once after a
    pause, then one each `interval` seconds. A JOIN counts as `join` commands. A PING is sent at the latest after
    `lines` lines. At most `size` bytes may wait at the server to be handled: it closes the connection if they are more
    than its receive queue. A further line may follow, so this is less."""

    interval: float
    burst: int
    lines: int
    size: int
    join: int = 1


USUAL = ServerPace(1 / 3, 4, 8, 512)
"""The pace for an unknown server. It may be slower, so that all lines since the last PING wait there. ircu has a receive queue
of 1024 bytes."""

PACES = {
    # Measured with the default limits, where a PING counts as much as a line. ngircd 27 handles three commands per second if
    # they arrive at once, but nearly five if they arrive one by one. ergo 2.15 handles 5 at once, then two per second.
    # InspIRCd 4.7 handles 11 at once, then one per second; with <connect fakelag="no"> it closes the connection instead. The
    # margin is for JOIN and the like. Its receive queue has 8192 bytes.
    "ngircd": ServerPace(1 / 4, 3, 8, 4096),
    "ergo": ServerPace(1 / 2, 4, 16, 4096),
    "inspircd": ServerPace(1.0, 6, 16, 4096, join=2),
}
"""The paces of servers, by the beginning of the version in their welcome (004), in lower case."""


class IRCRateLimiter:
    """Rate limits for lines to rooms and to people, by IRC_CHANNEL_RATE and IRC_PRIVATE_RATE in seconds per line, or
    else the server's pace. Without either setting, both kinds of lines share one limit."""

    def __init__(self, seconds: Callable[[], float], channel_rate: float | None, private_rate: float | None) -> None:
        self.pace = USUAL
        self._seconds = seconds
        self._slow_since: float | None = None
        self._recovery = RECOVERY / 2
        self._usual = TokenBucket(seconds, USUAL.interval, USUAL.burst)
        self._to_rooms = self._usual if channel_rate is None else TokenBucket(seconds, channel_rate, 1)
        self._to_people = self._usual if private_rate is None else TokenBucket(seconds, private_rate, 1)
        self._rates = [(self._to_rooms, channel_rate), (self._to_people, private_rate), (self._usual, None)]

    @property
    def interval(self) -> float:
        return self._usual.interval

    def take(self, target: str) -> float:
        """Take a token and return 0.0 if a line may be sent to the target now; else return the seconds until it may."""
        self._recover()
        return (self._to_rooms if target[0] in "#&+!" else self._to_people).take()

    def take_join(self) -> float:
        """Take the tokens for a JOIN, and return the seconds after which it may be sent. Messages wait for its turn, then."""
        self._recover()
        wait = self._usual.take()
        for _ in range(0 if wait else 1, self.pace.join):
            self._usual.spend()
        return wait

    def count_ping(self) -> None:
        """Count a PING as servers do. The next line waits for it."""
        self._usual.spend()

    def server_is(self, version: str) -> None:
        version = version.lower()
        self.pace = next((pace for name, pace in PACES.items() if version.startswith(name)), USUAL)
        self._recover()
        if self._slow_since is None:
            self._usual.interval, self._usual.burst = self.pace.interval, self.pace.burst

    def slow_down(self) -> None:
        """Use SLOWEST, without bursts, and then return to the usual pace slowly. Call this after an end for flooding."""
        self._slow_since = self._seconds()
        self._recovery = min(2 * self._recovery, LONGEST_RECOVERY)
        self._recover()

    def _recover(self) -> None:
        if self._slow_since is None:
            return
        slowness = max(0.0, 1 - (self._seconds() - self._slow_since) / self._recovery)
        for bucket, rate in self._rates:
            usual = self.pace.interval if rate is None else rate
            bucket.interval = usual + slowness * max(0.0, SLOWEST - usual)
            bucket.burst = 1
        if not slowness:
            self._slow_since = None
            self._usual.burst = self.pace.burst


WINDOW = 16
"""Maximum number of unconfirmed lines: those that may arrive twice if the connection breaks. With one PING for so many, a slow
server spends a seventeenth of its time on PINGs. With 430 bytes each they fit into a receive queue of 8192 bytes."""
BEHIND_AFTER = 1.0  # Seconds without a reply after which the server is assumed to delay lines. Further ones wait then.
ASK_AFTER = 5.0
"""Seconds after which a PING is sent if lines are still unconfirmed: a label, an echo or further lines may be missing."""
# Numeric replies to messages that weren't delivered: RFC 1459, section 6.1, and later ones.
_DELIVERY_ERRORS = frozenset(
    {"401", "402", "403", "404", "407", "411", "412", "413", "414", "415", "442", "477", "486", "531"}
)
_TOKEN = re.compile(r"errklein-(\d{1,18})", re.ASCII)
_LABEL = re.compile(r"\d{1,18}", re.ASCII)
_FORMATTING = re.compile(r"\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9a-fA-F]{6})?|[\x00-\x1f]")


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One line of a message: the command PRIVMSG or NOTICE, its target (a nick or room), and the text."""

    command: str
    target: str
    text: str


class LineRejected(Exception):
    """The server has rejected the line; str() has its reason."""


@dataclass(slots=True)
class _Unconfirmed:
    line: MessageLine
    size: int
    since: float
    is_labelled: bool
    result: Deferred[None]


@dataclass(eq=False)
class Transmission:
    """Sends lines on one connection, and reports which ones the server confirms or rejects. `limiter` has the server's
    pace, and counts PINGs. `same` tells whether two names are equal there. `write` writes lines in one call."""

    clock: IReactorTime
    capabilities: Capabilities
    limiter: IRCRateLimiter
    same: Callable[[str, str], bool]
    write: Callable[..., object]

    def __post_init__(self) -> None:
        # The unconfirmed lines by number, their size in bytes, and the number of the last line.
        self._lines: dict[int, _Unconfirmed] = {}
        self._size = self._last = 0
        self._labelled_batches: dict[str, int] = Latest(WINDOW)
        self._progress_at = self._written_at = 0.0
        self._asked_at: float | None = None
        self._more_follow = False

    @property
    def silence(self) -> float:
        """The seconds for which the server has confirmed nothing; 0.0 if all is confirmed."""
        return self.clock.seconds() - self._progress_at if self._lines else 0.0

    @property
    def is_behind(self) -> bool:
        """True if the server delays lines, so that further ones would only wait there."""
        since = self._asked_at
        if since is None and len(self._lines) > 2 and self.capabilities.confirm_lines:
            since = next(iter(self._lines.values())).since
        is_late = since is not None and self.clock.seconds() - since >= BEHIND_AFTER
        return is_late or self._size >= self.limiter.pace.size

    def transmit(self, lines: Sequence[MessageLine], more_follow: bool) -> list[Deferred[None]]:
        """Write lines in one call, and return a Deferred for each that fires when the server has confirmed it. It fails
        with LineRejected after a rejection, and as `lost` is called. `more_follow` states that others come soon."""
        self._written_at = now = self.clock.seconds()
        if not self._lines:
            self._progress_at = now
        self._more_follow = more_follow
        is_labelled = self.capabilities.label_lines
        results, data = [], []
        for line in lines:
            encoded = encode_line(f"{line.command} {line.target} :{line.text}")
            size = len(encoded) + 2
            result: Deferred[None] = Deferred()
            self._last += 1
            self._size += size
            self._lines[self._last] = _Unconfirmed(line, size, now, is_labelled, result)
            results.append(result)
            # The limit of 512 bytes doesn't include tags.
            data.append(b"@label=%d %b" % (self._last, encoded) if is_labelled else encoded)
        self._write_and_ask(*data)
        return results

    def ask(self) -> None:
        self._more_follow = False
        self._write_and_ask()

    def ask_again(self) -> None:
        """Send a PING if lines seem to be forgotten. Call this every few seconds."""
        is_quiet = self.clock.seconds() - self._written_at >= ASK_AFTER
        if is_quiet and self.silence >= ASK_AFTER and self._asked_at is None:
            self._ping()

    def answered(self, params: Sequence[str]) -> None:
        for param in params:
            if match := _TOKEN.fullmatch(param):
                self._asked_at = None
                self._confirm(int(match[1]))
                self._write_and_ask()

    def numeric_received(self, number: str, params: Sequence[str], tags: Mapping[str, str]) -> bool:
        """Handle a numeric reply. Returns False if it rejects no line."""
        rejected = self._label_of(tags)
        if rejected is None and number in _DELIVERY_ERRORS:
            rejected = self._oldest_to(params[1] if len(params) > 2 else None)
        elif number[0] not in "45":
            # With a label, any error is about its line, also one that isn't known here.
            return False
        if rejected is None:
            return False
        self._reject(rejected, f"{params[1]}: {params[-1]}")
        self._progress_at = self.clock.seconds()
        return True

    def labelled(self, command: str, params: Sequence[str], tags: Mapping[str, str]) -> None:
        """Handle the label of a message, or the end of a batch of labelled messages. Call this for every message."""
        if (label := self._label_of(tags)) is None:
            if command == "BATCH" and params and (label := self._labelled_batches.pop(params[0][1:], None)) is not None:
                self._confirm(label)
            return
        if command == "FAIL":
            # See https://ircv3.net/specs/extensions/standard-replies.
            self._reject(label, " ".join(params[1:]))
        if command == "BATCH" and params:
            self._labelled_batches[params[0][1:]] = label
        elif "label" in tags:
            self._confirm(label)

    def echoed(self, command: str, params: Sequence[str]) -> bool:
        """Handle a message of the bot itself. Returns False if it is not the echo of an unconfirmed line. The server
        may have removed formatting, and truncated the text."""
        echo = _FORMATTING.sub("", params[1])
        for number, each in self._lines.items():
            is_sent_there = each.line.command == command and self.same(each.line.target, params[0])
            if is_sent_there and _FORMATTING.sub("", each.line.text).startswith(echo):
                self._confirm(number)
                return True
        return False

    def lost(self, failure: Failure) -> None:
        self._settle(list(self._lines), failure)

    def _oldest_to(self, target: str | None) -> int | None:
        """Return the number of the oldest line without a label, to the target if that is known."""
        for number, each in self._lines.items():
            if not each.is_labelled and (target is None or self.same(each.line.target, target)):
                return number
        return None

    def _confirm(self, number: int) -> None:
        self._progress_at = self.clock.seconds()
        self._settle([each for each in self._lines if each <= number], None)

    def _reject(self, number: int, reason: str) -> None:
        if number in self._lines:
            self._settle([number], Failure(LineRejected(reason)))

    def _settle(self, numbers: Iterable[int], result: Failure | None) -> None:
        # A callback may add lines.
        settled = [self._lines.pop(number) for number in numbers]
        self._size -= sum(each.size for each in settled)
        for each in settled:
            each.result.callback(result)

    def _label_of(self, tags: Mapping[str, str]) -> int | None:
        """Return the number of the line that a message with these tags replies to; None if it is unknown."""
        if not tags:
            return None
        if (label := tags.get("label")) is None:
            return self._labelled_batches.get(tags.get("batch", ""))
        return int(label) if _LABEL.fullmatch(label) else None

    def _write_and_ask(self, *data: bytes) -> None:
        """Write lines, and a PING if nothing else confirms the unconfirmed ones, and none is unanswered."""
        if self._lines and self._asked_at is None and not self.capabilities.confirm_lines:
            pace = self.limiter.pace
            if not self._more_follow or len(self._lines) >= pace.lines or self._size >= pace.size:
                self._ping(*data)
                return
        if data:
            self.write(*data)

    def _ping(self, *data: bytes) -> None:
        """Write lines and a PING in one call: the connection must not break between them."""
        self._asked_at = self.clock.seconds()
        self.write(*data, b"PING :errklein-%d" % self._last)
        self.limiter.count_ping()

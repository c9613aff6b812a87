"""The transmission of lines on one connection, and their confirmation.

- With `labeled-response`, each line has its number as a label. The server replies to each, with ACK or with an error.
- With `echo-message`, the server sends each line back.
- Otherwise a PING after several lines is answered when the server has handled them.

Servers delay or disconnect clients by the number of their commands, and a PING counts as much as a line. So there is no PING
while more lines follow soon, or while the reply to an earlier one is missing. A server handles lines in order: whatever confirms a
line also confirms those before it.

Sources: https://ircv3.net/specs/extensions/labeled-response, https://ircv3.net/specs/extensions/echo-message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from errklein.backends.irc._capabilities import Capabilities
from errklein.backends.irc._line_encoding import encode_line
from errklein.backends.irc._rate_limiter import IRCRateLimiter

WINDOW = 16
"""Maximum number of unconfirmed lines: those that may arrive twice if the connection breaks. With one PING for so many, a slow
server spends a seventeenth of its time on PINGs. With 430 bytes each they fit into a receive queue of 8192 bytes."""

BEHIND_AFTER = 1.0
"""Seconds without a reply after which the server is assumed to delay lines. Further ones wait then."""

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


class UnconfirmedLines:
    """The unconfirmed lines of one connection, by number. `last` is the number of the last line, `size` their bytes.

    :param same: Returns whether two names are equal on the server.
    """

    def __init__(self, same: Callable[[str, str], bool]) -> None:
        self.last = 0
        self.size = 0
        self._same = same
        self._lines: dict[int, _Unconfirmed] = {}

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def since(self) -> float:
        """The time at which the oldest line was added. There must be one."""
        return next(iter(self._lines.values())).since

    def add(self, line: MessageLine, size: int, since: float, is_labelled: bool) -> Deferred[None]:
        """Add a line with the number `last`, and return a Deferred that fires when it is confirmed.

        It fails with LineRejected if the line is rejected. With `is_labelled`, only its label tells that.
        """
        self.last += 1
        self.size += size
        result: Deferred[None] = Deferred()
        self._lines[self.last] = _Unconfirmed(line, size, since, is_labelled, result)
        return result

    def confirm(self, number: int) -> None:
        """Confirm the line with this number, and those before it."""
        self._settle([each for each in self._lines if each <= number], None)

    def number_of(self, command: str, target: str, text: str) -> int | None:
        """Return the number of the line that the server has sent back; None if there is none.

        The server may have removed formatting, and truncated the text.
        """
        echo = _FORMATTING.sub("", text)
        for number, each in self._lines.items():
            line = each.line
            if (
                line.command == command
                and self._same(line.target, target)
                and _FORMATTING.sub("", line.text).startswith(echo)
            ):
                return number
        return None

    def reject(self, number: int, reason: str) -> None:
        """Reject the line with this number, unless it is settled."""
        if number in self._lines:
            self._settle([number], Failure(LineRejected(reason)))

    def reject_to(self, target: str | None, reason: str) -> bool:
        """Reject the oldest line without a label, to the target if that is known. Returns False if there is none."""
        for number, each in self._lines.items():
            if not each.is_labelled and (target is None or self._same(each.line.target, target)):
                self.reject(number, reason)
                return True
        return False

    def fail(self, failure: Failure) -> None:
        """Fail all lines."""
        self._settle(list(self._lines), failure)

    def _settle(self, numbers: Iterable[int], result: Failure | None) -> None:
        # A callback may add lines.
        settled = [self._lines.pop(number) for number in numbers]
        self.size -= sum(each.size for each in settled)
        for each in settled:
            each.result.callback(result)


class Transmission:
    """Sends lines on one connection, and reports which ones the server confirms or rejects.

    :param clock: The reactor.
    :param capabilities: The capabilities of the connection.
    :param limiter: Has the pace of the server, and counts PINGs.
    :param same: Returns whether two names are equal on the server.
    :param write: Writes lines in one call.
    """

    def __init__(
        self,
        clock: IReactorTime,
        capabilities: Capabilities,
        limiter: IRCRateLimiter,
        same: Callable[[str, str], bool],
        write: Callable[..., object],
    ) -> None:
        self._clock = clock
        self._capabilities = capabilities
        self._limiter = limiter
        self._write = write
        self._lines = UnconfirmedLines(same)
        self._labelled_batches: dict[str, int] = {}
        self._progress_at = 0.0
        self._written_at = 0.0
        self._asked_at: float | None = None
        self._more_follow = False

    @property
    def silence(self) -> float:
        """The seconds for which the server has confirmed nothing; 0.0 if all is confirmed."""
        return self._clock.seconds() - self._progress_at if self._lines else 0.0

    @property
    def is_behind(self) -> bool:
        """True if the server delays lines, so that further ones would only wait there."""
        if self._lines.size >= self._limiter.pace.size:
            return True
        since = self._asked_at
        if since is None and len(self._lines) > 2 and self._capabilities.confirm_lines:
            since = self._lines.since
        return since is not None and self._clock.seconds() - since >= BEHIND_AFTER

    def transmit(self, lines: Sequence[MessageLine], more_follow: bool) -> list[Deferred[None]]:
        """Write lines in one call, and return a Deferred for each that fires when the server has confirmed it.

        It fails with LineRejected after a rejection, and as `lost` is called.

        :param more_follow: True if more lines follow soon.
        """
        self._written_at = now = self._clock.seconds()
        if not self._lines:
            self._progress_at = now
        self._more_follow = more_follow
        is_labelled = self._capabilities.label_lines
        results = []
        data = []
        for line in lines:
            encoded = encode_line(f"{line.command} {line.target} :{line.text}")
            results.append(self._lines.add(line, len(encoded) + 2, now, is_labelled))
            # The limit of 512 bytes doesn't include tags.
            data.append(b"@label=%d %b" % (self._lines.last, encoded) if is_labelled else encoded)
        # One write: the connection must not break between the lines and the PING.
        self._write(*data, *self._question())
        return results

    def ask(self) -> None:
        """Let the server confirm the lines now, since no more follow."""
        self._more_follow = False
        if question := self._question():
            self._write(*question)

    def ask_again(self) -> None:
        """Send a PING if lines seem to be forgotten. Call this every few seconds."""
        is_quiet = self._clock.seconds() - self._written_at >= ASK_AFTER
        if is_quiet and self.silence >= ASK_AFTER and self._asked_at is None:
            self._write(self._ping())

    def answered(self, params: Sequence[str]) -> None:
        """Handle a PONG, which may reply to a PING for lines."""
        for param in params:
            if match := _TOKEN.fullmatch(param):
                self._asked_at = None
                self._confirm(int(match[1]))
                if question := self._question():
                    self._write(*question)

    def numeric_received(self, number: str, params: Sequence[str], tags: Mapping[str, str]) -> bool:
        """Handle a numeric reply. Returns False if it rejects no line."""
        about, reason = params[1], params[-1]
        label = self._label_of(tags)
        if label is not None:
            # Any error, also one that isn't known here, is about the line with the label.
            if number[0] not in "45":
                return False
            self._lines.reject(label, f"{about}: {reason}")
        elif number not in _DELIVERY_ERRORS or not self._lines.reject_to(
            about if len(params) > 2 else None, f"{about}: {reason}"
        ):
            return False
        self._progress_at = self._clock.seconds()
        return True

    def labelled(self, command: str, params: Sequence[str], tags: Mapping[str, str]) -> None:
        """Handle the label of a message, or the end of a batch of labelled messages. Call this for every message."""
        label = self._label_of(tags)
        if label is None:
            if command == "BATCH" and params and (label := self._labelled_batches.pop(params[0][1:], None)) is not None:
                self._confirm(label)
            return
        if command == "FAIL":
            # See https://ircv3.net/specs/extensions/standard-replies.
            self._lines.reject(label, " ".join(params[1:]))
        if command == "BATCH" and params:
            while len(self._labelled_batches) >= WINDOW:
                del self._labelled_batches[next(iter(self._labelled_batches))]
            self._labelled_batches[params[0][1:]] = label
        elif "label" in tags:
            self._confirm(label)

    def echoed(self, command: str, params: Sequence[str]) -> bool:
        """Handle a message of the bot itself. Returns False if it is not the echo of an unconfirmed line."""
        number = self._lines.number_of(command, params[0], params[1])
        if number is None:
            return False
        self._confirm(number)
        return True

    def lost(self, failure: Failure) -> None:
        """Fail all unconfirmed lines."""
        self._lines.fail(failure)

    def _confirm(self, number: int) -> None:
        self._progress_at = self._clock.seconds()
        self._lines.confirm(number)

    def _label_of(self, tags: Mapping[str, str]) -> int | None:
        """Return the number of the line that a message with these tags replies to; None if it is unknown."""
        if not tags:
            return None
        label = tags.get("label")
        if label is None:
            return self._labelled_batches.get(tags.get("batch", ""))
        return int(label) if _LABEL.fullmatch(label) else None

    def _question(self) -> tuple[bytes, ...]:
        """Return a PING if nothing else confirms the lines, and none is unanswered."""
        if not self._lines or self._asked_at is not None or self._capabilities.confirm_lines:
            return ()
        pace = self._limiter.pace
        is_enough = len(self._lines) >= pace.lines or self._lines.size >= pace.size
        return (self._ping(),) if is_enough or not self._more_follow else ()

    def _ping(self) -> bytes:
        self._asked_at = self._clock.seconds()
        self._limiter.count_ping()
        return b"PING :errklein-%d" % self._lines.last

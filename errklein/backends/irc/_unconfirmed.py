"""Lines that the server has neither confirmed nor rejected, without I/O.

A server handles lines in order. So whatever confirms a line also confirms those before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

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

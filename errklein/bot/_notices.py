"""The notice board: what administrators are notified of, and how often."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import inf
from sys import maxsize
from threading import Lock
from typing import Any

from twisted.logger import Logger

from errklein.bot._notice_sender import Notice, NoticeSender
from errklein.dispatch.disclosure import new_error_id, with_id
from errklein.running import on_reactor_soon
from errklein.text import plain
from errklein.text.masking import SHOWN_TEXT, masker

INTERVAL = 600.0
"""The seconds between two notices with the same key."""

MOST, PERIOD = 100, 60.0
"""The maximal number of notices within so many seconds, and of twice as many if they have a key: errklein's own."""

_MOST_KEYS = 10_000
"""The maximal number of keys whose notices are counted."""


@dataclass
class _Counted:
    """The notices of a key since the last one that was sent: their number, and the arguments of `tell_admins` about them."""

    interval: float
    until: float
    count: int = 0
    notice: tuple[str, str] = "", ""


class NoticeBoard:
    """Sends notices to administrators, those that repeat only as a number. The methods may be called from any thread.

    Of notices that are too many within PERIOD, the log has the texts, and administrators get the number.
    """

    log = Logger()

    def __init__(self, reactor: Any, sender: NoticeSender) -> None:
        self._reactor = reactor
        self._sender = sender
        self.person_seen = sender.person_seen
        self._counted: dict[Hashable, _Counted] = {}
        self._lock = Lock()
        self._sent: deque[float] = deque(maxlen=2 * MOST)
        self._left_out, self._left_out_at = 0, 0.0
        """The number of notices that were too many, and when the first one was."""
        self._stopped = False

    def post(
        self,
        key: Hashable,
        text: str,
        summary: str = "",
        *,
        more: str = "",
        interval: float = INTERVAL,
        count: int = 1,
    ) -> None:
        """Send a notice, unless one with the same key was sent within `interval` seconds. Then it is counted.

        At the end of the interval, administrators get one notice about those that were counted; there is none with `math.inf`.

        :param text: As for `tell_admins`, like `summary`.
        :param more: The text about those that were counted, in which `{count}` is replaced by their number, without an exception's
            text. Without it, the last `text` is sent with the number.
        :param count: The number of events that this notice is about.
        """
        on_reactor_soon(self._reactor, self._post, key, text, summary, more, interval, count)

    def warn_admins(self, warning: str) -> None:
        """Send a notice in Markdown."""
        warning = masker.cut(warning, SHOWN_TEXT)
        self._send(Notice(masker(warning), masker.known(warning)), MOST, self._sender.send)

    def tell_admins(self, text: str, summary: str = "") -> None:
        """Send a notice in plain text, such as a path or an error message. Secrets are masked.

        :param text: The notice. Characters that have a meaning in Markdown are escaped.
        :param summary: A sentence without an exception's text; required if `text` contains one. Rooms, and people who
            aren't known to be administrators, get the summary and an error id. The log has the text with the same id.
        """
        self._tell(text, summary, MOST)

    def pass_on(self, notice: Notice) -> None:
        """Send a notice of the bot itself."""
        self._sender.send(notice)

    def look(self) -> None:
        """Send what was counted in the intervals that have ended. Called on the reactor every few seconds."""
        now = self._reactor.seconds()
        self._end_until(now)
        if now >= self._left_out_at + PERIOD:
            self._report_left_out()
        self._sender.look()

    def stop(self) -> None:
        """Send what was counted, and from now on all notices at once."""
        self._stopped = True
        with self._lock:
            self._sent.clear()
        self._end_until(maxsize)
        self._report_left_out()

    def _post(self, key: Hashable, text: str, summary: str, more: str, interval: float, count: int) -> None:
        if counted := self._counted.get(key):
            counted.count += count
            number = f" (again since the last notice: {counted.count})"
            last = text + number, summary and summary + number
            counted.notice = (more.replace("{count}", str(counted.count)), "") if more else last
        else:
            self._begin(key, interval)
            if not self._tell(text, summary) and interval == inf:
                self._counted.pop(key, None)

    def _begin(self, key: Hashable, interval: float) -> None:
        if not self._stopped and len(self._counted) < _MOST_KEYS:
            self._counted[key] = _Counted(interval, self._reactor.seconds() + interval)

    def _end_until(self, time: float) -> None:
        """End the intervals that are over at this time. For a key whose notices were counted, another one begins."""
        for key, counted in list(self._counted.items()):
            if counted.until <= time:
                del self._counted[key]
                if counted.count:
                    self._begin(key, counted.interval)
                    self._tell(*counted.notice)

    def _tell(self, text: str, summary: str = "", most: float = 2 * MOST) -> bool:
        """See `tell_admins`. Return whether the notice is sent: fewer than `most` were within PERIOD."""
        text = masker(masker.cut(text, SHOWN_TEXT))
        if not summary:
            return self._send(Notice(text, plain(text)), most, self.pass_on)
        error_id = new_error_id()
        shown = plain(masker(with_id(summary, error_id)))
        return self._send(Notice(with_id(text, error_id), plain(text), shown), most, self.pass_on)

    def _send(self, notice: Notice, most: float, send: Callable[[Notice], object]) -> bool:
        with self._lock:
            now = self._reactor.seconds()
            is_sent: bool = sum(now - at < PERIOD for at in self._sent) < most
            if is_sent:
                self._sent.append(now)
            else:
                self._left_out_at = self._left_out_at if self._left_out else now
                self._left_out += 1
        if is_sent:
            self.log.warn("Notifying administrators: {text}", text=notice.text)
            send(notice)
        else:
            self.log.warn("Too many notices; administrators don't get this one: {text}", text=notice.text)
        return is_sent

    def _report_left_out(self) -> None:
        """Send the number of notices that were too many, also in a flood."""
        with self._lock:
            number, self._left_out = self._left_out, 0
        if number:
            self._tell(f"{number} more notices were too many within a minute; the log has their texts.", most=inf)

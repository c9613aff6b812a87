"""The way to administrators who can't be reached in chat: a command, or mail."""

from __future__ import annotations

import smtplib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from functools import partial
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from errklein.config import Config
from errklein.config.notice_fallback import MailFallback
from errklein.plugins.subprocesses import run
from errklein.running import start_daemon_thread
from errklein.text import sanitize, truncated

PATIENCE = 60.0
"""The seconds within which a notice must reach an administrator in chat."""

INTERVAL = 300.0
"""The seconds between two mails, or calls of the command. After a failure, the same notices are tried again."""

MOST, LONGEST = 100, 1000
"""The maximal number of notices that wait, of which the latest are kept, and of characters of each."""

TIMEOUT = 30.0
"""The seconds after which the command, or a response of the SMTP server, has failed."""


@dataclass(eq=False)
class Notice:
    """A notice to administrators.

    `text` is the plain text, and `markdown` the same for chat; `summary` is the Markdown for rooms and for people who aren't known to
    be administrators, if they must not read the notice.
    """

    text: str
    markdown: str
    summary: str = ""
    reached: bool = False
    """Whether an administrator has got it. May be set in any thread."""


class NoticeFallback:
    """Passes notices that have reached no administrator within PATIENCE to BOT_ADMINS_FALLBACK, many at a time.

    :param config: Has the setting.
    :param now: Returns the Unix time.
    """

    log = Logger()
    start_thread = staticmethod(start_daemon_thread)

    def __init__(self, reactor: Any, config: Config, now: Callable[[], float]) -> None:
        self._reactor, self._config, self._now = reactor, config, now
        self._waiting: deque[tuple[float, float, Notice]] = deque(maxlen=MOST)
        """With the time at which each notice is due, by the reactor, and the Unix time at which it was sent."""
        self._timer: IDelayedCall | None = None
        self._not_before = 0.0
        self._stopped = False

    def expect(self, notice: Notice) -> None:
        """Wait for the notice to reach an administrator, if there is another way. Call it on the reactor."""
        if self._config.BOT_ADMINS_FALLBACK is not None:
            self._waiting.append((self._reactor.seconds() + PATIENCE, self._now(), notice))
            self._look_later()

    def stop(self) -> None:
        """Pass no more notices. Those that wait are in the log."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        if self._timer is None and self._waiting and not self._stopped:
            due = max(self._waiting[0][0], self._not_before)
            self._timer = self._reactor.callLater(max(0.0, due - self._reactor.seconds()), self._look)

    def _look(self) -> None:
        self._timer, now = None, self._reactor.seconds()
        self._waiting = deque((waiting for waiting in self._waiting if not waiting[2].reached), MOST)
        way = self._config.BOT_ADMINS_FALLBACK
        if self._waiting and way is not None and now >= self._waiting[0][0]:
            self._not_before = now + INTERVAL
            notices = [(at, notice) for _, at, notice in self._waiting]
            self.start_thread(partial(self._pass_on, way, notices), "errklein notices")
        self._look_later()

    def _pass_on(self, way: MailFallback | Sequence[str], waiting: Sequence[tuple[float, Notice]]) -> None:
        """Pass the notices on; called in a thread."""
        lines = [f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}: {_indented(one.text)}" for at, one in waiting]
        text = "\n\n".join(["These notices have reached no administrator in chat:", *lines]) + "\n"
        try:
            if isinstance(way, MailFallback):
                _send_mail(way, text, len(waiting))
            else:
                run(way, seconds=TIMEOUT, text=text)
        except Exception as error:
            self.log.error("Notices could not be passed to BOT_ADMINS_FALLBACK: {error}", error=str(error))
        else:
            for _, notice in waiting:
                notice.reached = True


def _indented(text: str) -> str:
    """Return the beginning of a text without control characters, in which further lines can't be taken for other notices."""
    return "\n  ".join(truncated(sanitize(text), LONGEST).splitlines())


def _send_mail(mail: MailFallback, text: str, count: int) -> None:
    message = EmailMessage()
    message["From"] = message["To"] = mail.address
    message["Subject"] = f"errklein on {socket.gethostname()}: {count} notice{'s' * (count != 1)}"
    # Else an automatic reply could be answered with another one (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    with smtplib.SMTP(mail.host, mail.port, timeout=TIMEOUT) as smtp:
        smtp.send_message(message)

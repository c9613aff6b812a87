"""Supervision of the reactor's thread: its lag, the code that blocks it, and the end of a process that hangs."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall

from errklein.ports.notices import Notify
from errklein.running import ReactorLag
from errklein.service._blocked_code import line_in_tracebacks
from errklein.service._last_resort import SecondSignal, TracebackFile
from errklein.service._watchdog import Watchdog

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_HEARTBEAT = 1.0
TRACEBACK = "traceback.txt"
"""The file in the data directory with the tracebacks of a process that was ended."""


def reactor_deadline(setting: float | None, grace: float, environment: Mapping[str, str]) -> float:
    """Return the seconds after which a process with a blocked reactor ends; 0 if it never does.

    Without the setting, it ends where systemd, which sets NOTIFY_SOCKET, starts it again.
    """
    if setting is not None:
        return setting
    return grace + 1 if "NOTIFY_SOCKET" in environment else 0.0


class Supervision:
    """Supervises the reactor's thread from the start of the reactor until the end of the process.

    :param grace: The grace period in seconds.
    :param deadline: The result of `reactor_deadline`.
    :param notify: Notifies administrators. It is called after the start of the bot.
    """

    def __init__(
        self, reactor: Any, lag: ReactorLag, data_directory: Path, grace: float, deadline: float, notify: Notify
    ) -> None:
        self._notify = notify
        self._reactor = reactor
        self._watchdog = Watchdog(reactor, lag)
        self._tracebacks = TracebackFile(data_directory / TRACEBACK)
        self._limit = grace + 1
        self._deadline = 0.0
        self._deadline_once_started = deadline
        self._signals: dict[int, SecondSignal] = {}
        self._left = ""
        self._heartbeat = LoopingCall(self._renew)
        self._heartbeat.clock = reactor

    def begin(self) -> None:
        """Begin on the reactor, once the handlers of SIGNALS are set."""
        self._left = self._tracebacks.open()
        self._signals = {number: SecondSignal(number) for number in SIGNALS if callable(signal.getsignal(number))}
        # Four times within the shortest limit, since the reactor may be late.
        limits = [self._limit, self._deadline_once_started or self._limit]
        self._heartbeat.start(min(_LONGEST_HEARTBEAT, *(limit / 4 for limit in limits)))
        self._watchdog.start()
        self._reactor.addSystemEventTrigger("after", "shutdown", self._watchdog.stop)

    def started(self) -> None:
        """Notify administrators of blocks from now on, and of a process that was ended before. REACTOR_DEADLINE applies."""
        if not self._heartbeat.running:
            # A stop has interrupted the start.
            return
        self._watchdog.notify = self._notify
        self._deadline = self._deadline_once_started
        self._renew()
        if self._left:
            line = line_in_tracebacks(self._left)
            self._notify(
                "ended",
                f"The previous process of the bot was ended because it hung{line and f', probably in {line}'}. "
                f"{self._tracebacks.kept} shows what its threads were doing.",
            )

    def was_sent(self, number: int) -> bool:
        """Return whether somebody has sent the signal that has arrived, and not `SecondSignal`."""
        second = self._signals.get(number)
        if second is None or second.was_sent():
            return True
        second.renew(self._limit)
        return False

    def end_after(self, seconds: float) -> None:
        """End the process after this time, whatever its threads do; it is stopping."""
        self._watchdog.notify = None
        if self._heartbeat.running:
            self._heartbeat.stop()
            for second in self._signals.values():
                second.renew(0)
            self._tracebacks.end_after(seconds)

    def _renew(self) -> None:
        for second in self._signals.values():
            second.renew(self._limit)
        if self._deadline:
            self._tracebacks.end_after(self._deadline)

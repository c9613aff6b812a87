"""Messages to the program that has started this process, such as systemd, on the socket NOTIFY_SOCKET (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class ServiceManager:
    """Reports the state of this process to systemd. Without NOTIFY_SOCKET, it does nothing.

    With WATCHDOG_USEC, it also reports twice in that time that the reactor runs.

    :param environment: The variables that systemd has set.
    """

    log = Logger()

    def __init__(self, reactor: Any, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog = LoopingCall(self._notify, "WATCHDOG=1")
        self._watchdog.clock = reactor
        usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
        self._interval = int(usec) / 2e6 if usec.isdecimal() and pid in ("", str(os.getpid())) else 0.0

    def starting(self) -> None:
        """Report that the process is starting, and begin to feed the watchdog."""
        self._notify("STATUS=Starting")
        if self._address and self._interval:
            self._watchdog.start(self._interval)

    def started(self) -> None:
        """Report that plugins are active and endpoints are open."""
        self._notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=Running")

    def stopping(self, restarts: bool) -> None:
        """Report that the process ends; not before a restart, since the same process goes on then."""
        self._notify("STATUS=Restarting" if restarts else "STOPPING=1\nSTATUS=Stopping")

    def _notify(self, state: str) -> None:
        if not self._address:
            return
        # An abstract socket is written with "@" in place of the null byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.setblocking(False)
                notify.connect(address)
                notify.send(state.encode())
        except OSError as error:
            self.log.warn("{state} could not be reported to NOTIFY_SOCKET: {error}", state=state, error=str(error))

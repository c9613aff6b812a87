"""The control socket of a running bot, over which the command line performs operations: `control.sock` in the data
directory, or `control-PID.sock` of each process if several share it. A connection has one request and one response, each a line of JSON. The request names an operation by its
place in `bot.CoreHost`, and has its arguments without the `Actor`: `{"operation": "process.status", "arguments": {}}`,
and who uses sudo as `sudo_by`. It must be a coroutine function that is marked by `@operation`. The response is
`{"result": …}` or `{"error": "…"}`, or `{"elsewhere": "…"}` with the name of the process that owns the plugins. Only the bot's user and root may use the socket, and they may do everything, since
they could also change the bot's files: access rules and filters of commands aren't asked."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, is_dataclass
from inspect import iscoroutinefunction, unwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver

from errklein.commands.operations import Guard
from errklein.service._data_directory import DataDirectory, DataDirectoryError, user_name
from errklein.text.errors import error_text
from errklein.text.masking import masker

if TYPE_CHECKING:
    from errklein.bot import CoreHost

_NAME = "control.sock"
_OF_ALL = ("process.status", "process.drain")  # the operations that any process of a bot performs
_LONGEST_ADDRESS = 107  # the bytes of a path in `sockaddr_un` (unix(7))


def control_sockets(directory: Path) -> list[str]:
    """Return the names of the control sockets in a data directory, also of those that killed processes have left."""
    # `glob` would hide that the directory can't be read.
    names = (path.name for path in directory.iterdir()) if directory.exists() else ()
    return sorted(name for name in names if name.startswith("control") and name.endswith(".sock"))


@contextmanager
def control_address(directory: Path, name: str = _NAME) -> Iterator[str]:
    """Return the address of a control socket in a data directory, valid in the context, for any length of the path."""
    address = str(directory / name)
    with ExitStack() as opened:
        if len(os.fsencode(address)) > _LONGEST_ADDRESS:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, descriptor)
            address = f"/proc/self/fd/{descriptor}/{name}"
        yield address


class ControlSocket(Factory):
    """Performs operations for the bot's user and root."""

    log = Logger()
    noisy = False

    def __init__(
        self, reactor: Any, data: DataDirectory, host: CoreHost, elsewhere: Callable[[], str] = lambda: ""
    ) -> None:
        self._reactor, self._directory, self.host = reactor, data.path, host
        self._name = f"control-{os.getpid()}.sock" if data.is_shared else _NAME
        self.elsewhere = elsewhere  # returns the name of the process that owns the plugins; "" if this one does
        self.protocol = ControlConnection  # type: ignore[assignment]
        self._opened = ExitStack()

    def open(self) -> None:
        """Listen, also where a killed process has left its socket. The bot also works where no socket can be made."""
        try:
            for name in control_sockets(self._directory):
                with control_address(self._directory, name) as address, socket.socket(socket.AF_UNIX) as other:
                    other.setblocking(False)
                    if name == self._name or other.connect_ex(address) == errno.ECONNREFUSED:
                        Path(address).unlink()
            address = self._opened.enter_context(control_address(self._directory, self._name))
            port = self._reactor.listenUNIX(address, self, mode=0o600)
            self._reactor.addSystemEventTrigger("before", "shutdown", port.stopListening)
        except (OSError, CannotListenError) as error:
            warning = "The command line can't reach this bot by {name}: {error}"
            self.log.warn(warning, name=self._name, error=str(error))


class ControlConnection(LineOnlyReceiver):
    """One request, and its response."""

    factory: ControlSocket
    transport: Any
    delimiter = b"\n"
    MAX_LENGTH = 1024 * 1024

    def lineReceived(self, line: bytes) -> None:
        Deferred.fromCoroutine(self._respond(line))

    async def _respond(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            if request["operation"] not in _OF_ALL and (elsewhere := self.factory.elsewhere()):
                response = json.dumps({"elsewhere": elsewhere})
            else:
                response = json.dumps({"result": await self._perform(request)}, default=_as_json)
        except Exception as error:
            # errklein's own exceptions have texts for operators.
            if not type(error).__module__.startswith("errklein."):
                self.factory.log.failure("An operation of the command line failed")
            response = json.dumps({"error": masker(error_text(error))})
        self.transport.write(response.encode() + b"\n")
        self.transport.loseConnection()

    async def _perform(self, request: Mapping[str, Any]) -> Any:
        # Systems without SO_PEERCRED raise AttributeError, so nobody may use the socket there.
        credentials = self.transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, uid, _ = struct.unpack("iII", credentials)
        if uid not in (0, os.geteuid()):
            text = f"only {user_name(None)}, who runs the bot, and root may do this, not {user_name(uid)}"
            raise DataDirectoryError(text)
        part, _, name = str(request["operation"]).partition(".")
        if part == "console" and self.factory.host.console is None:
            raise DataDirectoryError("the console isn't open; set CONSOLE, or start the bot with --console")
        operation: Any = getattr(getattr(self.factory.host, part, None), name, None)
        if Guard.of(operation) is None or not iscoroutinefunction(unwrap(operation)):
            text = f"unknown operation {part}.{name}; is the bot of another version than this command?"
            raise DataDirectoryError(text)
        sudo = f" (sudo by {request['sudo_by']})" if request.get("sudo_by") else ""
        by = self.factory.host.by(f"{user_name(uid)}{sudo} on the command line", "shell", reads_details=True)
        return await operation(by, **request["arguments"])


def _as_json(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)

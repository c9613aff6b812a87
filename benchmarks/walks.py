"""The number of places of the source that a request, a command and a message pass.

A bot with its default configuration runs in this process, with a web client and an IRC server on loopback in the same reactor.
For each path, the calls of functions in `errklein/` are counted in all threads: calls, files, and changes of file from one call
to the next. A path is walked several times; the first walk, which fills caches, doesn't count, and of the others the shortest does.

    python benchmarks/walks.py [--list] [--checkout DIRECTORY]

`--list` prints each path's calls in order. Exits with 1 if a path needs more places than `TARGETS`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

TARGETS = {"post": (14, 28), "now": (34, 120), "command": (34, 80), "send": (22, 40)}
"""The files and changes of file that a path may have."""

SECRET = "a secret of 32 bytes or more, as text"
WALKS = 6
PLUGIN = """
import sys
from errklein import BotPlugin, botcmd, webhook
from errklein.verify import github


class Walked(BotPlugin):
    @webhook("/post")
    async def post_hook(self, payload):
        return "walked"

    @webhook("/now", methods=["POST"], verify=github(secret="env:WALKS_SECRET"), ack="now")
    async def now_hook(self, payload):
        return "walked"

    @webhook("/send")
    async def send_hook(self, payload):
        sys.modules["walks_recorder"].recorder.begin()
        self.send(self.build_identifier("#walks"), "walked")
        return "x"

    @botcmd
    def ping(self, message, args):
        return "walked"
"""
CONFIG = """
BACKEND = "IRC"
BOT_IDENTITY = {{"nickname": "walker", "server": "127.0.0.1", "port": {port}}}
BOT_ADMINS = ("admin!*@*",)
CHATROOM_PRESENCE = ("#walks",)
BOT_DATA_DIR = {directory!r} + "/data"
BOT_EXTRA_PLUGIN_DIR = {directory!r} + "/plugins"
BOT_LOG_FILE = None
BOT_LOG_LEVEL = 30
"""


class Recorder:
    """Notes the calls of functions of the package, from `begin` until a call for which `is_end` is true."""

    def __init__(self, package: Path) -> None:
        self._package = f"{package}{os.sep}"
        self._profiled = False
        self._is_end: Callable[[FrameType], bool] = lambda frame: False
        self.calls: list[tuple[str, str]] = []
        self.ended = asyncio.Event()

    def expect(self, is_end: Callable[[FrameType], bool]) -> None:
        """Forget the calls, and record until this end from the next `begin`."""
        self.calls, self._is_end = [], is_end
        self.ended.clear()
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Record from now on."""
        self._profiled = True

    def profile(self, frame: FrameType, event: str, argument: object) -> None:
        """Note a call; the profile function of all threads."""
        if event != "call" or not self._profiled:
            return
        code = frame.f_code
        if code.co_filename.startswith(self._package):
            self.calls.append((code.co_filename[len(self._package) :], code.co_qualname))
        if self._is_end(frame):
            self._profiled = False
            self._loop.call_soon_threadsafe(self.ended.set)

    def figures(self) -> tuple[int, int, int]:
        """Return the numbers of calls, files and changes of file."""
        files = [file for file, _ in self.calls]
        changes = sum(before != after for before, after in itertools.pairwise(files))
        return len(files), len(set(files)), changes


def writes(marker: bytes) -> Callable[[FrameType], bool]:
    """Return whether a frame begins to write bytes with `marker` to a socket, through Twisted's or errklein's transport."""

    def is_write(frame: FrameType) -> bool:
        name = frame.f_code.co_name
        if name not in ("write", "writeSequence") or not frame.f_code.co_filename.endswith(
            ("internet/abstract.py", "listening/_connections.py")
        ):
            return False
        data = frame.f_locals.get("data", frame.f_locals.get("iovec"))
        return marker in (data if isinstance(data, bytes | bytearray) else b"".join(data or ()))

    return is_write


def finishes(frame: FrameType) -> bool:
    """Return whether a frame is the journal's, and records the end of a delivery."""
    file = frame.f_code.co_filename
    return frame.f_code.co_name == "finish" and "/journal/" in file and "queue" not in file


class IRCServer:
    """As much of an IRC server as one bot needs."""

    async def serve(self) -> int:
        """Listen, and return the port."""
        self.joined = asyncio.Event()
        server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        async for raw in reader:
            command, _, rest = raw.decode().rstrip("\r\n").partition(" ")
            if command == "USER":
                self.say(":server 001 walker :Welcome", ":server 376 walker :End of MOTD")
            elif command == "PING":
                self.say(f":server PONG server {rest}")
            elif command == "CAP" and rest.startswith("LS"):
                self.say(":server CAP * LS :")
            elif command == "JOIN":
                self.say(
                    f":walker!w@host JOIN {rest}",
                    f":server 353 walker = {rest} :walker alice",
                    f":server 366 walker {rest} :End of NAMES",
                )
                self.joined.set()

    def say(self, *lines: str) -> None:
        """Send lines to the bot."""
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())


async def post(port: int, path: str, begin: Callable[[], None]) -> None:
    """Post to a webhook, and call `begin` before the request is written."""
    body = b'{"ref": "refs/heads/main"}'
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"X-GitHub-Event: push\r\nX-GitHub-Delivery: {os.urandom(16).hex()}\r\nX-Hub-Signature-256: sha256={signature}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    # The connection is accepted before the walk begins.
    await asyncio.sleep(0.1)
    begin()
    writer.write(head.encode() + body)
    response = await reader.read()
    if not response.startswith(b"HTTP/1.1 20"):
        raise RuntimeError(f"{path} was refused: {response!r}")
    writer.close()


async def walk(recorder: Recorder, irc: IRCServer, web: int) -> dict[str, list[tuple[str, str]]]:
    """Walk each path, and return the calls of its shortest walk."""

    async def command(path: str, begin: Callable[[], None]) -> None:
        begin()
        irc.say(":alice!a@host PRIVMSG #walks :!ping")

    async def request(path: str, begin: Callable[[], None]) -> None:
        await post(web, f"/{path}/", begin)

    async def send(path: str, begin: Callable[[], None]) -> None:
        await post(web, "/send/", lambda: None)

    paths = {
        "post": (request, writes(b"walked")),
        "now": (request, finishes),
        "command": (command, writes(b"walked")),
        "send": (send, writes(b"walked")),
    }
    found: dict[str, list[tuple[str, str]]] = {}
    for path, (start, is_end) in paths.items():
        for number in range(WALKS):
            recorder.expect(is_end)
            await start(path, recorder.begin)
            async with asyncio.timeout(20):
                await recorder.ended.wait()
            if number and (path not in found or len(recorder.calls) < len(found[path])):
                found[path] = recorder.calls
            # Confirmations and records of this walk don't belong to the next one.
            await asyncio.sleep(0.5)
    return found


def bot(directory: Path, irc_port: int, web_port: int) -> Any:
    """Return the service of a bot in a new directory."""
    (directory / "plugins").mkdir(parents=True)
    (directory / "data").mkdir()
    (directory / "plugins" / "walked.plug").write_text("[Core]\nName = Walked\nModule = walked\n")
    (directory / "plugins" / "walked.py").write_text(PLUGIN)
    (directory / "config.py").write_text(CONFIG.format(port=irc_port, directory=str(directory)))
    from errklein.tap import Options, makeService

    options = Options()
    options.parseOptions(
        ["--config", str(directory / "config.py"), "--web", f"tcp:{web_port}:interface=127.0.0.1", "--no-import"]
    )
    return makeService(options)


def main() -> int:
    """Walk the paths, and compare the figures with the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args()
    sys.path.insert(0, str(options.checkout))
    os.environ["WALKS_SECRET"] = SECRET
    from bots import free_port
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)
    from twisted.internet import reactor

    import errklein

    recorder = Recorder(Path(errklein.__file__).parent)
    sys.modules["walks_recorder"] = sys.modules[__name__]
    globals()["recorder"] = recorder  # for the plugin
    threading.setprofile(recorder.profile)
    sys.setprofile(recorder.profile)
    found: dict[str, list[tuple[str, str]]] = {}

    async def all_walks() -> None:
        with tempfile.TemporaryDirectory(prefix="walks-") as name:
            irc, web_port = IRCServer(), free_port()
            service = bot(Path(name), await irc.serve(), web_port)
            service.startService()
            try:
                async with asyncio.timeout(60):
                    await irc.joined.wait()
                await asyncio.sleep(1)
                found.update(await walk(recorder, irc, web_port))
            finally:
                reactor.stop()

    async def reported() -> None:
        try:
            await all_walks()
        except BaseException as error:
            errors.append(error)
            raise

    errors: list[BaseException] = []
    reactor.callWhenRunning(lambda: tasks.append(loop.create_task(reported())))
    tasks: list[asyncio.Task[None]] = []
    reactor.run()
    missed = bool(errors)
    for path, calls in found.items():
        recorder.calls = calls
        count, files, changes = recorder.figures()
        most_files, most_changes = TARGETS[path]
        met = files <= most_files and changes <= most_changes
        missed |= not met
        print(
            f"{path:8} {count:4} calls, {files:3} files (≤ {most_files}), {changes:4} changes (≤ {most_changes})",
            "met" if met else "missed",
        )
        if options.list:
            print("\n".join(f"    {file}: {function}" for file, function in calls))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

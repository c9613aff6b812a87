"""Let tools that people use post to webhooks of rooms: `senders.py [--gate]`, with the Python of errklein.

A bot runs on ngircd. A person makes a webhook in a room of each tool, and pastes one thing of the bot's private message into the
tool, in the tool's own form. Then each tool posts, once as usual, and once more to a bot that is killed with SIGKILL after its
response has arrived and before its message is in the room; that bot is started again. Each message must be in its room once, and
no tool may repeat a request. No file of the bot may contain a token.

The tools are Debian's prometheus-alertmanager with its receivers for Slack, Discord and webhooks, slack_sdk, apprise,
discord-webhook and npm's @slack/webhook; with `--gate`, Alertmanager and slack_sdk alone. Needs the package indexes, and Debian's
packages ngircd, prometheus-alertmanager and npm. Exits with 1 if an expectation fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Protocol

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / ".ci" / "senders"
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]

from bots import free_port, last_words, report  # noqa: E402
from irc_people import Person, UnlimitedNgircd, running_server  # noqa: E402

LIMIT = 60.0
"""The seconds within which anything must happen."""

QUIET = 0.7
"""The seconds without a message after which a room has heard all."""

NEVER = 3600
"""The time between two lines to rooms, so that the bot sends one, and keeps all further ones."""

CONFIG = """
BACKEND = "IRC"
BOT_IDENTITY = {{"nickname": "thebot", "server": "127.0.0.1", "port": {irc}}}
BOT_ADMINS = ("alice!*@*",)
BOT_DATA_DIR = {data!r}
BOT_LOG_FILE = None
CHATROOM_PRESENCE = {rooms!r}
PUBLIC_URL = "http://127.0.0.1:{public}"
IRC_CHANNEL_RATE = {rate}
IRC_PRIVATE_RATE = 0
"""

ALERTMANAGER = """
route: {{receiver: room, group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}}
receivers:
- name: room
  {}
"""

SLACK_SDK = """
import sys
from slack_sdk.webhook import WebhookClient
response = WebhookClient(sys.argv[1]).send(text=sys.argv[2])
assert (response.status_code, response.body) == (200, "ok"), (response.status_code, response.body)
"""

DISCORD_WEBHOOK = """
import sys
from discord_webhook import DiscordEmbed, DiscordWebhook
webhook = DiscordWebhook(url=sys.argv[1], content=sys.argv[2])
webhook.add_embed(DiscordEmbed(title="Build", url="https://ci.example.org/7", description="took **42** s"))
webhook.add_file(file=b"log", filename="log.txt")
response = webhook.execute()
assert response.status_code == 200 and webhook.id, (response.status_code, response.content)
"""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true; raises TimeoutError after LIMIT."""
    limit = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError
        await asyncio.sleep(0.02)


class Relay:
    """What is between the tools and the bot, as a reverse proxy is: it counts requests, and may act before it passes a response on.

    `answered` has the path and status of each request that the bot has answered; 0 if it hasn't.
    """

    def __init__(self, port: int, bot_port: int) -> None:
        self._port, self._bot_port = port, bot_port
        self.answered: list[tuple[str, int]] = []
        self.before_response: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, ConnectionError):
            while True:
                request = await _message(reader)
                path = request.split(b" ", 2)[1].decode()
                try:
                    bot_reader, bot_writer = await asyncio.open_connection("127.0.0.1", self._bot_port)
                    bot_writer.write(request)
                    response = await _message(bot_reader)
                    bot_writer.close()
                except (EOFError, ConnectionError):
                    self.answered.append((path, 0))
                    break
                self.answered.append((path, int(response.split(b" ", 2)[1])))
                self.before_response()
                writer.write(response)
        writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Return a request or response of HTTP."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return head + await reader.readexactly(int(length[1]) if length else 0)


class Rooms:
    """The rooms on an IRC server, with the bot, and a person who makes webhooks and hears what the bot says."""

    def __init__(self, directory: Path, irc: int, names: Sequence[str]) -> None:
        self._directory, self._irc, self._names = directory, irc, names
        public, self._port = free_port(), free_port()
        self.relay = Relay(public, self._port)
        self._public = public
        self._heard: dict[str, list[str]] = {name: [] for name in (*names, "alice")}
        self._last = time.monotonic()
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "data").mkdir()

    async def join(self) -> None:
        """Let the person join the rooms."""
        self._person = await Person("alice", self._hear).join(self._irc, *self._names)

    def _hear(self, now: float, target: str, text: str) -> None:
        # Without formatting, and without what prevents mentions and links.
        self._heard[target].append(re.sub("[\x02\x0f\x11\x16\x1d\x1e\x1f\u200b]|\x03\\d{0,2}(,\\d{1,2})?", "", text))
        self._last = now

    async def start_bot(self, rate: int = 0) -> None:
        """Start the bot, and wait until it is in the rooms.

        :param rate: The seconds between two lines to a room.
        """
        self._person.forget_bot()
        self._run_bot(rate)
        await self._person.await_bot(LIMIT)

    def _run_bot(self, rate: int) -> None:
        config = self._directory / "config.py"
        data, rooms = str(self._directory / "data"), tuple(self._names)
        config.write_text(CONFIG.format(irc=self._irc, data=data, rooms=rooms, public=self._public, rate=rate), "utf-8")
        command = [str(Path(sys.executable).with_name("errklein")), "run", "--config", str(config)]
        command += ["--web", f"tcp:{self._port}:interface=127.0.0.1"]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._directory, stdout=log, stderr=log)

    def kill_bot(self) -> None:
        """Kill the bot with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def stop_bot(self) -> None:
        """Stop the bot as an administrator does."""
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, LIMIT)

    async def new_webhook(self, source: str, room: str) -> str:
        """Make a webhook in a room, and return what the bot tells the person in private."""
        self._heard["alice"].clear()
        self._person.send(f"PRIVMSG {room} :!webhook new {source} {room.strip('#')}")
        await self._until(lambda: any("/hooks/" in line for line in self._heard["alice"]))
        await self._until_quiet()
        return "\n".join(self._heard["alice"])

    async def say_something(self, room: str) -> None:
        """Let the bot say a line in a room."""
        self._person.send(f"PRIVMSG {room} :!echo something")
        await self._until(lambda: "something" in self._heard[room])

    def heard(self, room: str) -> list[str]:
        """Return what the bot has said in a room, and forget it."""
        heard, self._heard[room] = self._heard[room], []
        return heard

    async def hear(self, room: str, words: str) -> list[str]:
        """Wait until the bot says something with these words in a room, and no more; return all lines."""
        await self._until(lambda: any(words in line for line in self._heard[room]))
        await self._until_quiet()
        return self.heard(room)

    async def _until(self, condition: Callable[[], bool]) -> None:
        try:
            await until(condition)
        except TimeoutError:
            raise RuntimeError(f"heard {self._heard}\n{last_words(self._directory / 'log')}") from None

    async def _until_quiet(self) -> None:
        self._last = time.monotonic()
        await self._until(lambda: time.monotonic() > self._last + QUIET)

    def places_of(self, secret: str) -> list[str]:
        """Return the files of the bot that contain a text."""
        files = [path for path in self._directory.rglob("*") if path.is_file()]
        return [path.name for path in files if secret.encode() in path.read_bytes()]


class Sender(Protocol):
    """What posts to webhooks of rooms."""

    rooms: Mapping[str, str]
    """The names of sources by room."""

    def paste(self, replies: Mapping[str, str]) -> Sequence[str]:
        """Set the sender up from what the bot told by room; return the tokens."""

    async def post(self, text: str) -> None:
        """Post a text to each room; raise an error if the sender reports one."""

    async def stop(self) -> Sequence[str]:
        """End the sender; return its problems."""


class Tool:
    """A sender that is run once for each text.

    :param pasted: The pattern of what is pasted of the bot's message.
    :param command: The command, with ADDRESS for what was pasted, and TEXT.
    """

    def __init__(self, name: str, source: str, pasted: str, *command: str | Path) -> None:
        self.name = name
        self.rooms: Mapping[str, str] = {f"#{name}": source}
        self._pasted, self._command = pasted, command
        self._address = ""

    def paste(self, replies: Mapping[str, str]) -> Sequence[str]:
        """Find what the tool takes in the bot's message."""
        [reply] = replies.values()
        found = re.search(self._pasted, reply)
        if found is None:
            raise RuntimeError(f"nothing to paste for {self._pasted} in:\n{reply}")
        self._address = found[0]
        return [self._address.rpartition("/")[2]]

    async def post(self, text: str) -> None:
        """Run the tool."""
        values = {"ADDRESS": self._address, "TEXT": text}
        command = [values.get(part, part) for part in map(str, self._command)]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        async with asyncio.timeout(LIMIT):
            output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{command[0]} has failed: {output.decode()}")

    async def stop(self) -> Sequence[str]:
        """Return no problems: a run that fails has raised an error."""
        return ()


class Alertmanager:
    """Debian's prometheus-alertmanager, whose receivers for Slack, Discord and webhooks post to a room each."""

    rooms: ClassVar[Mapping[str, str]] = {"#by-slack": "slack", "#by-discord": "discord", "#by-webhook": "alertmanager"}

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def paste(self, replies: Mapping[str, str]) -> Sequence[str]:
        """Write the configuration and start."""
        found = [re.search(r"\w+_configs: \[\{.*?\}\]", reply) for reply in replies.values()]
        receivers = [receiver[0] for receiver in found if receiver is not None]
        if len(receivers) != len(replies):
            raise RuntimeError(f"no receivers in:\n{replies}")
        config = self._directory / "alertmanager.yml"
        config.write_text(ALERTMANAGER.format("\n  ".join(receivers)), "utf-8")
        command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={self._directory / 'alerts'}"]
        command += [f"--web.listen-address={self._url.removeprefix('http://')}", "--cluster.listen-address="]
        command += ["--web.external-url=http://alertmanager.example.org"]
        with (self._directory / "alertmanager.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return [token for receiver in receivers for token in re.findall(r"ekt\w+", receiver)]

    async def post(self, text: str) -> None:
        """Let an alert with this name fire."""
        await self._send(text)

    async def resolve(self, text: str) -> None:
        """End the alert with this name."""
        await self._send(text, endsAt=datetime.now(UTC).isoformat())

    async def _send(self, text: str, **times: str) -> None:
        labels, annotations = {"alertname": text, "severity": "critical"}, {"summary": "db1 is down"}
        alert = {"labels": labels, "annotations": annotations, **times}
        limit = time.monotonic() + LIMIT
        while True:
            try:
                await asyncio.to_thread(self._ask, "/api/v2/alerts", [alert])
                return
            except OSError:
                # It doesn't listen yet.
                if time.monotonic() > limit:
                    raise
                await asyncio.sleep(0.1)

    def _ask(self, path: str, payload: object = None) -> str:
        body = None if payload is None else json.dumps(payload).encode()
        request = urllib.request.Request(self._url + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=LIMIT) as response:
            text: str = response.read().decode()
        return text

    async def stop(self) -> Sequence[str]:
        """End it, and return what it counted as failures."""
        if self._process is None:
            return ()
        figures = await asyncio.to_thread(self._ask, "/metrics")
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, LIMIT)
        failures = re.findall(
            r"^(alertmanager_notification(?:s|_requests)_failed_total.*) [1-9].*$", figures, re.MULTILINE
        )
        return [f"Alertmanager has counted {failure}" for failure in failures]


async def run(directory: Path, senders: Mapping[str, Sender]) -> list[str]:
    """Let each sender post; return a line for each failed expectation."""
    problems = []
    server = UnlimitedNgircd()
    with running_server(server):
        rooms = Rooms(directory, server.port, [room for sender in senders.values() for room in sender.rooms])
        try:
            await rooms.relay.start()
            await rooms.join()
            await rooms.start_bot()
            for name, sender in senders.items():
                replies = {room: await rooms.new_webhook(source, room) for room, source in sender.rooms.items()}
                tokens = sender.paste(replies)
                problems += [f"{name}: {problem}" for problem in await deliveries(rooms, sender)]
                found = sorted({place for token in tokens for place in rooms.places_of(token)})
                problems += [f"{name}: the token is in {place}" for place in found]
        finally:
            rooms.kill_bot()
            for name, sender in senders.items():
                problems += [f"{name}: {problem}" for problem in await sender.stop()]
    return problems


async def deliveries(rooms: Rooms, sender: Sender) -> list[str]:
    """Let a sender post as usual, and to a bot that is killed; return a line for each failed expectation."""
    problems = []
    for room in sender.rooms:
        rooms.heard(room)
    rooms.relay.answered.clear()
    await sender.post("Usual")
    problems += await received(rooms, sender, "Usual")
    await rooms.stop_bot()

    # The first line is sent at once, and all others wait.
    await rooms.start_bot(NEVER)
    await rooms.say_something(next(iter(sender.rooms)))
    for room in sender.rooms:
        rooms.heard(room)
    expected = len(rooms.relay.answered) + len(sender.rooms)
    rooms.relay.before_response = lambda: rooms.kill_bot() if len(rooms.relay.answered) == expected else None
    await sender.post("Killed")
    await until(lambda: len(rooms.relay.answered) >= expected)
    for room in sender.rooms:
        problems += [f"{room}: {line!r} was sent before the bot was killed" for line in rooms.heard(room)]
    await rooms.start_bot()
    problems += await received(rooms, sender, "Killed")

    requests = 2
    if isinstance(sender, Alertmanager):
        await sender.resolve("Killed")
        problems += await received(rooms, sender, "Killed")
        requests += 1
        # Some of its intervals: it repeats what was not accepted.
        await asyncio.sleep(3)
    counts = Counter(rooms.relay.answered)
    problems += [
        f"{path}: {count} responses with {status}" for (path, status), count in counts.items() if count != requests
    ]
    problems += [f"{path}: status {status}" for path, status in counts if not 200 <= status < 300]
    return problems


async def received(rooms: Rooms, sender: Sender, text: str) -> list[str]:
    """Wait for one message with a text in each room of a sender; return a line for each problem."""
    heard = await asyncio.gather(*(rooms.hear(room, text) for room in sender.rooms))
    return [problem for room, lines in zip(sender.rooms, heard, strict=True) for problem in missing(room, text, lines)]


def missing(room: str, text: str, heard: Sequence[str]) -> list[str]:
    """Return a line for each problem of what was heard in a room after one message with a text."""
    print(f"  {room}: {' / '.join(heard)}", flush=True)
    found = [] if any(text in line for line in heard) else [f"{room}: {text} is missing"]
    return found + [f"{room}: {line!r} occurs {count} times" for line, count in Counter(heard).items() if count > 1]


def tools(directory: Path, in_gate: bool) -> dict[str, Sender]:
    """Install the tools, and return them by name."""
    python = directory / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    lines = (HERE / "requirements.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if "==" in line and (not in_gate or line.startswith("slack_sdk"))]
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted], check=True)
    address = r"http://\S+/hooks/\w+"
    found: dict[str, Sender] = {
        "alertmanager": Alertmanager(directory),
        "slack_sdk": Tool("slack-sdk", "slack", address, python, "-c", SLACK_SDK, "ADDRESS", "TEXT"),
    }
    if in_gate:
        return found
    for name in ("package.json", "slack.js"):
        shutil.copy(HERE / name, directory)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", directory], check=True)
    apprise = python.with_name("apprise")
    others = (
        Tool("apprise", "mattermost", r"mmost://\S+", apprise, "--title=Backup", "--body", "TEXT", "ADDRESS"),
        Tool("apprise-json", "post", r"json://\S+", apprise, "--title=Backup", "--body", "TEXT", "ADDRESS"),
        Tool("discord-webhook", "discord", address, python, "-c", DISCORD_WEBHOOK, "ADDRESS", "TEXT"),
        Tool("slack-webhook", "slack", address, "node", directory / "slack.js", "ADDRESS", "TEXT"),
    )
    return {**found, **{tool.name: tool for tool in others}}


def main() -> int:
    """Run the tools, and print the failed expectations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gate", action="store_true", help="only Alertmanager and slack_sdk")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="senders-") as name:
        directory = Path(name)
        (directory / "bot").mkdir()
        return report(asyncio.run(run(directory / "bot", tools(directory, options.gate))))


if __name__ == "__main__":
    sys.exit(main())

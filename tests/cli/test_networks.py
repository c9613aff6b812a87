"""The command `errklein network`."""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.storage import DATABASE, SQLiteStorage
from tests import needs_network
from tests.processes import ERRKLEIN, run, write_config, write_plugin

PARLEY = """
from errklein.config.networks import NetworkSettings
from errklein.config.networks import Network, NetworkFinding
from errklein.networks.errors import NotConfirmed

async def check(context):
    return [NetworkFinding("it answers"), NetworkFinding("the bot may not send files", True)]

NETWORK = Network("Parley", "an invented server", NetworkSettings({}), print, check=check)
async def busy(context):
    raise NotConfirmed("parley.example.net: no response within 30 s")

BUSY = Network("Busy", "a slow one", NetworkSettings({}), print, check=busy)
QUIET = Network("Quiet", "another one", NetworkSettings({}), print)
"""


class ListTests(SynchronousTestCase):
    """`errklein network list`."""

    def test_list(self) -> None:
        """The list has the configured networks and the available ones."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        write_config(directory, {"NETWORKS": {"ops": {"BACKEND": "Null"}}})
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(cli.main(["network", "list", "--config", str(directory / "config.py")]), 0)
        configured, available, *_ = out.getvalue().split(":\n")[1:]
        self.assertEqual(configured, "  ops  Null\navailable")
        lines = dict(line.split(None, 1) for line in available.splitlines()[:-1])
        self.assertLessEqual({"IRC", "Null", "Test", "Text"}, lines.keys())


PUSHING = """
from errklein.config.networks import NetworkSettings
from errklein.config.networks import Network
from errklein.networks.errors import RequestRefused
from errklein.networks.null import NETWORK as NULL

async def push(context, commands, dry):
    if context.config.BOT_IDENTITY:
        raise ConnectionError("parley.example.net doesn't answer")
    begin, before = "would set" if dry else "set", await context.state.get("pushed", 0)
    if not dry:
        await context.state.set("pushed", before + 1)
    if before:
        return [f"pushed {before} times"]
    names = ("help", "order_tea", "brew", "guarded", "plugin_list", "asadmin")
    return [f"{begin} {one}" for one in commands if one.name in names] + ["to paste:\\n  {}"] * dry

NETWORK = Network("Parley", "an invented server", NetworkSettings({}, accepts_others=True), NULL.make, push_commands=push)
"""

TEA = '''
from errklein import BotPlugin, arg_botcmd, botcmd, botmatch

class Tea(BotPlugin):
    @botcmd
    def order_tea(self, message, args):
        """Order `tea` with !order tea. It
        takes a minute.

        More about it."""

    @arg_botcmd("kind", type=str)
    @arg_botcmd("--hot", action="store_true")
    def brew(self, message, kind, hot):
        """Brew a kind of tea. Or coffee."""

    @botcmd(admin_only=True)
    def guarded(self, message, args):
        """Open the cupboard."""

    @botcmd(hidden=True)
    def secret(self, message, args):
        """Never listed."""

    @botmatch("tea")
    def hears(self, message, match):
        """No command."""
'''


class PushTests(SynchronousTestCase):
    """`errklein network push-commands`."""

    def setUp(self) -> None:
        """Make a directory with a plugin and a network that lists commands."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "parley.py").write_text(PUSHING)
        metadata = self.directory / "parley-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: parley\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text("[errklein.networks]\nParley = parley:NETWORK\n")
        path = f"{self.directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self.enterContext(mock.patch.dict(os.environ, {"PYTHONPATH": path}))
        write_plugin(self.directory / "plugins", "Tea", TEA)

    def push(self, *arguments: str, **settings: object) -> tuple[int, list[str]]:
        """Return the exit status and the lines of the output."""
        networks = {
            "chat": {"BACKEND": "Parley", "BOT_IDENTITY": settings.pop("identity", {})},
            "hooks": {"BACKEND": "Null"},
        }
        config = {"NETWORKS": networks, "BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"), **settings}
        write_config(self.directory, config)
        done = run(ERRKLEIN, "network", "push-commands", *arguments, cwd=self.directory, fresh=True)
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, (done.stdout + done.stderr).splitlines()

    def test_push(self) -> None:
        """The network gets the commands with their first sentence and their arguments, and its lines are printed."""
        order = "CommandText(name='order_tea', description='Order tea with ?order tea.', syntax='')"
        brew = "CommandText(name='brew', description='Brew a kind of tea.', syntax='[-h] [--hot] kind')"
        guarded = "CommandText(name='guarded', description='Open the cupboard.', syntax='')"
        status, (first, *lines) = self.push("chat", "--dry-run", BOT_PREFIX="?")
        self.assertEqual(status, 0)
        self.assertEqual(first, f"chat: would set {brew}")
        # Commands of the terminal aren't among them. What is to be pasted has no prefix.
        self.assertEqual(lines[::2], [f"chat: would set {guarded}", f"chat: would set {order}", "  {}"])
        self.assertIn("name='help'", lines[1])
        _, lines = self.push("Parley", HIDE_RESTRICTED_COMMANDS=True)
        self.assertEqual((lines[0], len(lines)), (f"chat: set {brew}", 3))

    def test_memory(self) -> None:
        """The network knows what it was given before, once the bot has data."""
        (self.directory / "data").mkdir()
        SQLiteStorage(self.directory / "data" / DATABASE).close()
        self.push("chat")
        self.assertEqual(self.push("chat", "--dry-run"), (0, ["chat: pushed 1 times"]))

    def test_failures(self) -> None:
        """A network without such a list, one that fails, and a broken plugin end with an error of one line."""
        self.assertEqual(self.push("hooks"), (1, ["problem: hooks: Null has no list of a bot's commands"]))
        self.assertEqual(
            self.push("chat", identity={"user": "x"})[1], ["problem: chat: parley.example.net doesn't answer"]
        )
        (self.directory / "plugins" / "tea" / "tea.py").write_text("import nothing_like_this\n")
        status, lines = self.push("chat")
        self.assertEqual(status, 1)
        self.assertIn("a plugin can't be loaded, so its commands aren't known", lines[0])


class CheckTests(SynchronousTestCase):
    """`errklein network check`."""

    def setUp(self) -> None:
        """Make a directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def check(self, settings: dict[str, object], *names: str) -> tuple[int, str]:
        """Return the exit status and the output."""
        write_config(self.directory, settings)
        done = run(ERRKLEIN, "network", "check", *names, cwd=self.directory)
        self.assertNotIn("Traceback", done.stderr)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["config.py"])
        return done.returncode, done.stdout + done.stderr

    def test_networks_without_server(self) -> None:
        """For Null and Test, nothing can be wrong; Text needs a terminal. Without a name, all networks are checked."""
        networks = {"hooks": {"BACKEND": "Null"}, "console": {"BACKEND": "Text"}, "tests": {"BACKEND": "Test"}}
        self.assertEqual(
            self.check({"NETWORKS": networks}),
            (
                1,
                (
                    "hooks: nothing to connect to: the bot only serves webhooks\n"
                    "problem: console: Text needs a terminal, and standard input isn't one\n"
                    "tests: nothing to connect to: for tests of plugins\n"
                ),
            ),
        )
        self.assertEqual(self.check({"NETWORKS": networks}, "hooks")[0], 0)

    def test_of_another_package(self) -> None:
        """Networks of packages are listed and checked: each finding is a line, and a problem changes the status."""
        (self.directory / "parley.py").write_text(PARLEY)
        metadata = self.directory / "parley-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: parley\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(
            "[errklein.networks]\nParley = parley:NETWORK\nQuiet = parley:QUIET\nBusy = parley:BUSY\n"
        )
        networks = {name: {"BACKEND": name, "BOT_ADMINS": ("@alice",)} for name in ("parley", "quiet", "busy")}
        write_config(self.directory, {"NETWORKS": networks})
        path = f"{self.directory}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self.enterContext(mock.patch.dict(os.environ, {"PYTHONPATH": path}))
        listed = run(ERRKLEIN, "network", "list", cwd=self.directory, fresh=True).stdout
        self.assertRegex(listed, r"available:\n(.*\n)*  Parley +an invented server\n")
        done = run(ERRKLEIN, "network", "check", cwd=self.directory, fresh=True)
        self.assertEqual(
            done.stdout,
            "parley: it answers\n"
            "problem: parley: the bot may not send files\n"
            "quiet: the settings are valid; only a start of the bot shows whether it connects\n"
            "problem: busy: parley.example.net: no response within 30 s\n",
        )
        self.assertEqual(done.returncode, 1)

    def test_mistakes(self) -> None:
        """An unknown name has a suggestion; an invalid setting of a network, or a missing backend, is a problem."""
        for settings, name, expected in (
            (
                {"BACKEND": "Null"},
                "nul",
                "errklein: unknown network 'nul'; did you mean 'null'? Configured networks: null",
            ),
            (
                {"BACKEND": "Slak"},
                "slak",
                "problem: slak: BACKEND: unknown backend 'Slak'; did you mean 'Slack'? Available: ",
            ),
            (
                {"BACKEND": "IRC", "BOT_IDENTITY": {"nickname": "a", "server": "b", "port": 0}},
                "IRC",
                "problem: irc: BOT_IDENTITY: 'port' is 0; expected a number from 1 to 65535 (config.py line",
            ),
        ):
            write_config(self.directory, {"BOT_ADMINS": ("alice",), **settings})
            done = run(ERRKLEIN, "network", "check", name, cwd=self.directory)
            self.assertEqual(done.returncode, 1)
            self.assertIn(expected, done.stdout + done.stderr)

    def test_irc(self) -> None:
        """On IRC, the check registers; a nick in use is a problem, unless a bot runs in the data directory."""
        needs_network()
        lines: list[str] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rw", newline="\r\n") as stream:
                    for line in stream:
                        lines.append(line.strip())
                        command, _, nick = line.strip().partition(" ")
                        if nick == "taken":
                            stream.write(":irc.example 433 * taken :Nickname is already in use\r\n")
                        elif command == "NICK":
                            stream.write(f":irc.example 001 {nick} :Welcome\r\n")
                        stream.flush()
                        if command == "QUIT":
                            break

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            port = listener.getsockname()[1]
            for nick, status, expected in (
                ("free", 0, f"irc: 127.0.0.1:{port} accepts the bot as free\n"),
                (
                    "taken",
                    1,
                    f"problem: irc: 127.0.0.1:{port} accepts the bot as taken_, since the nick taken is in use",
                ),
            ):
                identity = {"nickname": nick, "server": "127.0.0.1", "port": port}
                settings = {"BACKEND": "IRC", "BOT_IDENTITY": identity, "BOT_ADMINS": ("me",)}
                result = self.check({**settings, "CHATROOM_PRESENCE": ("#ops",)}, "irc")
                self.assertEqual((result[0], result[1][: len(expected)]), (status, expected))
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)
        self.assertLess({line.split()[0] for line in lines}, {"CAP", "NICK", "USER", "QUIT", "PING"})
        self.assertEqual(
            self.check(settings),
            (1, f"problem: irc: 127.0.0.1:{port}: Connection was refused by other side: 111: Connection refused.\n"),
        )

    def test_matrix(self) -> None:
        """On Matrix, the check logs in; here nobody answers."""
        needs_network()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        identity = {"homeserver": f"http://127.0.0.1:{port}", "user": "err", "password": "secret"}
        settings = {"BACKEND": "Matrix", "BOT_IDENTITY": identity, "BOT_ADMINS": ("@alice:localhost",)}
        expected = (
            f"problem: matrix: 127.0.0.1:{port}: Connection was refused by other side: 111: Connection refused.\n"
        )
        self.assertEqual(self.check(settings), (1, expected))

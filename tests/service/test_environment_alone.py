"""Bots without a config.py, whose settings are variables of the environment."""

from __future__ import annotations

import hmac
import os
import socket
import subprocess
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests import needs_network
from tests.processes import ERRKLEIN, LIMIT, TWISTD, Program, free_port, run, write_plugin
from tests.real_bot import exchange

PLUGIN = """
import os, subprocess, sys
from errbot import BotPlugin, botcmd, webhook

NAMES = "import os; print(sorted(name for name in os.environ if '__' in name and name.startswith('ERRKLEIN')))"
print("loaded with", end=" ")
exec(NAMES)
print("child with", subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True).stdout, flush=True)

class Orders(BotPlugin):
    @webhook
    def order(self, payload):
        return f"order {payload['number']}"

    @botcmd
    def state(self, msg, args):
        return f"prefix {self.bot_config.BOT_PREFIX}, rate {self.bot_config.COMMAND_RATE}"
"""


class EnvironmentCase(SynchronousTestCase):
    """A directory with a plugin, and variables that name both."""

    def setUp(self) -> None:
        """Write the plugin."""
        needs_network()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_plugin(self.directory / "plugins", "Orders", PLUGIN)
        self.port = free_port()
        self.variables = {
            "ERRKLEIN_SET__BOT_DATA_DIR": str(self.directory / "data"),
            "ERRKLEIN_SET__BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"),
            "ERRKLEIN_SET__WEB": f"tcp:{self.port}:interface=127.0.0.1",
            # As Kubernetes sets it for a service named errklein.
            "ERRKLEIN_PORT": "tcp://10.0.0.1:3141",
        }

    def start(self, command: list[str], *arguments: str, **variables: str) -> Program:
        """Start a bot with the variables."""
        with patch.dict(os.environ, {**self.variables, **variables}):
            program = Program([*command, *arguments], cwd=self.directory, stdin=subprocess.PIPE, fresh=True)
        self.addCleanup(program.kill)
        return program

    def say(self, program: Program, text: str) -> None:
        """Type a line."""
        program.process.stdin.write(f"{text}\n".encode())
        program.process.stdin.flush()


class RunTests(EnvironmentCase):
    """The start of a bot."""

    def test_network_and_webhook(self) -> None:
        """`errklein run` connects to IRC with the identity of a file, and receives a verified webhook."""
        irc = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(irc.close)
        irc.settimeout(LIMIT)
        identity = self.directory / "identity.toml"
        identity.write_text(
            f'nickname = "orders-bot"\nserver = "127.0.0.1"\nport = {irc.getsockname()[1]}\npassword = "correct-horse"\n'
        )
        program = self.start(
            ERRKLEIN,
            "run",
            ERRKLEIN_SET__BACKEND="IRC",
            ERRKLEIN_FILE__BOT_IDENTITY=str(identity),
            ERRKLEIN_SET__BOT_ADMINS='["alice!*@*"]',
            ERRKLEIN_SET__WEBHOOKS='["Orders:order"]\nverify = "github"\nsecret = "env:ORDERS_SECRET"\n',
            ORDERS_SECRET="battery-staple",
        )
        connection, _ = irc.accept()
        self.addCleanup(connection.close)
        connection.settimeout(LIMIT)
        received = b""
        while b"NICK orders-bot" not in received:
            more = connection.recv(4096)
            self.assertNotEqual(more, b"", received)
            received += more
        self.assertIn(b"PASS :correct-horse", received)
        program.wait_for("Listening on")
        body = b'{"number": 7}'
        signature = hmac.new(b"battery-staple", body, "sha256").hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={signature}"}
        answer = exchange(self.port, "POST", "/order", body, headers)
        self.assertEqual((answer.status, answer.text), (200, "order 7"))
        self.assertEqual(exchange(self.port, "POST", "/order", body).status, 401)
        self.assertEqual(program.text.count("loaded with []"), 1)
        self.assertEqual(program.text.count("child with []"), 1)
        self.assertNotIn("correct-horse", program.text)

    def test_twistd(self) -> None:
        """`twistd errklein` reads the variables, too, also beside a config.py, over which they win."""
        (self.directory / "config.py").write_text("BACKEND = 'Text'\nBOT_PREFIX = '.'\nCOMMAND_RATE = '7/min'\n")
        program = self.start(TWISTD, "-n", "--pidfile=", "errklein", ERRKLEIN_SET__BOT_PREFIX="?")
        program.wait_for("Connected to text")
        self.say(program, "?state")
        program.wait_for("prefix ?, rate 7/min")
        self.say(program, "?shutdown --confirm")
        self.assertEqual(program.wait(), 0)

    def test_check(self) -> None:
        """`errklein check` says that the settings are from the environment, and loads the plugins without the variables, too."""
        with patch.dict(os.environ, self.variables):
            done = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("the environment: text\n", done.stdout)
        self.assertIn("POST, GET /order", done.stdout)
        self.assertIn("loaded with []", done.stdout)

    def test_error(self) -> None:
        """An invalid variable stops the start with one line."""
        with patch.dict(os.environ, {**self.variables, "ERRKLEIN_SET__BOT_ADMINS": "hunter2"}):
            done = run(ERRKLEIN, "run", cwd=self.directory)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stderr,
            'errklein: BOT_ADMINS: invalid TOML; expected a value such as ["alice", "bob"] (ERRKLEIN_SET__BOT_ADMINS)\n',
        )


class RestartTests(EnvironmentCase):
    """`!restart` and `!config reload` of such a bot."""

    def test_kept(self) -> None:
        """The new process has the settings again, and again without the variables when plugins are loaded."""
        rate = self.directory / "rate"
        rate.write_text("5/min\n")
        program = self.start(ERRKLEIN, "run", ERRKLEIN_SET__BOT_PREFIX="?", ERRKLEIN_FILE__COMMAND_RATE=str(rate))
        for start, limit in enumerate(("5/min", "6/min"), 1):
            program.wait_for("Connected to text", times=start)
            self.say(program, "?state")
            program.wait_for(f"prefix ?, rate {limit}")
            rate.write_text("6/min\n")
            if start == 1:
                self.say(program, "?restart")
        self.assertEqual(program.text.count("loaded with []"), 2)
        self.say(program, "?shutdown --confirm")
        self.assertEqual(program.wait(), 0)

    def test_reload(self) -> None:
        """`!config reload` reads a file of a variable again, and the variables as they were at the start."""
        rate = self.directory / "rate"
        rate.write_text("5/min\n")
        program = self.start(ERRKLEIN, "run", ERRKLEIN_SET__BOT_PREFIX="?", ERRKLEIN_FILE__COMMAND_RATE=str(rate))
        program.wait_for("Connected to text")
        rate.write_text("6/min\n")
        self.say(program, "?config reload")
        program.wait_for("COMMAND_RATE: '5/min' → '6/min'")
        self.say(program, "?state")
        program.wait_for("prefix ?, rate 6/min")

    def test_refused(self) -> None:
        """A restart is refused if a file of a variable has become invalid; the check has the variables, too."""
        rate = self.directory / "rate"
        rate.write_text("5/min\n")
        program = self.start(ERRKLEIN, "run", ERRKLEIN_FILE__COMMAND_RATE=str(rate))
        program.wait_for("Connected to text")
        rate.write_text("often\n")
        self.say(program, "!restart")
        program.wait_for("The bot can't restart itself: COMMAND_RATE: expected")
        program.wait_for(f"(ERRKLEIN_FILE__COMMAND_RATE {rate})")

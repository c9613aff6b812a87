"""Commands that the running bot performs: `errklein config reload`, on real processes."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein.cli import _control
from errklein.service.control import control_address
from tests.processes import (
    ERRKLEIN,
    TWISTD,
    adopting_daemons,
    free_port,
    kill,
    run,
    wait_for_daemon,
    write_config,
    write_plugin,
)

SHOP = """
    from errklein import BotPlugin, webhook

    class Shop(BotPlugin):
        @webhook
        async def admins(self, payload):
            self.log.debug("a line for developers")
            return ", ".join(self.bot_config.BOT_ADMINS)

        @webhook
        def order(self, payload):
            return "ordered"
"""


class NodesTests(SynchronousTestCase):
    """`errklein nodes`, with what the bot answers."""

    def test_database_that_is_absent(self) -> None:
        """Processes that the bot can't read are an error, and not those of a bot that is one process."""
        for nodes, unknown, status, text in (
            ([], "", 0, "The bot is one process.\n"),
            ([], "PostgreSQL db/bot: Connection refused", 1, "errklein: PostgreSQL db/bot: Connection refused\n"),
        ):
            output = io.StringIO()
            self.patch(sys, "stdout", output)
            self.patch(sys, "stderr", output)
            answer = {"nodes": nodes, "nodes_unknown": unknown}
            self.patch(_control, "perform", lambda *_, answer=answer: answer)
            self.assertEqual(cli.main(["nodes", "--data-dir", "data"]), status)
            self.assertEqual(output.getvalue(), text)


class ReloadTests(SynchronousTestCase):
    """A daemon whose config.py changes."""

    timeout = 240

    def setUp(self) -> None:
        """Start the daemon."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.port = free_port()
        self.log = self.directory / "bot.log"
        self.settings = {
            "BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins"),
            "BOT_LOG_FILE": str(self.log),
            "WEB": f"tcp:{self.port}:interface=127.0.0.1",
        }
        write_plugin(self.directory / "plugins", "Shop", dedent(SHOP))
        write_config(self.directory, self.settings)

    def start(self, *options: str) -> None:
        """Start the daemon, which ends with the test."""
        with adopting_daemons():
            done = run(TWISTD, "--pidfile=bot.pid", *options, "errklein", cwd=self.directory)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.pid = int((self.directory / "bot.pid").read_text())
        self.addCleanup(kill, self.pid)
        # Requests wait until the plugins are active.
        self.assertEqual(self.post("/admins"), "@admin")

    def post(self, path: str) -> str:
        """Return the response to a POST request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", path, "{}")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def reload(self, *options: str) -> tuple[int, str]:
        """Run `errklein config reload`, and return its status and output."""
        done = run(ERRKLEIN, "config", "reload", *options, cwd=self.directory)
        return done.returncode, done.stdout + done.stderr

    def test_reload(self) -> None:
        """Administrators and the level of the log change, an invalid file changes nothing, and no request is lost meanwhile."""
        self.start()
        control = self.directory / "data" / "control.sock"
        self.assertEqual((control.stat().st_mode & 0o777, control.parent.stat().st_mode & 0o777), (0o600, 0o700))
        responses: list[str] = []
        ended = threading.Event()

        def send() -> None:
            while not ended.is_set():
                responses.append(self.post("/order"))

        sending = threading.Thread(target=send)
        sending.start()
        try:
            changed = self.settings | {"BOT_ADMINS": ("@admin", "@bob"), "BOT_LOG_LEVEL": "DEBUG"}
            write_config(self.directory, changed)
            status, output = self.reload()
            self.assertEqual((status, output), (0, "BOT_ADMINS: added ('@bob',)\nBOT_LOG_LEVEL: 20 → 10\n"))
            self.assertNotIn("a line for developers", self.log.read_text())
            self.assertEqual(self.post("/admins"), "@admin, @bob")
            self.assertIn("a line for developers", self.log.read_text())
            (self.directory / "config.py").write_text("BACKEND = 'Null'\nBOT_ADMINS = (\n")
            status, output = self.reload("--data-dir", str(control.parent))
            self.assertEqual(status, 1)
            self.assertIn("config.py isn't valid Python at line 2", output)
            (self.directory / "config.py").unlink()
            self.assertIn("no configuration file at", self.reload("--data-dir", str(control.parent), "--force")[1])
            self.assertEqual(self.post("/admins"), "@admin, @bob")
            write_config(self.directory, changed | {"WEBHOOKS": {"Shop:order": {"rate": "1000000/s"}}})
            self.assertIn("WEBHOOKS: added {'Shop:order'", self.reload()[1])
        finally:
            ended.set()
            sending.join()
        self.assertEqual(set(responses), {"ordered"})
        log = self.log.read_text()
        self.assertRegex(
            log, r"Notifying administrators: \S+ on the command line has reloaded the configuration: BOT_ADMINS"
        )
        # A signal for the log isn't one for the configuration.
        write_config(self.directory, self.settings)
        os.kill(self.pid, signal.SIGHUP)
        self.assertEqual(self.post("/admins"), "@admin, @bob")
        os.kill(self.pid, signal.SIGTERM)
        self.assertEqual(wait_for_daemon(self.pid), -signal.SIGTERM)
        self.assertFalse(control.exists())

    def test_without_a_bot(self) -> None:
        """The command says that no bot runs, also beside the socket of a bot that was killed, which the next one replaces."""
        expected = (1, f"errklein: the bot isn't running: start it first (no process uses {self.directory / 'data'})\n")
        self.assertEqual(self.reload(), expected)
        self.start()
        os.kill(self.pid, signal.SIGKILL)
        wait_for_daemon(self.pid)
        (self.directory / "bot.pid").unlink()
        self.assertTrue((self.directory / "data" / "control.sock").exists())
        self.assertEqual(self.reload(), expected)
        self.start()
        self.assertEqual(self.reload(), (0, "Nothing has changed.\n"))

    def test_file_of_a_variable(self) -> None:
        """A file that a variable of the environment names is read again."""
        admins = self.directory / "admins"
        admins.write_text('["@admin"]')
        self.patch(os, "environ", {**os.environ, "ERRKLEIN_FILE__BOT_ADMINS": str(admins)})
        self.start()
        admins.write_text('["@admin", "@bob"]')
        self.assertEqual(self.reload(), (0, "BOT_ADMINS: added ('@bob',)\n"))

    def test_other_directory(self) -> None:
        """A bot that has changed its directory at the start doesn't read relative paths from there."""
        (self.directory / "elsewhere").mkdir()
        self.start("--rundir=elsewhere", f"--pidfile={self.directory / 'bot.pid'}")
        status, output = self.reload()
        self.assertEqual(status, 1)
        self.assertIn("elsewhere (--rundir), and only a restart in", output)

    def test_answer_of_another_program(self) -> None:
        """Control characters of the answer don't reach the terminal."""
        (self.directory / "data").mkdir()
        with control_address(self.directory / "data") as address, socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()

            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b'{"error": "first\\nsecond \\u001b[2J"}\n')

            answering = threading.Thread(target=answer)
            answering.start()
            self.assertEqual(self.reload(), (1, "errklein: first\nsecond \\x1b[2J\n"))
            answering.join()

    def test_sockets_of_several_processes(self) -> None:
        """The process that owns the plugins is asked. If none of this directory does, its name is the error."""
        data = self.directory / "data"
        data.mkdir()
        owners = {"control-1.sock": {"elsewhere": "a:2"}, "control-2.sock": {"result": []}}

        def answer(server: socket.socket, response: object) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(json.dumps(response).encode() + b"\n")

        for names, expected in (
            (list(owners), (0, "Nothing has changed.\n")),
            (["control-1.sock"], (1, "errklein: a:2 owns the plugins, and no process here; run the command there\n")),
        ):
            with ExitStack() as opened:
                threads = []
                for name in names:
                    server = opened.enter_context(socket.socket(socket.AF_UNIX))
                    server.bind(opened.enter_context(control_address(data, name)))
                    server.listen()
                    threads.append(threading.Thread(target=answer, args=(server, owners[name])))
                    threads[-1].start()
                self.assertEqual(self.reload(), expected)
                for thread in threads:
                    thread.join()
            for name in names:
                (data / name).unlink()

    def test_long_path(self) -> None:
        """The socket works in a directory whose path is longer than the address of a socket may be."""
        data = self.directory / ("d" * 100)
        self.settings["BOT_DATA_DIR"] = str(data)
        write_config(self.directory, self.settings)
        self.start()
        self.assertEqual(self.reload(), (0, "Nothing has changed.\n"))
        self.assertTrue((data / "control.sock").is_socket())

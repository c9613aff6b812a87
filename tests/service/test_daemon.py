"""errklein as a process: foreground and daemon, signals, log and exit."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from tests import needs_network
from tests.authority import Authority
from tests.processes import (
    TWIST,
    TWISTD,
    Program,
    adopting_daemons,
    free_port,
    kill,
    run,
    wait_for_adopted,
    wait_for_daemon,
    write_config,
    write_plugin,
)

CONNECTED = "Connected to null"
"""The log line that shows that the bot has started."""

SLOW = """
    import threading
    from errklein import BotPlugin, webhook

    class Slow(BotPlugin):
        begun = threading.Semaphore(0)

        @webhook
        def short(self, request):
            print("a handler begins")
            threading.Event().wait(0.5)
            return "done"

        @webhook
        def endless(self, request):
            print("a handler begins")
            threading.Event().wait()
"""

ENDLESS_THREADS = """
    import threading
    from errklein import BotPlugin

    class Endless(BotPlugin):
        def activate(self):
            super().activate()
            from twisted.internet import reactor
            for _ in range(3):
                threading.Thread(target=threading.Event().wait).start()
                reactor.callFromThread(reactor.callInThread, threading.Event().wait)
"""

SIGNAL_BEFORE_THE_HANDLER = """
    import os, signal
    from twisted.internet import reactor

    set_handler = signal.signal

    def signal_first(number, handler):
        if number == signal.SIGTERM and reactor.running:
            signal.signal = set_handler
            os.kill(os.getpid(), number)
            print("now it is set")
        return set_handler(number, handler)

    signal.signal = signal_first
"""

BOTH_KINDS_OF_ASYNC = """
    import asyncio
    from errklein import BotPlugin, webhook
    from twisted.internet import reactor, task

    class Both(BotPlugin):
        @webhook
        async def futures(self, request):
            assert asyncio.get_event_loop() is asyncio.get_running_loop()
            await asyncio.gather(asyncio.sleep(0.001), asyncio.sleep(0.002))
            return "asyncio"

        @webhook
        async def deferreds(self, request):
            return await task.deferLater(reactor, 0.001, lambda: "twisted")
"""


class ProcessCase(SynchronousTestCase):
    """A test case with a directory and a config.py with the backend Null."""

    timeout = 240

    def setUp(self) -> None:
        """Make the directory."""
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / "plugins").mkdir(parents=True)
        write_config(self.directory, {})

    def configure(self, **settings: object) -> None:
        """Write another config.py."""
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory / "plugins")} | settings)

    def plugin(self, name: str, source: str) -> None:
        """Write a plugin."""
        write_plugin(self.directory / "plugins", name, dedent(source))

    def start(self, *arguments: str, command: list[str] = TWISTD) -> Program:
        """Start errklein in the foreground, and wait until the bot has started."""
        options = ["-n"] if command is TWISTD else ["--log-format=text"]
        program = Program(command, *options, "errklein", *arguments, cwd=self.directory, fresh=True)
        self.addCleanup(program.kill)
        program.wait_for(CONNECTED)
        return program

    def daemon(self, *arguments: str) -> int:
        """Start errklein as a daemon, and return its process id when the bot has started."""
        result = run(TWISTD, *arguments, cwd=self.directory, fresh=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        pid = int((self.directory / "twistd.pid").read_text())
        self.addCleanup(kill, pid)
        return pid

    @property
    def log(self) -> str:
        """Return the text of twistd.log."""
        return (self.directory / "twistd.log").read_text()


def get(port: int, path: str) -> tuple[int, bytes]:
    """Send a GET request, and return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


BLOCKING = """
import time
from errbot import BotPlugin, webhook

class Blocking(BotPlugin):
    @webhook
    async def block(self, payload):
        self.log.info("the reactor is blocked")
        time.sleep(3600)
"""


class Foreground(ProcessCase):
    """twistd -n errklein."""

    def test_signals_end_idle_process_at_once(self) -> None:
        """SIGTERM and SIGINT end an idle process at once, with the signal's status, and remove the pid file."""
        for number in (signal.SIGTERM, signal.SIGINT):
            program = self.start()
            program.signal(number)
            self.assertEqual(program.wait(), -number, program.text)
            self.assertFalse((self.directory / "twistd.pid").exists())
            self.assertNotIn("Traceback", program.text)

    def test_running_handlers_get_grace_period(self) -> None:
        """Handlers that end within the grace period respond; the process doesn't wait longer for one that never ends."""
        self.plugin("Slow", SLOW)
        self.configure(GRACE_PERIOD=1.0)
        port = free_port()
        program = self.start("--web", f"tcp:{port}:interface=127.0.0.1")
        with ThreadPoolExecutor(15) as clients:
            endless = clients.submit(get, port, "/endless")
            answers = [clients.submit(get, port, "/short") for _ in range(14)]
            program.wait_for("a handler begins", times=15)
            program.signal(signal.SIGTERM)
            signalled = time.monotonic()
            program.wait_for("Stopped listening")
            self.assertRaises(ConnectionError, get, port, "/short")
            self.assertEqual([answer.result() for answer in answers], [(200, b"done")] * 14)
            self.assertEqual(program.wait(), -signal.SIGTERM, program.text)
            # The grace period, the second after it, and what a busy machine adds.
            self.assertTrue(1.0 < time.monotonic() - signalled < 2.0 + 20.0)
            self.assertIsInstance(endless.exception(), (OSError, http.client.HTTPException))

    def test_plugin_threads_do_not_delay_exit(self) -> None:
        """Threads that never end, including the reactor's, neither keep the process alive nor change its status."""
        self.plugin("Endless", ENDLESS_THREADS)
        self.configure(GRACE_PERIOD=0.5)
        program = self.start()
        program.signal(signal.SIGTERM)
        self.assertEqual(program.wait(), -signal.SIGTERM, program.text)
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_blocked_reactor_ends_after_grace_period(self) -> None:
        """The process ends after the grace period even if a plugin blocks the reactor."""
        self.plugin("Blocking", BLOCKING)
        self.configure(GRACE_PERIOD=0.5)
        port = free_port()
        program = self.start("--web", f"tcp:{port}:interface=127.0.0.1")
        with ThreadPoolExecutor(1) as clients:
            clients.submit(get, port, "/block")
            program.wait_for("the reactor is blocked")
            program.signal(signal.SIGTERM)
            self.assertEqual(program.wait(), -signal.SIGTERM, program.text)
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_second_signal_ends_at_once(self) -> None:
        """A second signal ends the process at once."""
        self.plugin("Slow", SLOW)
        self.configure(GRACE_PERIOD=3600.0)
        port = free_port()
        program = self.start("--web", f"tcp:{port}:interface=127.0.0.1")
        with ThreadPoolExecutor(1) as clients:
            clients.submit(get, port, "/endless")
            program.wait_for("a handler begins")
            program.signal(signal.SIGTERM)
            program.wait_for("a second signal ends the process at once")
            # Within a second, it is the same one.
            while program.process.poll() is None:
                program.signal(signal.SIGTERM)
            self.assertEqual(program.wait(), -signal.SIGTERM, program.text)

    def test_sighup(self) -> None:
        """After SIGHUP, the log continues in a new file of the same name, as logrotate requires."""
        log_file = self.directory / "bot.log"
        self.configure(BOT_LOG_FILE=str(log_file))
        program = self.start()
        rotated = log_file.rename(self.directory / "bot.log.1")
        program.signal(signal.SIGHUP)
        program.wait_for("SIGHUP received")
        self.assertIn(CONNECTED, rotated.read_text())
        self.assertNotIn(CONNECTED, log_file.read_text())
        program.signal(signal.SIGTERM)
        self.assertEqual(program.wait(), -signal.SIGTERM)
        self.assertIn("SIGHUP", log_file.read_text())

    def test_sigusr1(self) -> None:
        """SIGUSR1 opens the log again after a rotation, and has no effect on a bot without a log file."""
        program = self.start()
        program.signal(signal.SIGUSR1)
        program.signal(signal.SIGHUP)
        program.wait_for("SIGHUP received")
        program.signal(signal.SIGTERM)
        self.assertEqual(program.wait(), -signal.SIGTERM)
        log_file = self.directory / "bot.log"
        self.configure(BOT_LOG_FILE=str(log_file))
        program = self.start()
        rotated = log_file.rename(self.directory / "bot.log.1")
        program.signal(signal.SIGUSR1)
        program.signal(signal.SIGTERM)
        self.assertEqual(program.wait(), -signal.SIGTERM)
        self.assertNotIn("Stopping within", rotated.read_text())
        self.assertIn("Stopping within", log_file.read_text())

    def test_root_in_the_chain(self) -> None:
        """A certificate chain that includes the root is served."""
        authority = Authority()
        directory = self.directory / "certificates"
        directory.mkdir()
        (directory / "bot.pem").write_bytes(authority.bundle(authority.issue("bot.example.org"), authority.root))
        self.start("--web", f"tls:{directory}:{free_port()}:interface=127.0.0.1")

    def test_renewed_certificates(self) -> None:
        """A renewed certificate is served within 5 s, or on SIGHUP; an invalid one isn't."""
        authority = Authority()
        directory = self.directory / "certificates"
        directory.mkdir()

        def renew() -> str:
            issued = authority.issue("bot.example.org")
            (directory / "new").write_bytes(authority.bundle(issued))
            (directory / "new").replace(directory / "bot.pem")
            return issued.pem.decode()

        def served() -> str:
            context = authority.client()
            with (
                socket.create_connection(("127.0.0.1", port), 20) as plain,
                context.wrap_socket(plain, server_hostname="bot.example.org") as client,
            ):
                encoded = client.getpeercert(binary_form=True)
                assert encoded is not None
                return ssl.DER_cert_to_PEM_cert(encoded)

        first = renew()
        port = free_port()
        program = self.start("--web", f"tls:{directory}:{port}:interface=127.0.0.1")
        self.assertEqual(served(), first)
        second = renew()
        program.wait_for("have changed")
        self.assertEqual(served(), second)
        third = renew()
        program.signal(signal.SIGHUP)
        program.wait_for("SIGHUP received")
        self.assertEqual(served(), third)
        (directory / "bot.pem").write_text("-----BEGIN nonsense")
        program.wait_for("bot.pem is incomplete")
        self.assertEqual(served(), third)

    def test_signal_while_the_reactor_starts(self) -> None:
        """A SIGTERM just before the reactor installs its signal handlers ends the process."""
        with (self.directory / "config.py").open("a") as config:
            config.write(dedent(SIGNAL_BEFORE_THE_HANDLER))
        for name in ("asyncio", "epoll"):
            program = Program(TWISTD, "-n", f"--reactor={name}", "errklein", cwd=self.directory, fresh=True)
            self.addCleanup(program.kill)
            program.wait_for("now it is set")
            self.assertEqual(program.wait(), -signal.SIGTERM, program.text)
            self.assertNotIn("Traceback", program.text)
            self.assertFalse((self.directory / "twistd.pid").exists())

    def test_other_reactor(self) -> None:
        """The asyncio reactor is used by default."""
        program = self.start()
        self.assertIn("AsyncioSelectorReactor", program.text)
        other = Program(
            TWISTD, "-n", "--pidfile=", "--reactor=epoll", "errklein", "-d", "other", cwd=self.directory, fresh=True
        )
        self.addCleanup(other.kill)
        other.wait_for(CONNECTED)
        self.assertIn("EPollReactor", other.text)

    def test_twist(self) -> None:
        """`twist errklein` is refused in one line, which names the commands that run the bot."""
        refused = run(TWIST, "errklein", cwd=self.directory)
        self.assertEqual(refused.returncode, 1)
        self.assertEqual(
            refused.stderr, "errklein: errklein doesn't run in twist; run `errklein run` or `twistd -n errklein`\n"
        )


class Daemon(ProcessCase):
    """twistd errklein."""

    def test_life(self) -> None:
        """A daemon writes pid file and log, serves webhooks, and ends on a signal without its pid file."""
        self.plugin("Both", BOTH_KINDS_OF_ASYNC)
        self.configure()
        port = free_port()
        with adopting_daemons():
            pid = self.daemon("errklein", "--web", f"tcp:{port}:interface=127.0.0.1")
            # twistd's umask for daemons, and the data directory for its user alone.
            self.assertEqual((self.directory / "data").stat().st_mode & 0o777, 0o700)
            self.assertEqual(get(port, "/futures/"), (200, b"asyncio"), self.log)
            self.assertEqual(get(port, "/deferreds/"), (200, b"twisted"), self.log)
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(wait_for_daemon(pid), -signal.SIGTERM)
        self.assertFalse((self.directory / "twistd.pid").exists())
        self.assertIn(CONNECTED, self.log)

    def test_plugin_threads_do_not_delay_daemon_exit(self) -> None:
        """A daemon ends soon after its grace period, without its pid file."""
        self.plugin("Endless", ENDLESS_THREADS)
        self.configure(GRACE_PERIOD=0.5)
        with adopting_daemons():
            pid = self.daemon("errklein")
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(wait_for_daemon(pid), -signal.SIGTERM)
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_what_is_found_out_too_late(self) -> None:
        """An error after the fork is logged, and the command that started the daemon fails."""
        (self.directory / "data").mkdir()
        (self.directory / "data" / "errklein.sqlite").write_text("no database, but several pages long\n" * 1000)
        with adopting_daemons():
            result = run(TWISTD, "errklein", cwd=self.directory, fresh=True)
            self.assertEqual(result.returncode, 1)
            # The command is back as soon as it knows; the daemon still has to clear up.
            wait_for_adopted()
        self.assertIn("errklein.sqlite", self.log)
        self.assertFalse((self.directory / "twistd.pid").exists())
        result = run(TWISTD, "-n", "errklein", cwd=self.directory, fresh=True)
        self.assertEqual(result.returncode, 1)
        [line] = result.stderr.splitlines()
        self.assertIn("errklein.sqlite", line)
        self.assertNotIn("Traceback", result.stdout)
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_port_in_use_stops_start(self) -> None:
        """A port in use fails the command that starts the daemon, and the log has the remedy."""
        needs_network()
        with socket.socket() as other, adopting_daemons():
            other.bind(("127.0.0.1", 0))
            other.listen()
            endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            result = run(TWISTD, "errklein", "--web", endpoint, cwd=self.directory, fresh=True)
            self.assertEqual(result.returncode, 1)
            wait_for_adopted()
        self.assertIn(f"can't listen on {endpoint}: port", result.stdout + result.stderr)
        self.assertIn("is in use by another program, perhaps another errklein; stop it", self.log)

    def test_second_of_one_data_directory(self) -> None:
        """A second errklein can't use the same data; the error names the first process, and it works after the first has ended."""
        program = self.start()
        result = run(TWISTD, "--pidfile=other.pid", "errklein", cwd=self.directory, fresh=True)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        [line] = result.stderr.splitlines()
        self.assertIn("BOT_DATA_DIR", line)
        self.assertIn(f"process {program.process.pid},", line)
        program.signal(signal.SIGTERM)
        program.wait()
        self.start()


class WrongSettings(ProcessCase):
    """Errors before the fork are one line on the terminal."""

    def refusal(self, *arguments: str) -> str:
        """Return the error of twistd."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = run(TWISTD, *arguments, cwd=self.directory, fresh=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result.stderr)
        # In the processor's time, since a busy machine makes everything slow.
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2.0)
        self.assertFalse((self.directory / "twistd.pid").exists())
        # The source line of an error in config.py may follow.
        line, *source = result.stderr.splitlines()
        self.assertTrue(line.startswith("errklein: "), line)
        self.assertTrue(all(more.startswith("    ") for more in source), source)
        return line

    def test_failing_config_names_line(self) -> None:
        """A syntax error in config.py is reported with its line."""
        (self.directory / "config.py").write_text("BACKEND = 'Null'\nBOT_ADMINS = (\n")
        self.assertIn("config.py isn't valid Python at line 2: ", self.refusal("errklein"))

    def test_missing_key_is_named(self) -> None:
        """A missing private key is an error that names the file."""
        self.assertIn("/nowhere/key.pem", self.refusal("errklein", "--web", "ssl:0:privateKey=/nowhere/key.pem"))

    def test_daemon_without_config_is_refused(self) -> None:
        """A daemon requires a configuration, since the default is a conversation on the terminal."""
        (self.directory / "config.py").unlink()
        line = self.refusal("errklein")
        self.assertIn("BACKEND", line)
        self.assertIn("twistd -n", line)

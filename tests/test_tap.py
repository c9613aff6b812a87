"""`twistd errklein` up to the moment that something starts, and the service that starts it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import IService, IServiceMaker
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from errklein import logs, tap
from errklein.service import BotService, CannotStart, Launch
from errklein.service import bot_service as service
from errklein.service.data_directory import LOCK_NAME, DataDirectory, DataDirectoryError
from errklein.service.endpoint_check import BadEndpoint, check_endpoint
from errklein.testing import TestBot
from tests import needs_network
from tests.processes import free_port
from tests.web.authority import Authority


class Found(SynchronousTestCase):
    """The plugin for twistd."""

    def test_plugin(self) -> None:
        """twistd and twist find errklein."""
        [maker] = [found for found in getPlugins(IServiceMaker) if found.tapname == "errklein"]
        self.assertIs(maker.options, tap.Options)


class CommandLine(SynchronousTestCase):
    """What the options come to."""

    def setUp(self) -> None:
        """Work in a directory of the test's own, and leave the log as it is."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)
        self.patch(logs, "destinations", logs.Destinations())
        self.patch(logs, "bridge_stdlib", lambda level: None)
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "config", None)

    def make(self, *arguments: str) -> IService:
        """The service that `twistd` makes of its arguments."""
        options = ServerOptions()
        options.parseOptions([*arguments])
        made: IService = options.loadedPlugins["errklein"].makeService(options.subOptions)
        return made

    def refusal(self, *arguments: str) -> str:
        """The line with which the arguments are refused."""
        exit_ = self.assertRaises(SystemExit, self.make, *arguments)
        self.assertIsInstance(exit_.code, str)
        self.assertNotIn("\n", exit_.code)
        self.assertEqual(exit_.code[:10], "errklein: ")
        return str(exit_.code)

    def config(self, text: str = "BACKEND = 'Null'\n", name: str = "config.py") -> None:
        """Write a config.py."""
        (self.directory / name).write_text(text)

    def test_nothing_is_opened(self) -> None:
        """Making the service makes no file, and listens nowhere."""
        self.config()
        before = set(self.directory.iterdir())
        port = free_port()
        self.make("-n", "errklein", "--web", f"tcp:{port}:interface=127.0.0.1")
        self.assertEqual({path for path in self.directory.iterdir() if path.name != "__pycache__"}, before)
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0)

    def test_one_line_for_each_mistake(self) -> None:
        """Each mistake is named with what is expected instead."""
        self.config()
        self.config("raise KeyError('PASSWORD')", "broken.py")
        (self.directory / "file").write_text("")
        for arguments, *fragments in (
            (["--config", "missing.py"], "missing.py", "No such file"),
            (["--config", "broken.py"], "broken.py, line 1", "KeyError"),
            (["--config", "."], "Is a directory"),
            (["--backend", "ICQ"], "BACKEND", "'ICQ'", "IRC, Null, Test, Text"),
            (["--plugin-dir", "nowhere"], "BOT_EXTRA_PLUGIN_DIR", "nowhere"),
            (["--data-dir", "file"], "BOT_DATA_DIR", "a directory"),
            (["--data-dir", "file/below"], "BOT_DATA_DIR", "can't be made"),
            (["--web", "nonsense"], "--web nonsense", "tcp:3141"),
            (["--web", ""], "--web '':", "tcp:3141"),
            (["--web", "tcp:port"], "--web tcp:port: 'port' is no number; expected", "tcp:3141"),
            (["--web", "tcp:99999"], "--web tcp:99999: a port is a number from 0 to 65535"),
            (["--web", "tcp:80:speed=9"], "--web tcp:80:speed=9: there is no argument 'speed'"),
            (["--web", "tcp:80:a:9:b:c"], "--web tcp:80:a:9:b:c: there are too many arguments"),
            (["--web", "tls:port=80"], "--web tls:port=80: 'path' is missing"),
            (["--web", "http://localhost:80"], "--web http:", "Unknown endpoint type: 'http'", "tcp:3141"),
            (["--web", "systemd:domain=INET:index=9"], "index=9: systemd has handed over no such socket"),
            (["--web", "systemd:domain=INET:name=web"], "name=web: systemd has handed over no such socket"),
            (["--web", "ssl:0:privateKey=/no/key.pem"], "--web ssl:", "/no/key.pem"),
            (["--web", "tls:/no/certificates:0"], "--web tls:", "/no/certificates can't be read: No such file"),
            (["--web", f"tls:{self.directory}:0:speed=9"], "tls: has no argument speed"),
            (["--web", f"tls:{self.directory}:port"], "'port' is no number"),
            (["--web", f"tls:{self.directory}:0"], "has no .pem file with a private key and its certificate"),
            (["--web", "unix:/no/where/socket"], "--web unix:", "/no/where"),
        ):
            line = self.refusal("-n", "errklein", *arguments)
            for fragment in fragments:
                self.assertIn(fragment, line)
            self.assertLessEqual(line.count("tcp:3141"), 1)

    def test_a_damaged_environment(self) -> None:
        """If errklein can't be put together, the damage to its environment is told; any other error stays itself."""

        def make_service(options: object) -> None:
            raise ImportError("cannot import name 'pass_context' from 'jinja2'")

        self.config()
        self.patch(tap, "_make_service", make_service)
        self.patch(tap, "damages", lambda: ["Jinja2 2.11 is installed; …", "klein is missing; …"])
        self.assertEqual(self.refusal("-n", "errklein"), "errklein: Jinja2 2.11 is installed; …; klein is missing; …")
        self.patch(tap, "damages", list)
        self.assertRaises(ImportError, self.make, "-n", "errklein")

    def test_damages_that_do_not_show_yet(self) -> None:
        """Administrators are told of damage with which the bot starts nevertheless."""
        bot = TestBot()
        bot.start()
        self.addCleanup(bot.stop)
        self.patch(tap, "damages", lambda: ["treq is missing; …"])
        tap.warn_of_damages(bot.bot)
        self.assertEqual(bot.sent_to("@admin"), ["treq is missing; …"])

    def test_mistakes_about_irc(self) -> None:
        """They are told before a daemon forks, with the network's name if it has one."""
        (self.directory / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        identity = {"nickname": "bot", "server": "localhost"}
        for settings, *fragments in (
            ({"BOT_IDENTITY": {**identity, "nickname": "a bot"}}, "BOT_IDENTITY", "'a bot'"),
            ({"CHATROOM_PRESENCE": ("ops",)}, "CHATROOM_PRESENCE", "'ops'", "'#errklein'"),
            ({"IRC_ACL_PATTERN": "{who}"}, "IRC_ACL_PATTERN", "{nick}"),
            ({"BOT_IDENTITY": {**identity, "ssl_ca": "ca.pem"}}, "ssl_ca", "PEM"),
        ):
            settings = {"BACKEND": "IRC", "BOT_IDENTITY": identity, "BOT_ADMINS": ("me",), **settings}
            for text, where in (
                ("".join(f"{name} = {value!r}\n" for name, value in settings.items()), "errklein: "),
                (f"BACKENDS = {{'libera': {settings!r}}}\n", "errklein: BACKENDS['libera']: "),
            ):
                self.config(text)
                line = self.refusal("errklein")
                self.assertEqual(line[: len(where)], where)
                for fragment in fragments:
                    self.assertIn(fragment, line)

    def test_log_file_that_cannot_be(self) -> None:
        """A log file in a directory that isn't there is named with its setting."""
        self.config("BACKEND = 'Null'\nBOT_LOG_FILE = '/no/where/bot.log'\n")
        self.assertIn("BOT_LOG_FILE: /no/where/bot.log", self.refusal("-n", "errklein"))
        self.assertIn("--logfile: /no/log", self.refusal("-n", "-l", "/no/log", "errklein"))

    def test_log_file_that_is_a_link(self) -> None:
        """Root, who starts errklein for another user, writes through no link that this user may have made."""
        (self.directory / "bot.log").symlink_to(self.directory / "elsewhere")
        self.config("BACKEND = 'Null'\nBOT_LOG_FILE = 'bot.log'\n")
        self.make("-n", "errklein")
        self.patch(DataDirectory, "owner", lambda _: (os.getuid(), os.getgid()))
        self.assertIn("bot.log: expected a file, not a link", self.refusal("-n", "errklein"))

    def test_text_backend_in_a_daemon(self) -> None:
        """A conversation is refused to a daemon, however it is asked for, and allowed in the foreground."""
        self.config()
        self.assertIn("twistd -n", self.refusal("errklein", "--backend", "text"))
        self.config("BACKENDS = {'a': {'BACKEND': 'Null'}, 'b': {'BACKEND': 'Text'}}")
        self.assertIn("twistd -n", self.refusal("errklein"))

    def test_port_in_use(self) -> None:
        """A port that another process listens on is found out."""
        needs_network()
        self.config()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            self.assertIn(f"--web {endpoint}: Address already in use", self.refusal("errklein", "--web", endpoint))

    def test_configuration_without_endpoints(self) -> None:
        """With a configuration nothing listens unless --web says so; without one, the default endpoint does."""
        endpoints: list[Any] = []
        self.patch(tap, "check_endpoints", endpoints.append)
        self.config()
        self.make("errklein")
        self.make("errklein", "--web", "tcp:0", "--web", "tcp:1")
        (self.directory / "config.py").unlink()
        self.make("errklein", "--backend", "Null")
        self.make("errklein", "--backend", "Null", "--web", "tcp:2")
        self.assertEqual(endpoints, [[], ["tcp:0", "tcp:1"], ["tcp:3141:interface=127.0.0.1"], ["tcp:2"]])

    def test_logger_of_the_user(self) -> None:
        """errklein chooses where to log unless the user does, with --logger or --syslog."""
        self.config()
        for arguments, expected in (
            ([], logs.observer),
            (["--logger", "errklein.logs.format_line"], logs.format_line),
            (["--syslog"], None),
        ):
            options = ServerOptions()
            options.parseOptions(["-n", *arguments, "errklein"])
            self.assertIs(options["logger"], expected)

    def test_level_and_places(self) -> None:
        """The log goes where twistd's options and the configuration say."""
        self.config("BACKEND = 'Null'\nBOT_LOG_LEVEL = 'ERROR'\n")
        self.make("errklein")
        self.assertEqual((logs.destinations.places, logs.destinations.level), (["twistd.log"], logging.ERROR))
        self.assertTrue(logs.destinations.rotated)
        self.make("-l", "other.log", "errklein")
        self.assertEqual(logs.destinations.places, ["other.log"])
        self.config("BACKEND = 'Null'\nBOT_LOG_FILE = 'bot.log'\n")
        self.make("errklein")
        self.assertEqual(logs.destinations.places, ["bot.log"])
        self.assertFalse(logs.destinations.rotated)

    def test_format_and_colors(self) -> None:
        """BOT_LOG_FORMATTER writes the lines, TEXT_COLOR_THEME says how terminals show them."""
        self.config("import logging\nBACKEND = 'Null'\nBOT_LOG_FORMATTER = logging.Formatter('MINE %(message)s')\n")
        self.make("errklein")
        log = logs.destinations
        self.assertIsNotNone(log.format)
        self.assertEqual(log.format({"log_format": "hello"}) if log.format else "", "MINE hello\n")
        self.assertEqual(log.theme, "light")
        self.config("BACKEND = 'Null'\nTEXT_COLOR_THEME = 'nocolor'\n")
        self.make("errklein")
        self.assertEqual((log.format, log.theme), (None, "nocolor"))

    def test_nobody_to_tell(self) -> None:
        """A bot that is to tell Sentry, and can't, doesn't start."""
        self.config("BACKEND = 'Null'\nBOT_LOG_SENTRY = True\n")
        self.assertRegex(
            self.refusal("errklein"), "^errklein: (SENTRY_DSN is missing|BOT_LOG_SENTRY: sentry_sdk isn't)"
        )


class Endpoints(SynchronousTestCase):
    """Probing an endpoint."""

    def test_free(self) -> None:
        """An endpoint that is free is accepted, and left free."""
        directory = Path(self.mktemp())
        directory.mkdir()
        port = free_port()
        for description in (f"tcp:{port}:interface=127.0.0.1", f"haproxy:tcp:{port}", f"unix:{directory}/socket"):
            check_endpoint(description)
            check_endpoint(description)
        self.assertEqual(list(directory.iterdir()), [])

    def test_wrapped(self) -> None:
        """An address in use is found inside of a wrapping endpoint, too."""
        needs_network()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            self.assertRaises(BadEndpoint, check_endpoint, f"haproxy:tcp:{other.getsockname()[1]}")

    def test_certificates(self) -> None:
        """A directory is accepted if a certificate in it can be served, whatever its chain; else one line says why not."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        authority = Authority()
        issued, expired = authority.issue("bot.example.org"), authority.issue("bot.example.org", begins=-90, days=-1)
        for contents, reason in (
            (b"", "no .pem file with a private key"),
            (issued.key_pem, "matches no certificate"),
            (authority.bundle(expired), "expired on"),
            (authority.bundle(issued)[:-9], "is incomplete"),
            (authority.bundle(issued, authority.root), ""),
        ):
            (directory / "bot.pem").write_bytes(contents)
            for description in (
                f"tls:{directory}:{free_port()}:interface=127.0.0.1",
                f"haproxy:tls:{directory}:0:interface=127.0.0.1",
            ):
                if reason:
                    error = str(self.assertRaises(BadEndpoint, check_endpoint, description))
                    self.assertIn(f"{description}: ", error)
                    self.assertIn(reason, error)
                    self.assertNotIn("\n", error)
                    self.assertNotIn("expected", error)
                else:
                    check_endpoint(description)

    def test_unix_sockets(self) -> None:
        """A socket that somebody listens on is refused, a file that is no socket too, a stale socket is not."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / "s"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(os.path.relpath(path))
            other.listen()
            self.assertRaises(BadEndpoint, check_endpoint, f"unix:{os.path.relpath(path)}")
        check_endpoint(f"unix:{os.path.relpath(path)}")
        (directory / "file").write_text("")
        self.assertRaises(BadEndpoint, check_endpoint, f"unix:{directory}/file")


class Directories(SynchronousTestCase):
    """The data directory."""

    def setUp(self) -> None:
        """Choose a directory that isn't there."""
        self.path = Path(self.mktemp()).absolute() / "data"
        self.data = DataDirectory(self.path)

    def test_made(self) -> None:
        """It is made for its user alone, and a check makes nothing."""
        self.data.check()
        self.assertFalse(self.path.exists())
        self.data.prepare()
        self.data.prepare()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)

    def test_lock(self) -> None:
        """Whoever comes second is refused with the process that was first, until that one lets go."""
        self.data.prepare()
        self.data.lock()
        other = DataDirectory(self.path)
        for attempt in (other.check, other.lock):
            error = self.assertRaises(DataDirectoryError, attempt)
            self.assertIn(f"another errklein, process {os.getpid()}, uses it", str(error))
        self.data.unlock()
        other.check()
        other.lock()
        other.unlock()

    def test_check_keeps_the_lock(self) -> None:
        """A second process that only checks doesn't take the first one's lock away."""
        self.data.prepare()
        self.data.lock()
        self.assertRaises(DataDirectoryError, DataDirectory(self.path).check)
        self.assertRaises(DataDirectoryError, DataDirectory(self.path).lock)
        self.assertEqual((self.path / LOCK_NAME).read_text().strip(), str(os.getpid()))
        self.data.unlock()

    def test_not_writable(self) -> None:
        """A directory that the user whom the process becomes can't write to is refused, with the user's name."""
        if os.geteuid() != 0:
            raise self.skipTest("only root may become another user")  # type: ignore[func-returns-value]
        nobody = 65534
        self.data.prepare()
        error = self.assertRaises(DataDirectoryError, DataDirectory(self.path, uid=nobody).check)
        self.assertIn("BOT_DATA_DIR", str(error))
        self.assertIn("nobody", str(error))
        self.assertEqual(os.geteuid(), 0)
        os.chown(self.path, nobody, -1)
        self.assertEqual(DataDirectory(self.path, uid=nobody).owner(), (nobody, 65534))

    def test_made_for_another_user(self) -> None:
        """Made by root for another user, it is that user's."""
        if os.geteuid() != 0:
            raise self.skipTest("only root may become another user")  # type: ignore[func-returns-value]
        below = self.path / "deep" / "down"
        DataDirectory(below, uid=65534).prepare()
        self.assertEqual([path.stat().st_uid for path in (below, below.parent, self.path)], [65534] * 3)


class FakeBot:
    """Tells what was asked of it."""

    def __init__(self, started: Deferred[None]) -> None:
        self.started = started
        self.stopped: Deferred[None] = Deferred()
        self.grace: float | None = None

    async def start(self) -> None:
        await self.started

    async def stop(self, grace: float) -> None:
        self.grace = grace
        await self.stopped


class FakeListeners:
    """Listens nowhere."""

    def __init__(self, opening: Deferred[None]) -> None:
        self.opening = opening
        self.opened: list[str] = []
        self.reloaded = 0
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def open(self, description: str) -> Deferred[None]:
        self.opened.append(description)
        return self.opening

    def reload_certificates(self) -> None:
        self.reloaded += 1


class Services(SynchronousTestCase):
    """The service, with a bot and listeners that only tell what they were asked."""

    def setUp(self) -> None:
        """Take nothing of the process in earnest: no signals, no end, no terminal."""
        self.ends: list[tuple[float, Callable[[], None]]] = []
        self.told: list[str] = []
        self.patch(service, "end_after", lambda seconds, end: self.ends.append((seconds, end)))
        self.patch(service, "let_signals_end_the_process", lambda: None)
        self.patch(service, "_tell", self.told.append)
        self.patch(service, "is_terminal", lambda: False)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.reactor = MemoryReactorClock()
        self.directory = Path(self.mktemp()).absolute()

    def service(
        self,
        opening: Deferred[None] | None = None,
        started: Deferred[None] | None = None,
        launch: Launch | None = None,
    ) -> BotService:
        """A service whose endpoint opens, and whose bot starts, as the Deferreds say."""
        self.listeners = FakeListeners(opening or succeed(None))
        self.bot = FakeBot(started or succeed(None))
        self.reopened = 0

        def reopen() -> None:
            self.reopened += 1

        return BotService(
            self.reactor,
            data_directory=DataDirectory(self.directory),
            listeners=self.listeners,
            endpoints=["tcp:1", "tcp:2"],
            make_bot=lambda: self.bot,
            grace=7.0,
            launch=launch or Launch(),
            reopen_log=reopen,
        )

    def test_life(self) -> None:
        """It locks, listens and starts; at its end the bot gets the grace period, and the lock is open again."""
        running = self.service()
        running.privilegedStartService()
        running.startService()
        self.assertEqual(self.listeners.opened, ["tcp:1", "tcp:2"])
        self.assertRaises(DataDirectoryError, DataDirectory(self.directory).lock)
        stopping = running.stopService()
        self.assertEqual((self.bot.grace, self.ends[0][0]), (7.0, 8.0))
        self.assertNoResult(stopping)
        self.bot.stopped.callback(None)
        self.successResultOf(stopping)
        DataDirectory(self.directory).check()

    def test_connections_wait_for_plugins(self) -> None:
        """Between listening and the end of the bot's start, connections wait."""
        started: Deferred[None] = Deferred()
        running = self.service(started=started)
        running.privilegedStartService()
        running.startService()
        self.assertTrue(self.listeners.paused)
        started.callback(None)
        self.assertFalse(self.listeners.paused)

    def test_started_in_one_step(self) -> None:
        """twist knows no privileged step; it listens nevertheless, once."""
        running = self.service()
        running.startService()
        self.assertEqual(self.listeners.opened, ["tcp:1", "tcp:2"])

    def test_endpoint_fails(self) -> None:
        """An endpoint that can't be opened ends the process: with a line in the foreground, an exception in a daemon."""
        running = self.service(opening=fail(RuntimeError("tcp:1: in use")))
        exit_ = self.assertRaises(SystemExit, running.privilegedStartService)
        self.assertEqual((exit_.code, self.told), (1, ["tcp:1: in use"]))
        running = self.service(opening=fail(RuntimeError("tcp:1: in use")), launch=Launch(daemon=True))
        error = self.assertRaises(CannotStart, running.privilegedStartService)
        self.assertEqual(str(error), "tcp:1: in use")

    def test_endpoint_fails_later(self) -> None:
        """An endpoint that turns out not to open stops the reactor, and the process has a status that tells."""
        statuses: list[int] = []
        self.patch(service, "end_process", lambda number, pid_file, status: statuses.append(status))
        opening: Deferred[None] = Deferred()
        running = self.service(opening=opening)
        running.startService()
        opening.errback(RuntimeError("no"))
        self.flushLoggedErrors(RuntimeError)
        self.assertTrue(self.reactor.hasStopped or self.reactor.whenRunningHooks)
        [(function, args, kwargs)] = self.reactor.triggers["after"]["shutdown"]
        function(*args, **kwargs)
        self.assertEqual(statuses, [1])
        self.assertIn("no", self.told)

    def test_bot_fails(self) -> None:
        """A bot that can't start ends the process in the same way."""
        running = self.service(started=fail(RuntimeError("no storage")))
        running.startService()
        self.flushLoggedErrors(RuntimeError)
        self.assertIn("no storage", self.told)
        self.assertTrue(self.reactor.triggers["after"]["shutdown"])

    def test_hang_up(self) -> None:
        """SIGHUP reopens the log and reads certificates again."""
        running = self.service()
        running.startService()
        running.hang_up()
        self.assertEqual((self.reopened, self.listeners.reloaded), (1, 1))

    def test_terminal_hangs_up(self) -> None:
        """When the terminal is gone, so is the bot that ran on it."""
        self.patch(service, "is_terminal", lambda: True)
        running = self.service()
        running.startService()
        self.patch(service, "is_terminal", lambda: False)
        running.hang_up()
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(self.reopened, 0)

    def test_event_loop(self) -> None:
        """A reactor's loop is what asyncio.get_event_loop() returns, even if the process had forgotten it."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        self.reactor._asyncioEventloop = loop
        before = asyncio.get_event_loop_policy()
        self.addCleanup(asyncio.set_event_loop_policy, before)
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
        self.service().startService()
        self.assertIs(asyncio.get_event_loop(), loop)

"""`twistd errklein` until the service starts."""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService, IServiceMaker
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from errklein import logs, tap
from errklein.ports.nodes import CHAT, INTAKE, ROLES
from errklein.service import startup_checks
from errklein.testing import TestBot
from tests import needs_network
from tests.processes import free_port


class TwistdTests(SynchronousTestCase):
    """The plugin of twistd."""

    def test_plugin(self) -> None:
        """twistd finds errklein."""
        [maker] = [found for found in getPlugins(IServiceMaker) if found.tapname == "errklein"]
        self.assertIs(maker.options, tap.Options)


class CommandLineTests(SynchronousTestCase):
    """The options of the command line."""

    def setUp(self) -> None:
        """Work in the test's directory, and restore the log's destinations."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)
        self.patch(logs, "destinations", logs.Destinations())
        self.patch(logs, "bridge_stdlib", lambda level: None)
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "config", None)

    def make(self, *arguments: str) -> IService:
        """Return the service that twistd creates from the arguments."""
        options = ServerOptions()
        options.parseOptions([*arguments])
        made: IService = options.loadedPlugins["errklein"].makeService(options.subOptions)
        return made

    def refusal(self, *arguments: str) -> str:
        """Return the error about the arguments."""
        exit_ = self.assertRaises(SystemExit, self.make, *arguments)
        self.assertIsInstance(exit_.code, str)
        # The source line of an error in config.py may follow.
        self.assertTrue(all(more.startswith("    ") for more in str(exit_.code).split("\n")[1:]), exit_.code)
        self.assertEqual(exit_.code[:10], "errklein: ")
        return str(exit_.code)

    def config(self, text: str = "BACKEND = 'Null'\n", name: str = "config.py") -> None:
        """Write a config.py."""
        (self.directory / name).write_text(text)

    def test_nothing_is_opened(self) -> None:
        """The creation of the service opens no port and creates no file."""
        self.config()
        before = set(self.directory.iterdir())
        port = free_port()
        self.make("-n", "errklein", "--web", f"tcp:{port}:interface=127.0.0.1")
        self.assertEqual({path for path in self.directory.iterdir() if path.name != "__pycache__"}, before)
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0)

    def test_one_line_for_each_mistake(self) -> None:
        """An invalid option or setting is an error of one line with the expected value."""
        self.config()
        self.config("raise KeyError('PASSWORD')", "broken.py")
        (self.directory / "file").write_text("")
        for arguments, *fragments in (
            (["--config", "missing.py"], "no configuration file at ", "errklein init"),
            (["--config", "broken.py"], "broken.py raised KeyError at line 1: 'PASSWORD'"),
            (["--config", "."], "can't be read: Is a directory"),
            (["--network", "ICQ"], "BACKEND", "'ICQ'", "IRC, "),
            (
                ["--plugin-dir", "nowhere"],
                f"--plugin-dir: expected an existing directory, not 'nowhere' in {Path.cwd()}",
            ),
            (["--data-dir", "file"], f"--data-dir {self.directory}/file: it isn't a directory"),
            (["--data-dir", "file/below"], "--data-dir", "can't be created"),
            (["--role", "worker"], "--role worker: a bot on SQLite is one process, which does everything"),
            (["--web", "nonsense"], "--web nonsense", "tcp:3141"),
            (["--web", ""], "--web '':", "tcp:3141"),
            (["--web", "tcp:port"], "--web tcp:port: 'port' isn't a number; expected", "tcp:3141"),
            (["--web", "tcp:80:speed=9"], "--web tcp:80:speed=9: unknown argument 'speed'"),
            (["--web", "tcp:80:a:9:b:c"], "--web tcp:80:a:9:b:c: too many arguments"),
            (["--web", "tls:port=80"], "--web tls:port=80: 'path' is missing"),
            (["--web", "http://localhost:80"], "--web http:", "Unknown endpoint type: 'http'", "tcp:3141"),
            (["--web", "ssl:0:privateKey=/no/key.pem"], "--web ssl:", "/no/key.pem"),
            (["--web", "tls:/no/certificates:0"], "--web tls:", "/no/certificates can't be read: No such file"),
            (["--web", f"tls:{self.directory}:0:speed=9"], "tls: has no argument speed"),
            (["--web", f"tls:{self.directory}:port"], "'port' isn't a number"),
            (["--web", f"tls:{self.directory}:0"], "has no .pem file with a private key and its certificate"),
        ):
            line = self.refusal("-n", "errklein", *arguments)
            for fragment in fragments:
                self.assertIn(fragment, line)
            self.assertLessEqual(line.count("tcp:3141"), 1)

    def test_problems_of_the_environment(self) -> None:
        """If an import fails, unmet requirements are reported instead; another exception is propagated."""

        def make_service(options: object) -> None:
            raise ImportError("cannot import name 'pass_context' from 'jinja2'")

        self.config()
        self.patch(tap, "_make_service", make_service)
        self.patch(tap, "environment_problems", lambda: ["Jinja2 2.11 is installed; …", "klein is missing; …"])
        self.assertEqual(self.refusal("-n", "errklein"), "errklein: Jinja2 2.11 is installed; …; klein is missing; …")
        self.patch(tap, "environment_problems", list)
        self.assertRaises(ImportError, self.make, "-n", "errklein")

    def test_problems_that_do_not_show_yet(self) -> None:
        """Administrators are notified of unmet requirements with which the bot can start."""
        bot = TestBot()
        bot.start()
        self.addCleanup(bot.stop)
        self.patch(startup_checks, "environment_problems", lambda: ["treq is missing; …"])
        startup_checks.warn_of_problems(bot.bot)
        bot.advance(startup_checks.REQUIREMENTS_DELAY)
        self.assertEqual(bot.sent_to("@admin"), ["treq is missing; …"])

    def test_mistakes_about_irc(self) -> None:
        """Invalid settings of IRC are errors before the fork, with the network's name in NETWORKS."""
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
                (f"NETWORKS = {{'libera': {settings!r}}}\n", "errklein: NETWORKS['libera']: "),
            ):
                self.config(text)
                line = self.refusal("errklein")
                self.assertEqual(line[: len(where)], where)
                for fragment in fragments:
                    self.assertIn(fragment, line)

    def test_log_file_that_cannot_be(self) -> None:
        """A log file in a missing directory is an error that names the setting."""
        self.config("BACKEND = 'Null'\nBOT_LOG_FILE = '/no/where/bot.log'\n")
        line = self.refusal("-n", "errklein")
        self.assertIn(
            "BOT_LOG_FILE: /no/where/bot.log can't be created, since /no/where isn't a directory; create it with `mkdir -p /no/where`",
            line,
        )
        self.assertIn("--logfile: /no/log", self.refusal("-n", "-l", "/no/log", "errklein"))

    def test_options_of_root(self) -> None:
        """twistd's options that need root are refused with the setting of systemd to use instead."""
        self.config()
        for option, value in (("--uid", "0"), ("--gid", "0"), ("--chroot", "/")):
            line = self.refusal("-n", option, value, "errklein")
            self.assertIn(f"twistd's {option} isn't supported; start errklein as the bot's user, with User=", line)

    def test_suggestions_and_lines(self) -> None:
        """An unknown backend or storage has a suggestion, the available names and the line in config.py, if it is there."""
        others = "others are found in installed packages and BOT_EXTRA"
        for text, arguments, begin, end in (
            (
                "BACKEND = 'Irk'\n",
                [],
                "BACKEND: unknown backend 'Irk'; did you mean 'IRC'? Available: ",
                "(config.py line 1)",
            ),
            ("\nBACKEND = 'Zephyr'\n", [], "BACKEND: unknown backend 'Zephyr'. Available: ", "(config.py line 2)"),
            (
                "BACKEND = 'Null'\n",
                ["--network", "Irk"],
                "BACKEND: unknown backend 'Irk'; did you mean 'IRC'?",
                "",
            ),
            (
                "NETWORKS = {\n'a': {'BACKEND': 'Null'},\n'b': {\n'BACKEND': 'Irk'}}\n",
                [],
                "NETWORKS['b']: BACKEND: unknown backend 'Irk'; did you mean 'IRC'?",
                "(config.py line 4)",
            ),
            (
                "BACKEND = 'Null'\nSTORAGE = 'shelv'\n",
                [],
                f"STORAGE: unknown storage 'shelv'; did you mean 'Shelf'? Available: Shelf, Memory; {others}_STORAGE",
                "(config.py line 2)",
            ),
            (
                "BACKEND = 'Null'\nBOT_LOG_FILE = '/no/log'\n",
                [],
                "BOT_LOG_FILE: /no/log can't be",
                "(config.py line 2)",
            ),
        ):
            self.config(text)
            line = self.refusal("-n", "errklein", *arguments)
            self.assertTrue(line.startswith(f"errklein: {begin}"), line)
            self.assertTrue(line.endswith(end), line)

    def test_text_backend_in_a_daemon(self) -> None:
        """The backend Text is an error for a daemon, by option or setting."""
        self.config()
        self.assertIn("twistd -n", self.refusal("errklein", "--network", "text"))
        self.config("NETWORKS = {'a': {'BACKEND': 'Null'}, 'b': {'BACKEND': 'Text'}}")
        self.assertIn("twistd -n", self.refusal("errklein"))

    def test_configuration_without_endpoints(self) -> None:
        """Only the endpoints of --web, or of WEB, are opened; with neither a configuration nor --network, the default one is."""
        endpoints: list[Any] = []
        self.patch(startup_checks, "check_start", lambda *args, **kwargs: endpoints.append(list(args[3].web)))
        self.config()
        self.make("errklein")
        self.make("errklein", "--web", "tcp:0", "--web", "tcp:1")
        self.config("BACKEND = 'Null'\nWEB = ['tcp:3', 'tcp:4']\n")
        self.make("errklein")
        self.make("errklein", "--web", "tcp:5")
        self.config("BACKEND = 'Null'\nWEB = 'tcp:6'\n")
        self.make("errklein")
        (self.directory / "config.py").unlink()
        self.make("errklein", "--network", "Null")
        self.make("errklein", "--network", "Null", "--web", "tcp:2")
        self.make("-n", "errklein")
        with_config = [[], ["tcp:0", "tcp:1"], ["tcp:3", "tcp:4"], ["tcp:5"], ["tcp:6"]]
        self.assertEqual(endpoints, [*with_config, [], ["tcp:2"], ["tcp:3141:interface=127.0.0.1"]])

    def test_endpoints_in_the_configuration(self) -> None:
        """Errors about WEB and STATUS name the setting and its line; --web and --status take precedence."""
        needs_network()
        for settings, arguments, error in (
            ("WEB = 'tcp:port'", [], "WEB tcp:port: 'port' isn't a number; expected a Twisted endpoint"),
            ("WEB = 3141", [], "WEB: expected a Twisted endpoint such as 'tcp:3141:interface=127.0.0.1', or a list of"),
            ("WEB = ['tcp:0', 1]", [], "or a list of them, not one with 1 in it (config.py line 2)"),
            ("WEB = ''", [], "WEB '': an endpoint description has a kind"),
            ("STATUS = '9141'", [], "STATUS 9141: "),
            ("STATUS = WEB = 'tcp:0'", [], "STATUS tcp:0: the endpoint is also that of WEB; expected one that isn't"),
            ("STATUS = 'tcp:0'", ["--web", "tcp:0"], "STATUS tcp:0: the endpoint is also that of --web; expected"),
            ("WEB = 'tcp:0'", ["--status", "tcp:0"], "--status tcp:0: the endpoint is also that of WEB; expected"),
        ):
            self.config(f"NETWORKS = {{'here': {{'BACKEND': 'Null'}}}}\n{settings}\n")
            line = self.refusal("-n", "errklein", *arguments)
            self.assertIn(error, line)
            if not arguments:
                self.assertTrue(line.endswith(" (config.py line 2)"), line)
        self.config("BACKEND = 'Null'\nWEB = STATUS = 'tcp:port'\n")
        self.make("-n", "errklein", "--web", "tcp:0", "--status", "tcp:0:interface=127.0.0.1")

    def test_logger_of_the_user(self) -> None:
        """errklein's log is used, unless --logger or --syslog select another."""
        self.config()
        for arguments, expected in (
            ([], logs.observer),
            (["--logger", "errklein.logs.format_line"], logs.format_line),
            (["--syslog"], None),
        ):
            options = ServerOptions()
            options.parseOptions(["-n", *arguments, "errklein"])
            self.assertIs(options["logger"], expected)

    def test_roles(self) -> None:
        """A process does all by default, or the parts that --role names; another name is an error."""
        for given, expected in (([], ROLES), (["--role", "chat, intake"], (INTAKE, CHAT))):
            options = ServerOptions()
            options.parseOptions(["-n", "errklein", *given])
            self.assertEqual(options.subOptions["roles"], expected)
        error = self.assertRaises(UsageError, ServerOptions().parseOptions, ["errklein", "--role", "wroker"])
        self.assertIn("expected intake, worker, chat, or several with commas between, not 'wroker'", str(error))

    def test_level_and_places(self) -> None:
        """The options of twistd and the configuration set the destinations of the log."""
        self.config("BACKEND = 'Null'\nBOT_LOG_LEVEL = 'ERROR'\n")
        self.make("errklein")
        self.assertEqual((logs.destinations.outputs, logs.destinations.level), (["twistd.log"], logging.ERROR))
        self.assertTrue(logs.destinations.rotated)
        self.make("-l", "other.log", "errklein")
        self.assertEqual(logs.destinations.outputs, ["other.log"])
        self.config("BACKEND = 'Null'\nBOT_LOG_FILE = 'bot.log'\n")
        self.make("errklein")
        self.assertEqual(logs.destinations.outputs, ["bot.log"])
        self.assertFalse(logs.destinations.rotated)

    def test_format_and_colors(self) -> None:
        """BOT_LOG_FORMATTER and TEXT_COLOR_THEME set the format and the colours of the log."""
        self.config("import logging\nBACKEND = 'Null'\nBOT_LOG_FORMATTER = logging.Formatter('MINE %(message)s')\n")
        self.make("errklein")
        log = logs.destinations
        written = io.StringIO()
        log.writer(written)({"log_format": "hello"})
        self.assertEqual(written.getvalue(), "MINE hello\n")
        self.assertEqual(log.theme, "light")
        self.config("BACKEND = 'Null'\nTEXT_COLOR_THEME = 'nocolor'\n")
        self.make("errklein")
        self.assertEqual((log.formatter, log.theme), (None, "nocolor"))

    def test_nobody_to_tell(self) -> None:
        """A bot that can't report to Sentry as configured doesn't start."""
        self.config("BACKEND = 'Null'\nBOT_LOG_SENTRY = True\n")
        self.assertRegex(
            self.refusal("errklein"), "^errklein: (SENTRY_DSN is missing|BOT_LOG_SENTRY: sentry_sdk isn't)"
        )

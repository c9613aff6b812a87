"""The command `errklein`."""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein._version import __version__
from errklein.cli._parser import RUN_EXAMPLES, make_parser
from errklein.config import load_config
from errklein.tap import Options
from tests.processes import ERRKLEIN, Program, free_port, run, write_config, write_plugin
from tests.service.test_daemon import CONNECTED, get

VERSION = """
    from errklein import BotPlugin, webhook

    class Version(BotPlugin):
        @webhook(methods=["GET"])
        async def version(self, request):
            return "{}"
"""


TALKER = """
from errklein import BotPlugin, botcmd

class {}(BotPlugin):
    @botcmd
    def talk(self, msg, args):
        return "blah"
"""


MIXED = """\
import time

import treq
from errklein import BotPlugin, webhook

class Mixed(BotPlugin):
    @webhook
    def mixed(self, request):
        time.sleep(3)
        self._notify()

    def _notify(self):
        treq.post("http://127.0.0.1:1/")
"""


class Commands(SynchronousTestCase):
    """Calls in this process."""

    def setUp(self) -> None:
        """Keep the output."""
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.directory = Path(self.mktemp())

    def test_init(self) -> None:
        """`init` creates a config.py and a plugin, and prints the next command."""
        self.assertEqual(cli.main(["init", str(self.directory)]), 0)
        self.assertTrue((self.directory / "config.py").is_file())
        self.assertTrue((self.directory / "plugins" / "example" / "example.plug").is_file())
        self.assertIn("errklein run", self.out.getvalue())

    def test_config_template(self) -> None:
        """The printed configuration is valid."""
        self.assertEqual(cli.main(["config", "template"]), 0)
        self.directory.mkdir()
        (self.directory / "printed.py").write_text(self.out.getvalue())
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "printed", None)
        self.assertEqual(load_config(self.directory / "printed.py").BOT_DATA_DIR, "/var/lib/errklein")

    def test_init_overwrites_nothing(self) -> None:
        """`init` changes nothing in a folder that has one of the files."""
        self.directory.mkdir()
        (self.directory / "config.py").write_text("mine")
        exit_ = self.assertRaises(SystemExit, cli.main, ["init", str(self.directory)])
        self.assertIn("config.py exists already", str(exit_.code))
        self.assertEqual([path.name for path in self.directory.iterdir()], ["config.py"])
        self.assertEqual((self.directory / "config.py").read_text(), "mine")

    def test_init_where_nothing_can_be_written(self) -> None:
        """A file that can't be written is an error that names it."""
        self.directory.write_text("a file")
        exit_ = self.assertRaises(SystemExit, cli.main, ["init", str(self.directory)])
        self.assertIn("can't be written", str(exit_.code))

    def test_version_and_mistakes(self) -> None:
        """--version prints the version; an unknown command or too many arguments are errors."""
        self.assertEqual(self.assertRaises(SystemExit, cli.main, ["--version"]).code, 0)
        self.assertEqual(self.out.getvalue(), f"errklein {__version__}\n")
        for arguments in ([], ["dance"], ["init"], ["init", "a", "b"], ["check", "--dance"]):
            self.assertEqual(self.assertRaises(SystemExit, cli.main, arguments).code, 2)

    def test_suggestions(self) -> None:
        """An error about the command line is one line with the name that was meant, and the command with the help."""
        for line, error in (
            ("chekc", "errklein: unknown command 'chekc'; did you mean 'check'? 'errklein --help' lists the commands."),
            ("dance", "errklein: unknown command 'dance'. 'errklein --help' lists the commands."),
            (
                "check --confg=x",
                "errklein check: unknown option '--confg'; did you mean '--config'? 'errklein check --help' lists the options.",
            ),
            ("check -z", "errklein check: unknown option '-z'. 'errklein check --help' lists the options."),
            (
                "storage gte x",
                "errklein storage: unknown action 'gte'; did you mean 'get'? 'errklein storage --help' lists the actions.",
            ),
            (
                "storage",
                "errklein storage: the action is missing; expected one of get, set, merge, init, move; 'errklein storage --help' lists the actions",
            ),
            (
                "",
                (
                    "errklein: the command is missing; "
                    "'errklein init bot' creates a bot in the folder bot, and 'errklein --help' lists the commands"
                ),
            ),
            (
                "check --config",
                "errklein check: the value of --config is missing; 'errklein check --help' describes it",
            ),
            ("init", "errklein init: the argument DIR is missing; usage: errklein init [-h] DIR"),
            ("init a b", "errklein init: unexpected argument 'b'; 'errklein init --help' shows the arguments"),
            ("--web tcp:1", "errklein: unknown option '--web'; it is an option of 'errklein run'"),
            (
                "-T --initt",
                "errklein: unknown option '--initt'; did you mean '--init'? 'errklein -T --help' lists the options.",
            ),
        ):
            self.err.seek(self.err.truncate(0))
            self.assertEqual(self.assertRaises(SystemExit, cli.main, line.split()).code, 2)
            self.assertEqual(self.err.getvalue(), error + "\n")

    def test_run_is_twistd(self) -> None:
        """`run` passes its arguments on to twistd, in the foreground and without a pid file."""
        self.patch(sys, "argv", ["errklein"])
        from twisted.scripts import twistd

        ran: list[list[str]] = []
        self.patch(twistd, "run", lambda: ran.append(list(sys.argv)))
        cli.main(["run", "--reactor", "epoll", "--config", "x.py", "--web", "tcp:0", "--watch"])
        cli.main(["run"])
        arguments = ["--config", "x.py", "--web", "tcp:0", "--watch"]
        common = ["twistd", "-n", "--pidfile="]
        self.assertEqual(ran, [[*common, "--reactor=epoll", "errklein", *arguments], [*common, "errklein"]])

    def test_without_command(self) -> None:
        """Without a command, errklein runs the bot of the config.py in the current directory."""
        from twisted.scripts import twistd

        self.patch(sys, "argv", ["errklein"])
        ran: list[list[str]] = []
        self.patch(twistd, "run", lambda: ran.append(list(sys.argv)))
        self.directory.mkdir()
        write_config(self.directory, {"BACKEND": "Text"})
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.directory)
        cli.main([])
        self.assertEqual(ran, [["twistd", "-n", "--pidfile=", "errklein"]])


class HelpTests(SynchronousTestCase):
    """The help of the commands."""

    def setUp(self) -> None:
        """Keep the output."""
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)

    def parsers(self, parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
        """Yield the parser and those of its commands."""
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield from self.parsers(command)

    def test_examples(self) -> None:
        """Each command has a description, and the examples in the help are valid command lines."""
        parsers = list(self.parsers(make_parser()))
        texts = [f"{parser.epilog}" for parser in parsers] + [RUN_EXAMPLES]
        lines = [line for text in texts for line in text.splitlines() if line.startswith("  errklein ")]
        self.assertGreater(len(lines), 20)
        for line in lines:
            _, *arguments = shlex.split(re.split(r"   +| [<>|]", line.strip())[0])
            if "--help" not in arguments:
                known, rest = make_parser().parse_known_args(arguments)
                if known.command == "run":
                    Options().parseOptions(rest)
                else:
                    self.assertEqual(rest, [], line)
        undescribed = {parser.prog for parser in parsers if not parser.description}
        self.assertEqual(undescribed, {"errklein run"})

    def test_run(self) -> None:
        """`run --help` shows the options of twistd errklein, without naming twistd."""
        self.assertEqual(self.assertRaises(SystemExit, cli.main, ["run", "--help"]).code, 0)
        self.assertTrue(self.out.getvalue().startswith("Usage: errklein run "))
        self.assertIn("--web=", self.out.getvalue())
        self.assertNotIn("twistd", self.out.getvalue())

    def test_version_of_run(self) -> None:
        """`run --version` prints the version of errklein."""
        self.assertEqual(self.assertRaises(SystemExit, cli.main, ["run", "--version"]).code, 0)
        self.assertEqual(self.out.getvalue(), f"errklein {__version__}\n")

    def test_unknown_option_of_run(self) -> None:
        """An unknown option of `run`, or an invalid value, is an error of one line that names the help."""
        for arguments, text in (
            (
                ["--wbe", "tcp:80"],
                "unknown option '--wbe'; did you mean '--web'? 'errklein run --help' lists the options.",
            ),
            (["--web"], "the value of --web is missing; 'errklein run --help' describes it"),
            (["now"], "unexpected argument 'now'; 'errklein run --help' shows the options"),
            (
                ["--role", "workr"],
                "--role: expected intake, worker, chat, or several with commas between, not 'workr'; 'errklein run --help' shows the options",
            ),
            *(
                (
                    ["--processes", number],
                    "--processes: expected a number from 1; 'errklein run --help' shows the options",
                )
                for number in ("0", "two", "-1", "")
            ),
            (
                ["--processes", "2", "--role", "chat"],
                "--role and --processes exclude each other; 'errklein run --help' shows the options",
            ),
        ):
            errors = io.StringIO()
            self.patch(sys, "stderr", errors)
            self.assertEqual(self.assertRaises(SystemExit, cli.main, ["run", *arguments]).code, 2)
            self.assertEqual(errors.getvalue(), f"errklein run: {text}\n")


class Processes(SynchronousTestCase):
    """Calls in processes of their own."""

    timeout = 240

    def setUp(self) -> None:
        """Make a directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def test_new_project_is_sound(self) -> None:
        """A new project passes `check`, which shows the plugin and creates no files."""
        self.assertEqual(run(ERRKLEIN, "init", "project", cwd=self.directory).returncode, 0)
        project = self.directory / "project"
        result = run(ERRKLEIN, "check", cwd=project)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = result.stdout.splitlines()
        at = lines.index("Example: can be activated")
        self.assertEqual(
            lines[at + 1 : at + 3],
            [
                "    POST /example: example, in a thread (plain function), not verified",
                "    !hello: hello, in a thread (plain function)",
            ],
        )
        self.assertFalse((project / "data").exists())

    def test_new_project_passes_its_tests(self) -> None:
        """The tests that `init` writes pass with the command that it prints."""
        created = run(ERRKLEIN, "init", "project", cwd=self.directory)
        trial = [sys.executable, "-m", "twisted.trial"]
        *_, printed = created.stdout.split("&&")
        result = run(trial, *printed.split()[1:], cwd=self.directory / "project")
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("PASSED (successes=2)", result.stdout)

    def test_check_finds_what_is_wrong(self) -> None:
        """Plugins that can't be loaded are problems, with exit status 1; the others are shown."""
        write_plugin(self.directory, "Good", dedent(VERSION))
        write_plugin(self.directory, "Bad", "import a_module_that_is_not_there\n")
        write_plugin(self.directory, "Worse", "def (\n")
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertIn(
            "Good: can be activated\n    GET /version: version, on the reactor (async def), not verified\n",
            result.stdout,
        )
        self.assertIn("Bad: broken", result.stdout)
        problems = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
        self.assertEqual(len(problems), 2, result.stdout)
        self.assertTrue(result.stdout.endswith("\n\nFound 2 problems and no warnings.\n"), result.stdout)
        self.assertIn("a_module_that_is_not_there", "".join(problems))

    def test_check_shows_own_plugins_first(self) -> None:
        """Core plugins are shown with -v, after the others and the collections of flows."""
        write_plugin(self.directory, "Zoo", TALKER.format("Zoo"))
        flows = "from errbot import BotFlow, botflow\n\nclass Steps(BotFlow):\n    @botflow\n    def {}(self, flow):\n        {}\n"
        for name, flow, body in (("Steps", "guess", "pass"), ("Broken", "bad", "flow.connect(1, 2, 3, 4)")):
            (self.directory / f"{name.lower()}.flow").write_text(f"[Core]\nName = {name}\nModule = {name.lower()}\n")
            (self.directory / f"{name.lower()}.py").write_text(flows.format(flow, body))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        brief, verbose = (run(ERRKLEIN, "check", *more, cwd=self.directory).stdout for more in ((), ("-v",)))
        lines = [line for line in verbose.splitlines() if line and not line.startswith(" ")]
        self.assertEqual(lines[1], "Zoo: can be activated")
        self.assertIn("Backup: can be activated", lines)
        self.assertEqual(
            [line for line in brief.splitlines() if "flows" in line],
            ["Broken: flows", "Steps: flows", "    !flows start guess"],
        )
        self.assertNotIn("Backup", brief)
        self.assertRegex(brief, "\nand [0-9]+ core plugins, which -v shows\n")
        self.assertIn("\nproblem: Broken.bad can't be built: ValueError: ", brief)

    def test_check_finds_placeholders(self) -> None:
        """A value that an example has in place of a real one is a problem that names it."""
        identity = {"nickname": "errklein", "server": "irc.example", "sasl_password": "xoxb-…"}
        settings = {
            "BOT_ADMINS": ("your_nick!*@your.host", "me!*@here"),
            "CHATROOM_PRESENCE": (("#your-room", "pw"), "#ok"),
        }
        write_config(self.directory, {"NETWORKS": {"a": {"BACKEND": "IRC", "BOT_IDENTITY": identity, **settings}}})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(
            [line for line in result.stdout.splitlines() if line.startswith("problem")],
            [
                f"problem: NETWORKS['a']: {where} is a placeholder of an example; replace it by your own value"
                for where in (
                    "BOT_IDENTITY['sasl_password']",
                    "BOT_ADMINS: 'your_nick!*@your.host'",
                    "CHATROOM_PRESENCE: '#your-room'",
                )
            ],
        )

    def test_check_shows_source(self) -> None:
        """Below an error in a plugin's code is the source line, and how to correct it if that is known."""
        for name, source in (
            ("Name", "class Name(BotPlugin): pass\n"),
            ("Syntax", "def (\n"),
            ("Secret", "x = int('hunter22')\n"),
        ):
            write_plugin(self.directory, name, source)
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        for shown in (
            (
                "name 'BotPlugin' is not defined\n    1 | class Name(BotPlugin): pass\n"
                "    Add `from errbot import BotPlugin` at the top of the file.\n"
            ),
            "SyntaxError: invalid syntax\n    1 | def (\n      |     ^\n",
            "    1 | x = int('•••')\n",
        ):
            self.assertIn(shown, result.stdout)

    def test_check_names_directories_without_plugins(self) -> None:
        """A --plugin-dir without a `.plug` file is a warning with the option and a path without "..", which is no problem."""
        for name in ("here", "empty"):
            (self.directory / name).mkdir()
        result = run(ERRKLEIN, "check", "--plugin-dir", "../empty", cwd=self.directory / "here")
        self.assertEqual(result.returncode, 0, result.stdout)
        warning = f"warning: --plugin-dir {self.directory}/empty: no .plug file in it or its folders\n"
        self.assertIn(warning, result.stdout)

    def test_check_warns_of_conflicting_requirements(self) -> None:
        """A requirement that is installed in another version is a warning, a missing one a problem."""
        write_plugin(self.directory / "old", "Old", TALKER.format("Old"))
        write_plugin(self.directory / "new", "New", TALKER.format("New"))
        (self.directory / "old" / "requirements.txt").write_text("Jinja2<3\n")
        for strict, status in (((), 0), (("--strict",), 1)):
            result = run(ERRKLEIN, "check", *strict, "--plugin-dir", "old", cwd=self.directory)
            self.assertEqual(result.returncode, status, result.stdout)
            self.assertIn("\nOld: can be activated\n", result.stdout)
            self.assertIn("\nwarning: Jinja2<3 is required, but errklein's environment has Jinja2 3.", result.stdout)
        (self.directory / "new" / "requirements.txt").write_text("no-such-thing\n")
        result = run(ERRKLEIN, "check", "--plugin-dir", "new", cwd=self.directory)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn("\nNew: can be activated\n", result.stdout)
        self.assertRegex(result.stdout, r"\nproblem: \S+ requires packages that are not installed: no-such-thing\n")

    def test_check_tells_what_runs_on_the_reactor(self) -> None:
        """A plain handler that runs on the reactor because of a name is shown with the name."""
        write_plugin(self.directory, "Mixed", MIXED)
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 0, result.stdout)
        reason = "names treq in _notify"
        self.assertIn(f"    POST, GET /mixed: mixed, on the reactor ({reason}), not verified\n", result.stdout)

    def damage(self) -> None:
        """Pretend that errklein requires missing packages; the current directory is searched first."""
        info = self.directory / "errklein-9.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: errklein\nVersion: 9.0\nRequires-Dist: Twisted<1\nRequires-Dist: no-such-thing\n"
        )

    def test_check_of_a_damaged_environment(self) -> None:
        """Each unmet requirement of errklein is a problem, with the command that repairs it."""
        self.damage()
        write_plugin(self.directory, "Good", dedent(VERSION))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        lines = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
        self.assertEqual(len(lines), 2, result.stdout)
        self.assertRegex(
            lines[0], r"Twisted 2[\d.]+ is installed; errklein requires Twisted<1\. Repair: .* install 'Twisted<1'"
        )
        self.assertIn("no-such-thing is missing", lines[1])
        self.assertIn("Found 2 problems and no warnings.", result.stdout)
        self.assertIn("Good: can be activated", result.stdout)

    def test_check_of_a_ruined_environment(self) -> None:
        """The unmet requirements are reported also if errklein can't be imported, and in one line when a bot starts."""
        self.damage()
        (self.directory / "klein.py").write_text("raise ImportError('klein is too old')\n")
        write_config(self.directory, {})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no-such-thing is missing", result.stdout)
        self.assertEqual(
            result.stderr, "errklein: no further checks were possible: ImportError: klein is too old\n", result.stderr
        )
        result = run(ERRKLEIN, "run", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no-such-thing is missing; errklein requires it. Repair: ", result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)

    def test_check_tells_of_clashes(self) -> None:
        """Two commands of the same name are a warning with the new name of the second one."""
        for name in ("One", "Two"):
            write_plugin(self.directory, name, TALKER.format(name))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("warning: Two.talk clashes with One.talk so it has been renamed two-talk\n", result.stdout)
        self.assertIn("Found no problems and 1 warning.", result.stdout)

    def test_check_of_commands_with_names_of_attributes(self) -> None:
        """A command named `name` is shown; one that an attribute of the running plugin hides isn't."""
        methods = [
            f"    @botcmd\n    def {name}(self, msg, args): return '{name}'\n"
            for name in ("name", "items", "config", "log", "namespace")
        ]
        source = "from errbot import BotPlugin, botcmd\nclass Odd(BotPlugin):\n" + "".join(methods)
        write_plugin(self.directory, "Odd", source)
        rules = {"Odd:name": {"allowusers": "a"}, "config": {"allowusers": "a"}}
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory), "ACCESS_CONTROLS": rules})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        shown = result.stdout.partition("Odd: can be activated\n")[2].splitlines()
        names = ("items", "name")
        self.assertEqual(shown[:2], [f"    !{name}: {name}, in a thread (plain function)" for name in names])
        self.assertFalse(shown[2].startswith(" "), shown[2])
        warning = "warning: ACCESS_CONTROLS: the pattern 'config' matches no command; did you mean 'config_reload'?"
        self.assertEqual([line for line in shown if line.startswith("warning: ACCESS")], [warning])

    def test_check_of_a_wrong_configuration(self) -> None:
        """An invalid setting is an error of one line."""
        irc = {"BACKEND": "IRC", "BOT_IDENTITY": {"nickname": "a bot", "server": "localhost"}, "BOT_ADMINS": ("me",)}
        for settings, named in (({"WEBHOOK_POOLSIZE": 0}, "WEBHOOK_POOLSIZE"), (irc, "'a bot'")):
            write_config(self.directory, settings)
            result = run(ERRKLEIN, "check", cwd=self.directory)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            [line] = result.stderr.splitlines()
            self.assertIn(named, line)

    def test_configuration_of_errbot(self) -> None:
        """A bot runs with a config.py in which a plugin has settings of errklein's names, with values of another type."""
        write_config(self.directory, {"NETWORKS": ["10.0.0.0/8"], "WEBHOOKS": ["a"], "WEB": {"a": 1}, "STATUS": 1})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout.count("errklein uses its default"), 4)
        port, status = free_port(), free_port()
        options = "--web", f"tcp:{port}:interface=127.0.0.1", "--status", f"tcp:{status}:interface=127.0.0.1"
        program = Program(ERRKLEIN, "run", *options, cwd=self.directory)
        self.addCleanup(program.kill)
        program.wait_for(CONNECTED)
        self.assertEqual(get(port, "/echo")[0], 200)
        self.assertEqual(get(status, "/ready")[0], 200)
        self.assertEqual(get(status, "/metrics")[0], 200)
        program.signal(signal.SIGINT)
        self.assertEqual(program.wait(), -signal.SIGINT)
        self.assertNotIn("Traceback", program.text)

    def test_strict_check(self) -> None:
        """With --strict, a warning has status 1; without one, the status is 0."""
        for settings, strict in (({"BOT_LOG_LEVL": 10}, 1), ({}, 0)):
            write_config(self.directory, {"WEBHOOK_METHODS": ("POST",), **settings})
            statuses = [run(ERRKLEIN, "check", *more, cwd=self.directory).returncode for more in ((), ("--strict",))]
            self.assertEqual(statuses, [0, strict])

    def test_check_of_unusable_data(self) -> None:
        """A database that the bot can't open, and a log file that it can't write, are errors of one line."""
        database = self.directory / "errklein.sqlite"
        database.write_text("nonsense " * 1000)
        log_file = {"BOT_LOG_FILE": "/missing/errklein.log"}
        cases: list[tuple[dict[str, object], str]] = [
            ({}, f"errklein: {database}: the file is damaged"),
            (
                log_file,
                (
                    "errklein: BOT_LOG_FILE: /missing/errklein.log can't be created, since /missing isn't a directory; "
                    "create it with `mkdir -p /missing`"
                ),
            ),
            (
                {"BOT_DATA_DIR": str(database)},
                (
                    f"errklein: BOT_DATA_DIR {database}: it isn't a directory; "
                    f"name another path, such as {database.parent / 'errklein-data'}"
                ),
            ),
        ]
        for settings, expected in cases:
            write_config(self.directory, {"BOT_DATA_DIR": str(self.directory), **settings})
            result = run(ERRKLEIN, "check", cwd=self.directory)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            [line] = result.stderr.splitlines()
            self.assertTrue(line.startswith(expected), line)

    def test_reload(self) -> None:
        """`run --watch` reloads changed plugins and loads added ones; the old code runs on if the new one is invalid."""
        write_plugin(self.directory, "Version", dedent(VERSION).format("one"))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        port = free_port()
        program = Program(ERRKLEIN, "run", "--watch", "--web", f"tcp:{port}:interface=127.0.0.1", cwd=self.directory)
        self.addCleanup(program.kill)
        program.wait_for(CONNECTED)
        program.wait_for("Watching")
        self.assertEqual(get(port, "/version"), (200, b"one"))
        source = self.directory / "version" / "version.py"
        source.write_text("def (\n")
        program.wait_for("Version could not be loaded: ")
        self.assertEqual(get(port, "/version"), (200, b"one"))
        source.write_text(dedent(VERSION).format("two"))
        program.wait_for("Version reloaded, since version.py changed")
        self.assertEqual(get(port, "/version"), (200, b"two"))
        write_plugin(self.directory, "Other", TALKER.format("Other"))
        program.wait_for("Other loaded from ")
        program.signal(signal.SIGINT)
        self.assertEqual(program.wait(), -signal.SIGINT)

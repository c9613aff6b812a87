"""The command `errklein`."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein._version import __version__
from errklein.config import load_config
from tests.processes import ERRKLEIN, Program, free_port, run, write_config, write_plugin
from tests.service.test_daemon import CONNECTED, get

VERSION = """
    from errklein import BotPlugin, webhook

    class Version(BotPlugin):
        @webhook
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
    """Without a process of its own."""

    def setUp(self) -> None:
        """Listen to what is printed."""
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.directory = Path(self.mktemp())

    def test_init(self) -> None:
        """A new folder has a config.py and a plugin, and the user is told what to do next."""
        self.assertEqual(cli.main(["init", str(self.directory)]), 0)
        self.assertTrue((self.directory / "config.py").is_file())
        self.assertTrue((self.directory / "plugins" / "example" / "example.plug").is_file())
        self.assertIn("errklein run", self.out.getvalue())

    def test_config_template(self) -> None:
        """The configuration with every setting is printed, and is one that errklein takes."""
        self.assertEqual(cli.main(["config-template"]), 0)
        self.directory.mkdir()
        (self.directory / "printed.py").write_text(self.out.getvalue())
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(sys.modules.pop, "printed", None)
        self.assertEqual(load_config(self.directory / "printed.py").BOT_DATA_DIR, "/var/lib/errklein")

    def test_init_overwrites_nothing(self) -> None:
        """A folder that has one of the files already is left as it is."""
        self.directory.mkdir()
        (self.directory / "config.py").write_text("mine")
        exit_ = self.assertRaises(SystemExit, cli.main, ["init", str(self.directory)])
        self.assertIn("config.py exists already", str(exit_.code))
        self.assertEqual([path.name for path in self.directory.iterdir()], ["config.py"])
        self.assertEqual((self.directory / "config.py").read_text(), "mine")

    def test_init_where_nothing_can_be_written(self) -> None:
        """What can't be written is named."""
        self.directory.write_text("a file")
        exit_ = self.assertRaises(SystemExit, cli.main, ["init", str(self.directory)])
        self.assertIn("can't be written", str(exit_.code))

    def test_version_and_mistakes(self) -> None:
        """--version says it; a command that there isn't, or an argument too many, is refused."""
        self.assertEqual(self.assertRaises(SystemExit, cli.main, ["--version"]).code, 0)
        self.assertEqual(self.out.getvalue(), f"errklein {__version__}\n")
        for arguments in ([], ["dance"], ["init"], ["init", "a", "b"], ["check", "--dance"]):
            self.assertEqual(self.assertRaises(SystemExit, cli.main, arguments).code, 2)

    def test_run_is_twistd(self) -> None:
        """`run` passes its arguments on to twistd, in the foreground and without a pid file."""
        self.patch(sys, "argv", ["errklein"])
        from twisted.scripts import twistd

        ran: list[list[str]] = []
        self.patch(twistd, "run", lambda: ran.append(list(sys.argv)))
        cli.main(["run", "--reactor", "epoll", "--config", "x.py", "--web", "tcp:0", "--reload"])
        cli.main(["run"])
        arguments = ["--config", "x.py", "--web", "tcp:0", "--reload"]
        common = ["twistd", "-n", "--pidfile="]
        self.assertEqual(ran, [[*common, "--reactor=epoll", "errklein", *arguments], [*common, "errklein"]])

    def test_without_a_word(self) -> None:
        """Where there is a config.py the bot is run, as errbot is."""
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


class Processes(SynchronousTestCase):
    """As users call it."""

    timeout = 60

    def setUp(self) -> None:
        """Make a directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def test_new_project_is_sound(self) -> None:
        """What `init` writes passes `check`, which shows the plugin and leaves nothing behind."""
        self.assertEqual(run(ERRKLEIN, "init", "project", cwd=self.directory).returncode, 0)
        project = self.directory / "project"
        result = run(ERRKLEIN, "check", cwd=project)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = result.stdout.splitlines()
        at = lines.index("Example: can be activated")
        self.assertEqual(
            lines[at + 1 : at + 3],
            [
                "    POST /example: example, in a thread (plain function)",
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
        """Each plugin that can't be loaded is told, the good ones are shown nevertheless, and the status tells."""
        write_plugin(self.directory, "Good", dedent(VERSION))
        write_plugin(self.directory, "Bad", "import a_module_that_is_not_there\n")
        write_plugin(self.directory, "Worse", "def (\n")
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertIn(
            "Good: can be activated\n    POST, GET /version: version, on the reactor (async def)\n", result.stdout
        )
        self.assertIn("Bad: broken", result.stdout)
        problems = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
        self.assertEqual(len(problems), 2, result.stdout)
        self.assertIn("a_module_that_is_not_there", "".join(problems))

    def test_check_tells_what_blocks_the_reactor(self) -> None:
        """A plain handler that a helper puts on the reactor is shown with the reason, and warned of if it blocks."""
        write_plugin(self.directory, "Mixed", MIXED)
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 0, result.stdout)
        reason = "names treq at line 13 in _notify"
        self.assertIn(f"    POST, GET /mixed: mixed, on the reactor ({reason})\n", result.stdout)
        self.assertIn(
            f"warning: Mixed.mixed runs on the reactor, since it {reason}, and would block it: it uses time.sleep at line 9. ",
            result.stdout,
        )

    def damage(self) -> None:
        """Have an errklein that requires what isn't there; the current directory is searched first."""
        info = self.directory / "errklein-9.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: errklein\nVersion: 9.0\nRequires-Dist: Twisted<1\nRequires-Dist: no-such-thing\n"
        )

    def test_check_of_a_damaged_environment(self) -> None:
        """What another program did to errklein's own requirements is told, a line each with the repair, and the status tells."""
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
        self.assertIn("Good: can be activated", result.stdout)

    def test_check_of_a_ruined_environment(self) -> None:
        """So it is where errklein can't even be imported, and at the start of a bot, in one line."""
        self.damage()
        (self.directory / "klein.py").write_text("raise ImportError('klein is too old')\n")
        write_config(self.directory, {})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no-such-thing is missing", result.stdout)
        self.assertEqual(
            result.stderr, "errklein: nothing else can be checked: ImportError: klein is too old\n", result.stderr
        )
        result = run(ERRKLEIN, "run", cwd=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no-such-thing is missing; errklein requires it. Repair: ", result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)

    def test_check_tells_of_clashes(self) -> None:
        """Commands of one name are told, with the name that the second gets; that isn't wrong."""
        for name in ("One", "Two"):
            write_plugin(self.directory, name, TALKER.format(name))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        result = run(ERRKLEIN, "check", cwd=self.directory)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("warning: Two.talk clashes with One.talk so it has been renamed two-talk\n", result.stdout)

    def test_check_of_commands_with_names_of_attributes(self) -> None:
        """A command called `name` is shown as any other; one that an attribute hides once the bot runs is not."""
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
        warning = "warning: ACCESS_CONTROLS: the pattern 'config' is for no command that there is"
        self.assertEqual([line for line in shown if line.startswith("warning: ACCESS")], [warning])

    def test_check_of_a_wrong_configuration(self) -> None:
        """A wrong setting is one line."""
        irc = {"BACKEND": "IRC", "BOT_IDENTITY": {"nickname": "a bot", "server": "localhost"}, "BOT_ADMINS": ("me",)}
        for settings, named in (({"WEBHOOK_POOLSIZE": 0}, "WEBHOOK_POOLSIZE"), (irc, "'a bot'")):
            write_config(self.directory, settings)
            result = run(ERRKLEIN, "check", cwd=self.directory)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            [line] = result.stderr.splitlines()
            self.assertIn(named, line)

    def test_reload(self) -> None:
        """`run --reload` reloads changed plugins and loads added ones; the old code runs on if the new one is invalid."""
        write_plugin(self.directory, "Version", dedent(VERSION).format("one"))
        write_config(self.directory, {"BOT_EXTRA_PLUGIN_DIR": str(self.directory)})
        port = free_port()
        program = Program(ERRKLEIN, "run", "--reload", "--web", f"tcp:{port}:interface=127.0.0.1", cwd=self.directory)
        self.addCleanup(program.kill)
        program.wait_for(CONNECTED)
        program.wait_for("Watching")
        self.assertEqual(get(port, "/version"), (200, b"one"))
        source = self.directory / "version" / "version.py"
        source.write_text("def (\n")
        program.wait_for("Version can't be reloaded: ")
        self.assertEqual(get(port, "/version"), (200, b"one"))
        source.write_text(dedent(VERSION).format("two"))
        program.wait_for("Version reloaded, since version.py changed")
        self.assertEqual(get(port, "/version"), (200, b"two"))
        write_plugin(self.directory, "Other", TALKER.format("Other"))
        program.wait_for("Other loaded from ")
        program.signal(signal.SIGINT)
        self.assertEqual(program.wait(), -signal.SIGINT)

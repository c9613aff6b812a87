"""errbot's command line works as it does on errbot."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from errklein import cli
from errklein._version import __version__
from errklein.cli import errbot_options
from tests.processes import write_config


class ErrbotCliTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Write a configuration, keep the output, and replace twistd's run."""
        from twisted.scripts import twistd

        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        write_config(self.directory, {})
        self.config = str(self.directory / "config.py")
        self.out = io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "argv", ["errbot"])
        self.ran: list[list[str]] = []
        self.patch(twistd, "run", lambda: self.ran.append(sys.argv[1:]))

    def test_run(self) -> None:
        """The bot runs in the foreground, with -T on the terminal; also without any option."""
        self.assertEqual(cli.main(["-c", self.config]), 0)
        self.assertEqual(errbot_options.main(["-T", "-c", self.config]), 0)
        self.assertEqual(errbot_options.main([]), 0)
        common = ["-n", "--pidfile=", "errklein"]
        self.assertEqual(
            self.ran,
            [[*common, "--config", self.config], [*common, "--config", self.config, "--network", "Text"], common],
        )

    def test_daemon(self) -> None:
        """A daemon has a pid file, by default in the data directory, which is created."""
        errbot_options.main(["-d", "-c", self.config])
        errbot_options.main(["-d", "-p", "/run/bot.pid", "-c", self.config])
        data = self.directory / "data"
        self.assertEqual([ran[0] for ran in self.ran], [f"--pidfile={data}/err.pid", "--pidfile=/run/bot.pid"])
        self.assertTrue(data.is_dir())

    def test_storage(self) -> None:
        """A plugin's values are set, merged and printed."""
        for option, text in (("--storage-set", "{'a': 1}"), ("--storage-merge", "{'b': 2}"), ("--storage-get", "")):
            self.patch(sys, "stdin", io.StringIO(text))
            self.assertEqual(cli.main([option, "Greeter", "-c", self.config]), 0)
        self.assertEqual(self.out.getvalue(), "{'a': 1, 'b': 2}\n")

    def test_unknown_namespace(self) -> None:
        """As on errbot, an unknown namespace prints an empty dict."""
        self.assertEqual(cli.main(["--storage-get", "Typo", "-c", self.config]), 0)
        self.assertEqual(self.out.getvalue(), "{}\n")

    def test_restore(self) -> None:
        """A backup is restored, from the data directory or from a file."""
        (self.directory / "data").mkdir()
        for name in ("data/backup.py", "other.py"):
            (self.directory / name).write_text("bot.plugin_manager['configs'] = {}\n")
        self.assertEqual(cli.main(["-c", self.config, "-r"]), 0)
        self.assertIn("1 value restored", self.out.getvalue())
        exit_ = self.assertRaises(SystemExit, cli.main, ["-c", self.config, "-r", str(self.directory / "other.py")])
        self.assertIn("has 1 value already", str(exit_.code))
        # The command in the error does what -r can't.
        _, *command = shlex.split(str(exit_.code).split("`")[1])
        self.assertEqual(cli.main(command), 0)

    def test_others(self) -> None:
        """The version, the backends, a new project and a new plugin."""
        self.assertEqual(self.assertRaises(SystemExit, cli.main, ["-v"]).code, 0)
        self.assertIn(__version__, self.out.getvalue())
        self.assertEqual(cli.main(["-l", "-c", self.config]), 0)
        self.assertRegex(self.out.getvalue(), r"\n  IRC +IRC, with TLS and SASL\n")
        self.assertEqual(cli.main(["-i", str(self.directory / "new")]), 0)
        self.assertTrue((self.directory / "new" / "config.py").is_file())
        answers = ["Mine", ""]
        self.patch(sys.modules["builtins"], "input", lambda question: answers.pop(0))
        self.assertEqual(cli.main(["--new-plugin", str(self.directory / "plugins")]), 0)
        self.assertTrue((self.directory / "plugins" / "mine" / "mine.plug").is_file())

    def test_mistakes(self) -> None:
        """Contradictory options are an error."""
        self.patch(sys, "stderr", io.StringIO())
        for arguments in (["-T", "-l"], ["--dance"], ["-c"], ["-c", "x", "run"]):
            self.assertEqual(self.assertRaises(SystemExit, cli.main, arguments).code, 2)


class ErrbotCommandTests(SynchronousTestCase):
    """`errklein errbot-command` writes a command `errbot`."""

    def setUp(self) -> None:
        """Create a directory for the command."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.command = self.directory / "errbot"
        self.patch(sys, "stdout", io.StringIO())

    def test_written(self) -> None:
        """The command accepts errbot's options, in any directory and with any path of Python."""
        python = self.directory / "a 'path'" / "python"
        python.parent.mkdir()
        python.symlink_to(sys.executable)
        write_config(self.directory, {})
        (self.directory / "errklein.py").write_text("raise SystemExit('imported from the current directory')")
        with patch.object(sys, "executable", str(python)):
            self.assertEqual(cli.main(["errbot-command", str(self.directory)]), 0)
        environment = {"PYTHONPATH": os.pathsep.join(sys.path[1:] if sys.path[0] == "" else sys.path)}
        for arguments, printed in ((["--version"], "errklein"), (["--storage-get", "Greeter"], "{}\n")):
            ran = subprocess.run(
                [self.command, *arguments],
                cwd=self.directory,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertIn(printed, ran.stdout)

    def test_existing(self) -> None:
        """An existing command is never overwritten, not even a broken link."""
        self.command.write_text("errbot's own")
        exit_ = self.assertRaises(SystemExit, cli.main, ["errbot-command", str(self.directory)])
        self.assertEqual(exit_.code, f"errklein: {self.command} exists already; no file was written")
        self.assertEqual(self.command.read_text(), "errbot's own")
        self.command.unlink()
        self.command.symlink_to("missing")
        self.assertRaises(SystemExit, cli.main, ["errbot-command", str(self.directory)])
        self.assertTrue(self.command.is_symlink())

    def test_missing_directory(self) -> None:
        """A missing directory isn't created, since it is in no PATH."""
        missing = self.directory / "missing"
        exit_ = self.assertRaises(SystemExit, cli.main, ["errbot-command", str(missing)])
        self.assertIn(f"{missing} is not a directory", str(exit_.code))
        self.assertFalse(missing.exists())

"""errbot's command line works as it does on errbot."""

from __future__ import annotations

import io
import sys
from pathlib import Path

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

    def test_others(self) -> None:
        """The version, the backends, a new project and a new plugin."""
        self.assertEqual(self.assertRaises(SystemExit, cli.main, ["-v"]).code, 0)
        self.assertIn(__version__, self.out.getvalue())
        self.assertEqual(cli.main(["-l", "-c", self.config]), 0)
        self.assertIn("IRC\nNull\n", self.out.getvalue())
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

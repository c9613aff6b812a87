"""Tests for packages that plugins require, with the real pip and a directory of wheels as index."""

from __future__ import annotations

import fcntl
import os
import sys
from importlib import import_module, invalidate_caches
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat._facade import step_aside
from errklein.compat._utils import install_packages
from errklein.plugins import packages
from errklein.plugins.packages import InstallError, PackageDirectory, RequirementFile
from errklein.plugins.subprocesses import ProgramError
from errklein.testing import TestBot
from tests import needs_network
from tests.plugins.wheels import write_wheel

PREFIX = "errklein_test_"
AS_PIP_SAYS = "errklein-test-"


class PackagesTestCase(SynchronousTestCase):
    """A test case with wheels, a data directory, and a directory of plugins."""

    def setUp(self) -> None:
        top = Path(self.mktemp()).absolute()
        self.plugins, self.wheels, self.data = top / "plugins", top / "wheels", top / "data"
        for directory in (self.plugins, self.wheels, self.data):
            directory.mkdir(parents=True)
        self.packages = PackageDirectory(self.data, installed=step_aside)
        environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        for patch in (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(sys, "path", list(sys.path)),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(invalidate_caches)
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Remove the installed modules from sys.modules."""
        for name in [name for name in sys.modules if name.startswith(PREFIX)]:
            del sys.modules[name]

    def install(self, text: str, name: str = "requirements.txt") -> None:
        """Install the requirements of a file with that text."""
        file = self.plugins / name
        file.write_text(text)
        self.packages.install(RequirementFile.read(file))

    def installed(self) -> list[str]:
        """Return the names of the distributions in the directory."""
        return sorted(found.name for found in distributions(path=[str(self.packages.path)]))


class PipTests(PackagesTestCase):
    """The packages that are installed, and their place."""

    def setUp(self) -> None:
        needs_network()
        super().setUp()

    def test_only_what_is_missing(self) -> None:
        """Packages of the environment aren't installed again; others are importable from the end of sys.path."""
        write_wheel(self.wheels, f"{PREFIX}one", requires=["Twisted", f"{PREFIX}two"])
        write_wheel(self.wheels, f"{PREFIX}two")
        before = sys.path[:]
        self.install(f"{PREFIX}one\n")
        self.assertEqual(self.installed(), [f"{PREFIX}one", f"{PREFIX}two"])
        self.assertEqual(sys.path, [*before, str(self.packages.path.resolve())])
        self.assertEqual(import_module(f"{PREFIX}two").answer, 42)
        self.assertEqual(sorted(path.name for path in self.packages.parent.iterdir()), [self.packages.path.name])

    def test_pinned_to_the_environment(self) -> None:
        """A package that requires another version of an installed one is rejected, with both versions."""
        for version in ("1.0", "1.1"):
            write_wheel(self.wheels, f"{PREFIX}old", version, requires=["Twisted<1"])
        write_wheel(self.wheels, "Twisted", "0.9", files={})
        error = self.assertRaises(InstallError, self.install, f"{PREFIX}old\n")
        self.assertIn(f"{AS_PIP_SAYS}old 1.1 requires Twisted<1, but errklein's environment has twisted 2", str(error))
        self.assertNotIn("\n", str(error))
        self.assertEqual(self.installed(), [])

    def test_failure_leaves_nothing(self) -> None:
        """A failed installation leaves no packages."""
        write_wheel(self.wheels, f"{PREFIX}one")
        self.assertRaises(InstallError, self.install, f"{PREFIX}one\n{PREFIX}nowhere\n")
        self.assertEqual([*self.packages.parent.iterdir()], [])

    def test_version_that_cannot_be_pinned(self) -> None:
        """A package of the environment whose version is invalid isn't installed a second time."""
        info = self.data / "environment" / f"{PREFIX}odd-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PREFIX}odd\nVersion: one\n")
        sys.path.append(str(info.parent))
        write_wheel(self.wheels, f"{PREFIX}odd")
        error = self.assertRaises(InstallError, self.install, f"{PREFIX}odd\n")
        self.assertIn(f"{PREFIX}odd 1.0 is required, but errklein's environment has {PREFIX}odd one", str(error))
        self.assertEqual(self.installed(), [])

    def test_beside_errbot(self) -> None:
        """Packages are installed also if errbot is in the environment, and may require it."""
        info = self.data / "environment" / "errbot-6.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: errbot\nVersion: 6.1.0\n")
        sys.path.append(str(info.parent))
        write_wheel(self.wheels, f"{PREFIX}one", requires=["errbot>=6.2"])
        self.install(f"{PREFIX}one\n")
        self.assertEqual(self.installed(), [f"{PREFIX}one"])


class PluginsTestCase(PackagesTestCase):
    """A test case with plugins in a bot."""

    def setUp(self) -> None:
        needs_network()
        super().setUp()

    def write(self, name: str, requirements: str, source: str) -> Path:
        """A plugin in a directory of its own; returns its requirements.txt."""
        directory = self.plugins / name.lower()
        directory.mkdir()
        (directory / f"{name.lower()}.plug").write_text(f"[Core]\nName = {name}\nModule = main\n")
        (directory / "main.py").write_text(
            f"{source}\nfrom errbot import BotPlugin, botcmd\nclass {name}(BotPlugin):\n"
            f"    @botcmd\n    def {name.lower()}(self, msg, args):\n        return str(needed.answer)\n"
        )
        file = directory / "requirements.txt"
        file.write_text(requirements)
        return file

    def start(self) -> TestBot:
        """A bot with the plugins, whose data stay."""
        bot = TestBot(plugin_dirs=[self.plugins], config={"BOT_DATA_DIR": str(self.data)})
        try:
            bot.start()
        except AssertionError as error:
            self.problem = str(error)
        self.addCleanup(bot.stop)
        return bot


class PluginTests(PluginsTestCase):
    """Plugins with requirements, in a bot."""

    def test_installed(self) -> None:
        """Requirements are installed before the plugin's code is loaded, and pip isn't run again for them."""
        write_wheel(self.wheels, f"{PREFIX}needed")
        self.write("Needy", f"errbot==6.1.9\nflask<2\n{PREFIX}needed==1.0\n", f"import {PREFIX}needed as needed")
        self.assertEqual(self.start().command("!needy"), "42")
        self.assertEqual(self.installed(), [f"{PREFIX}needed"])
        self.forget()
        with mock.patch.object(packages, "run", side_effect=AssertionError):
            self.assertEqual(self.start().command("!needy"), "42")

    def test_conflict(self) -> None:
        """A plugin that requires another version than installed is loaded; a warning names the requirement and the version."""
        file = self.write("Old", "Twisted<1\n", "import types; needed = types.SimpleNamespace(answer=1)")
        bot = self.start()
        (line,) = bot.sent_to("@admin")
        self.assertTrue(line.startswith("Twisted<1 is required, but errklein's environment has Twisted "), line)
        self.assertIn(f"({file}:1)", line)
        manager = bot.bot.plugin_manager
        self.assertEqual(manager.remark(manager.plugin("Old")), line)
        self.assertEqual(bot.command("!old"), "1")
        self.assertIn("reloaded", bot.command("!plugin reload Old"))
        self.assertIn(line, manager.remark(manager.plugin("Old")))

    def test_import_after_a_conflict(self) -> None:
        """If the installed version lacks what a plugin imports, the plugin isn't loaded, and the import is the reason."""
        self.write("Old", "Twisted<1\n", "from twisted import of_old as needed")
        bot = self.start()
        self.assertIn("of_old", self.problem)
        self.assertIsNone(bot.bot.plugin_manager.plugin("Old").instance)

    def test_two_that_disagree(self) -> None:
        """If two plugins require different versions, the first one's is installed, and both are loaded."""
        for version in ("1.0", "2.0"):
            write_wheel(self.wheels, f"{PREFIX}needed", version)
        self.write("First", f"{PREFIX}needed<2\n", f"import {PREFIX}needed as needed")
        self.write("Second", f"{PREFIX}needed>=2\n", f"import {PREFIX}needed as needed")
        bot = self.start()
        self.assertIn(f"{PREFIX}needed>=2 is required, but {self.packages.path} has", bot.sent_to("@admin")[0])
        self.assertEqual((bot.command("!first"), bot.command("!second")), ("42", "42"))

    def test_not_to_be_had(self) -> None:
        """A failed installation is reported in one line, at the start and in the plugin's remark."""
        file = self.write("Needy", f"{PREFIX}nowhere\n", f"import {PREFIX}nowhere as needed")
        bot = self.start()
        line = f"{file}: ERROR: No matching distribution found for {PREFIX}nowhere"
        self.assertTrue(any(told.startswith(line) for told in bot.sent_to("@admin")), bot.sent_to("@admin"))
        manager = bot.bot.plugin_manager
        self.assertIn(line, manager.remark(manager.plugin("Needy")))
        failed = install_packages(file)
        assert failed is not None
        self.assertIn(line, str(failed[1]))


class SharedDirectoryTests(PackagesTestCase):
    def test_one_process_at_a_time(self) -> None:
        """Processes that share the directory install one after the other."""
        locked = []

        def install(requirements: RequirementFile) -> None:
            other = os.open(self.packages.parent, os.O_RDONLY)
            self.addCleanup(os.close, other)
            locked.append(self.assertRaises(BlockingIOError, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB))

        self.patch(self.packages, "_install", install)
        file = self.data / "requirements.txt"
        file.write_text("no-such-package\n")
        self.packages.install(RequirementFile.read(file))
        self.assertEqual(len(locked), 1)


class StoredValuesTests(PackagesTestCase):
    """Packages for commands that work on stored values."""

    def test_nothing_is_run(self) -> None:
        """Classes of the packages are importable, and .pth files, which contain code, aren't read."""
        self.packages.extend_path()
        self.assertNotIn(str(self.packages.path), sys.path)
        self.packages.path.mkdir(parents=True)
        (self.packages.path / f"{PREFIX}stored.py").write_text("answer = 3\n")
        (self.packages.path / "code.pth").write_text(f"import sys; sys.{PREFIX}ran = True\n")
        for _ in range(2):
            self.packages.extend_path()
        self.assertEqual(sys.path.count(str(self.packages.path)), 1)
        self.assertEqual(import_module(f"{PREFIX}stored").answer, 3)
        self.assertFalse(hasattr(sys, f"{PREFIX}ran"))


class SettleTests(SynchronousTestCase):
    """When pip is run, and the errors that are reported."""

    def setUp(self) -> None:
        """Create a file, a data directory, and a pip that is recorded and installs nothing."""
        top = Path(self.mktemp()).absolute()
        top.mkdir()
        self.file = top / "requirements.txt"
        self.packages = PackageDirectory(top / "data")
        self.commands: list[list[str]] = []
        self.failure = ProgramError("")
        self.fails = False
        patch = mock.patch.object(packages, "run", self.run_instead)
        patch.start()
        self.addCleanup(patch.stop)

    def run_instead(self, command: list[str], **options: Any) -> str:
        """Record the command of pip, which installs nothing."""
        self.commands.append(command)
        self.options = options
        self.given = Path(command[command.index("-r") + 1]).read_text().splitlines()
        if self.fails:
            raise self.failure
        return ""

    def settle(self, text: str, autoinstall: bool = True) -> str:
        """Return the errors and warnings for a file with that text."""
        self.file.write_text(text)
        problems = self.packages.settle(self.file, autoinstall)
        self.warnings = [problem.text for problem in problems if problem.is_warning]
        return "; ".join(problem.text for problem in problems)

    def test_nothing_is_run_if_all_is_there(self) -> None:
        """If all requirements are fulfilled or provided, no process runs and nothing is written."""
        self.assertEqual(self.settle("twisted\nerrbot==6.1.9\nflask<2\nWerkzeug[watchdog]<1\n"), "")
        self.assertEqual(self.commands, [])
        self.assertFalse(self.packages.parent.exists())

    def test_missing(self) -> None:
        """pip has a time limit, and its arguments contain nothing from the file."""
        self.assertEqual(self.settle("--index-url=http://127.0.0.1:1\nno-such-thing\n"), "")
        (command,) = self.commands
        self.assertNotIn("no-such-thing", " ".join(command))
        self.assertNotIn("--index-url", " ".join(command))
        self.assertTrue(0 < self.options["seconds"] <= 600)

    def test_conflict(self) -> None:
        """A wrong version is a warning with the version, the file and the line number; pip isn't run for it."""
        for autoinstall in (True, False):
            warning = self.settle("\nTwisted<1  # why\n", autoinstall)
            self.assertEqual(self.commands, [])
            self.assertIn("Twisted<1 is required, but errklein's environment has Twisted 2", warning)
            self.assertIn(f"({self.file}:2)", warning)
            self.assertNotIn("\n", warning)
            self.assertEqual(self.warnings, [warning])

    def test_conflict_and_missing(self) -> None:
        """Beside a wrong version, missing packages are installed."""
        self.assertIn("Twisted<1 is required", self.settle("Twisted<1\nno-such-thing\n"))
        self.assertEqual(len(self.commands), 1)
        self.assertEqual(self.given, ["no-such-thing"])

    def test_what_cannot_be_looked_up(self) -> None:
        """A file with a URL is installed once, and again after a change or if the packages are removed."""
        line = "thing @ https://example.org/thing.whl\n"
        self.settle(line)
        self.settle(line)
        self.assertEqual(len(self.commands), 1)
        self.settle(line + "other @ https://example.org/other.whl\n")
        self.assertEqual(len(self.commands), 2)
        (self.packages.path / ".errklein.json").unlink()
        self.settle(line + "other @ https://example.org/other.whl\n")
        self.assertEqual(len(self.commands), 3)

    def test_failure(self) -> None:
        """pip's last error is reported in one line with the file, and the next start tries again."""
        self.fails, self.failure = True, ProgramError("ERROR: No matching distribution")
        self.assertEqual(self.settle("a @ https://example.org\n"), f"{self.file}: ERROR: No matching distribution")
        self.settle("a @ https://example.org\n")
        self.assertEqual(len(self.commands), 2)

    def test_not_allowed(self) -> None:
        """With AUTOINSTALL_DEPS off, missing requirements are named, and pip isn't run."""
        told = self.settle("twisted\nno-such-thing\nno-other>=2\n", autoinstall=False)
        self.assertIn("not installed: no-such-thing, no-other>=2", told)
        self.assertEqual(self.warnings, [])
        self.assertEqual(self.commands, [])

    def test_unreadable(self) -> None:
        """An unreadable file is reported."""
        [problem] = self.packages.settle(self.file / "below", True)
        self.assertIn("can't be read", problem.text)
        self.assertFalse(problem.is_warning)

    def test_nowhere_to_write(self) -> None:
        """A data directory that isn't writable is reported in one line."""
        self.packages.parent.parent.write_text("a file")
        self.assertIn(f"{self.packages.parent}", self.settle("no-such-thing\n"))

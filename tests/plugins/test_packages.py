"""Tests for packages that plugins require, with the real pip and a directory of wheels as index."""

from __future__ import annotations

import os
import sys
from importlib import import_module, invalidate_caches
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat._facade import stand_in_for, step_aside
from errklein.compat._requirements import install_packages
from errklein.plugins import packages
from errklein.plugins.packages import InstallError, PackageDirectory, Requirements
from errklein.plugins.requirement_files import RequirementFile
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

    def test_pinned_to_what_was_installed_before(self) -> None:
        """A plugin can't change packages of another one; the error contains the remedy."""
        for version in ("1.0", "2.0"):
            write_wheel(self.wheels, f"{PREFIX}shared", version)
        write_wheel(self.wheels, f"{PREFIX}new", requires=[f"{PREFIX}shared>=2"])
        self.install(f"{PREFIX}shared<2\n")
        error = self.assertRaises(InstallError, self.install, f"{PREFIX}new\n", "other.txt")
        self.assertIn(f"but {self.packages.path} has {AS_PIP_SAYS}shared 1.0", str(error))
        self.assertIn(f"Repair: remove {self.packages.path}, then restart", str(error))
        self.assertEqual(self.installed(), [f"{PREFIX}shared"])

    def test_errbot_of_a_package(self) -> None:
        """A package that requires errbot uses errklein; errbot isn't downloaded."""
        write_wheel(self.wheels, "errbot", "9.0", files={})
        write_wheel(self.wheels, f"{PREFIX}plugins", requires=["errbot>=6"])
        self.install(f"{PREFIX}plugins\n")
        self.assertEqual(self.installed(), [f"{PREFIX}plugins"])
        write_wheel(self.wheels, f"{PREFIX}newer", requires=["errbot>=9"])
        error = self.assertRaises(InstallError, self.install, f"{PREFIX}newer\n")
        self.assertIn(f"{AS_PIP_SAYS}newer 1.0 requires errbot>=9, but errklein provides errbot 6.2.1", str(error))

    def test_flask_of_a_package(self) -> None:
        """A package that requires Flask gets the real one, also if errklein's replacement was used before."""
        write_wheel(self.wheels, "Flask", "99.0", files={"flask.py": "real = True\n"})
        write_wheel(self.wheels, f"{PREFIX}service", requires=["Flask"])
        with mock.patch.dict(sys.modules):
            stand_in_for("flask")
            self.install(f"flask<2\n{PREFIX}service\n")
            self.assertTrue(import_module("flask").real)
        self.assertEqual(self.installed(), ["Flask", f"{PREFIX}service"])

    test_flask_of_a_package.skip = (  # type: ignore[attr-defined]
        "Flask is installed" if any(True for _ in distributions(name="flask")) else None
    )

    def test_shared_directories(self) -> None:
        """Packages of one namespace that are installed one after the other are all importable."""
        for name in ("one", "two"):
            write_wheel(self.wheels, f"{PREFIX}{name}", files={f"{PREFIX}space/{name}.py": f"name = {name!r}\n"})
            self.install(f"{PREFIX}{name}\n", f"{name}.txt")
        self.assertEqual([import_module(f"{PREFIX}space.{name}").name for name in ("one", "two")], ["one", "two"])

    def test_path_files(self) -> None:
        """Directories in a package's .pth file are importable."""
        files = {f"{PREFIX}more.pth": "deeper\n", f"deeper/{PREFIX}deep.py": "answer = 1\n"}
        write_wheel(self.wheels, f"{PREFIX}more", files=files)
        self.install(f"{PREFIX}more\n")
        self.assertEqual(import_module(f"{PREFIX}deep").answer, 1)

    def test_after_a_kill(self) -> None:
        """After a killed process, a complete installation is finished, and an incomplete one removed."""
        write_wheel(self.wheels, f"{PREFIX}one")
        complete = self.packages.parent / f".ready-{self.packages.path.name}"
        (complete / f"{PREFIX}half").mkdir(parents=True)
        (complete / f"{PREFIX}half" / "__init__.py").write_text("answer = 2\n")
        (self.packages.path / f"{PREFIX}half").mkdir(parents=True)
        (self.packages.parent / ".new-left" / "packages").mkdir(parents=True)
        self.install(f"{PREFIX}one\n")
        self.assertEqual(import_module(f"{PREFIX}half").answer, 2)
        self.assertEqual(sorted(path.name for path in self.packages.parent.iterdir()), [self.packages.path.name])

    def test_failure_leaves_nothing(self) -> None:
        """A failed installation leaves no packages."""
        write_wheel(self.wheels, f"{PREFIX}one")
        self.assertRaises(InstallError, self.install, f"{PREFIX}one\n{PREFIX}nowhere\n")
        self.assertEqual([*self.packages.parent.iterdir()], [])

    def test_urls_options_and_hashes(self) -> None:
        """URLs, options, constraints and hashes of the file are respected."""
        one = write_wheel(self.wheels, f"{PREFIX}one")
        elsewhere = self.plugins / "elsewhere"
        for version in ("1.0", "2.0"):
            write_wheel(elsewhere, f"{PREFIX}two", version)
        (self.plugins / "limits.txt").write_text(f"{PREFIX}two<2\n")
        self.install(f"--find-links elsewhere\n-c limits.txt\n{PREFIX}one @ {one.as_uri()}\n{PREFIX}two\n")
        versions = {found.name: found.version for found in distributions(path=[str(self.packages.path)])}
        self.assertEqual(versions, {f"{PREFIX}one": "1.0", f"{PREFIX}two": "1.0"})
        write_wheel(self.wheels, f"{PREFIX}three")
        wrong = f"{PREFIX}three==1.0 --hash=sha256:{'0' * 64}\n"
        self.assertRaises(InstallError, self.install, wrong)

    def test_a_url_of_what_is_there(self) -> None:
        """A URL can't replace a package of the environment."""
        wheel = write_wheel(self.wheels, "Twisted", "0.9", files={})
        error = self.assertRaises(InstallError, self.install, f"{wheel.as_uri()}\n")
        self.assertIn(f"(from {wheel}) is required, but errklein's environment has twisted 2", str(error))
        self.assertEqual(self.installed(), [])

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

    def test_settings_of_the_operator(self) -> None:
        """pip's settings can't redirect the installation."""
        write_wheel(self.wheels, f"{PREFIX}one")
        with mock.patch.dict(os.environ, {"PIP_TARGET": str(self.data / "elsewhere"), "PIP_USER": "1"}):
            self.install(f"{PREFIX}one\n")
        self.assertEqual(self.installed(), [f"{PREFIX}one"])
        self.assertFalse((self.data / "elsewhere").exists())

    def test_problems(self) -> None:
        """Packages with unfulfilled requirements are reported with the remedy."""
        write_wheel(self.wheels, f"{PREFIX}one", requires=[f"{PREFIX}two", "errbot"])
        two = write_wheel(self.wheels, f"{PREFIX}two")
        self.install(f"{PREFIX}one\n")
        self.assertEqual(self.packages.problems(), [])
        self.packages.path.joinpath(f"{PREFIX}two-1.0.dist-info", "METADATA").unlink()
        two.unlink()
        invalidate_caches()
        (line,) = self.packages.problems()
        self.assertIn(f"{PREFIX}two is missing; {PREFIX}one requires it. Repair: remove {self.packages.path}", line)


class PluginTests(PackagesTestCase):
    """Plugins with requirements, in a bot."""

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
        self.assertEqual(manager.status.remark(manager.plugin("Old")), line)
        self.assertEqual(bot.command("!old"), "1")
        self.assertIn("reloaded", bot.command("!plugin reload Old"))
        self.assertIn(line, manager.status.remark(manager.plugin("Old")))

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

    def test_plugins_in_packages(self) -> None:
        """Plugins in a required distribution are found at once by their entry point."""
        files = {
            f"{PREFIX}offered/__init__.py": "",
            f"{PREFIX}offered/offered.plug": "[Core]\nName = Offered\nModule = offered\n",
            f"{PREFIX}offered/offered.py": (
                "from errbot import BotPlugin, botcmd\nclass Offered(BotPlugin):\n"
                "    @botcmd\n    def offered(self, msg, args):\n        return 'here'\n"
            ),
        }
        entry = f"[errbot.plugins]\noffered = {PREFIX}offered\n"
        write_wheel(self.wheels, f"{PREFIX}offered", requires=["errbot"], files=files, entry_points=entry)
        self.write("Wants", f"{PREFIX}offered\n", "needed = None")
        self.assertEqual(self.start().command("!offered"), "here")

    def test_not_to_be_had(self) -> None:
        """A failed installation is reported in one line, at the start and in the plugin's remark."""
        file = self.write("Needy", f"{PREFIX}nowhere\n", f"import {PREFIX}nowhere as needed")
        bot = self.start()
        line = f"{file}: ERROR: No matching distribution found for {PREFIX}nowhere"
        self.assertTrue(any(told.startswith(line) for told in bot.sent_to("@admin")), bot.sent_to("@admin"))
        manager = bot.bot.plugin_manager
        self.assertIn(line, manager.status.remark(manager.plugin("Needy")))
        failed = install_packages(file)
        assert failed is not None
        self.assertIn(line, str(failed[1]))

    def test_asked_for_by_a_plugin(self) -> None:
        """`install_packages` installs into the data directory of the running bot."""
        write_wheel(self.wheels, f"{PREFIX}needed")
        file = self.plugins / "later.txt"
        file.write_text(f"{PREFIX}needed\n")
        self.start()
        self.assertIsNone(install_packages(file))
        self.assertEqual(self.installed(), [f"{PREFIX}needed"])

    def test_test_bots_share_packages(self) -> None:
        """Test bots of a process share installed packages, although their data differ."""
        write_wheel(self.wheels, f"{PREFIX}needed")
        self.write("Needy", f"{PREFIX}needed\n", f"import {PREFIX}needed as needed")
        for _ in range(2):
            bot = TestBot(plugin_dirs=[self.plugins])
            bot.start()
            self.assertEqual(bot.command("!needy"), "42")
            bot.stop()
            module = sys.modules[f"{PREFIX}needed"]
            assert isinstance(module, ModuleType)
            self.assertTrue(Path(module.__file__ or "").exists())


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
        problems = Requirements(self.packages, autoinstall).settle(self.file)
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
        [problem] = Requirements(self.packages, True).settle(self.file / "below")
        self.assertIn("can't be read", problem.text)
        self.assertFalse(problem.is_warning)

    def test_nowhere_to_write(self) -> None:
        """A data directory that isn't writable is reported in one line."""
        self.packages.parent.parent.write_text("a file")
        self.assertIn(f"{self.packages.parent}", self.settle("no-such-thing\n"))

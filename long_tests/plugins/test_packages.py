"""More tests of packages that plugins require, with the real pip."""

from __future__ import annotations

import os
import sys
from importlib import import_module, invalidate_caches
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from unittest import mock

from errklein.compat._facade import stand_in_for
from errklein.compat._utils import install_packages
from errklein.plugins.packages import InstallError
from errklein.testing import TestBot
from tests import needs_network
from tests.plugins import test_packages
from tests.plugins.test_packages import AS_PIP_SAYS, PREFIX
from tests.plugins.wheels import write_wheel


class MorePipTests(test_packages.PackagesTestCase):
    """More packages."""

    def setUp(self) -> None:
        needs_network()
        super().setUp()

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


class MorePluginTests(test_packages.PluginsTestCase):
    """More packages."""

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

"""Tests for the distributions that plugins need: looked up first, then installed by pip from a directory of wheels."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins import distributions
from errklein.plugins.distributions import (
    Requirements,
    above,
    check_dependencies,
    examine,
    install_packages,
    requirement_files,
)
from errklein.plugins.programs import ProgramError
from errklein.testing import TestBot
from tests import needs_network


class ExamineTests(SynchronousTestCase):
    """What is there already."""

    def test_fulfilled(self) -> None:
        """Comments, markers, hashes, extras and continued lines are understood; what is there is not missing."""
        text = (
            "# comment\n\nTwisted>=20  # why\ntwisted[tls]>=22\nklein \\\n  >=20\n"
            'nothing-there; python_version < "3"\ntreq>1 --hash=sha256:00\n'
        )
        self.assertEqual(examine(text), ([], []))

    def test_missing(self) -> None:
        """What isn't there, or not in the version that is needed, is named as it was written."""
        self.assertEqual(examine("no-such-thing\ntwisted<1\n"), (["no-such-thing", "twisted<1"], []))

    def test_unknown(self) -> None:
        """Of options, URLs and nonsense it can't be told; that is pip's to say."""
        lines = ["-r other.txt", "--index-url http://example.org", "klein @ https://example.org/k.whl", "!!"]
        self.assertEqual(examine("\n".join(lines)), ([], lines))

    @given(st.text())
    def test_anything(self, text: str) -> None:
        """No text makes it raise."""
        missing, unknown = examine(text)
        self.assertLessEqual(len(missing) + len(unknown), len(text.splitlines()) + 1)

    def test_errbot_shape(self) -> None:
        """`check_dependencies` gives a sentence and the lines."""
        file = Path(self.mktemp())
        self.assertEqual(check_dependencies(file), (None, []))
        file.write_text("no-such-thing\n")
        told, missing = check_dependencies(file)
        self.assertIn("no-such-thing", told or "")
        self.assertEqual(missing, ["no-such-thing"])


class PlacesTests(SynchronousTestCase):
    """Which files are read."""

    def test_files(self) -> None:
        """The one at the root, the one beside the plugin, and those between; none of anywhere else."""
        root = Path(self.mktemp()).absolute()
        (root / "a" / "b" / "c").mkdir(parents=True)
        (root / "other").mkdir()
        for directory in (root, root / "a", root / "a" / "b" / "c", root / "other", root.parent):
            (directory / "requirements.txt").write_text("")
        found = requirement_files([root], [root / "a" / "b" / "c" / "x.plug"])
        self.assertCountEqual([file.parent for file in found], [root, root / "a", root / "a" / "b" / "c"])

    def test_no_root_above(self) -> None:
        """Without a root above it, only the directory itself counts."""
        self.assertEqual(above(Path("/x/y"), [Path("/z")]), [Path("/x/y")])


def write_wheel(directory: Path, name: str) -> None:
    """Write a distribution with one empty module."""
    directory.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "answer = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


class SettleTests(SynchronousTestCase):
    """When pip is asked, and what is told."""

    def setUp(self) -> None:
        """Have a file, a store, and a pip that is only recorded."""
        self.file = Path(self.mktemp()).absolute()
        self.store: dict[str, Any] = {}
        self.commands: list[list[str]] = []
        self.failure = ""
        patch = mock.patch.object(distributions, "run", self.run_instead)
        patch.start()
        self.addCleanup(patch.stop)

    def run_instead(self, command: list[str], **options: Any) -> str:
        """Record the command."""
        self.commands.append(command)
        if self.failure:
            raise ProgramError(self.failure)
        return ""

    def settle(self, text: str, autoinstall: bool = True) -> str:
        """What is told of a file with that text."""
        self.file.write_text(text)
        return Requirements(self.store, autoinstall).settle(self.file)

    def test_nothing_is_run_if_all_is_there(self) -> None:
        """No process for what is fulfilled, even the first time."""
        self.assertEqual(self.settle("twisted\n"), "")
        self.assertEqual(self.commands, [])

    def test_missing(self) -> None:
        """pip is given the file, and nothing that stands in it."""
        self.assertEqual(self.settle("--index-url=http://127.0.0.1:1\nno-such-thing\n"), "")
        ((*command, file),) = self.commands
        self.assertEqual(file, str(self.file))
        self.assertEqual(command[:4], [sys.executable, "-m", "pip", "install"])
        self.assertNotIn("no-such-thing", " ".join(command))
        self.assertNotIn("--index-url", " ".join(command))

    def test_what_cannot_be_looked_up(self) -> None:
        """A file with a URL is installed once, and again when it has changed."""
        line = "thing @ https://example.org/thing.whl\n"
        self.settle(line)
        self.settle(line)
        self.assertEqual(len(self.commands), 1)
        self.settle(line + "# changed\n")
        self.assertEqual(len(self.commands), 2)

    def test_failure(self) -> None:
        """What pip says last is told in one line with the file, and it is tried again the next time."""
        self.failure = "ERROR: No matching distribution"
        self.assertEqual(self.settle("a @ https://example.org\n"), f"{self.file}: ERROR: No matching distribution")
        self.settle("a @ https://example.org\n")
        self.assertEqual(len(self.commands), 2)

    def test_not_allowed(self) -> None:
        """With AUTOINSTALL_DEPS off, what is missing is named, and nothing is run."""
        told = self.settle("twisted\nno-such-thing\nno-other>=2\n", autoinstall=False)
        self.assertIn("not installed: no-such-thing, no-other>=2", told)
        self.assertEqual(self.commands, [])

    def test_unreadable(self) -> None:
        """A file that can't be read is told of."""
        self.assertIn("can't be read", Requirements(self.store, True).settle(self.file / "below"))


class PipTests(SynchronousTestCase):
    """The real pip, with a directory of wheels in place of the index."""

    def setUp(self) -> None:
        """Have a plugin that needs a distribution, wheels, and a place to install them to."""
        needs_network()
        top = Path(self.mktemp()).absolute()
        self.plugins, wheels, self.target = top / "plugins", top / "wheels", top / "target"
        write_wheel(wheels, "errklein_test_needed")
        self.target.mkdir()
        self.plugins.mkdir()
        environment = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_TARGET": str(self.target),
            "PIP_CONFIG_FILE": os.devnull,
        }
        for patch in (
            mock.patch.dict(os.environ, environment),
            mock.patch.object(sys, "path", [*sys.path, str(self.target)]),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(sys.modules.pop, "errklein_test_needed", None)
        (self.plugins / "needy.plug").write_text("[Core]\nName = Needy\nModule = needy\n")
        (self.plugins / "needy.py").write_text(
            "import errklein_test_needed as needed\nfrom errbot import BotPlugin, botcmd\nclass Needy(BotPlugin):\n"
            "    @botcmd\n    def answer(self, msg, args):\n        return str(needed.answer)\n"
        )

    def test_installed(self) -> None:
        """A plugin's requirements are there before its code is loaded."""
        (self.plugins / "requirements.txt").write_text("errklein_test_needed==1.0\n")
        bot = TestBot(plugin_dirs=[self.plugins])
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(bot.command("!answer"), "42")

    def test_not_to_be_had(self) -> None:
        """What can't be installed is told in one line, at the start and in the plugin's own remark."""
        file = self.plugins / "requirements.txt"
        file.write_text("errklein_test_nowhere\n")
        bot = TestBot(plugin_dirs=[self.plugins])
        with self.assertRaises(AssertionError):
            bot.start()
        self.addCleanup(bot.stop)
        line = f"{file}: ERROR: No matching distribution found for errklein_test_nowhere"
        self.assertTrue(any(told.startswith(line) for told in bot.sent_to("@admin")), bot.sent_to("@admin"))
        manager = bot.bot.plugin_manager
        self.assertIn(line, manager.remark(manager.plugin("Needy")))
        failed = install_packages(file)
        assert failed is not None
        self.assertIn(line, str(failed[1]))

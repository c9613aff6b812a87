"""Tests for the pytest plugin, which makes errklein available as errbot."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import errklein
import errklein_pytest
from errklein.compat._facade import FACADES

CHECKOUT = Path(errklein.__file__).resolve().parent.parent
GREETER = Path(__file__).resolve().parent / "fixtures" / "greeter"


def run(*command: str | Path, path: Path | None = None) -> tuple[int, str]:
    """Run Python with errklein, and optionally a directory first in its path. Return status and output."""
    places = [str(place) for place in (path, CHECKOUT) if place is not None]
    # Without those of pytest's plugins that happen to be installed.
    more = {
        "PYTHONPATH": os.pathsep.join(places),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=os.environ | more, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


class SubstituteTests(SynchronousTestCase):
    """The module that `import errbot` returns."""

    def setUp(self) -> None:
        self.substitute = errklein_pytest.Substitute()
        self.site = Path(self.mktemp()).resolve()
        self.site.mkdir()
        self.patch(sys, "path", [str(self.site), *sys.path])
        if PathFinder.find_spec("errbot") is not None:
            raise SkipTest("errbot is installed here")

    def test_names(self) -> None:
        """errklein replaces the packages of its table, and only after an import of errbot."""
        self.assertEqual(set(FACADES), set(errklein_pytest.NAMES))
        self.assertIsNone(self.substitute.find_spec("errbots", None))
        self.assertIsNone(self.substitute.find_spec("flask", None))
        self.assertIsNotNone(self.substitute.find_spec("errbot", None))

    def test_installed(self) -> None:
        """An installed errbot is used, unless the option asks for errklein."""
        (self.site / "errbot").mkdir()
        (self.site / "errbot" / "__init__.py").touch()
        self.assertIsNone(self.substitute.find_spec("errbot", None))
        self.substitute.always = True
        self.assertIsNotNone(self.substitute.find_spec("errbot", None))

    def test_a_directory_of_that_name(self) -> None:
        """A project directory with the name errbot doesn't count as an installed errbot."""
        (self.site / "errbot").mkdir()
        self.assertIsNotNone(self.substitute.find_spec("errbot", None))


class PytestTests(SynchronousTestCase):
    """Runs of pytest, each in a process."""

    def test_tests_of_a_plugin(self) -> None:
        """Tests that were written for errbot pass with errklein alone."""
        status, output = run("-m", "pytest", "-q", "-p", "errklein_pytest", "-p", "no:cacheprovider", GREETER)
        self.assertEqual(0, status, output)
        self.assertIn("passed", output)
        self.assertNotIn("warning", output)

    def test_example(self) -> None:
        """The test in the guide passes."""
        example = CHECKOUT / "docs" / "examples" / "greetings"
        status, output = run("-m", "pytest", "-q", "-p", "errklein_pytest", "-p", "no:cacheprovider", example)
        self.assertEqual(0, status, output)

    def test_asked_for(self) -> None:
        """With the setting, errbot is errklein, even if an errbot is installed and was imported before."""
        site = Path(self.mktemp()).resolve()
        (site / "errbot").mkdir(parents=True)
        (site / "errbot" / "__init__.py").write_text("import errbot.real\n")
        (site / "errbot" / "real.py").touch()
        (site / "early.py").write_text("import errbot.real\n")
        (site / "test_which.py").write_text(
            "import sys, errbot, errbot.utils\n"
            "def test_which():\n"
            "    assert errbot.__name__ == 'errklein.compat.errbot'\n"
            "    assert 'errbot.real' not in sys.modules\n"
        )
        (site / "pytest.ini").write_text("[pytest]\nerrklein = true\n")
        tests = ("-p", "early", "-p", "errklein_pytest", "-p", "no:cacheprovider", site)
        status, output = run("-m", "pytest", "-q", *tests, path=site)
        self.assertEqual(0, status, output)

    def test_costs_nothing(self) -> None:
        """Without an import of errbot, nothing of errklein is imported."""
        code = "import sys, errklein_pytest; sys.exit(any(name in sys.modules for name in ('errklein', 'twisted')))"
        self.assertEqual((0, ""), run("-c", code))

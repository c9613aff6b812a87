"""What holds the house together: the version, the twistd plugin, and tests that are really run."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein._version import __version__
from errklein.config.settings import OF_XMPP, SETTINGS

ROOT = Path(errklein.__file__).parent.parent
TESTS = Path(__file__).parent
FIXTURES = "fixtures"


class TwistdTests(SynchronousTestCase):
    """errklein is a command of twistd."""

    def test_twistd_knows_errklein(self) -> None:
        """`twistd --help` lists errklein, although twisted/ here has no __init__.py."""
        code = "import sys; from twisted.scripts.twistd import run; sys.argv = ['twistd', '--help']; run()"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        self.assertIn(" errklein ", said.stdout, said.stderr)

    def test_twisted_stays_a_folder(self) -> None:
        """An __init__.py in twisted/ or twisted/plugins/ would hide Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class VersionTests(SynchronousTestCase):
    """The version is stated once."""

    def test_installed_version(self) -> None:
        """What is installed calls itself what the source says."""
        try:
            installed = metadata.version("errklein")
        except metadata.PackageNotFoundError:
            installed = __version__
        self.assertEqual(installed, __version__)


class SettingsTests(SynchronousTestCase):
    """Settings do what the guide says."""

    def test_every_setting_is_used(self) -> None:
        """None is read and then forgotten, but for those of XMPP, of which the operator is told."""
        package = ROOT / "errklein"
        lists = {package / "config" / "settings.py", package / "compat" / "errbot_package" / "config-template.py"}
        code = "".join(path.read_text() for path in package.rglob("*.py") if path not in lists)
        unused = {name for name in SETTINGS if not re.search(rf"\b{name}\b", code)}
        self.assertEqual(unused, OF_XMPP)

    def test_every_setting_is_in_the_guide(self) -> None:
        """The operators' guide names each."""
        guide = (ROOT / "docs" / "operators.md").read_text()
        self.assertEqual([name for name in SETTINGS if f"`{name}`" not in guide], [])


class FaultTests(SynchronousTestCase):
    """The page about faults says which tests show what errklein does."""

    def test_every_named_test_exists_once(self) -> None:
        """Each test that docs/faults.md names is found by its name alone."""
        named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "faults.md").read_text())
        self.assertGreater(len(named), 100)
        self.assertEqual(sorted(set(named)), sorted(named))
        code = "".join(module.read_text() for module in test_modules())
        defined = Counter(re.findall(r"def (test_\w+)\(self", code))
        self.assertEqual({name: defined[name] for name in named if defined[name] != 1}, {})


class CollectionTests(SynchronousTestCase):
    """trial passes over tests that it doesn't find, without a word."""

    def test_every_folder_is_a_package(self) -> None:
        """Each folder with test modules has an __init__.py, all the way up."""
        modules = list(test_modules())
        self.assertGreater(len(modules), 1)
        for module in modules:
            for folder in [module.parent, *module.parents]:
                if folder == TESTS.parent:
                    break
                self.assertTrue((folder / "__init__.py").exists(), f"{folder} is no package: {module} isn't run")

    def test_every_test_is_collected(self) -> None:
        """No test method is called just `test`, and none is hidden by another of the same name in its class, nor a class."""
        for module in test_modules():
            cases = [case.name for case in classes(module) if case.name.endswith("Tests")]
            self.assertEqual(sorted(cases), sorted(set(cases)), module)
            for case in classes(module):
                names = [function.name for function in functions(case)]
                self.assertNotIn("test", names, f"{module}: {case.name}.test isn't collected")
                tests = [name for name in names if name.startswith("test")]
                self.assertEqual(sorted(tests), sorted(set(tests)), f"{module}: {case.name}")

    def test_every_test_says_what_it_shows(self) -> None:
        """Each test method has a docstring."""
        silent = [
            f"{module.relative_to(TESTS)}: {case.name}.{function.name}"
            for module in test_modules()
            for case in classes(module)
            for function in functions(case)
            if function.name.startswith("test_") and ast.get_docstring(function) is None
        ]
        self.assertEqual(silent, [])


def test_modules() -> Iterator[Path]:
    """Every test module."""
    for path in sorted(TESTS.rglob("test_*.py")):
        if FIXTURES not in path.parts:
            yield path


@cache
def classes(module: Path) -> tuple[ast.ClassDef, ...]:
    """The classes of a module; those that a test makes for itself are no tests."""
    return tuple(outside_of_functions(ast.parse(module.read_text(encoding="utf-8"))))


def outside_of_functions(node: ast.AST) -> Iterator[ast.ClassDef]:
    """The classes in there, also those that are in `if` or in other classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.expr)):
            yield from outside_of_functions(child)


def functions(case: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The methods of a class."""
    for node in case.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node

"""The project as a whole: the version, the twistd plugin, and settings that are used and documented."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein._version import COMMIT, __version__
from errklein.config import SETTINGS
from errklein.config._settings import DEPENDENT, OF_XMPP, needs_restart
from tests.floors import OPTIONAL
from tests.plugins.repos.repositories import GitRepository
from tests.test_collection import test_modules

ROOT = Path(errklein.__file__).parent.parent


class TwistdTests(SynchronousTestCase):
    """errklein is a command of twistd."""

    def test_twistd_knows_errklein(self) -> None:
        """`twistd --help` lists errklein, although twisted/ has no __init__.py."""
        code = "import sys; from twisted.scripts.twistd import run; sys.argv = ['twistd', '--help']; run()"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        self.assertIn(" errklein ", said.stdout, said.stderr)

    def test_twisted_stays_a_folder(self) -> None:
        """An __init__.py in twisted/ or twisted/plugins/ would hide Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])


class VersionTests(SynchronousTestCase):
    """The version, and the one that follows the newest release."""

    def test_version_names_the_commit(self) -> None:
        """The commit is the part of the version after "+g"."""
        self.assertEqual(COMMIT, (re.findall(r"\+g([0-9a-f]+)", __version__) or [""])[0])

    def test_next_version(self) -> None:
        """Development versions are those of a release that isn't older than the newest in the changelog."""
        [following] = re.findall(r'^NEXT = "(.+)"$', (ROOT / "setup.py").read_text(), re.MULTILINE)
        marker = "<!-- towncrier release notes start -->"
        [newest] = re.findall(rf"{marker}\n\n## (\S+) \(\d{{4}}-\d\d-\d\d\)\n", (ROOT / "CHANGELOG.md").read_text())
        self.assertGreaterEqual(Version(following), Version(newest))

    def test_version_from_the_tag(self) -> None:
        """A tagged commit has the version of its tag, and commits before and after it have earlier and later ones."""
        names = ("setup.py", "README.md", "errklein_pytest.py")
        repository = GitRepository(Path(self.mktemp()).absolute(), {name: (ROOT / name).read_text() for name in names})

        def version() -> str:
            command = [sys.executable, "setup.py", "--version"]
            done = subprocess.run(command, cwd=repository.directory, capture_output=True, text=True, check=True)
            return done.stdout.split()[-1]

        before = version()
        [following] = re.findall(r'^NEXT = "(.+)"$', (ROOT / "setup.py").read_text(), re.MULTILINE)
        self.assertRegex(before, rf"^{re.escape(following)}\.dev\d+\+g[0-9a-f]{{9}}$")
        repository.git("tag", f"v{following}")
        self.assertEqual(version(), following)
        repository.commit({"README.md": "changed"})
        self.assertGreater(Version(version()), Version(following))
        self.assertIn(".dev1+g", version())


class SettingsTests(SynchronousTestCase):
    """Settings are used and documented."""

    def test_every_setting_is_used(self) -> None:
        """Every setting is used, except one of errbot's, and those of XMPP if that network is deleted."""
        package = ROOT / "errklein"
        lists = {package / "config" / "_settings.py", package / "compat" / "errbot_package" / "config-template.py"}
        code = "".join(path.read_text() for path in package.rglob("*.py") if path not in lists)
        unused = {name for name in SETTINGS if not re.search(rf"\b{name}\b", code)}
        has_xmpp = (package / "networks" / "xmpp").is_dir()
        self.assertEqual(unused, {"XMPP_SSL_VERSION"} if has_xmpp else OF_XMPP)

    def test_every_setting_is_in_the_reference(self) -> None:
        """The reference lists each setting with its default."""
        page = (ROOT / "docs" / "reference" / "settings.md").read_text()
        rows = re.findall(r"^\| `(\w+)`(?: †)?(?: ↻)? \| .+? \| `(.+?)` ?.*? \| .+ \|$", page, re.MULTILINE)
        listed = {name: default for name, default in rows if name not in DEPENDENT}
        self.assertEqual(set(listed), SETTINGS.keys())
        self.assertEqual([name for name in DEPENDENT if f"`{name}`" not in page], [])
        stated = {name: eval(default, {"logging": logging}) for name, default in listed.items()}
        self.assertEqual(stated, {name: SETTINGS[name].default for name in listed})

    def test_settings_that_need_no_restart(self) -> None:
        """The reference marks the settings that a reload applies, and no others."""
        page = (ROOT / "docs" / "reference" / "settings.md").read_text()
        rows = re.findall(r"^\| `([A-Z_]+)`(?: †)?( ↻)? \|", page, re.MULTILINE)
        self.assertEqual({name: not mark for name, mark in rows}, {name: needs_restart(name) for name, _ in rows})


class ExamplesTests(SynchronousTestCase):
    """The files that `errklein examples` writes."""

    def test_every_example_is_in_the_reference(self) -> None:
        """The reference lists each file with the page that describes it."""
        page = (ROOT / "docs" / "reference" / "command-line.md").read_text()
        section = page.partition("\n### examples\n")[2].partition("\n### ")[0]
        rows = re.findall(r"^\| (`.+`) \| \[.+\]\(.+\) \|$", section, re.MULTILINE)
        examples = ROOT / "errklein" / "examples"
        there = {str(path.relative_to(examples)) for path in examples.rglob("*") if path.is_file()}
        self.assertEqual({name for row in rows for name in re.findall("`(.+?)`", row)}, there)


class PathTests(SynchronousTestCase):
    """Paths of tests in scripts and pages."""

    def test_every_named_path_exists(self) -> None:
        """The modules and packages of tests in the gate, tox.ini and CONTRIBUTING.md exist."""
        for place in (".ci/full", "tox.ini", "CONTRIBUTING.md"):
            named = re.findall(r"\b(?:long_)?tests[./]\w+(?:[./]\w+)*", (ROOT / place).read_text())
            self.assertGreater(len(named), 0, place)
            for name in named:
                path = ROOT / name.removesuffix(".py").replace(".", "/")
                there = path.is_dir() or path.with_suffix(".py").exists() or name == "tests.needs_network"
                self.assertTrue(there, f"{place}: {name}")


class FaultTests(SynchronousTestCase):
    """The page about faults."""

    def test_every_named_test_exists_once(self) -> None:
        """Each test that docs/reference/faults.md names is found by its name alone."""
        named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "reference" / "faults.md").read_text())
        self.assertGreater(len(named), 100)
        self.assertEqual(sorted(set(named)), sorted(named))
        code = "".join(module.read_text() for module in test_modules())
        defined = Counter(re.findall(r"def (test_\w+)\(self", code))
        # An optional part may be deleted with its tests.
        least = 1 if all((ROOT / "tests" / part).exists() for part in OPTIONAL) else 0
        self.assertEqual({name: defined[name] for name in named if not least <= defined[name] <= 1}, {})


class PublicPluginsTests(SynchronousTestCase):
    """The figures about public plugins."""

    def test_figures(self) -> None:
        """README.md and the head of the page have the numbers of the page's table."""
        page = (ROOT / "docs" / "reference" / "public-plugins.md").read_text()
        plugins = page.partition("## Plugins\n")[2].partition("\n## ")[0]
        active = Counter(re.findall(r"^\| [^|]+ \| (yes|no) / (yes|no) \|", plugins, re.MULTILINE))
        numbers = [active["yes", "yes"], active["yes", "no"], active["no", "yes"], active["no", "no"]]
        shown = re.findall(r"^\| active on [\w ]+ \| (\d+) \|$|^\| of (\d+) plugins", plugins, re.MULTILINE)
        self.assertEqual([int(number or total) for number, total in shown], [active.total(), *numbers])
        readme = (ROOT / "README.md").read_text()
        self.assertIn(f"We tried {active.total()} public plugins: all {numbers[0]} that are active on errbot", readme)
        self.assertEqual(active["yes", "no"], 0)


class PythonVersionsTests(SynchronousTestCase):
    """The supported versions of Python are the same everywhere."""

    def test_same_versions(self) -> None:
        """The classifiers, tox, the full gate and its workflow name the same versions."""
        setup = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "setup.py").read_text())
        self.assertGreater(len(setup), 1)
        [tox] = re.findall(r"^env_list = py\{([\d,]+)\}", (ROOT / "tox.ini").read_text(), re.MULTILINE)
        self.assertEqual([f"3.{digits[1:]}" for digits in tox.split(",")], setup)
        workflow = (ROOT / ".github" / "workflows" / "full.yml").read_text()
        [matrix] = re.findall(r"^ +python: \[(.*)\]$", workflow, re.MULTILINE)
        self.assertEqual(re.findall(r'"(3\.\d+)"', matrix), setup)
        [default] = re.findall(r"^for version in \$\{@:-(.*)\}; do$", (ROOT / ".ci" / "full").read_text(), re.MULTILINE)
        self.assertEqual(default.split(), setup)

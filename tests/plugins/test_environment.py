"""Tests for the check of installed distributions."""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path
from unittest import mock

# environment imports these late, when the tests have replaced sys.path.
import packaging.requirements
import packaging.utils  # noqa: F401
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.packages import environment_problems, installed_version, name_and_version, unfulfilled


class DistributionsTestCase(SynchronousTestCase):
    """A test case with only the distributions that it writes."""

    def setUp(self) -> None:
        self.site = Path(self.mktemp()).absolute()
        self.site.mkdir()
        self.patch(sys, "path", [str(self.site)])

    def install(self, name: str, version: str, *requires: str) -> None:
        """Write the metadata of a distribution."""
        info = self.site / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {line}" for line in requires]
        text = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, ""])
        (info / "METADATA").write_text(text)


class DamagesTests(DistributionsTestCase):
    """Damage to the environment by other programs."""

    def test_none(self) -> None:
        """A complete environment has no problems; circles and unused extras are harmless."""
        self.install("errklein", "1.0", "Thing[tls]>=2", 'gone; python_version < "3"', 'nothing; extra == "docs"')
        self.install("thing", "2.0", 'TLS>1; extra == "tls"', "errklein")
        self.install("tls", "1.5")
        self.assertEqual(environment_problems(), [])

    def test_missing_and_wrong(self) -> None:
        """A line contains what is installed, what is required by which package, and the command for the repair."""
        self.install("errklein", "1.0", "Thing>=2", "Other")
        self.install("thing", "1.0", "Below[extra]")
        self.install("below", "1.0", 'deep<3; extra == "extra"')
        self.install("deep", "3.1")
        pip = f"{sys.executable} -m pip install"
        self.assertCountEqual(
            environment_problems(),
            [
                f"Thing 1.0 is installed; errklein requires Thing>=2. Repair: {pip} 'Thing>=2'",
                f"Other is missing; errklein requires it. Repair: {pip} 'Other'",
                f"deep 3.1 is installed; below requires deep<3. Repair: {pip} 'deep<3'",
            ],
        )

    def test_pre_releases(self) -> None:
        """An installed pre-release is accepted."""
        self.install("errklein", "1.0", "thing>=2")
        self.install("thing", "3.0b1")
        self.assertEqual(environment_problems(), [])

    def test_not_installed(self) -> None:
        """An errklein that runs from its source has no requirements."""
        self.assertEqual(environment_problems(), [])

    def test_without_packaging(self) -> None:
        """If the package that reads requirements is missing, that is the problem."""
        with mock.patch.dict(sys.modules, {"packaging": None, "packaging.requirements": None}):
            (line,) = environment_problems()
        self.assertIn("packaging is missing", line)

    def test_remains(self) -> None:
        """A partly removed distribution counts as missing."""
        (self.site / "thing-1.0.dist-info").mkdir()
        self.assertIsNone(installed_version("thing"))

    def test_metadata_of_old_distributions(self) -> None:
        """Invalid requirements are ignored, and metadata that isn't UTF-8 is read as far as possible."""
        self.install("errklein", "1.0", "old", "latin>=2")
        self.install("old", "1.0", "dep (>dev)", "dep (>=1.0.*)", "gone")
        self.install("latin", "1.5")
        with (self.site / "latin-1.5.dist-info" / "METADATA").open("ab") as file:
            file.write(b"Author: J\xfcrgen\n")
        self.assertEqual(installed_version("latin"), "1.5")
        self.assertEqual(
            list(unfulfilled(["errklein", "latin"])),
            [
                ("latin>=2", "latin 1.5 is installed; errklein requires latin>=2"),
                ("gone", "gone is missing; old requires it"),
            ],
        )
        self.assertIn(("latin", "1.5"), [name_and_version(found) for found in distributions()])

    def test_provided(self) -> None:
        """Provided distributions aren't missing."""
        self.install("thing", "1.0", "Errbot>=9")
        self.assertEqual(list(unfulfilled(["thing"], provided=["errbot"])), [])

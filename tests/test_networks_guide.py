"""The network of the guide "Write a network" is short, works, and is found when its package is installed."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests import needs_network
from tests.processes import ERRKLEIN, ROOT, run

EXAMPLE = ROOT / "docs" / "examples" / "network"
LONGEST = 110
"""The lines that a network may need."""


class NetworkGuideTests(SynchronousTestCase):
    """The package of the guide. Its own tests, which are the contract of networks, run with those of the examples."""

    def test_short(self) -> None:
        """The network has at most 110 lines."""
        lines = (EXAMPLE / "errklein_parley.py").read_text(encoding="utf-8").splitlines()
        self.assertLessEqual(len(lines), LONGEST)

    def test_only_public_names(self) -> None:
        """Neither the network nor its test needs a name that begins with an underscore."""
        for path in EXAMPLE.glob("*.py"):
            self.assertNotRegex(path.read_text(encoding="utf-8").replace("__init__", ""), r"[\s.]_\w")

    def test_installed(self) -> None:
        """When the package is installed, the command line knows the network, and checks its settings."""
        needs_network()
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        shutil.copy(EXAMPLE / "errklein_parley.py", directory)
        project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        metadata = directory / f"errklein_parley-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0.0\n")
        [(name, value)] = project["entry-points"]["errklein.networks"].items()
        (metadata / "entry_points.txt").write_text(f"[errklein.networks]\n{name} = {value}\n")
        config, incomplete = directory / "config.py", directory / "incomplete.py"
        shutil.copy(EXAMPLE / "config.py", config)
        incomplete.write_text(config.read_text(encoding="utf-8").replace('"token"', '"tokens"'), encoding="utf-8")
        path = os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])
        with mock.patch.dict(os.environ, PYTHONPATH=path):
            listed = run(ERRKLEIN, "network", "list", "-c", str(config), cwd=directory)
            checked = run(ERRKLEIN, "check", "-c", str(incomplete), cwd=directory)
        self.assertRegex(listed.stdout, r"(?m)^  Parley +an invented chat server$")
        self.assertIn("BOT_IDENTITY: 'token' is missing", checked.stdout + checked.stderr)

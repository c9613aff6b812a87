"""The modules that replace errbot's, inside and outside of plugins."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

import errklein
from errklein.chat import Message
from errklein.compat import install
from errklein.compat._facade import FACADES


def run(source: str) -> dict[str, Any]:
    """Execute the source and return its names."""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace


class FacadeTests(SynchronousTestCase):
    """Behaviour of the modules."""

    def test_missing_name(self) -> None:
        """The error about a missing name has errbot's name for it; `hasattr` works."""
        for module in ("errbot", "errbot.utils"):
            statement = f"from errklein.compat.{module} import no_such_name"
            error = self.assertRaises(ImportError, run, statement)
            self.assertEqual(str(error), f"errklein doesn't have {module}.no_such_name")
            self.assertFalse(hasattr(import_module(f"errklein.compat.{module}"), "no_such_name"))

    def test_missing_module(self) -> None:
        """The error about a missing module has errbot's name for it."""
        for statement in ("import errklein.compat.errbot.gone.too", "from errklein.compat.errbot.gone import x"):
            error = self.assertRaises(ImportError, run, statement)
            self.assertEqual(str(error), "errklein doesn't have errbot.gone")
        error = self.assertRaises(ImportError, run, "import errklein.compat.errbot.BotPlugn")
        self.assertEqual(str(error), "errklein doesn't have errbot.BotPlugn; did you mean 'BotPlugin'?")
        self.assertIs(run("from errklein.compat.errbot import Message")["Message"], Message)

    def test_dir(self) -> None:
        """`dir()` lists the names."""
        self.assertIn("format_timedelta", dir(import_module("errklein.compat.errbot.utils")))


class InstallTests(SynchronousTestCase):
    """`install`: errbot and flask for the whole process."""

    def setUp(self) -> None:
        """Remove both packages from the process, and restore them after the test."""
        # Imports of errklein's own module must be complete before the module search path is emptied.
        import_module("errklein.compat.flask")
        modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] not in FACADES}
        patched = mock.patch.dict(sys.modules, modules, clear=True)
        patched.start()
        self.addCleanup(patched.stop)
        self.patch(sys, "path", [])
        # The finders of an editable install and of errklein's pytest plugin don't use the module search path.
        finders = [finder for finder in sys.meta_path if not re.search("(?i)editable|errklein_pytest", repr(finder))]
        self.patch(sys, "meta_path", finders)

    def test_nothing_installed(self) -> None:
        """If neither package is installed, both are errklein's, with submodules and the same classes."""
        install()
        self.assertIs(run("from errbot.backends.base import Message")["Message"], Message)
        self.assertIs(sys.modules["errbot.backends.base"], sys.modules["errklein.compat.errbot.backends.base"])
        self.assertIs(run("import flask")["flask"], import_module("errklein.compat.flask"))

    def test_missing_module(self) -> None:
        """The error about a module that errklein lacks has errbot's name for it."""
        install()
        for statement in ("import errbot.gone", "from errbot import gone"):
            self.assertEqual(str(self.assertRaises(ImportError, run, statement)), "errklein doesn't have errbot.gone")

    def test_real_ones_stay(self) -> None:
        """A package that is installed or imported stays."""
        real = ModuleType("flask")
        sys.modules["flask"] = real
        site = Path(self.mktemp())
        (site / "errbot").mkdir(parents=True)
        (site / "errbot/__init__.py").write_text("real = True")
        sys.path.append(str(site))
        install()
        self.assertIs(run("import flask")["flask"], real)
        self.assertTrue(run("import errbot")["errbot"].real)

    def test_force(self) -> None:
        """With `force` a real package is replaced."""
        sys.modules["flask"] = sys.modules["errbot"] = ModuleType("real")
        install(force=True)
        self.assertIs(run("from errbot import Message")["Message"], Message)
        self.assertIs(run("import flask")["flask"], import_module("errklein.compat.flask"))

    def test_twice(self) -> None:
        """A second call changes nothing."""
        install()
        first = sys.modules["errbot"]
        install()
        self.assertIs(sys.modules["errbot"], first)


class ImportCostTests(SynchronousTestCase):
    """Modules that importing errbot loads."""

    def test_light(self) -> None:
        """Importing errbot loads no reactor, web server or plugin."""
        code = (
            "import sys; import errklein.compat.errbot.backends.base; "
            "print([name for name in sys.modules if name in ('twisted.internet.reactor', 'klein', 'flask')])"
        )
        # The working directory makes errklein importable, whether it is installed or not.
        root = Path(errklein.__file__).parent.parent
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "[]")

"""Names in outside values are checked without executing a plugin."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.stored_classes import NameJudge, plugs_of
from errklein.config import load_config
from errklein.storage.pickling import NameStatus, names_in
from tests.compat.test_stored_classes import MODULE
from tests.processes import write_plugin
from tests.storage.hostile_pickles import hostile_pickles

EXTRA = """
raise SystemExit("not to be run")

try:
    import json as Maybe
except ImportError:
    class Maybe:
        pass

if True:
    class Inner:
        pass

kind: type = collections.namedtuple("kind", "a")
"""


class NameJudgeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Write plugins that can't be executed."""
        directory = Path(self.mktemp()).absolute()
        write_plugin(directory, "Greeter", MODULE + EXTRA)
        (directory / "greeter" / "mood.py").write_text("class Mood:\n    pass\n")
        (directory / "greeter" / "lib").mkdir()
        (directory / "greeter" / "lib" / "__init__.py").write_text("class Deep:\n    pass\n")
        (directory / "greeter" / "bad.py").write_text("class (")
        write_plugin(directory, "Other", "class Thing:\n    pass\n")
        self.judge = NameJudge(plugs_of(load_config(None, {"BOT_EXTRA_PLUGIN_DIR": str(directory)})))

    def check_all(self, verdict: NameStatus, *names: str, module: str = "greeter") -> None:
        """Check the status of names in the plugin's module, by each name of the module."""
        for name in names:
            for spelled in (module, f"errbot.plugins.{module}", f"errklein_plugins.Greeter.{module}"):
                self.assertIs(self.judge("Greeter", spelled, name), verdict, (spelled, name))

    def test_defined(self) -> None:
        """Names that the plugin's modules define are allowed."""
        self.check_all(NameStatus.ALLOWED, "Thing", "Thing.Part", "Thing.made", "make", "Point", "Inner")
        self.check_all(NameStatus.ALLOWED, "kind", "Maybe", "Colour.RED", "Shape.ROUND")
        self.check_all(NameStatus.ALLOWED, "Mood", module="mood")
        self.check_all(NameStatus.ALLOWED, "Deep", module="lib")

    def test_defined_elsewhere(self) -> None:
        """Imported and assigned names, and their attributes, are refused."""
        self.check_all(NameStatus.REFUSED, "os", "os.system", "system", "Popen", "run", "paths.os.system", "mood.Mood")
        self.check_all(NameStatus.REFUSED, "make.__globals__.x")

    def test_missing(self) -> None:
        """Names that the modules don't define are missing."""
        self.check_all(NameStatus.MISSING, "Gone", "Gone.Part")
        self.check_all(NameStatus.MISSING, "Thing", module="gone")
        self.check_all(NameStatus.MISSING, "Thing", module="bad")
        self.assertIs(self.judge("Unknown", "errbot.plugins.unknown", "Thing"), NameStatus.MISSING)

    def test_other_modules(self) -> None:
        """Names of other plugins and installed packages are refused; standard names and errklein's are allowed."""
        for module, name in (
            ("errbot.plugins.other", "Thing"),
            ("errbot.plugins.help", "Help"),
            ("errklein_plugins.Other.other", "Thing"),
            ("twisted.internet.defer", "Deferred"),
            ("os", "system"),
            ("errklein.cli", "main"),
            ("errbot", "botcmd"),
            ("flask", "request"),
        ):
            self.assertIs(self.judge("Greeter", module, name), NameStatus.REFUSED, module)
        for module, name in (("datetime", "date"), ("errbot.backends.base", "Message"), ("builtins", "set")):
            self.assertIs(self.judge("Greeter", module, name), NameStatus.ALLOWED, module)

    def test_hostile(self) -> None:
        """Each hostile pickle has a name that is refused."""
        for hostile in hostile_pickles(Path("ran")):
            verdicts = {self.judge("Greeter", *name) for name in names_in(hostile.data)}
            self.assertIn(NameStatus.REFUSED, verdicts, hostile.what)
            self.assertNotIn(NameStatus.MISSING, verdicts, hostile.what)

"""A package of errklein imports only from packages below it, and docs/design.md and CONTRIBUTING.md list the same floors."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.floors import (
    FLOOR_OF,
    FLOORS,
    LOOSE_MODULES,
    PACKAGE,
    PURE,
    SHARED_BY_NETWORKS,
    Tree,
    errklein_itself,
    floors_in_block,
    floors_in_table,
    misplaced,
    short,
    stale,
)


class FloorsTests(SynchronousTestCase):
    """errklein as it is."""

    def test_every_import_goes_down(self) -> None:
        """No module imports from above, from its own floor, from errklein itself, or the reactor at module level."""
        tree = errklein_itself()
        self.assertGreater(len(tree.sources), 100)
        self.assertEqual(sorted(tree.violations()), [])

    def test_no_cycles(self) -> None:
        """Neither modules of different packages nor packages import each other in a circle."""
        self.assertEqual(errklein_itself().cycle_of_modules(), [])
        self.assertEqual(errklein_itself().cycle_of_packages(), [])

    def test_everything_is_on_a_floor(self) -> None:
        """errklein/ has packages and modules of the list of floors, and nothing else; the list has nothing else either."""
        entries = [path.name for path in PACKAGE.iterdir()]
        self.assertEqual(misplaced(entries), [])
        self.assertEqual(stale(entries), [])
        networks = {path.stem for path in (PACKAGE / "backends").iterdir()}
        self.assertEqual(sorted(set(SHARED_BY_NETWORKS) - networks), [])

    def test_documented_floors(self) -> None:
        """docs/design.md and CONTRIBUTING.md list the same floors."""
        self.assertEqual(floors_in_table((PACKAGE.parent / "docs" / "design.md").read_text()), FLOORS)
        self.assertEqual(floors_in_block((PACKAGE.parent / "CONTRIBUTING.md").read_text()), FLOORS)

    def test_the_reactor_can_still_be_chosen(self) -> None:
        """Nothing that twistd imports before it knows the command line's reactor installs one, even indirectly."""
        code = "import sys, errklein.config, errklein.tap; sys.exit('twisted.internet.reactor' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode, 0)


class BrokenOnPurposeTests(SynchronousTestCase):
    """Each rule finds what it is there to find."""

    def broken(self, source: str, module: str) -> list[str]:
        """What is found if `source` is the text of `module`."""
        found = list(Tree({module: source}).violations())
        self.assertLess(len(found), 2)
        return found

    def test_upward_import(self) -> None:
        """Importing from a higher floor is found in every spelling, type checking and late imports included."""
        for source, module in (
            ("from errklein.web import routes", "errklein.running.pool"),
            ("import errklein.tap", "errklein.bot"),
            ("from errklein import ports", "errklein.chat.messages"),
            ("from ..web import routes", "errklein.running.pool"),
            ("def f():\n    from errklein.bot import Bot", "errklein.web.site"),
            ("if TYPE_CHECKING:\n    from errklein.bot import Bot", "errklein.web.site"),
            ("importlib.import_module('errklein.bot')", "errklein.web.site"),
            ("import_module(f'errklein.bot.{name}')", "errklein.web.site"),
            ("from errklein.config import Config", "errklein.running.pool"),
            ("from errklein.bot import Bot", "errklein.dispatch.replies"),
            ("from errklein.compat import names", "errklein.bot"),
            ("from errklein.core_plugins import help", "errklein.bot"),
            ("from errklein.wiring import wire", "errklein.compat.names"),
            ("from errklein.cli import main", "errklein.service"),
        ):
            self.assertIn("from above", "".join(self.broken(source, module)), source)

    def test_sideways_import(self) -> None:
        """Packages on one floor don't import each other."""
        for floor in FLOORS:
            for importer in floor:
                for other in floor:
                    found = self.broken(f"import errklein.{other}", f"errklein.{importer}.z")
                    self.assertEqual(bool(found), importer != other, found)

    def test_downward_import(self) -> None:
        """Importing from below, from one's own package and the version is fine."""
        for source, module in (
            ("from errklein.running import Runner\nimport os", "errklein.web.site"),
            ("from errklein.web import WebServer", "errklein.tap"),
            ("from errklein.config import Config", "errklein.backends.irc.backend"),
            ("from errklein._version import __version__", "errklein.chat"),
            ("from errklein.plugins.botplugin import BotPlugin", "errklein"),
        ):
            self.assertEqual(self.broken(source, module), [], source)

    def test_names_of_the_root(self) -> None:
        """Nothing inside imports what plugin authors import."""
        for source in ("from errklein import BotPlugin", "import errklein", "from .. import botcmd"):
            for module in ("errklein.core_plugins.help", "errklein.tap", "errklein.testing.bot"):
                if not (module == "errklein.tap" and source.startswith("from ..")):
                    self.assertEqual(self.broken(source, module), [f"{short(module)} imports names of errklein itself"])

    def test_networks(self) -> None:
        """A network imports what networks share, and no other; what they share imports none."""
        self.assertTrue(self.broken("from errklein.backends.irc import client", "errklein.backends.text"))
        self.assertTrue(self.broken("from errklein.backends.test import Sent", "errklein.backends.irc.backend"))
        self.assertTrue(self.broken("from errklein.backends.irc import client", "errklein.backends.outbox"))
        self.assertEqual(
            self.broken("from errklein.backends.outbox import Outbox", "errklein.backends.irc.backend"), []
        )
        self.assertEqual(self.broken("from errklein.backends.irc.client import x", "errklein.backends.irc.backend"), [])

    def test_pure_packages(self) -> None:
        """Values and functions need nothing of Twisted."""
        for package in PURE:
            for source in ("from twisted.logger import Logger", "import treq", "def f():\n    import klein.app"):
                self.assertTrue(self.broken(source, f"errklein.{package}.x"), source)
        self.assertEqual(self.broken("from twisted.logger import Logger", "errklein.running.pool"), [])

    def test_mention_of_compat(self) -> None:
        """Below the compatibility layer nothing knows of it, not even in a docstring."""
        for source in ('"""See `compat.names`."""', 'NAMES = ("errklein.compat.backends",)', '"""Used by `compat`."""'):
            self.assertEqual(self.broken(source, "errklein.bot.events"), ["bot.events mentions compat"])
            self.assertEqual(self.broken(source, "errklein.wiring"), [])
        self.assertEqual(self.broken("import _compat_pickle", "errklein.storage.pickling"), [])

    def test_unlisted_package(self) -> None:
        """A new package has to be put on a floor; loose modules stay few."""
        self.assertTrue(self.broken("from errklein.chat import Message", "errklein.attic.boxes"))
        self.assertEqual(misplaced(["web", "attic", "doubts.py", "tap.py", "py.typed"]), ["attic", "doubts.py"])
        self.assertEqual(misplaced(["web.py", "tap"]), ["tap", "web.py"])

    def test_stale_entry(self) -> None:
        """What is on the list has to be there."""
        entries = [f"{member}.py" if f"{member}.py" in LOOSE_MODULES else member for member in FLOOR_OF]
        self.assertEqual(stale(entries), [])
        self.assertEqual(stale(entry for entry in entries if entry not in ("web", "tap.py")), ["tap", "web"])

    def test_cycle_of_modules(self) -> None:
        """A circle through two packages is found; one within a package is not."""
        tree = Tree(
            {
                "errklein.bot.a": "from errklein.web.b import x",
                "errklein.web.b": "from errklein.web import c",
                "errklein.web.c": "from errklein.bot.a import y\nfrom errklein.web.b import x",
                "errklein.web.d": "from errklein.web.b import x",
            }
        )
        self.assertEqual(tree.cycle_of_modules(), ["errklein.bot.a", "errklein.web.b", "errklein.web.c"])

    def test_cycle_of_packages(self) -> None:
        """So is one of packages, even if no module is in a circle."""
        tree = Tree(
            {
                "errklein.bot.a": "from errklein.web.b import x",
                "errklein.web.b": "",
                "errklein.web.c": "from errklein.bot.a import y",
            }
        )
        self.assertEqual(tree.cycle_of_modules(), [])
        self.assertEqual(set(tree.cycle_of_packages()), {"bot", "web"})

    def test_other_list(self) -> None:
        """A page that lists something else is found."""
        page = "# Design\n\n## Floors\n\n| packages | what |\n|---|---|\n| `tap` `cli` | a, `web` |\n| `bot` | b |\n\n## Else\n\n| `x` | c |\n"
        self.assertEqual(floors_in_table(page), (("tap", "cli"), ("bot",)))
        self.assertEqual(
            floors_in_block("\n## Floors\n\nText:\n\n```text\ntap cli\nbot\n```\n"), (("tap", "cli"), ("bot",))
        )
        self.assertEqual((floors_in_table(""), floors_in_block("")), ((), ()))

    def test_the_reactor_at_module_level(self) -> None:
        """The reactor is found wherever it is imported with the module, however it is spelled."""
        for source in (
            "from twisted.internet import reactor",
            "from twisted.internet import defer, reactor as r",
            "import twisted.internet.reactor",
            "from twisted.internet.reactor import callLater",
            "import twisted.internet\nclock = twisted.internet.reactor",
            "importlib.import_module('twisted.internet.reactor')",
            "__import__('twisted.internet.reactor')",
            "try:\n    from twisted.internet import reactor\nexcept ImportError:\n    pass",
            "class A:\n    from twisted.internet import reactor",
            "def f(r=__import__('twisted.internet.reactor')):\n    pass",
        ):
            self.assertEqual(self.broken(source, "errklein.tap"), ["tap imports the reactor at module level"], source)
        self.assertEqual(self.broken("def f():\n    from twisted.internet import reactor", "errklein.tap"), [])
        self.assertEqual(self.broken("from twisted.internet import defer", "errklein.tap"), [])

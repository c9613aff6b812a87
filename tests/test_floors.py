"""Packages of errklein import only from lower floors, and the documentation lists the same floors."""

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
    """The packages of errklein."""

    def test_every_import_goes_down(self) -> None:
        """No module imports from a higher or its own floor, from errklein itself, or the reactor at module level."""
        tree = errklein_itself()
        self.assertGreater(len(tree.sources), 100)
        self.assertEqual(sorted(tree.violations()), [])

    def test_no_cycles(self) -> None:
        """Neither modules of different packages nor packages import each other in a cycle."""
        self.assertEqual(errklein_itself().cycle_of_modules(), [])
        self.assertEqual(errklein_itself().cycle_of_packages(), [])

    def test_everything_is_on_a_floor(self) -> None:
        """The list of floors has exactly the packages and modules in errklein/."""
        entries = [path.name for path in PACKAGE.iterdir()]
        self.assertEqual(misplaced(entries), [])
        self.assertEqual(stale(entries), [])
        networks = {path.stem for path in (PACKAGE / "networks").iterdir()}
        self.assertEqual(sorted(set(SHARED_BY_NETWORKS) - networks), [])

    def test_documented_floors(self) -> None:
        """docs/design.md and CONTRIBUTING.md list the same floors."""
        self.assertEqual(floors_in_table((PACKAGE.parent / "docs" / "design.md").read_text()), FLOORS)
        self.assertEqual(floors_in_block((PACKAGE.parent / "CONTRIBUTING.md").read_text()), FLOORS)

    def test_the_reactor_can_still_be_chosen(self) -> None:
        """Modules that twistd imports before it reads its options don't install a reactor."""
        code = "import sys, errklein.config, errklein.tap; sys.exit('twisted.internet.reactor' in sys.modules)"
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode, 0)


class BrokenOnPurposeTests(SynchronousTestCase):
    """The checks find violations."""

    def broken(self, source: str, module: str) -> list[str]:
        """Return the violations if `source` is the text of `module`."""
        found = list(Tree({module: source}).violations())
        self.assertLess(len(found), 2)
        return found

    def test_upward_import(self) -> None:
        """An import from a higher floor is found in every spelling, also for type checking and in functions."""
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
        """An import from the same floor is found."""
        for floor in FLOORS:
            for importer in floor:
                for other in floor:
                    found = self.broken(f"import errklein.{other}", f"errklein.{importer}.z")
                    self.assertEqual(bool(found), importer != other, found)

    def test_downward_import(self) -> None:
        """Imports from lower floors, from the own package and of the version are allowed."""
        for source, module in (
            ("from errklein.running import Runner\nimport os", "errklein.web.site"),
            ("from errklein.web import WebServer", "errklein.tap"),
            ("from errklein.config import Config", "errklein.networks.irc.backend"),
            ("from errklein._version import __version__", "errklein.chat"),
            ("from errklein.plugins.botplugin import BotPlugin", "errklein"),
        ):
            self.assertEqual(self.broken(source, module), [], source)

    def test_names_of_the_root(self) -> None:
        """An import from the package errklein itself is found."""
        for source in ("from errklein import BotPlugin", "import errklein", "from .. import botcmd"):
            for module in ("errklein.core_plugins.help", "errklein.tap", "errklein.testing.bot"):
                if not (module == "errklein.tap" and source.startswith("from ..")):
                    self.assertEqual(self.broken(source, module), [f"{short(module)} imports names of errklein itself"])

    def test_networks(self) -> None:
        """A network may import shared modules, but no other network; shared modules may import no network."""
        self.assertTrue(self.broken("from errklein.networks.irc import client", "errklein.networks.text"))
        self.assertTrue(self.broken("from errklein.networks.test import Sent", "errklein.networks.irc.backend"))
        self.assertTrue(self.broken("from errklein.networks.irc import client", "errklein.networks.outbox"))
        self.assertEqual(
            self.broken("from errklein.networks.outbox import Outbox", "errklein.networks.irc.backend"), []
        )
        self.assertEqual(self.broken("from errklein.networks.irc.client import x", "errklein.networks.irc.backend"), [])

    def test_pure_packages(self) -> None:
        """An import of Twisted on the lowest floors is found."""
        for package in PURE:
            for source in ("from twisted.logger import Logger", "import treq", "def f():\n    import klein.app"):
                self.assertTrue(self.broken(source, f"errklein.{package}.x"), source)
        self.assertEqual(self.broken("from twisted.logger import Logger", "errklein.running.pool"), [])

    def test_mention_of_compat(self) -> None:
        """A mention of the compatibility layer on a lower floor is found, even in a docstring."""
        for source in ('"""See `compat.names`."""', 'NAMES = ("errklein.compat.backends",)', '"""Used by `compat`."""'):
            self.assertEqual(self.broken(source, "errklein.bot.events"), ["bot.events mentions compat"])
            self.assertEqual(self.broken(source, "errklein.wiring"), [])
        self.assertEqual(self.broken("import _compat_pickle", "errklein.storage.pickling"), [])

    def test_unlisted_package(self) -> None:
        """A package without a floor is found, and so is an unknown loose module."""
        self.assertTrue(self.broken("from errklein.chat import Message", "errklein.attic.boxes"))
        self.assertEqual(misplaced(["web", "attic", "doubts.py", "tap.py", "py.typed"]), ["attic", "doubts.py"])
        self.assertEqual(misplaced(["web.py", "tap"]), ["tap", "web.py"])

    def test_stale_entry(self) -> None:
        """A member of the list that doesn't exist is found."""
        entries = [f"{member}.py" if f"{member}.py" in LOOSE_MODULES else member for member in FLOOR_OF]
        self.assertEqual(stale(entries), [])
        self.assertEqual(stale(entry for entry in entries if entry not in ("web", "tap.py")), ["tap", "web"])

    def test_cycle_of_modules(self) -> None:
        """A cycle through two packages is found; a cycle within a package is allowed."""
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
        """A cycle of packages is found, even without a cycle of modules."""
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
        """A page with another list of floors is found."""
        page = "# Design\n\n## Floors\n\n| packages | what |\n|---|---|\n| `tap` `cli` | a, `web` |\n| `bot` | b |\n\n## Else\n\n| `x` | c |\n"
        self.assertEqual(floors_in_table(page), (("tap", "cli"), ("bot",)))
        self.assertEqual(
            floors_in_block("\n## Floors\n\nText:\n\n```text\ntap cli\nbot\n```\n"), (("tap", "cli"), ("bot",))
        )
        self.assertEqual((floors_in_table(""), floors_in_block("")), ((), ()))

    def test_the_reactor_at_module_level(self) -> None:
        """An import of the reactor at module level is found in every spelling."""
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

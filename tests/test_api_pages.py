"""The pages of the API have all names that plugins and their tests use."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pkgutil import resolve_name

from twisted.trial.unittest import SynchronousTestCase

import errklein
import errklein.testing
from errklein import BotPlugin
from errklein.plugins._base import PluginMessages
from tests.processes import ROOT
from tests.test_pages import TEXTS

PAGES = {name: text for name, text in TEXTS.items() if name.startswith("docs/reference/api/")}


def documented() -> list[str]:
    """Return the names of all directives."""
    return [name for text in PAGES.values() for name in re.findall(r"(?m)^\.\. auto\w+:: (\S+)$", text)]


class ApiPageTests(SynchronousTestCase):
    """docs/reference/api."""

    def test_public_names(self) -> None:
        """All names that plugins and their tests import have an entry, apart from constants of one sentence."""
        constants = {"errklein.__version__", *(f"errklein.{name}" for name in ("AWAY", "DND", "OFFLINE", "ONLINE"))}
        names = {f"{module.__name__}.{name}" for module in (errklein, errklein.testing) for name in module.__all__}
        self.assertEqual(names - constants - set(documented()), set())

    def test_botplugin(self) -> None:
        """All public attributes that `BotPlugin` itself has have an entry on its page."""
        public = {name for cls in (BotPlugin, PluginMessages) for name in vars(cls) if not name.startswith("_")}
        entries = re.findall(
            r"(?m)^\.\. auto\w+:: errklein\.BotPlugin\.(\w+)$", PAGES["docs/reference/api/botplugin.md"]
        )
        self.assertEqual(public - set(entries), set(), "add them to docs/reference/api/botplugin.md")

    def test_networks(self) -> None:
        """All classes that the network of the guide imports have an entry, and so have the ports of networks."""
        example = ast.parse((ROOT / "docs" / "examples" / "network" / "errklein_parley.py").read_text("utf-8"))
        imports = [node for node in ast.walk(example) if isinstance(node, ast.ImportFrom)]
        names = [f"{node.module}:{name.name}" for node in imports for name in node.names]
        names += [
            f"errklein.ports.chat:{name}" for name in ("Backend", "BackendEvents", "ManagesRooms", "KnowsHolders")
        ]
        found = {resolve_name(name) for name in names if name.startswith("errklein.")}
        entries = [resolve_name(name) for name in documented() if not name.startswith("errklein.BotPlugin.")]
        self.assertEqual({one for one in found if isinstance(one, type) and one not in entries}, set())

    def test_every_name_has_one_page(self) -> None:
        """No name has two entries."""
        self.assertEqual([name for name, number in Counter(documented()).items() if number > 1], [])

    def test_the_index_has_every_page(self) -> None:
        """docs/reference/api.md says what each page is for."""
        linked = re.findall(r"(?m)^- \[.+?\]\(api/([\w-]+)\.md\).*: [\w`]", TEXTS["docs/reference/api.md"])
        self.assertEqual(sorted(f"docs/reference/api/{name}.md" for name in linked), sorted(PAGES))

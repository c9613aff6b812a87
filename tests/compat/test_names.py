"""Each name in the table of errbot's names refers to an object."""

from __future__ import annotations

from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat._facade import ERRBOT, EXPORTED, FACADES


class NamesTests(SynchronousTestCase):
    """The table of errbot's names."""

    def test_every_name(self) -> None:
        """Every name in the table can be imported."""
        for module, names in ERRBOT.items():
            facade = import_module("errklein.compat." + module)
            for name in names:
                self.assertTrue(hasattr(facade, name), f"{module}.{name}")

    def test_parents(self) -> None:
        """The parents of each module are in the table, too."""
        for module in ERRBOT:
            self.assertIn(module.rpartition(".")[0], ("", *ERRBOT))

    def test_exported(self) -> None:
        """Names for `import *` are in the table."""
        for module, names in EXPORTED.items():
            self.assertLessEqual(set(names), set(ERRBOT[module]))

    def test_facades(self) -> None:
        """Both packages can be imported."""
        for module in FACADES.values():
            self.assertEqual(import_module(module).__name__, module)

    def test_chapter(self) -> None:
        """The names that the webhooks chapter imports are errklein's."""
        import errklein
        from errklein.compat import errbot

        for name in ("BotPlugin", "webhook", "botcmd"):
            self.assertIs(getattr(errbot, name), getattr(errklein, name))

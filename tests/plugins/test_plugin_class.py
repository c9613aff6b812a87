"""Which class of a module is the plugin."""

from __future__ import annotations

from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.imports import plugin_class
from errklein.plugins.load_errors import PluginLoadError


class Base:
    """Stands for BotPlugin."""


class PluginClassTests(SynchronousTestCase):
    """The choice of a plugin's class."""

    def module(self, source: str) -> ModuleType:
        """A module with that source, in which Base and Imported, a subclass of it, are imported."""
        module = ModuleType("chosen_from")
        module.__file__ = "/plugins/chosen.py"
        vars(module).update(Base=Base, Imported=type("Imported", (Base,), {"__module__": "elsewhere"}))
        exec(source, vars(module))
        return module

    def test_one(self) -> None:
        """The module's own subclass is taken, not the base, not an imported one, and there is nothing to warn of."""
        module = self.module("class Zed(Imported): pass\nclass Another: pass\nimport json")
        self.assertEqual(plugin_class(module, Base), (module.Zed, None))

    def test_imported(self) -> None:
        """A module that defines none may import it."""
        module = self.module("")
        self.assertEqual(plugin_class(module, Base), (module.Imported, None))

    def test_two_names(self) -> None:
        """One class by two names is one class."""
        module = self.module("class Zed(Base): pass\nAlias = Zed")
        self.assertEqual(plugin_class(module, Base), (module.Zed, None))

    def test_more(self) -> None:
        """Of several the alphabetically first is taken, as in errbot, with a warning that names all."""
        module = self.module("class Zed(Base): pass\nclass Able(Base): pass")
        chosen, warning = plugin_class(module, Base)
        self.assertIs(chosen, module.Able)
        self.assertEqual(warning, "/plugins/chosen.py: Contains more than one plugin (Able, Zed); Able is used")

    def test_by_name(self) -> None:
        """Of several the one that is called as the plugin is taken, and there is nothing to warn of."""
        module = self.module("class Zed(Base): pass\nclass Able(Base): pass")
        self.assertEqual(plugin_class(module, Base, "Zed"), (module.Zed, None))
        chosen, warning = plugin_class(module, Base, "Other")
        self.assertIs(chosen, module.Able)
        self.assertIn("Contains more than one plugin", warning or "")

    def test_none(self) -> None:
        """A module without one is told so."""
        module = self.module("del Imported")
        error = self.assertRaises(PluginLoadError, plugin_class, module, Base)
        self.assertEqual(str(error), "/plugins/chosen.py: there is no subclass of Base in it")

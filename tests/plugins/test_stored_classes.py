"""Values that errbot stored are read with the plugin's classes as they are here."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.imports import load_module, unload
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.stored_classes import find_class
from errklein.storage import SQLiteStorage, UnreadableValue


class StoredClassesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A plugin with a helper module beside it, and an empty storage."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "greeter.plug").write_text("[Core]\nName = My Greeter\nModule = greeter\n")
        (self.directory / "greeter.py").write_text("import mood\nclass Thing:\n    class Part:\n        pass\n")
        (self.directory / "mood.py").write_text("class Mood:\n    pass\n")
        self.plug = PlugFile.load(self.directory / "greeter.plug")
        self.storage = SQLiteStorage(self.directory / "file", find_class)
        self.addCleanup(self.storage.close)
        self.addCleanup(unload, self.plug)

    def stored(self, module: str, qualname: str, namespace: str = "My Greeter") -> object:
        """What is read of an instance that errbot stored when its class was called that."""
        # As pickle's protocol 2 writes an instance without attributes.
        data = f"\x80\x02c{module}\n{qualname}\n)\x81.".encode("latin-1")
        self.storage.put([(namespace, "key", data)])
        return self.storage.open(namespace).get("key")

    def test_plugin(self) -> None:
        """The class of a plugin's module is found in the plugin, also when a value of another plugin names it."""
        module = load_module(self.plug)
        self.assertIs(type(self.stored("errbot.plugins.greeter", "Thing")), module.Thing)
        self.assertIs(type(self.stored("errbot.plugins.greeter", "Thing", "Other")), module.Thing)
        self.assertIs(find_class("My Greeter", "errbot.plugins.greeter", "Thing.Part"), module.Thing.Part)

    def test_helper(self) -> None:
        """A module beside the plugin, which errbot had for everybody, is the plugin's own."""
        module = load_module(self.plug)
        self.assertIs(type(self.stored("mood", "Mood")), module.mood.Mood)

    def test_errbot(self) -> None:
        """A class of errbot's is errklein's of that name."""
        from errklein.chat import Message

        self.assertIs(find_class("Greeter", "errbot.backends.base", "Message"), Message)

    def test_unknown(self) -> None:
        """A class that isn't there is told, and the value stays; what isn't errbot's is where it says."""
        self.assertRaises(UnreadableValue, self.stored, "errbot.plugins.gone", "Thing")
        self.assertEqual(self.storage.open("My Greeter").keys(), ["key"])
        for module, name in (("datetime", "date"), ("errbot.nowhere", "X"), ("errklein.chat", "Message"), ("x", "y")):
            self.assertIsNone(find_class("Greeter", module, name))

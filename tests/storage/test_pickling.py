"""Instances of plugins' classes can be read after restarts, after reloads, and after the move from errbot."""

from __future__ import annotations

import pickle
import sqlite3
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.storage import SQLiteStorage, UnreadableValue, UnstorableValue
from errklein.storage.pickling import ValueReader, loads

MODULE = "errklein_plugins.greeter.greeter"

CODE = """
import enum
from collections import namedtuple
from dataclasses import dataclass

VERSION = {version}

@dataclass
class Note:
    text: str

    def version(self):
        return VERSION

    class Tag(str):
        pass

class Mood(enum.Enum):
    GOOD = 1
    BAD = 2

class Slotted:
    __slots__ = ("text",)

Point = namedtuple("Point", "x y")
Mislabelled = namedtuple("Nowhere", "x")

def greet():
    return VERSION

def local():
    class Local:
        pass
    return Local()
"""

# The bytes in a shelf of errbot for [Note("hello"), {1}]: protocol 2, with Python 2's names for builtins.
ERRBOT_PICKLE = (
    b"\x80\x02]q\x00(cerrbot.plugins.greeter\nNote\nq\x01)\x81q\x02}q\x03X\x04\x00\x00\x00textq\x04X\x05\x00\x00\x00helloq\x05sb"
    b"c__builtin__\nset\nq\x06]q\x07K\x01a\x85q\x08Rq\te."
)


class PluginCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Create a store; remove the plugin's modules after the test."""
        self.path = Path(self.mktemp())
        self.storage = SQLiteStorage(self.path)
        self.addCleanup(lambda: self.storage.close())
        self.store = self.storage.open("Greeter")
        for name in ("errklein_plugins", "errklein_plugins.greeter", MODULE):
            self.addCleanup(sys.modules.pop, name, None)

    def load(self, version: int, code: str = CODE) -> Any:
        """Execute the plugin's module, as when it is loaded or reloaded."""
        for name in ("errklein_plugins", "errklein_plugins.greeter"):
            sys.modules[name] = ModuleType(name)
        module = ModuleType(MODULE)
        sys.modules[MODULE] = module
        exec(code.replace("{version}", str(version)), module.__dict__)
        return module

    def unload(self) -> None:
        """Remove the plugin's modules."""
        for name in (MODULE, "errklein_plugins.greeter", "errklein_plugins"):
            del sys.modules[name]

    def restart(self) -> None:
        """Open the file again."""
        self.storage.close()
        self.storage = SQLiteStorage(self.path)
        self.store = self.storage.open("Greeter")


class ReloadTests(PluginCase):
    def test_restart(self) -> None:
        """After a restart an instance has the plugin's current class."""
        self.store.set("note", self.load(1).Note("hello"))
        self.restart()
        self.load(2)
        note = self.store.get("note")
        self.assertEqual((note.text, note.version()), ("hello", 2))

    def test_made_before_a_reload(self) -> None:
        """An instance of the old class can be stored after a reload, and is read with the new class."""
        old = self.load(1)
        note, mood, point = old.Note("hello"), old.Mood.BAD, old.Point(1, 2)
        slotted = old.Slotted()
        slotted.text = "slot"
        new = self.load(2)
        self.store.set("all", [note, note, mood, point, slotted, old.Note.Tag("tag"), old.Note, old.greet])
        read = self.store.get("all")
        self.assertEqual(read[:4], [new.Note("hello"), new.Note("hello"), new.Mood.BAD, new.Point(1, 2)])
        self.assertIs(read[0], read[1])
        self.assertIs(read[2], new.Mood.BAD)
        self.assertEqual((type(read[4]), read[4].text), (new.Slotted, "slot"))
        self.assertEqual((type(read[5]), read[5]), (new.Note.Tag, "tag"))
        self.assertEqual((read[6], read[7]()), (new.Note, 2))

    def test_stored_while_the_plugin_is_away(self) -> None:
        """A handler that still runs while its plugin is unloaded or reloaded can store instances."""
        note = self.load(1).Note("hello")
        self.unload()
        self.store.set("note", note)
        self.load(2)
        self.assertEqual(self.store.get("note").version(), 2)

    def test_stored_by_name_alone(self) -> None:
        """The standard unpickler can read the bytes."""
        self.store.set("note", self.load(1).Note("hello"))
        self.load(2)
        self.assertEqual(pickle.loads(stored_bytes(self.path)).version(), 2)

    def test_nameless_classes_are_refused(self) -> None:
        """A value whose class can't be found by its name is refused when it is stored."""
        module = self.load(1)
        for value in (module.local(), module.Mislabelled(1), lambda: 1):
            self.assertRaises(UnstorableValue, self.store.set, "key", value)
        self.unload()
        self.assertRaises(UnstorableValue, self.store.set, "key", module.local())
        self.assertEqual(self.store.len(), 0)


class GoneTests(PluginCase):
    def check_unreadable(self, key: str, named: str) -> None:
        """Check that the error names the problem, and that the stored bytes are unchanged."""
        before = stored_bytes(self.path)
        error = self.assertRaises(UnreadableValue, self.store.get, key)
        self.assertNotIsInstance(error, KeyError)
        for part in ("Greeter", repr(key), named):
            self.assertIn(part, str(error))
        self.assertNotIn("\n", str(error))
        self.assertEqual((stored_bytes(self.path), list(self.store.keys())), (before, [key]))

    def test_class_is_gone(self) -> None:
        """If a class is missing, the error names it, and the value can be read when the class exists again."""
        self.store.set("note", self.load(1).Note("hello"))
        self.load(2, "")
        self.check_unreadable("note", f"{MODULE}.Note")
        self.load(3)
        self.assertEqual(self.store.get("note").text, "hello")

    def test_plugin_is_gone(self) -> None:
        """If the plugin is missing, the error names the class."""
        self.store.set("note", self.load(1).Note("hello"))
        self.unload()
        self.check_unreadable("note", f"{MODULE}.Note")

    def test_class_refuses(self) -> None:
        """A KeyError in the class's own code doesn't count as a missing key."""
        self.load(1, "class Note:\n    def __setstate__(self, state):\n        raise KeyError('colour')\n")
        note = sys.modules[MODULE].Note()
        note.text = "hello"
        self.store.set("note", note)
        self.check_unreadable("note", "colour")

    def test_may_be_removed_and_replaced(self) -> None:
        """A value that can't be read can be removed or replaced."""
        self.store.set("note", self.load(1).Note("hello"))
        self.unload()
        self.store.set("note", "new")
        self.assertEqual(self.store.get("note"), "new")
        self.store.set("note", self.load(1).Note("hello"))
        self.unload()
        self.store.remove("note")
        self.assertEqual(self.store.len(), 0)


class FindClassTests(PluginCase):
    def test_names_of_errbot(self) -> None:
        """Values with errbot's module names are read with the lookup function."""
        module = self.load(1)
        asked: list[tuple[str, str]] = []

        def find_class(name: str, qualname: str) -> object:
            asked.append((name, qualname))
            return getattr(module, qualname) if name == "errbot.plugins.greeter" else None

        self.assertEqual(loads(ERRBOT_PICKLE, find_class), [module.Note("hello"), {1}])
        self.assertIn(("errbot.plugins.greeter", "Note"), asked)

    def test_storage_asks(self) -> None:
        """A storage calls its lookup function for each class in a namespace."""
        module = self.load(1)
        self.store.set("note", module.Note("hello"))
        self.storage.close()
        asked: list[tuple[str, str, str]] = []
        self.storage = SQLiteStorage(self.path, ValueReader(lambda *question: asked.append(question)))
        self.assertEqual(self.storage.open("Greeter").get("note"), module.Note("hello"))
        self.assertEqual(asked, [("Greeter", MODULE, "Note")])


def stored_bytes(path: Path) -> bytes:
    """Return the bytes of the only value in the file."""
    connection = sqlite3.connect(path)
    try:
        ((data,),) = connection.execute("SELECT value FROM stored").fetchall()
    finally:
        connection.close()
    assert isinstance(data, bytes)
    return data

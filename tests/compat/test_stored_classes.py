"""Values that errbot stored are read with the current classes of plugins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Card, Message, Presence, Reaction
from errklein.compat._running_bots import RunningBots
from errklein.compat.plugin_manager import PluginInfo
from errklein.compat.stored_classes import STORED_VALUES, VALUE_CLASSES, find_class, find_restored_class
from errklein.networks.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
from errklein.networks.text.identifiers import TextPerson
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.imports import load_module, unload
from errklein.plugins.plug_file import PlugFile
from errklein.storage import SQLiteStorage, UnreadableValue
from errklein.storage.pickling import dumps, loads
from tests.storage.hostile_pickles import hostile_pickles

PLUGIN = "errklein_plugins.My_20_Greeter.greeter"

MODULE = """
import collections
import enum
import os
import os.path as paths
import subprocess
from functools import partial
from os import system
from subprocess import Popen

import mood
from mood import Mood

run = os.system
start = partial(os.system, "true")
Point = collections.namedtuple("Point", "x y")

class Thing:
    import os
    system = staticmethod(os.system)
    Popen = Popen

    class Part:
        def told(self, text):
            os.system(text)

    def told(self, text):
        os.system(text)

    @staticmethod
    def made():
        return Thing()

class Child(Thing):
    pass

class Colour(enum.Enum):
    import os
    RED = 1
    Popen = Popen

    def told(self, text):
        os.system(text)

Shape = enum.Enum("Shape", "ROUND", module=__name__)

def make(a):
    thing = Thing()
    thing.a = a
    return thing
"""


class StoredClassesCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Write a plugin with a helper module, and create an empty storage."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        (self.directory / "greeter.plug").write_text("[Core]\nName = My Greeter\nModule = greeter\n")
        (self.directory / "greeter.py").write_text(MODULE)
        (self.directory / "mood.py").write_text("import os\nclass Mood:\n    pass\n")
        self.plug = PlugFile.load(self.directory / "greeter.plug")
        self.storage = SQLiteStorage(self.directory / "file", STORED_VALUES)
        self.addCleanup(self.storage.close)
        self.addCleanup(unload, self.plug)

    def restored(
        self, module: str, qualname: str, namespace: str = "My Greeter", trusted: Sequence[str] = ()
    ) -> object:
        """Read an instance that errbot stored with this class name."""
        # This is an instance without attributes in pickle protocol 2.
        data = f"\x80\x02c{module}\n{qualname}\n)\x81.".encode("latin-1")
        self.storage.put([(namespace, "key", data)], trusted=trusted)
        return self.storage.open(namespace).get("key")


class StoredClassesTests(StoredClassesCase):
    def test_plugin(self) -> None:
        """A class of a plugin's module is found, also for a value of another plugin."""
        module = load_module(self.plug)
        self.assertIs(type(self.restored("errbot.plugins.greeter", "Thing")), module.Thing)
        self.assertIs(find_class("Other", "errbot.plugins.greeter", "Thing"), module.Thing)
        self.assertIs(find_class("My Greeter", "errbot.plugins.greeter", "Thing.Part"), module.Thing.Part)

    def test_moved_modules(self) -> None:
        """A class with a former name of its module is found."""
        self.assertIs(find_class("My Greeter", "errklein.plugins.plugin_info", "PluginInfo"), PluginInfo)
        for module, name in (
            ("errklein.answering.conversations", "Answer"),
            ("errklein.answering.conversations", "NoAnswer"),
            ("errklein.chat.identifiers", "RoomDoesNotExistError"),
            ("errklein.chat.streams", "Stream"),
            ("errklein.commands.arguments", "ArgumentParseError"),
            ("errklein.commands.declaration", "CommandError"),
            ("errklein.commands.dynamic", "Command"),
            ("errklein.commands.flows", "FlowRoot"),
            ("errklein.plugins.botplugin", "BotFlow"),
            ("errklein.plugins.plugin", "PluginActivationException"),
            ("errklein.plugins.repos.sources", "RepoException"),
            ("errklein.plugins.store_mixin", "StoreNotOpenError"),
            ("errklein.plugins.structure", "ValidationException"),
            ("errklein.storage.errors", "StorageError"),
        ):
            value = loads(f"c{module}\n{name}\n.".encode(), partial(find_class, "My Greeter"))
            self.assertIsInstance(value, type, f"{module}.{name}")

    def test_helper(self) -> None:
        """A class of a helper module, which was a top-level module in errbot, is found in the plugin."""
        module = load_module(self.plug)
        self.assertIs(type(self.restored("mood", "Mood")), module.mood.Mood)

    def test_errbot(self) -> None:
        """A class of errbot is replaced by errklein's class of that name."""
        from errklein.chat import Message

        self.assertIs(find_class("Greeter", "errbot.backends.base", "Message"), Message)

    def test_unknown(self) -> None:
        """The error about a missing class names it, and the value stays."""
        self.assertRaises(UnreadableValue, self.restored, "errbot.plugins.gone", "Thing")
        self.assertEqual(self.storage.open("My Greeter").keys(), ["key"])
        for module, name in (("datetime", "date"), ("errbot.nowhere", "X"), ("errklein.chat", "Message"), ("x", "y")):
            self.assertIsNone(find_class("Greeter", module, name))


class RestoredClassesTests(StoredClassesCase):
    """Names that a value from a backup or a shelf may use."""

    def check_found(self, qualname: str, wanted: object) -> None:
        """Check that each name of the plugin's module leads to the object."""
        for module in ("errbot.plugins.greeter", "greeter", PLUGIN):
            self.assertIs(find_restored_class("My Greeter", module, qualname), wanted, (module, qualname))

    def test_own(self) -> None:
        """Classes and functions that the plugin or its helpers define are found, even nested ones."""
        module = load_module(self.plug)
        self.check_found("Thing", module.Thing)
        self.check_found("Thing.Part", module.Thing.Part)
        self.check_found("Thing.made", module.Thing.made)
        self.check_found("Point", module.Point)
        self.check_found("make", module.make)
        self.check_found("Mood", module.mood.Mood)
        self.assertIs(find_restored_class("My Greeter", "mood", "Mood"), module.mood.Mood)

    def test_own_by_reference(self) -> None:
        """Instances that errklein itself has pickled can be restored."""
        module = load_module(self.plug)
        value = [module.make(5), module.Point(1, 2), module.Thing.Part, module.make]
        self.storage.put([("My Greeter", "key", dumps(value))])
        thing, *others = self.storage.open("My Greeter").get("key")
        self.assertEqual((type(thing), thing.a, others), (module.Thing, 5, value[1:]))

    def test_imported_into_the_plugin(self) -> None:
        """Imported or assigned names in the plugin's module are refused, and so are their attributes."""
        load_module(self.plug)
        for name in (
            *(
                "os",
                "os.system",
                "paths.os.system",
                "system",
                "run",
                "start",
                "start.func",
                "subprocess.Popen",
                "Popen",
            ),
            *("partial", "collections.namedtuple", "mood", "mood.Mood", "mood.os.system"),
            *("Thing.os", "Thing.os.system", "Thing.system", "Thing.Popen", "Child.Part", "Child.os.system"),
            *("make.__globals__", "make.__code__", "Thing.__class__", "Thing.__dict__", "Thing.__init_subclass__"),
            *("Thing.told", "Thing.Part.told", "Thing.made.__func__"),
            *("__builtins__", "__import__", "__loader__", "__loader__.get_code", "__spec__", "", ".", "Thing.", "gone"),
        ):
            self.check_found(name, None)

    def test_hostile(self) -> None:
        """Hostile pickles are refused, even if the plugin imports the names that they use."""
        load_module(self.plug)
        ran = self.directory / "ran"
        attacks = [hostile.data for hostile in hostile_pickles(ran)]
        for module in ("errbot.plugins.greeter", "greeter", "mood", PLUGIN, f"{PLUGIN[:-8]}.mood"):
            for name in ("system", "os.system", "run", "Thing.os.system", "Thing.system", "paths.os.system"):
                attacks.append(f"c{module}\n{name}\n(Vtouch {ran}\ntR.".encode())
                attacks.append(
                    f"cerrklein.storage.pickling\nplugin_global\n(V{module}\nV{name}\ntR(Vtouch {ran}\ntR.".encode()
                )
        for data in attacks:
            self.storage.put([("My Greeter", "key", data)])
            error = self.assertRaises(UnreadableValue, self.storage.open("My Greeter").get, "key")
            self.assertIn("may not use", str(error))
        self.assertFalse(ran.exists())

    def test_attributes_of_classes(self) -> None:
        """A restored value can't set an attribute of a class, such as one that access rules use."""
        module = load_module(self.plug)
        for named in (b"cerrbot.backends.irc\nIRCPerson\n", b"cgreeter\nThing\n", b"cgreeter\nmake\n"):
            self.storage.put([("My Greeter", "key", named + b"(N}Vaclattr\nVboss!b@h\nstb.")])
            self.assertRaises(UnreadableValue, self.storage.open("My Greeter").get, "key")
        self.assertIsInstance(vars(IRCPerson)["aclattr"], property)
        self.assertFalse(hasattr(module.Thing, "aclattr") or hasattr(module.make, "aclattr"))

    def test_of_another_plugin(self) -> None:
        """A class of another plugin must be trusted."""
        module = load_module(self.plug)
        name = "errbot.plugins.greeter.Thing"
        error = self.assertRaises(UnreadableValue, self.restored, "errbot.plugins.greeter", "Thing", "Other")
        self.assertIn(f"--trust {name}", str(error))
        self.assertIs(type(self.restored("errbot.plugins.greeter", "Thing", "Other", trusted=[name])), module.Thing)
        self.assertIsNone(find_restored_class("Other", PLUGIN, "Thing"))

    def test_nested_in_old_protocols(self) -> None:
        """A nested class in errbot's pickle protocol 2 is found."""
        module = load_module(self.plug)
        nested = b"\x80\x02c__builtin__\ngetattr\n(cerrbot.plugins.greeter\nThing\nV%b\ntR)\x81."
        self.storage.put([("My Greeter", "part", nested % b"Part"), ("My Greeter", "popen", nested % b"Popen")])
        store = self.storage.open("My Greeter")
        self.assertIs(type(store.get("part")), module.Thing.Part)
        self.assertIn("greeter.Thing.Popen", str(self.assertRaises(UnreadableValue, store.get, "popen")))

    def test_members_of_enums(self) -> None:
        """A member of an Enum, which Python 3.11.0 to 3.11.3 write as an attribute, is found, and nothing beyond it."""
        module = load_module(self.plug)
        self.check_found("Colour.RED", module.Colour.RED)
        self.check_found("Shape.ROUND", module.Shape.ROUND)
        for name in (
            "RED.value",
            "RED.__class__",
            "RED.told",
            "os.system",
            "told",
            "_member_map_",
            "__members__",
            "mro",
        ):
            self.check_found(f"Colour.{name}", None)
        reading = b"c__builtin__\ngetattr\n(cerrbot.plugins.greeter\nColour\nVRED\ntR"
        self.storage.put([("My Greeter", "key", reading + b".")])
        self.assertIs(self.storage.open("My Greeter").get("key"), module.Colour.RED)
        self.storage.put([("My Greeter", "key", reading + b"}Va\nI1\nsb.")])
        self.assertRaises(UnreadableValue, self.storage.open("My Greeter").get, "key")

    def test_identifiers_of_errbot(self) -> None:
        """A person that errbot stored is built by the running bot; other names of a backend are refused."""
        self.patch(RunningBots, "newest", None)
        reading = b"\x80\x02c__builtin__\ngetattr\n(cerrbot.backends.irc\nIRCBackend\nV%b\ntR(Va!b@c\ntR."
        self.storage.put([("Greeter", "who", reading % b"_unpickle_identifier")])
        who = self.storage.open("Greeter")
        self.assertIn("while the bot runs", str(self.assertRaises(UnreadableValue, who.get, "who")))
        self.patch(RunningBots, "newest", SimpleNamespace(build_identifier=IRCPerson))
        self.assertEqual(who.get("who"), IRCPerson("a!b@c"))
        for name in (b"connect", b"__init__", b"_unpickle_identifier.__globals__", b"x._unpickle_identifier"):
            self.storage.put([("Greeter", "who", reading % name)])
            self.assertIn("errbot.backends.irc.IRCBackend.", str(self.assertRaises(UnreadableValue, who.get, "who")))
        self.storage.put([("Greeter", "who", b"cerrbot.backends.irc\nIRCBackend\n(Va!b@c\ntR.")])
        self.assertRaises(UnreadableValue, who.get, "who")

    def test_person_of_errbot_on_irc(self) -> None:
        """A person that errbot stored on IRC, as its mask, is on the IRC network of the running bot, and can be stored again."""
        person = b"\x80\x02cerrbot.backends.irc\nIRCPerson\n)\x81}(X\x09\x00\x00\x00_nickmaskcirc.client\nNickMask\nX\x05\x00\x00\x00a!b@c"
        person += b"\x85\x81X\x06\x00\x00\x00_emailX\x00\x00\x00\x00ub."
        self.storage.put([("Greeter", "who", person)])
        who = self.storage.open("Greeter")
        for networks in ({}, {"text": "Text", "libera": "IRC"}):
            views = {name: SimpleNamespace(BACKEND=backend) for name, backend in networks.items()}
            bot = SimpleNamespace(bot_config=SimpleNamespace(networks=views))
            self.patch(RunningBots, "newest", bot if networks else None)
            expected = IRCPerson("a!b@c", network="libera" if networks else "")
            self.assertEqual((who.get("who"), who.get("who").aclattr), (expected, "a!b@c"))
        who.set("who", who.get("who"))
        self.assertEqual(who.get("who"), expected)

    def test_message_of_errbot(self) -> None:
        """A message that errbot stored has errklein's attributes."""
        state = "(V_body\nVtext\nV_from\nNV_to\nNV_parent\nNV_delayed\nI01\nV_extras\n}V_flow\nNV_partial\nI00\nVctx\n}"
        data = f"\x80\x02cerrbot.backends.base\nMessage\n)\x81}}{state}ub.".encode("latin-1")
        self.storage.put([("Greeter", "message", data)])
        message = self.storage.open("Greeter").get("message")
        self.assertEqual((message.body, message.frm, message.delayed, message.ctx), ("text", None, True, {}))
        self.assertEqual(str(message.clone()), "text")

    def test_core_plugins(self) -> None:
        """Names in core plugins, which store no instances, are refused."""
        from errklein.plugins.imports import CORE_PLUGINS

        plug = PlugFile.load(CORE_PLUGINS / "backup.plug")
        module = load_module(plug)
        self.addCleanup(unload, plug)
        self.assertTrue(issubclass(module.Backup, BotPlugin))
        for name in ("backup", module.__name__):
            self.assertIsNone(find_restored_class("Backup", name, "Backup"))

    def test_nothing_is_imported(self) -> None:
        """A module that the plugin hasn't imported isn't imported by a value."""
        (self.directory / "wipe.py").write_text(f"open({str(self.directory / 'ran')!r}, 'w')\nclass Thing: pass\n")
        load_module(self.plug)
        for module in ("wipe", "errbot.plugins.wipe", f"{PLUGIN[:-8]}.wipe"):
            self.assertRaises(UnreadableValue, self.restored, module, "Thing")
        self.assertFalse((self.directory / "ran").exists())

    def test_plugin_that_is_not_loaded(self) -> None:
        """Without the plugin its values can't be read, and they stay."""
        self.assertRaises(UnreadableValue, self.restored, "errbot.plugins.greeter", "Thing")
        load_module(self.plug)
        self.assertEqual(type(self.storage.open("My Greeter").get("key")).__name__, "Thing")

    def test_value_classes(self) -> None:
        """Messages, persons and rooms can be restored, by errklein's and errbot's names."""
        room = IRCRoom("#a", network="irc")
        for value in (
            Message("text", IRCPerson("a!b@c"), room),
            Card("text", title="title"),
            Reaction(IRCPerson("a!b@c"), reaction_name="up"),
            Presence(IRCPerson("a!b@c"), "online"),
            IRCRoomOccupant("a!b@c", room),
            TextPerson("@a"),
        ):
            self.storage.put([("Greeter", "key", dumps({"value": value}))])
            read = self.storage.open("Greeter").get("key")["value"]
            self.assertEqual((str(read), type(read)), (str(value), type(value)))
        self.assertIs(find_restored_class("Greeter", "errbot.backends.base", "Message"), Message)
        self.assertIs(find_restored_class("Greeter", "errbot.backends.irc", "IRCPerson"), IRCPerson)
        for module, name in (
            ("errbot", "logging"),
            ("errbot", "update_wrapper"),
            ("errbot.templating", "Environment"),
            ("errbot.backends.base", "Message.clone"),
            ("errbot.utils", "global_restart"),
            ("errklein.chat.messages", "annotations"),
            ("errklein.cli", "main"),
        ):
            self.assertIsNone(find_restored_class("Greeter", module, name), (module, name))

    def test_table(self) -> None:
        """Every value class is defined where the table says."""
        for module, names in VALUE_CLASSES.items():
            for name in names:
                self.assertEqual(getattr(import_module(module), name).__module__, module)
                self.assertIsNotNone(find_restored_class("Greeter", module, name))

    def test_bots_own(self) -> None:
        """A value that the bot stores itself may use any name, also under a key that was restored before."""
        self.storage.put([("Greeter", "key", dumps(1))])
        store = self.storage.open("Greeter")
        store.set("key", [os.getcwd, Mock])
        self.assertEqual(store.get("key"), [os.getcwd, Mock])
        self.storage.put([("Greeter", "key", dumps([Mock]))])
        self.assertRaises(UnreadableValue, store.get, "key")

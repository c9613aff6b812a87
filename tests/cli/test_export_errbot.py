"""Values go back to errbot: `errklein export-errbot` writes shelves that errbot reads.

That errbot itself reads them is tested by `.ci/round_trip.py`.
"""

from __future__ import annotations

import io
import pickle
import shelve
import shutil
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

from errklein.chat import Card, Message, Presence, Reaction
from errklein.compat.stored_classes import STORED_VALUES
from errklein.config import Config
from errklein.networks.irc.identifiers import IRCPerson, IRCRoom
from errklein.networks.text.identifiers import TextOccupant, TextPerson, TextRoom
from errklein.plugins.imports import load_module, unload
from errklein.plugins.plug_file import PlugFile
from errklein.service._data_directory import DataDirectory
from errklein.storage import SQLiteStorage, names_in
from errklein.storage._shelves import Shelf, read_shelf
from tests.cli.test_data import DataCase
from tests.processes import write_config, write_plugin

NOTES = """
from errbot import BotPlugin
from helper_of_notes import Helper

class Note:
    class Author:
        pass
    def __init__(self, text):
        self.text = text
    def __eq__(self, other):
        return self.text == other.text

class Notes(BotPlugin):
    pass
"""


class ExportCase(DataCase):
    def setUp(self) -> None:
        """Choose a directory for the shelves."""
        super().setUp()
        self.shelves = self.directory / "shelves"

    def export(self, *options: str, status: int = 0) -> list[str]:
        """Export to the directory, and return the lines of the output; the exit status must be this one."""
        self.assertEqual(self.run_command("export-errbot", "--directory", str(self.shelves), *options), status)
        return self.out.getvalue().splitlines()

    def exported(self, namespace: str) -> dict[str, bytes]:
        """Return the exported pickles by key."""
        return read_shelf(Shelf(namespace, self.shelves / f"{namespace}.db"))

    def put(self, namespace: str, **values: Any) -> None:
        """Store values with their classes, as a running bot does."""
        with closing(SQLiteStorage(self.data / "errklein.sqlite", STORED_VALUES)) as storage:
            for key, value in values.items():
                storage.open(namespace).set(key, value)


class RoundTripTests(ExportCase):
    """Values go errbot, errklein, errbot."""

    def test_imported(self) -> None:
        """The imported values of 25 plugins are exported byte by byte, with all keys."""
        shared = ["shared"]
        values = {
            "none": None,
            "text": "é\0\U0001f600",
            "bytes": b"\0\xff",
            "when": datetime(2020, 2, 29),
            "exact": Decimal("1.10"),
            "nested": {1: [(2, {3}), frozenset()], "é": {None: shared, True: shared}},
            "large": "x" * 100_000,
            "": "the empty key",
            "ключ\n'": 1,
        }
        for number in range(25):
            self.write_shelf(f"Plugin {number} é", **values, number=number)
        self.write_shelf("core", configs={"Plugin 1 é": {"a": (1, b"x")}}, bl_plugins=["Plugin 2 é"])
        self.write_shelf("repomgr", installed_repos={"someone/songs": "https://host/songs"}, repo_index={"a": {}})
        self.write_shelf("irc_backend", stored=1)
        self.assertEqual(self.run_command("import-errbot"), 0)
        self.export()
        for namespace in (*(f"Plugin {number} é" for number in range(25)), "core", "repomgr", "irc_backend"):
            self.assertEqual(self.exported(namespace), read_shelf(Shelf(namespace, self.data / f"{namespace}.db")))

    def test_persons_of_errbot(self) -> None:
        """Persons that errbot has stored, on IRC and on the Text network, are exported as errbot stored them."""
        text = b"\x80\x02c__builtin__\ngetattr\ncerrbot.backends.text\nTextBackend\nX\x14\x00\x00\x00_unpickle_identifier\x86R"
        text += b"X\x03\x00\x00\x00ann\x85R."
        irc = b"\x80\x02cerrbot.backends.irc\nIRCPerson\n)\x81}X\x09\x00\x00\x00_nickmaskcirc.client\nNickMask\nX\x05\x00\x00\x00a!b@c"
        irc += b"\x85\x81sb."
        with shelve.open(str(self.data / "Notes.db")) as shelf:
            shelf.dict[b"text"], shelf.dict[b"irc"] = text, irc
        self.assertEqual(self.run_command("import-errbot"), 0)
        self.assertEqual(self.out.getvalue(), "Notes: 2 values imported\n")
        self.export()
        self.assertEqual(self.exported("Notes"), {"text": text, "irc": irc})


class OwnValuesTests(ExportCase):
    """Values that errklein's bot has stored."""

    def test_identifiers(self) -> None:
        """Persons are written as errbot stores them: on IRC with their mask, on the Text network as text, rooms included."""
        self.put("Notes", irc=IRCPerson("ann!a@host", network="libera"))
        text = TextRoom("ops")
        self.put("Notes", text={TextPerson("ann"): [text, TextOccupant("ann", text)]})
        self.export()
        exported = self.exported("Notes")
        self.assertEqual(
            names_in(exported["irc"]),
            {("copyreg", "__newobj__"), ("errbot.backends.irc", "IRCPerson"), ("irc.client", "NickMask")},
        )
        self.assertEqual(names_in(exported["text"]), {("errbot.backends.text", "TextBackend._unpickle_identifier")})
        self.assertEqual(_Texts(exported["irc"]).load().state, {"_nickmask": "ann!a@host", "_email": ""})
        self.assertEqual(_Texts(exported["text"]).load(), {"@ann": ["#ops", "#ops/ann"]})

    def test_messages(self) -> None:
        """Messages, cards, presences and reactions have errbot's classes and attributes, and can be imported again."""
        ann = TextPerson("ann")
        message = Message("hi", frm=ann, extras={"a": [1]})
        card = Card("b", title="t", fields=(("a", "b"),))
        self.put("Notes", message=message, card=card, presence=Presence(ann, "away"))
        self.put("Notes", reaction=Reaction(ann, reaction_name="up", action="added"))
        self.export()
        for key, data in self.exported("Notes").items():
            self.assertIn(("errbot.backends.base", key.capitalize()), names_in(data))
            self.assertEqual({name for name in names_in(data) if name[0].startswith("errklein")}, set())
        self.assertEqual(
            set(_Texts(self.exported("Notes")["message"]).load().state),
            {"_body", "_from", "_to", "_parent", "_delayed", "_partial", "_extras", "_flow", "ctx"},
        )

    def test_classes_of_plugins(self) -> None:
        """Classes of plugins get errbot's names: errbot.plugins.MODULE, and that of a helper module alone."""
        write_plugin(self.directory, "Notes", NOTES)
        (self.directory / "notes" / "helper_of_notes.py").write_text("class Helper:\n    pass\n")
        plug = PlugFile.load(self.directory / "notes" / "notes.plug")
        module: Any = load_module(plug)
        self.addCleanup(unload, plug)
        self.put("Notes", note=[module.Note("é"), module.Note.Author, TextPerson("ann")], helper=module.Helper())
        self.export()
        self.assertEqual(
            names_in(self.exported("Notes")["note"]) | names_in(self.exported("Notes")["helper"]),
            {
                ("copyreg", "__newobj__"),
                ("errbot.plugins.notes", "Note"),
                ("errbot.plugins.notes", "Note.Author"),
                ("errbot.backends.text", "TextBackend._unpickle_identifier"),
                ("helper_of_notes", "Helper"),
            },
        )
        shutil.copytree(self.shelves, self.directory / "new")
        self.assertEqual(self.run_command("import-errbot", "--data-dir", str(self.directory / "new")), 0)
        with closing(SQLiteStorage(self.directory / "new" / "errklein.sqlite", STORED_VALUES)) as storage:
            self.assertIsInstance(storage.open("Notes").get("helper"), module.Helper)

    def test_paths(self) -> None:
        """Paths have the name that every Python knows, also if Python 3.13 has stored them."""
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            storage.put([("Notes", "path", b"\x80\x05cpathlib._local\nPurePosixPath\n\x8c\x04/tmp\x85R.")])
        self.export()
        self.assertEqual(pickle.loads(self.exported("Notes")["path"]), PurePosixPath("/tmp"))
        self.assertEqual(names_in(self.exported("Notes")["path"]), {("pathlib", "PurePosixPath")})

    def test_left_out(self) -> None:
        """Values that errbot can't read are listed with the reason, and the others are exported: the exit status is 1."""
        self.put("Notes", fine=1, own=[Config], room=IRCRoom("#ops"), **{"\ud800": 2})
        self.put("Gone", note=1)
        self.put("a/b", c=1)
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            plugin_class = pickle.dumps(1)[:-1].replace(b"K\x01", b"") + b"\x8c\x15errklein_plugins.Gone\x8c\x01x\x93."
            storage.put(
                [("Notes", "damaged", b"\x80\x05K"), ("Gone", "note", plugin_class), ("Gone", "more", b"\x80\x05N.")]
            )
        self.export(status=1)
        self.assertEqual(set(self.exported("Notes")), {"fine"})
        self.assertEqual(set(self.exported("Gone")), {"more"})
        lines = self.err.getvalue().splitlines()
        self.assertEqual(
            [line.partition(" is not exported")[0] for line in lines],
            [
                "errklein: Gone: 'note'",
                "errklein: Notes: 'damaged'",
                "errklein: Notes: 'own'",
                "errklein: Notes: 'room'",
                r"errklein: Notes: '\ud800'",
                "errklein: a/b: 'c'",
            ],
        )
        self.assertIn("plugin that isn't installed", lines[0])
        self.assertIn("it contains an object of IRCRoom, which errbot can't store", lines[3])
        self.assertIn("Config, which errbot doesn't have", lines[2])

    def test_own_values_of_the_bot(self) -> None:
        """Configurations, the blacklist and repositories are exported, without ENDPOINTS and errklein's own values."""
        webserver = {"HOST": "::", "PORT": 3141, "ENDPOINTS": ["unix:/run/bot"]}
        self.put("core", configs={"Webserver": webserver, "Notes": {"a": 1}}, bl_plugins=["Backup"], requirements={})
        self.put("core", import_settled=True, missed_notices={})
        self.put("repomgr", installed_repos={"a/b": "https://host"})
        self.put("room webhooks", github={"version": 1})
        self.export(status=1)
        self.assertFalse([path for path in self.data.iterdir() if "room webhooks" in path.name])
        core = {key: pickle.loads(data) for key, data in self.exported("core").items()}
        self.assertEqual(
            core, {"configs": {"Webserver": {"HOST": "::", "PORT": 3141}, "Notes": {"a": 1}}, "bl_plugins": ["Backup"]}
        )
        self.assertEqual(
            self.err.getvalue(), "errklein: core: errbot has no ENDPOINTS, so Webserver won't listen on unix:/run/bot\n"
        )


class FilesTests(ExportCase):
    """The shelves that are there before the export."""

    def test_existing(self) -> None:
        """Shelves aren't replaced without --force; with it, they are moved, and removed values don't come back."""
        self.write_shelf("Notes", a=1)
        self.write_shelf("Old", b=2)
        self.run_command("import-errbot")
        with closing(SQLiteStorage(self.data / "errklein.sqlite")) as storage:
            storage.open("Old").remove("b")
        before = {path.name: path.read_bytes() for path in self.data.iterdir() if ".db" in path.name}
        error = self.refused("export-errbot")
        self.assertIn("has shelves already (Notes, Old)", error)
        self.assertIn("--force", error)
        self.assertEqual({name: (self.data / name).read_bytes() for name in before}, before)
        self.assertEqual(self.run_command("export-errbot", "--force"), 0)
        kept = self.data / "before-export-1"
        self.assertEqual({path.name: path.read_bytes() for path in kept.iterdir()}, before)
        self.assertEqual([path.name for path in self.data.glob("Old.db*")], [])
        self.assertIn(f"{kept}: the shelves from before\n", self.out.getvalue())

    def test_while_the_bot_runs(self) -> None:
        """The bot must be stopped."""
        self.put("Notes", a=1)
        running = DataDirectory(self.data)
        running.lock()
        self.addCleanup(running.unlock)
        self.assertIn("uses it", self.refused("export-errbot"))

    def test_nothing_there(self) -> None:
        """A data directory without values is an error, and nothing is created in it."""
        self.assertIn("there is nothing to export", self.refused("export-errbot"))
        self.assertEqual(list(self.data.iterdir()), [])

    def test_other_storages(self) -> None:
        """Values of another storage than Shelf need no export."""
        write_config(self.directory, {"STORAGE": "Memory"})
        self.assertIn("STORAGE is 'Memory'", self.refused("export-errbot"))


class _Recorded:
    """Stands for an object of errbot's classes."""

    state: Any = None

    def __new__(cls, *args: object) -> Any:
        """Return the text of an identifier, or an object that records its state."""
        return args[0] if args and isinstance(args[0], str) else object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Texts(pickle.Unpickler):
    """Unpickles what the export has written, with the texts of identifiers."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for classes of errbot."""
        return _Recorded if module.startswith(("errbot.", "irc.")) else super().find_class(module, name)

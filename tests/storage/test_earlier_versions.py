"""A database and a backup of an earlier version can be read, although modules were renamed."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Person, Room, RoomOccupant
from errklein.compat.stored_classes import STORED_VALUES, NameJudge, plugs_of
from errklein.config import load_config
from errklein.plugins.imports import load_module, unload
from errklein.plugins.plug_file import PlugFile
from errklein.storage import SQLiteStorage, check_rows, rows_of
from errklein.storage._backup import read_backup

WRITTEN = Path(__file__).parent / "earlier_version"

KEYS = (
    *("none", "numbers", "texts", "nested", "times", "other", "irc", "text", "test", "telegram", "xmpp", "message"),
    *("card", "reaction", "presence", "entry", "by person", "notes"),
    *("errbot note", "errbot telegram", "errbot xmpp", "errbot message"),
)


class EarlierVersionCase(SynchronousTestCase):
    storage: SQLiteStorage

    def setUp(self) -> None:
        """Load the plugin that has stored the values."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        plug = PlugFile.load(WRITTEN / "keeper.plug")
        self.module: Any = load_module(plug)
        self.addCleanup(unload, plug)

    def open(self) -> None:
        """Open a database with the values of the earlier version."""
        self.storage = SQLiteStorage(self.directory / "errklein.sqlite", STORED_VALUES)
        self.addCleanup(self.storage.close)
        self.values: Any = self.storage.open("Keeper")


class ReadingTests:
    """The values that a bot reads."""

    def test_complete(self: Any) -> None:
        """All values are there: those of the plugin, its configuration, the blacklist and the repositories."""
        self.assertEqual(sorted(self.values.keys()), sorted(KEYS))
        core = self.storage.open("core")
        self.assertEqual(core.get("configs"), {"Keeper": {"greeting": "moin", "times": 2}})
        self.assertEqual(core.get("bl_plugins"), ["Backup"])
        self.assertEqual(self.storage.open("repomgr").get("installed_repos"), {"someone/songs": "https://host/songs"})

    def test_plain_values(self: Any) -> None:
        """Values of Python's own types are unchanged."""
        expected = {
            "none": None,
            "numbers": [1, -2.5, 10**30, Decimal("1.10"), True],
            "texts": ("ä", "", "\ud800", b"\x00\xff"),
            "nested": {"a": {1: {"b", "c"}}, (1, 2): frozenset({3})},
            "times": [datetime(2020, 2, 29, 12, 30, tzinfo=UTC), date(1999, 12, 31), timedelta(days=1, seconds=2)],
            "other": [UUID(int=5), Path("/tmp/x"), range(3), complex(1, 2)],
        }
        self.assertEqual({key: self.values.get(key) for key in expected}, expected)

    def test_persons_and_rooms(self: Any) -> None:
        """Persons, rooms and occupants of each network have the same kind and text."""
        expected = {
            "irc": ["Ann!ann@host", "#Builds", "#Builds/Ann!ann@host"],
            "text": ["@ann", "#builds", "#builds/ann"],
            "test": ["ann@host", "#builds", "ann@host@#builds", "#a"],
        }
        for key, texts in expected.items():
            person, room, occupant, *_ = stored = self.values.get(key)
            self.assertEqual([str(identifier) for identifier in stored], texts)
            self.assertIsInstance(person, Person)
            self.assertIsInstance(room, Room)
            self.assertIsInstance(occupant, RoomOccupant)
            self.assertEqual(occupant.room, room)
        ann = self.values.get("irc")[0]
        self.assertEqual((ann.nick, ann.aclattr, ann.network), ("Ann", "Ann!ann@host", "libera"))
        self.assertEqual(self.values.get("by person")[ann], 1)
        self.assertEqual(self.values.get("test")[3].aclattr, "#a")

    def test_former_networks(self: Any) -> None:
        """Persons and rooms of networks that errklein no longer has keep their text."""
        expected = {
            "telegram": ["5", "-7", "5"],
            "xmpp": ["ann@host/desk", "builds@rooms.host", "builds@rooms.host/ann"],
        }
        self.assertEqual({key: [str(one) for one in self.values.get(key)] for key in expected}, expected)
        self.assertEqual([str(self.values.get(f"errbot {key}")) for key in expected], ["6", "bob@host"])

    def test_objects(self: Any) -> None:
        """Messages, cards, reactions, presences and index entries can be read."""
        message, card = self.values.get("message"), self.values.get("card")
        self.assertEqual((str(message), str(message.frm), message.extras), ("hello", "Ann!ann@host", {"notice": True}))
        self.assertEqual(
            (card.body, card.title, card.fields, str(card.to)), ("body", "Title", (("a", "b"),), "Ann!ann@host")
        )
        self.assertEqual(str(self.values.get("reaction")), "up added by Ann!ann@host")
        presence = self.values.get("presence")
        self.assertEqual((str(presence.identifier), presence.status), ("Ann!ann@host", "away"))
        self.assertEqual(self.values.get("entry").documentation, "Sings.")
        self.assertEqual(self.values.get("errbot message").body, "old")

    def test_objects_of_the_plugin(self: Any) -> None:
        """Instances of the plugin's classes have the current classes, whether errklein or errbot stored them."""
        note, point, author = self.values.get("notes")
        self.assertEqual((note, point), (self.module.Note("first", self.module.Colour.RED), self.module.Point(1, 2)))
        self.assertIsInstance(author, self.module.Note.Author)
        self.assertEqual(self.values.get("errbot note"), self.module.Note("old", None))

    def test_written_again(self: Any) -> None:
        """Each value can be stored again and read unchanged."""
        for key in KEYS:
            self.values.set(key, self.values.get(key))
        self.test_plain_values()
        self.test_persons_and_rooms()
        self.test_former_networks()
        self.test_objects()
        self.test_objects_of_the_plugin()


class DatabaseTests(ReadingTests, EarlierVersionCase):
    """The database, opened directly."""

    def setUp(self) -> None:
        """Open a copy of the database."""
        super().setUp()
        shutil.copy(WRITTEN / "errklein.sqlite", self.directory)
        self.open()


class BackupTests(ReadingTests, EarlierVersionCase):
    """The backup, restored."""

    def setUp(self) -> None:
        """Restore the backup into a new database, with the restrictions for outside values."""
        super().setUp()
        self.open()
        rows = read_backup(WRITTEN / "backup.jsonl")
        config = load_config(None, {"BACKEND": "Null", "BOT_EXTRA_PLUGIN_DIR": str(WRITTEN)})
        self.assertEqual(check_rows(rows, NameJudge(plugs_of(config)), ()), ([], []))
        self.storage.put(rows)
        self.assertEqual(sorted(rows_of(self.storage)), sorted(rows))

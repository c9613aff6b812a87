"""Writes errklein.sqlite and backup.jsonl. It must be run with the version of errklein whose values they contain.

It was run once, with the commit before the packages were rearranged (66ee857), as

    PYTHONPATH=<clone of that commit> python tests/storage/earlier_version/write.py

Newer versions lack some of the classes that it stores.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

HERE = Path(__file__).parent


def plain_values() -> dict[str, Any]:
    """Return values of Python's own types."""
    return {
        "none": None,
        "numbers": [1, -2.5, 10**30, Decimal("1.10"), True],
        "texts": ("ä", "", "\ud800", b"\x00\xff"),
        "nested": {"a": {1: {"b", "c"}}, (1, 2): frozenset({3})},
        "times": [datetime(2020, 2, 29, 12, 30, tzinfo=UTC), date(1999, 12, 31), timedelta(days=1, seconds=2)],
        "other": [UUID(int=5), Path("/tmp/x"), range(3), complex(1, 2)],
    }


def persons_and_rooms() -> dict[str, Any]:
    """Return identifiers of all networks."""
    from errklein.backends.irc.identifiers import IRCPerson, IRCRoom, IRCRoomOccupant
    from errklein.backends.test import TestOccupant, TestPerson, TestRoom, TestRoomAcl
    from errklein.backends.text.identifiers import TextOccupant, TextPerson, TextRoom
    from errklein.compat.backends.telegram import TelegramMUCOccupant, TelegramPerson, TelegramRoom
    from errklein.compat.backends.xmpp import XMPPPerson, XMPPRoom, XMPPRoomOccupant

    channel = IRCRoom("#Builds", network="libera")
    group, conference = TelegramRoom(-7, "Builds"), XMPPRoom("builds@rooms.host")
    return {
        "irc": [IRCPerson("Ann!ann@host", network="libera"), channel, IRCRoomOccupant("Ann!ann@host", channel)],
        "text": [TextPerson("@ann"), TextRoom("#builds"), TextOccupant("ann", TextRoom("#builds"))],
        "test": [TestPerson("ann@host"), TestRoom("#builds"), TestOccupant("ann@host", "#builds"), TestRoomAcl("#a")],
        "telegram": [
            TelegramPerson(5, "Ann", "Lee", "annlee"),
            group,
            TelegramMUCOccupant(5, group, username="annlee"),
        ],
        "xmpp": [
            XMPPPerson("ann", "host", "desk"),
            conference,
            XMPPRoomOccupant("builds", "rooms.host", "ann", conference),
        ],
    }


def other_values(keeper: Any) -> dict[str, Any]:
    """Return objects of errklein's and the plugin's classes."""
    from errklein.chat import Card, Message, Presence, Reaction
    from errklein.plugins.repos.index import RepoEntry

    module = sys.modules[type(keeper).__module__]
    ann, _, occupant = persons_and_rooms()["irc"]
    return {
        "message": Message("hello", ann, occupant, extras={"notice": True}),
        "card": Card("body", to=ann, title="Title", fields=(("a", "b"),)),
        "reaction": Reaction(ann, reaction_name="up", action="added"),
        "presence": Presence(ann, "away"),
        "entry": RepoEntry("someone/songs", "Songs", "3", "https://host/songs", "/songs.plug", None, "Sings."),
        "by person": {ann: 1},
        "notes": [module.Note("first", module.Colour.RED), module.Point(1, 2), module.Note.Author()],
    }


def restored_values() -> dict[str, bytes]:
    """Return pickles with errbot's names, as errbot writes them."""
    instance = "\x80\x02c{}\n{}\n)\x81}}({}ub."
    return {
        "errbot note": instance.format("errbot.plugins.keeper", "Note", "Vtext\nVold\nVcolour\nN"),
        "errbot telegram": instance.format("errbot.backends.telegram_messenger", "TelegramPerson", "V_id\nI6\n"),
        "errbot xmpp": instance.format(
            "errbot.backends.xmpp", "XMPPPerson", "V_node\nVbob\nV_domain\nVhost\nV_resource\nN"
        ),
        "errbot message": instance.format("errbot.backends.base", "Message", "V_body\nVold\nV_from\nNV_to\nN"),
    }


def main() -> None:
    """Store the values with a bot, and write the two files."""
    from errklein import compat
    from errklein.storage import SQLiteStorage
    from errklein.storage._backup import write_backup

    compat.install(force=True)
    setup_bot = import_module("errbot.bootstrap").setup_bot
    with tempfile.TemporaryDirectory() as directory:
        config = SimpleNamespace(
            BOT_ADMINS=("@admin",),
            BOT_DATA_DIR=directory,
            BOT_EXTRA_PLUGIN_DIR=str(HERE),
            BOT_LOG_LEVEL=logging.ERROR,
            CORE_PLUGINS=("Backup",),
        )
        bot = setup_bot("Null", logging.getLogger(), config)
        waits = bot.waits
        manager = bot.plugin_manager
        waits.result_of(manager.start, [HERE])
        keeper = manager.get_plugin_obj_by_name("Keeper")
        for key, value in {**plain_values(), **persons_and_rooms(), **other_values(keeper)}.items():
            keeper[key] = value
        manager.set_plugin_configuration("Keeper", {"greeting": "moin", "times": 2})
        manager.blacklist_plugin("Backup")
        bot.repo_manager["installed_repos"] = {"someone/songs": "https://host/songs"}
        bot._bot.storage.put([("Keeper", key, data.encode("latin-1")) for key, data in restored_values().items()])
        bot._bot.storage.close()
        database = Path(directory) / "errklein.sqlite"
        with_rows = SQLiteStorage(database)
        write_backup(HERE / "backup.jsonl", with_rows.rows())
        with_rows.close()
        (HERE / "errklein.sqlite").write_bytes(database.read_bytes())


if __name__ == "__main__":
    main()

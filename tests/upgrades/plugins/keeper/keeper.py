"""A plugin that stores values of many kinds."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

from errbot import BotPlugin, botcmd


class Colour(Enum):
    RED = 1


@dataclass
class Note:
    text: str
    colour: object = Colour.RED

    @dataclass
    class Author:
        """A nested class."""

        name: str


def values():
    """Return the values by their keys."""
    return {
        "none": None,
        "numbers": [1, -2.5, 10**30, True, 1 + 2j],
        "texts": ["ä", "", "\ud800", "\U0001f600", b"\x00\xff"],
        "nested": {"a": {1: {"b", "c"}}, (1, 2): frozenset({3})},
        "times": [datetime(2020, 2, 29, tzinfo=UTC), date(1999, 12, 31), timedelta(days=1, seconds=2)],
        "other": [Decimal("1.10"), UUID(int=5), Path("/tmp/x"), OrderedDict(a=1), deque([1], 3)],
        "large": "x" * 100_000,
        "": "the empty key",
        "ключ": 1,
        "notes": [Note("first"), Note.Author("ann")],
    }


class Keeper(BotPlugin):
    """Stores values."""

    def get_configuration_template(self):
        return {"greeting": "hello", "times": 1}

    @botcmd
    def keep(self, msg, args):
        """Store the values."""
        for key, value in values().items():
            self[key] = value
        self["@ann"] = self.build_identifier("@ann")
        self["sender"] = msg.frm
        return f"{len(self)} values are stored"

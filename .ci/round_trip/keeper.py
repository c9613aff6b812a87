"""A plugin that stores values of all kinds, and compares them: the module of each plugin in `round_trip.py`.

The setting PHASE says what it does when it is activated: "write" the values, "rewrite" those that are stored, or only
"compare" them. The names of the values that differ are written to a file in the directory RESULTS.
"""

import re
import time
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntFlag
from fractions import Fraction
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import SimpleNamespace

from errbot import BotPlugin
from errbot.backends.base import Identifier, Message
from errbot.backends.irc import IRCPerson
from round_trip_helper import Shared

Point = namedtuple("Point", "x y")


class Colour(Enum):
    RED = 1
    BLUE = "blue"


class Rights(IntFlag):
    READ = 1
    WRITE = 2


@dataclass
class Task:
    text: str
    due: object = None
    tags: list = field(default_factory=list)

    @dataclass(frozen=True)
    class Step:
        number: int


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b

    def __eq__(self, other):
        return (self.a, self.b) == (other.a, other.b)


class Reduced:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return make_reduced, (list(self.parts),)

    def __eq__(self, other):
        return self.parts == other.parts


def make_reduced(parts):
    return Reduced(*parts)


class Stated:
    def __init__(self, text):
        self.text = text

    def __getstate__(self):
        return ("v1", self.text)

    def __setstate__(self, state):
        self.text = state[1]

    def __eq__(self, other):
        return self.text == other.text


class Names(dict):
    def __init__(self, *args):
        super().__init__(*args)
        self.owner = None


class Rows(list):
    pass


def plain(number):
    """Return values of Python's own types and of the standard library."""
    shared = ["shared"]
    loop = [1]
    loop.append(loop)
    return {
        "none": None,
        "truth": [True, False],
        "numbers": [0, -1, 2**31, 2**63, -(10**40), 1.5, float("inf"), -0.0, 1e-300, 3 + 4j],
        "nan": float("nan"),
        "texts": ["", "é", "日本", "\U0001f600", "a\0b", "\r\n\t\x1b", "\ud800", "'\"\\"],
        "bytes": [b"", b"\0\xff", bytes(range(256)), bytearray(b"changed")],
        "dates": [date(1999, 12, 31), datetime(2020, 2, 29, 12, 30, 1, 999), timedelta(days=-1, microseconds=1)],
        "zones": [datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2)))],
        "exact": [Decimal("1.10"), Decimal("NaN").is_nan(), Fraction(1, 3)],
        "others": [uuid.UUID(int=number), Path("/tmp/é"), range(1, 9, 2), re.compile(r"a+", re.I), slice(1, None, 2)],
        "addresses": [ip_address("::1"), ip_network("10.0.0.0/8")],
        "time": time.struct_time((2020, 1, 2, 3, 4, 5, 6, 7, 0)),
        "tuples": ((), (1,), (1, (2, (3,)))),
        "sets": [set(), {1, "a", (2, 3)}, frozenset({frozenset(), b"x"})],
        "dicts": {1: {None: {(1, 2): [{"deep": {}}]}}, "é": {True: b"\0"}, 2.5: ...},
        "collections": [OrderedDict(b=1, a=2), Counter("aab"), deque([1, 2], maxlen=5), defaultdict(list, a=[1])],
        "namespace": SimpleNamespace(a=1, b=SimpleNamespace()),
        "nested": _nested(40),
        "twice": [shared, shared],
        "loop": loop,
        "text of a million": "é" * 1_000_000,
        "bytes of a million": bytes(1_000_000),
        "many keys": {f"key {index}": [index, str(index)] for index in range(20_000)},
        "": "the empty key",
        "ключ": "a key in Cyrillic",
        "key \U0001f600 'with' \"quotes\"\nand lines": 1,
        "k" * 5000: "a long key",
        f"only in {number}": list(range(number)),
    }


def _nested(depth):
    return {"depth": depth, "inner": [_nested(depth - 1)]} if depth else {}


def own():
    """Return instances of the plugin's own classes, and the classes and functions themselves."""
    names = Names({"a": 1})
    names.owner = Colour.RED
    return {
        "point": Point(1, Point(2, None)),
        "enums": [Colour.RED, Colour.BLUE, Rights.READ | Rights.WRITE],
        "task": Task("água", datetime(2020, 1, 1), [Task.Step(1), Task.Step(2)]),
        "in a dict": {Colour.RED: Task("red"), Task.Step(3): {Point(0, 0)}},
        "slots": Slots(1, [Slots("a", b"b")]),
        "reduced": Reduced(1, Reduced(2)),
        "stated": Stated("é"),
        "subclasses": [names, Rows([Task("row")])],
        "classes": [Task, Task.Step, Colour, make_reduced, Shared],
        "helper": Shared(Shared("a helper module's class")),
    }


def differs(here, there, plugin):
    """Return whether a stored value isn't the one that was written."""
    if isinstance(here, Identifier):
        return str(here) != str(there) or type(here).__name__ != type(there).__name__
    if isinstance(here, Message):
        return (here.body, str(here.frm), str(here.to), here.extras) != (
            *(there.body, str(there.frm), str(there.to), there.extras),
        )
    if isinstance(here, list) and here and here[-1] is here:
        return there[0] != 1 or there[1] is not there
    if type(here) is not type(there):
        return True
    if here != here:
        return there == there
    if isinstance(here, list) and len(here) == 2 and here[0] is here[1]:
        return here != there or there[0] is not there[1]
    if isinstance(here, list):
        return len(here) != len(there) or any(differs(*pair, plugin) for pair in zip(here, there))
    if isinstance(here, Names) and here.owner is not there.owner:
        return True
    return here != there


class Keeper(BotPlugin):
    """Stores and compares values."""

    def get_configuration_template(self):
        return {"number": 0, "names": ["a"], "when": None, "nested": {"é": b"x"}}

    def check_configuration(self, configuration):
        pass

    def activate(self):
        super().activate()
        manager = self._bot.plugin_manager
        expected = self.expected()
        configuration = {"number": self.number, "names": ["é", "b"], "when": (1, 2), "nested": {"é": b"\0\xff"}}
        if self.bot_config.PHASE == "write":
            for key, value in expected.items():
                self[key] = value
            manager.set_plugin_configuration(self.name, configuration)
            if not manager.is_plugin_blacklisted("Backup"):
                manager.blacklist_plugin("Backup")
                self._bot.repo_manager["installed_repos"] = {"someone/songs": "https://host/songs"}
        if self.bot_config.PHASE == "rewrite":
            for key in list(self.keys()):
                self[key] = self[key]
        different = [key for key in expected if key not in self or differs(expected[key], self[key], self)]
        different += [f"{key!r} is new" for key in self.keys() if key not in expected]
        if manager.get_plugin_configuration(self.name) != configuration:
            different.append("the configuration")
        if not manager.is_plugin_blacklisted("Backup"):
            different.append("the blacklist")
        if self._bot.repo_manager["installed_repos"] != {"someone/songs": "https://host/songs"}:
            different.append("the repositories")
        path = Path(self.bot_config.RESULTS, f"{self.bot_config.PHASE} {self.name}.txt")
        path.write_text("".join(f"{key[:60]}\n" for key in different), "utf-8", "backslashreplace")

    @property
    def number(self):
        return int(self.name.split()[1])

    def expected(self):
        """Return all values by their keys."""
        message = Message("hi", extras={"n": [1]})
        message.frm, message.to = map(self.build_identifier, self.bot_config.PEOPLE[:2])
        identifiers = {f"identifier {text}": self.build_identifier(text) for text in self.bot_config.PEOPLE}
        persons = [IRCPerson("ann!a@host"), IRCPerson("bob")]
        return {**plain(self.number), **own(), **identifiers, "message": message, "irc": persons}

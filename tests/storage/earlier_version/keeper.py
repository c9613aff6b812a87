"""A plugin whose values an earlier version has stored."""

from __future__ import annotations

import enum
from collections import namedtuple
from dataclasses import dataclass

from errbot import BotPlugin

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    """A choice."""

    RED = 1


@dataclass
class Note:
    """An object of the plugin's own."""

    text: str
    colour: Colour

    class Author:
        """A class within a class."""

        name = "ann"


class Keeper(BotPlugin):
    """Keeps values."""

    def get_configuration_template(self) -> dict[str, object]:
        """The example of a configuration."""
        return {"greeting": "hello", "times": 1}

"""A plugin whose values were stored by an earlier version of errklein."""

from __future__ import annotations

import enum
from collections import namedtuple
from dataclasses import dataclass

from errbot import BotPlugin

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1


@dataclass
class Note:
    """A class of the plugin."""

    text: str
    colour: Colour

    class Author:
        """A nested class."""

        name = "ann"


class Keeper(BotPlugin):
    """Stores values."""

    def get_configuration_template(self) -> dict[str, object]:
        """Return the template of the configuration."""
        return {"greeting": "hello", "times": 1}

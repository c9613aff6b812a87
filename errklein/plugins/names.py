"""Names of plugins and collections of flows: as people know them, and as Python identifiers."""

from __future__ import annotations

import keyword
from typing import Protocol


class Named(Protocol):
    """A plugin or a collection of flows."""

    _name: str

    @property
    def name(self) -> str:
        """The name from its .plug or .flow file."""


def plugin_name(plugin: Named) -> str:
    """The plugin's name: `name`, which it may override with a string, unless a command called `name` hides it."""
    name: object = plugin.name
    return name if isinstance(name, str) else plugin._name


def slug(name: str) -> str:
    """An identifier for a plugin's name: ASCII letters and digits stay, all else is `_<hex>_`, as in `My_20_Plugin`.

    Two names never share one, since it can be read back. It begins with a letter or such a `_<hex>_`, and is no keyword.
    """
    written = "".join(one if one.isascii() and one.isalnum() else _escaped(one) for one in name)
    if written[:1].isdigit() or keyword.iskeyword(written):
        return _escaped(written[0]) + written[1:]
    return written


def _escaped(character: str) -> str:
    return f"_{ord(character):x}_"

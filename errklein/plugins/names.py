"""Names of plugins and of collections of flows, and identifiers made from them."""

from __future__ import annotations

import keyword
from typing import Protocol

PACKAGE = "errklein_plugins"  # the package that contains a package for each plugin, with its modules


class Named(Protocol):
    """A plugin or a collection of flows."""

    _name: str

    @property
    def name(self) -> str:
        """The name, as in the `.plug` or `.flow` file."""


def plugin_name(plugin: Named) -> str:
    """Return the plugin's name. That is `name`, which a plugin may override with a string. A plugin may also have a
    command named `name`, which is ignored here."""
    name: object = plugin.name
    return name if isinstance(name, str) else plugin._name


def slug(name: str) -> str:
    """Return an identifier for a plugin's name. ASCII letters and digits stay, other characters become `_<hex>_`. For
    example, "My Plugin" becomes `My_20_Plugin`. Different names have different slugs. A slug doesn't begin with a digit
    and is never a keyword."""
    written = "".join(one if one.isascii() and one.isalnum() else _escaped(one) for one in name)
    if written[:1].isdigit() or keyword.iskeyword(written):
        return _escaped(written[0]) + written[1:]
    return written


def _escaped(character: str) -> str:
    return f"_{ord(character):x}_"

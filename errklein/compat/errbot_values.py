"""Stored values as errbot stores them: the names of plugins' classes, persons, rooms and messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from errklein.chat import Card, Message, Presence, Reaction
from errklein.chat.messages import ERRBOT_ATTRIBUTES
from errklein.compat.former_identifiers import NickMask
from errklein.compat.stored_classes import find_class, value_class_name
from errklein.networks.irc.identifiers import IRCPerson
from errklein.networks.text.identifiers import TextPerson, TextRoom
from errklein.plugins.plug_file import PACKAGE, PlugFile, slug
from errklein.storage import NotExportable, PickledName, dumps, names_in, plain_value, rewritten

_ATTRIBUTES = {here: there for there, here in ERRBOT_ATTRIBUTES.items()}


class ErrbotPickles:
    """Rewrites pickles for errbot. The plugins' `.plug` files determine errbot's names of their modules."""

    def __init__(self, plugs: Iterable[PlugFile]) -> None:
        self._modules = {slug(plug.name): plug.module for plug in plugs}

    def __call__(self, data: bytes) -> bytes:
        """Return the pickle for errbot. It is unchanged if errbot reads it as it is. Raises NotExportable or DamagedPickle."""
        try:
            plain_value(data)
        except ValueError:
            if any(self._find(*name) != PickledName(*name) for name in names_in(data)):
                return rewritten(data, self._find, _reduced)
        return data

    def _find(self, module: str, name: str) -> object:
        top, _, rest = module.partition(".")
        if top == PACKAGE:
            plugin, _, local = rest.partition(".")
            if plugin not in self._modules:
                raise NotExportable(f"it uses {name} of a plugin that isn't installed")
            # errbot imports helper modules beside a plugin as top-level modules.
            return PickledName(f"errbot.plugins.{local}" if local == self._modules[plugin] else local, name)
        if top != "errklein":
            # Python 3.13 has another name for the module of these classes.
            return PickledName("pathlib" if module == "pathlib._local" else module, name)
        if value_class_name(module, name) is None:
            raise NotExportable(f"it uses {module}.{name}, which errbot doesn't have")
        return find_class("", module, name)


def without_endpoints(data: bytes) -> tuple[bytes, Sequence[str]]:
    """Return the pickle of all configurations without the ENDPOINTS of Webserver, which errbot rejects, and these."""
    try:
        configs = plain_value(data)
        endpoints = configs["Webserver"].pop("ENDPOINTS")
    except (ValueError, LookupError, TypeError, AttributeError):
        # There are none, or another plugin's configuration isn't plain data.
        return data, ()
    return dumps(configs), endpoints


def _reduced(value: object) -> tuple[Any, ...] | None:
    """Return how errbot pickles an instance of one of errklein's value classes; None for any other object."""
    kind = type(value)
    if not kind.__module__.startswith("errklein.") or kind.__module__ == PickledName.__module__:
        return None
    if isinstance(value, (TextPerson, TextRoom)):
        return PickledName("errbot.backends.text", "TextBackend._unpickle_identifier"), (str(value),)
    new = PickledName("copyreg", "__newobj__")
    if kind is NickMask:
        return new, (PickledName("irc.client", "NickMask"), str(value))
    if kind is IRCPerson:
        state = {"_nickmask": NickMask(value), "_email": ""}
        return new, (PickledName("errbot.backends.irc", "IRCPerson"),), state
    if kind in (Card, Message, Presence, Reaction):
        names = _ATTRIBUTES if isinstance(value, Message) else {name: f"_{name}" for name in vars(value)}
        state = {names.get(name, name): one for name, one in vars(value).items()}
        return new, (PickledName("errbot.backends.base", kind.__name__),), state
    raise NotExportable(f"it contains an object of {kind.__name__}, which errbot can't store")

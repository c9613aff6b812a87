"""Stored values as errbot stores them: the names of plugins' classes, persons, rooms and messages."""

from __future__ import annotations

from collections.abc import Iterable

from errklein.backends.irc.identifiers import IRCPerson
from errklein.backends.text.identifiers import TextPerson, TextRoom
from errklein.chat import Card, Message, Presence, Reaction
from errklein.chat.messages import ERRBOT_ATTRIBUTES
from errklein.compat.former_identifiers import NickMask
from errklein.compat.stored_classes import STORED_VALUES, value_class_name
from errklein.plugins.names import PACKAGE, slug
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.repos.index import RepoEntry
from errklein.storage import (
    DamagedPickle,
    NotExportable,
    PickledName,
    PickledObject,
    Reduction,
    dumps,
    names_in,
    plain_value,
    rewritten,
)

_ATTRIBUTES = {here: there for there, here in ERRBOT_ATTRIBUTES.items()}


class ErrbotPickles:
    """Rewrites pickles for errbot. The plugins' `.plug` files determine errbot's names of their modules."""

    def __init__(self, plugs: Iterable[PlugFile]) -> None:
        self._modules = {f"{PACKAGE}.{slug(plug.name)}": plug.module for plug in plugs}

    def __call__(self, namespace: str, data: bytes) -> bytes:
        """Return the pickle for errbot. It is unchanged if errbot reads it as it is. Raises NotExportable."""
        try:
            plain_value(data)
        except ValueError:
            return self._renamed(namespace, data)
        return data

    def _renamed(self, namespace: str, data: bytes) -> bytes:
        try:
            names = names_in(data)
        except DamagedPickle as error:
            raise NotExportable(f"it is damaged: {error}") from error
        if all(self._find(namespace, *name) == PickledName(*name) for name in names):
            return data
        return rewritten(data, lambda module, name: self._find(namespace, module, name), _reduced)

    def _find(self, namespace: str, module: str, name: str) -> object:
        package, _, local = module.rpartition(".")
        if module.partition(".")[0] == PACKAGE:
            package = ".".join(module.split(".")[:2])
            local = module.removeprefix(f"{package}.")
            if package not in self._modules:
                raise NotExportable(f"it uses {name} of a plugin that isn't installed")
            # errbot imports helper modules beside a plugin as top-level modules.
            return PickledName(f"errbot.plugins.{local}" if local == self._modules[package] else local, name)
        if module.partition(".")[0] == "errklein":
            if value_class_name(module, name) is None:
                raise NotExportable(f"it uses {module}.{name}, which errbot doesn't have")
            return STORED_VALUES.find_class(namespace, module, name)
        # Python 3.13 has another name for the module of these classes.
        return PickledName("pathlib" if module == "pathlib._local" else module, name)


def without_endpoints(data: bytes) -> tuple[bytes, list[str]]:
    """Return the pickle of all configurations without the ENDPOINTS of Webserver, which errbot rejects, and these."""
    try:
        configs = plain_value(data)
    except ValueError:
        # Another plugin's configuration isn't plain data.
        return data, []
    webserver = configs.get("Webserver") if isinstance(configs, dict) else None
    if not isinstance(webserver, dict) or "ENDPOINTS" not in webserver:
        return data, []
    rest = {key: value for key, value in webserver.items() if key != "ENDPOINTS"}
    return dumps({**configs, "Webserver": rest}), [str(one) for one in webserver["ENDPOINTS"] or ()]


def _reduced(value: object) -> Reduction | None:
    """Return how errbot pickles an instance of one of errklein's value classes; None for any other object."""
    if not type(value).__module__.startswith("errklein.") or isinstance(value, (PickledName, PickledObject)):
        return None
    if isinstance(value, NickMask):
        return _new("irc.client", value, str(value))
    if type(value) is IRCPerson:
        return *_new("errbot.backends.irc", value), {"_nickmask": NickMask(value), "_email": ""}
    if isinstance(value, (TextPerson, TextRoom)):
        return PickledName("errbot.backends.text", "TextBackend._unpickle_identifier"), (str(value),)
    if isinstance(value, RepoEntry):
        return _new("errbot.repo_manager", value, *value)
    if isinstance(value, (Presence, Reaction)):
        return *_new("errbot.backends.base", value), {f"_{name}": one for name, one in vars(value).items()}
    if isinstance(value, (Card, Message)):
        state = {_ATTRIBUTES.get(name, name): one for name, one in vars(value).items()}
        return *_new("errbot.backends.base", value), state
    raise NotExportable(f"it contains an object of {type(value).__name__}, which errbot can't store")


def _new(module: str, value: object, *args: object) -> tuple[PickledName, tuple[object, ...]]:
    """Return the call that creates an instance of errbot's class of the same name."""
    return PickledName("copyreg", "__newobj__"), (PickledName(module, type(value).__name__), *args)

"""The classes that stored values use, and their export to errbot: `find_class` is for values of the bot itself, with any class;
`find_restored_class` for those of a backup or shelf, whose names `NameJudge` has checked by the source of the plugins."""

from __future__ import annotations

import ast
import enum
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

from errklein import storage as stored
from errklein.chat import Card, Identifier, Message, Presence, Reaction
from errklein.chat.messages import ERRBOT_ATTRIBUTES
from errklein.compat._facade import ERRBOT, FACADES
from errklein.compat._running_bots import running_bots
from errklein.config import Config
from errklein.config.networks import is_value as is_network_value
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.imports import CORE_PLUGINS
from errklein.plugins.plug_file import PACKAGE, PlugFile, slug

_TELEGRAM = ("TelegramMUCOccupant", "TelegramPerson", "TelegramRoom")
_XMPP = ("XMPPPerson", "XMPPRoom", "XMPPRoomOccupant")
_FORMER = {
    **dict.fromkeys(("errbot.backends.telegram_messenger", "errklein.compat.backends.telegram"), _TELEGRAM),
    **dict.fromkeys(("errbot.backends.xmpp", "errklein.compat.backends.xmpp"), _XMPP),
}

_ERRBOT_PLUGINS = "errbot.plugins."
_IDENTIFIER = "._unpickle_identifier"  # a backend's method that errbot's pickles call to create an identifier

VALUE_CLASSES: Mapping[str, tuple[str, ...]] = {
    "errklein.chat.events": ("Presence", "Reaction"),
    "errklein.chat.messages": ("Card", "Message"),
    "errklein.compat.stored_classes": ("FormerIdentifier", "NickMask"),
    "errklein.networks.base": ("LocalOccupant", "LocalPerson", "NamedRoom"),
    "errklein.plugins.repos.manager": ("RepoEntry",),
}
"""errklein's value classes by module, apart from those of networks. Creating an instance has no side effects."""

_WITHOUT_NETWORKS = {"", "errklein", "errbot", PACKAGE, *sys.stdlib_module_names}

_MOVED = {
    "errklein.answering.conversations": "errklein.dispatch.conversations",
    "errklein.backends.irc.identifiers": "errklein.networks.irc.identifiers",
    "errklein.backends.test": "errklein.networks.test",
    "errklein.backends.text.identifiers": "errklein.networks.text.identifiers",
    "errklein.chat.cards": "errklein.chat.messages",
    "errklein.chat.presence": "errklein.chat.events",
    "errklein.chat.reactions": "errklein.chat.events",
    "errklein.compat.former_identifiers": "errklein.compat.stored_classes",
    "errklein.compat.plugin_info": "errklein.compat.plugin_manager",
    "errklein.plugins.plugin_info": "errklein.compat.plugin_manager",
    "errklein.plugins.repos.index": "errklein.plugins.repos.manager",
    "errklein.plugins.stored_classes": "errklein.compat.stored_classes",
}
"""The current names of errklein's modules, by the former names in values of older versions."""

_ATTRIBUTES = {here: there for there, here in ERRBOT_ATTRIBUTES.items()}


class FormerIdentifier(Identifier):
    """A stored person or room, with the attributes of its former class. `str()` is the address: a number for Telegram,
    `node@domain/resource` for XMPP. On these networks, messages can be sent to it."""

    @property
    def aclattr(self) -> str:
        """The address without the resource."""
        state = vars(self)
        return str(state["_id"]) if "_id" in state else "@".join(filter(None, map(state.get, ("_node", "_domain"))))

    person = aclattr

    def __str__(self) -> str:
        return "/".join(filter(None, (self.aclattr, vars(self).get("_resource"))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FormerIdentifier) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class NickMask(str):
    """The mask in a person that errbot has stored on IRC, which the package irc defines."""

    __slots__ = ()

    @property
    def network(self) -> str:
        """The name of the running bot's IRC network; "" without one. errbot has one network, and stores no name."""
        bot = running_bots.newest
        networks = {} if bot is None else bot.bot_config.networks
        return next((name for name, view in networks.items() if view.BACKEND == "IRC"), "")


def find_class(namespace: str, module: str, qualname: str) -> object | None:
    """Return the class or function that a value in the plugin's `namespace` uses; None if its name is still correct."""
    if module in _MOVED:
        return _found(_MOVED[module], qualname)
    if (value_class := value_class_name(module, qualname)) is not None:
        return _found(*value_class)
    if module == "errbot" or module.startswith("errbot."):
        return _of_errbot(namespace, module, qualname)
    if module.startswith("errklein.") and _found(module, qualname) is None:
        # The module was renamed or made private; its package, or errklein, exports the public classes.
        return _found(module.rpartition(".")[0], qualname) or _found("errklein", qualname)
    if module.partition(".")[0] in sys.stdlib_module_names or module.partition(".")[0] in {"errklein", PACKAGE}:
        return None
    return _found(f"{PACKAGE}.{slug(namespace)}.{module}", qualname)


def find_restored_class(namespace: str, module: str, qualname: str) -> object | None:
    """Return the class or function that a restored value in the plugin's `namespace` uses; None if it isn't allowed.
    Only errklein's own modules are imported. A module of the plugin is searched only if the plugin has imported it."""
    if (value_class := value_class_name(module, qualname)) is not None:
        return _found(*value_class)
    if is_backend(module, qualname):
        return identifier_of_errbot if qualname.endswith(_IDENTIFIER) else ErrbotBackend(module, qualname)
    local = module_of_plugin(namespace, module)
    return None if local is None else _defined_in(f"{PACKAGE}.{slug(namespace)}", local, qualname)


STORED_VALUES = stored.ValueReader(find_class, find_restored_class)  # the reader of plugins' values


@dataclass(frozen=True)
class ErrbotBackend:
    """A stand-in for an errbot backend's class in errbot's pickles of identifiers. It isn't callable."""

    module: str
    name: str


def is_backend(module: str, qualname: str) -> bool:
    """Return whether the name is that of an errbot backend's class, or of its method that creates an identifier."""
    name = qualname.removesuffix(_IDENTIFIER)
    return module.startswith("errbot.backends.") and name.endswith("Backend") and name.isidentifier()


def identifier_of_errbot(text: str) -> Identifier:
    """Return the identifier, of the running bot's network, for a text of errbot. Raises ValueError without a bot."""
    if (bot := running_bots.newest) is None:
        raise ValueError(f"the identifier {text!r} can be read only while the bot runs")
    identifier: Identifier = bot.build_identifier(str(text))
    return identifier


def value_class_name(module: str, qualname: str) -> tuple[str, str] | None:
    """Return module and name of a value class, given errklein's or errbot's name for it; None for any other class."""
    module = _MOVED.get(module, module)
    if _is_value(module, qualname):
        return module, qualname
    if qualname in _FORMER.get(module, ()):
        return FormerIdentifier.__module__, FormerIdentifier.__name__
    if (module, qualname) == ("irc.client", "NickMask"):
        return NickMask.__module__, NickMask.__name__
    defining, _, name = ERRBOT.get(module, {}).get(qualname, "").partition(":")
    return (defining, name) if _is_value(defining, name) else None


def _is_value(module: str, name: str) -> bool:
    top = module.partition(".")[0]
    # Networks of other packages need a search of what is installed.
    may_be_of_network = module.startswith("errklein.networks.") or top not in _WITHOUT_NETWORKS
    return name in VALUE_CLASSES.get(module, ()) or (may_be_of_network and is_network_value(module, name))


def module_of_plugin(namespace: str, module: str) -> str | None:
    """Return the name of the module within the package of the plugin; None if it can't be a module of the plugin."""
    if module.startswith(_ERRBOT_PLUGINS):
        return module.removeprefix(_ERRBOT_PLUGINS)
    own = f"{PACKAGE}.{slug(namespace)}."
    if module.startswith(own):
        return module.removeprefix(own)
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in {"errklein", PACKAGE, *FACADES}:
        return None
    return module


def _defined_in(package: str, local: str, qualname: str) -> object | None:
    """Return the class or function of that name, if a loaded module of the package defines it; else None. The name may
    be that of a member of a class. Of the functions in a class only static methods are returned. A pickle could call
    others with any object as `self`, and doesn't need them to create an instance. Members of an Enum are returned,
    since Python 3.11.0 to 3.11.3 and `enum.pickle_by_enum_name` write them as attributes of the class."""
    loaded = sys.modules.get(f"{package}.{local}")
    # Core plugins store no instances, and some of their functions write files.
    if loaded is None or (loaded.__file__ is not None and Path(loaded.__file__).parent == CORE_PLUGINS):
        return None
    first, *others = qualname.split(".")
    found = vars(loaded).get(first)
    for number, name in enumerate(others, 1):
        if not isinstance(found, type) or not _is_of(package, found):
            return None
        # getattr would find inherited attributes, and could execute code of a metaclass.
        members = vars(found).get("_member_map_", {}) if isinstance(found, enum.EnumMeta) else {}
        if name in members:
            return members[name] if number == len(others) else None
        found = vars(found).get(name)
        if isinstance(found, FunctionType):
            return None
    if isinstance(found, staticmethod):
        found = found.__func__
    return found if isinstance(found, (type, FunctionType)) and _is_of(package, found) else None


def _is_of(package: str, found: type | FunctionType) -> bool:
    return isinstance(found.__module__, str) and found.__module__.startswith(f"{package}.")


def _of_errbot(namespace: str, module: str, qualname: str) -> object | None:
    if not module.startswith(_ERRBOT_PLUGINS):
        return _found(f"errklein.compat.{module}", qualname)
    name = module.removeprefix(_ERRBOT_PLUGINS)
    # A plugin may store an object of another plugin's class.
    others = [other for other in list(sys.modules) if other.startswith(f"{PACKAGE}.") and other.endswith(f".{name}")]
    own = f"{PACKAGE}.{slug(namespace)}.{name}"
    return next((found for one in (own, *others) if (found := _found(one, qualname)) is not None), None)


def _found(module: str, qualname: str) -> object | None:
    try:
        found: object = reduce(getattr, qualname.split("."), import_module(module))
    except (ImportError, AttributeError):
        return None
    return found


class NameJudge:
    """Determines the status of names by the `.plug` files and the source of the installed plugins."""

    def __init__(self, plugs: Iterable[PlugFile]) -> None:
        self._plugs = list(plugs)

    def __call__(self, namespace: str, module: str, name: str) -> stored.NameStatus:
        if stored.is_standard(module, name) or value_class_name(module, name) is not None or is_backend(module, name):
            return stored.NameStatus.ALLOWED
        if (local := module_of_plugin(namespace, module)) is None:
            return stored.NameStatus.REFUSED
        its = (plug for plug in self._plugs if plug.name == namespace)
        if sources := [source for plug in its for source in _sources(plug.directory, local)]:
            return stored.NameStatus.REFUSED if sources[0].parent == CORE_PLUGINS else _in_source(sources[0], name)
        if local == module:
            # This isn't errbot's name for a plugin's module, but it may be a helper module beside the plugin.
            return stored.NameStatus.REFUSED if _is_installed(module) else stored.NameStatus.MISSING
        is_elsewhere = any(_sources(plug.directory, local) for plug in self._plugs if plug.name != namespace)
        return stored.NameStatus.REFUSED if is_elsewhere else stored.NameStatus.MISSING


def plugs_of(config: Config) -> Iterator[PlugFile]:
    """Return the `.plug` files of the plugins that a bot with this configuration finds."""
    repositories = Path(config.BOT_DATA_DIR) / "plugins"
    installed = [repositories] if repositories.is_dir() else []
    roots: list[str | Path] = [CORE_PLUGINS, *config.directories("BOT_EXTRA_PLUGIN_DIR"), *installed]
    # Invalid files are skipped here; the start of the bot reports them.
    return load_plug_files([*roots, *entry_point_roots()])


def _sources(directory: Path, module: str) -> list[Path]:
    path = directory.joinpath(*module.split("."))
    return [file for file in (path.with_name(f"{path.name}.py"), path / "__init__.py") if file.is_file()]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _in_source(source: Path, name: str) -> stored.NameStatus:
    """Return whether the module defines the class or function, as far as its source shows; of a member, its class."""
    try:
        body = ast.parse(source.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return stored.NameStatus.MISSING
    top = name.partition(".")[0]
    bound = [node for bound_name, node in _bindings(body) if bound_name == top]
    if not bound:
        return stored.NameStatus.MISSING
    # A call may create a class, like those of namedtuple and Enum. Other assigned values are defined elsewhere.
    functions = () if "." in name else (ast.FunctionDef, ast.AsyncFunctionDef)
    own = (ast.ClassDef, ast.Call, *functions)
    return stored.NameStatus.ALLOWED if any(isinstance(node, own) for node in bound) else stored.NameStatus.REFUSED


def _bindings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    for statement in body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield statement.name, statement
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0], alias
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
        else:
            # The blocks of if, try, with and the like bind names in the same scope.
            for child in ast.iter_child_nodes(statement):
                if isinstance(child, ast.stmt):
                    yield from _bindings([child])
                elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
                    yield from _bindings(child.body)


class ErrbotPickles:
    """Rewrites pickles for errbot. The plugins' `.plug` files determine errbot's names of their modules."""

    def __init__(self, plugs: Iterable[PlugFile]) -> None:
        self._modules = {slug(plug.name): plug.module for plug in plugs}

    def __call__(self, data: bytes) -> bytes:
        """Return the pickle for errbot. It is unchanged if errbot reads it as it is. Raises NotExportable or DamagedPickle."""
        try:
            stored.plain_value(data)
        except ValueError:
            if any(self._find(*name) != stored.PickledName(*name) for name in stored.names_in(data)):
                return stored.rewritten(data, self._find, _reduced)
        return data

    def _find(self, module: str, name: str) -> object:
        top, _, rest = module.partition(".")
        if top == PACKAGE:
            plugin, _, local = rest.partition(".")
            if plugin not in self._modules:
                raise stored.NotExportable(f"it uses {name} of a plugin that isn't installed")
            # errbot imports helper modules beside a plugin as top-level modules.
            return stored.PickledName(f"errbot.plugins.{local}" if local == self._modules[plugin] else local, name)
        if top != "errklein":
            # Python 3.13 has another name for the module of these classes.
            return stored.PickledName("pathlib" if module == "pathlib._local" else module, name)
        if value_class_name(module, name) is None:
            raise stored.NotExportable(f"it uses {module}.{name}, which errbot doesn't have")
        return find_class("", module, name)


def without_endpoints(data: bytes) -> tuple[bytes, Sequence[str]]:
    """Return the pickle of all configurations without the ENDPOINTS of Webserver, which errbot rejects, and these."""
    try:
        configs = stored.plain_value(data)
        endpoints = configs["Webserver"].pop("ENDPOINTS")
    except (ValueError, LookupError, TypeError, AttributeError):
        # There are none, or another plugin's configuration isn't plain data.
        return data, ()
    return stored.dumps(configs), endpoints


def _reduced(value: object) -> tuple[Any, ...] | None:
    """Return how errbot pickles an instance of one of errklein's value classes; None for any other object."""
    # Imported late: most bots have no such network, and this is for the export.
    from errklein.networks.irc.identifiers import IRCPerson
    from errklein.networks.text.identifiers import TextPerson, TextRoom

    kind = type(value)
    if not kind.__module__.startswith("errklein.") or kind.__module__ == stored.PickledName.__module__:
        return None
    if isinstance(value, (TextPerson, TextRoom)):
        return stored.PickledName("errbot.backends.text", "TextBackend._unpickle_identifier"), (str(value),)
    new = stored.PickledName("copyreg", "__newobj__")
    if kind is NickMask:
        return new, (stored.PickledName("irc.client", "NickMask"), str(value))
    if kind is IRCPerson:
        state = {"_nickmask": NickMask(value), "_email": ""}
        return new, (stored.PickledName("errbot.backends.irc", "IRCPerson"),), state
    if kind in (Card, Message, Presence, Reaction):
        names = _ATTRIBUTES if isinstance(value, Message) else {name: f"_{name}" for name in vars(value)}
        state = {names.get(name, name): one for name, one in vars(value).items()}
        return new, (stored.PickledName("errbot.backends.base", kind.__name__),), state
    raise stored.NotExportable(f"it contains an object of {kind.__name__}, which errbot can't store")

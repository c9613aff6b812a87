"""Review of a configuration: warnings about settings that have no effect, or not the expected one; all settings with their values
and sources; and what differs between the configuration in use and one that is read again, and its application."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from shutil import which
from typing import Any

from errklein.chat.identifiers import CHARACTER_SET, patterns_of
from errklein.config._loading import LOCAL_ADMIN, OF_NETWORKS, Config, ConfigSource, secrets_of
from errklein.config._settings import CONFIDENTIAL, DEPENDENT, NAME_PATTERN_KEYS, OF_XMPP, SETTINGS, needs_restart
from errklein.config.networks import network_of, network_prefix
from errklein.text import truncated
from errklein.text.masking import MASK, mask_values, masker
from errklein.text.suggestions import did_you_mean

_KNOWN = (*SETTINGS, *DEPENDENT)

_SIMILARITY = 0.88
"""The difflib ratio from which a name counts as misspelt. BOT_EXTRA_BACKEND reaches it for BOT_EXTRA_BACKEND_DIR; LOG_LEVEL for
BOT_LOG_LEVEL, and CHATROOM_NAME for CHATROOM_FN, don't."""


def misspelt_settings(config: Config, read_by_plugins: Callable[[], Collection[str]] = frozenset) -> Iterator[str]:
    """Yield a warning for each upper-case name in the configuration that resembles a setting's name, but has no
    meaning. Plugins, and backends written for errbot, read settings of their own, so other unknown names are accepted,
    and the names that `read_by_plugins` returns. A name that config.py itself reads is a helper of that file."""
    found = [("", *misspelling) for misspelling in _misspellings(config)]
    for network, view in config.networks.items() if config.names_networks else ():
        found += [(network, *misspelling) for misspelling in _misspellings(view)]
    source = ConfigSource.of(config.path if found else None)
    accepted = source.names_read.union(read_by_plugins()) if found else source.names_read
    for network, name, meant in found:
        if name not in accepted:
            location = source.location(name, network)
            where = f" in NETWORKS[{network!r}]" if network else ""
            yield f"{location}{location and ': '}unknown setting {name}{where}; did you mean {meant}?"


def _misspellings(config: Config) -> Iterator[tuple[str, str]]:
    for name in config.own:
        if name.isupper() and name not in _KNOWN:
            yield from ((name, meant) for meant in get_close_matches(name, _KNOWN, 1, _SIMILARITY))


_PLACEHOLDERS = ("…", "your_nick", "your.host", "your-room", "CHANGE_ME")
"""Parts of values that stand for real ones in the examples of errklein's documentation and of errbot's."""

IRC_SIZE_LIMIT = 510  # the length of a line on IRC in bytes, without the line end (RFC 1459, section 2.3)


def configuration_warnings(config: Config, read_by_plugins: Callable[[], Collection[str]] = frozenset) -> list[str]:
    """Return one sentence for each warning, with the name of the setting, and of the network in NETWORKS.
    `read_by_plugins` is as for `misspelt_settings`."""
    of_networks = (warning for view in config.networks.values() for warning in _of_network(config, view))
    return [*misspelt_settings(config, read_by_plugins), *_of_all(config), *of_networks]


def placeholders(config: Config) -> Iterator[str]:
    """Yield an error for each value of BOT_IDENTITY, for people or for rooms that an example has in place of a real one."""
    for view in config.networks.values():
        texts = {f"BOT_IDENTITY[{key!r}]": value for key, value in view.BOT_IDENTITY.items()}
        for setting in ("BOT_ADMINS", "CHATROOM_PRESENCE"):
            names = (entry[0] if isinstance(entry, (tuple, list)) else entry for entry in getattr(view, setting))
            texts |= {f"{setting}: {name!r}": name for name in names}
        for where, text in texts.items():
            if any(placeholder in str(text) for placeholder in _PLACEHOLDERS):
                yield f"{network_prefix(view)}{where} is a placeholder of an example; replace it by your own value"


def _of_all(config: Config) -> Iterator[str]:
    found = [network_of(view) for view in config.networks.values()]
    is_read = any(network is None or network.name == "XMPP" for network in found)
    views = (config, *config.networks.values())
    defaults = {name: SETTINGS[name].default for name in sorted(OF_XMPP)}
    meaningless = [
        name for name, value in defaults.items() if any(view.own.get(name, value) != value for view in views)
    ]
    if meaningless and not is_read:
        yield f"{', '.join(meaningless)}: no effect, since no network is on XMPP"
    for name, error in config._left_to_plugins.items():
        yield (
            f"{error} ({ConfigSource.of(config.path).location(name)}); errklein uses its default, and takes the value for a plugin's, "
            "since the file sets BACKEND and not NETWORKS, as errbot's does"
        )
    for network in config.TRUSTED_PROXIES:
        if network.endswith("/0"):
            yield f"TRUSTED_PROXIES: every client can forge its address, since {network!r} contains all addresses"
    if f"{config.WEBHOOK_BASE_PATH}/".startswith(f"{config.WEBHOOK_PREFIX}/"):
        yield (
            f"WEBHOOK_PREFIX: addresses of webhooks of rooms begin with {config.WEBHOOK_BASE_PATH}{config.WEBHOOK_PREFIX}, "
            "since WEBHOOK_BASE_PATH has this path already; set WEBHOOK_PREFIX to another one"
        )
    yield from _rooms_of_webhooks(config)
    command = config.BOT_ADMINS_FALLBACK
    if isinstance(command, tuple) and which(command[0]) is None:
        yield f"BOT_ADMINS_FALLBACK: {command[0]!r} is missing or not executable, so notices can't be passed to it"
    if config.SENTRY_TRANSPORT is not None:
        yield "SENTRY_TRANSPORT is deprecated; set SENTRY_OPTIONS = {'transport': …}"
    if config.SENTRY_DSN and not config.BOT_LOG_SENTRY:
        yield "SENTRY_DSN: no effect, since BOT_LOG_SENTRY isn't True"


def _rooms_of_webhooks(config: Config) -> Iterator[str]:
    """Yield a warning for each room of a webhook in the file that the bot doesn't join otherwise: its name may be misspelt."""
    for name, options in config.setting("WEBHOOKS").items():
        rooms = options.get("rooms") or options["room"] if ":" not in name else ()
        for room in [rooms] if isinstance(rooms, str) else rooms:
            network, _, local = room.partition(":")
            view = config.networks.get(network)
            if view is None:
                view, local = next(iter(config.networks.values())), room
            known = [entry if isinstance(entry, str) else entry[0] for entry in view.CHATROOM_PRESENCE]
            joins = (found := network_of(view)) is None or not found.sends_only
            if joins and local.casefold() not in map(str.casefold, known):
                where = "CHATROOM_PRESENCE" + (f" of {view.network}" if config.names_networks else "")
                hint = did_you_mean(local, known) or "."
                yield f"WEBHOOKS[{name!r}]: the bot joins {room} for this webhook, but it isn't in {where}{hint}"


def _of_network(config: Config, view: Config) -> Iterator[str]:
    where = network_prefix(view)
    on_irc, limit = view.BACKEND == "IRC", view.MESSAGE_SIZE_LIMIT
    # The limits of backends written for errbot are unknown.
    if on_irc and limit is not None and limit > IRC_SIZE_LIMIT:
        yield f"{where}MESSAGE_SIZE_LIMIT is {limit}; a line on IRC has at most {IRC_SIZE_LIMIT} bytes"
    if on_irc:
        for setting, pattern in _bracket_patterns(view):
            yield (
                f"{where}{setting}: brackets in {pattern!r} are literal on IRC, where nicks may contain them; "
                "errbot reads [[] as a bracket and [ab] as one of a and b"
            )
    recipients = list(view.BOT_ADMINS_NOTIFICATIONS)
    # On IRC a notice goes to the nick; user and host of a pattern don't matter.
    patterns = [name for name in recipients if _is_pattern(str(name).partition("!")[0] if on_irc else name)]
    if recipients != list(view.BOT_ADMINS):
        for name in patterns:
            yield f"{where}BOT_ADMINS_NOTIFICATIONS: no notices are sent to the pattern {name!r}; expected a name"
    elif patterns and patterns == recipients:
        yield (
            f"{where}BOT_ADMINS has only patterns, so no administrator is notified of problems; "
            "set BOT_ADMINS_NOTIFICATIONS to a tuple of names"
        )


def _bracket_patterns(view: Config) -> Iterator[tuple[str, str]]:
    """Yield pairs of a setting and a pattern for people or rooms whose brackets are a set of characters on errbot."""
    rules = {"ACCESS_CONTROLS_DEFAULT": view.ACCESS_CONTROLS_DEFAULT}
    rules |= {f"ACCESS_CONTROLS[{pattern!r}]": rule for pattern, rule in view.ACCESS_CONTROLS.items()}
    named = {"BOT_ADMINS": view.BOT_ADMINS}
    named |= {
        f"{where}[{key!r}]": rule[key] for where, rule in rules.items() for key in NAME_PATTERN_KEYS if key in rule
    }
    for setting, patterns in named.items():
        for pattern in patterns_of(patterns or ()):
            if isinstance(pattern, str) and re.search(CHARACTER_SET, pattern):
                yield setting, pattern


def _is_pattern(name: Any) -> bool:
    # Brackets are no wildcards: nicks may contain them.
    return isinstance(name, str) and ("*" in name or "?" in name)


_OPEN = frozenset(
    {"basedir", "bind_address", "ipv6", "nickname", "port", "realname"}
    | {"sasl_account", "server", "ssl", "ssl_ca", "username"}
)
"""Keys of confidential settings whose values are no secrets."""


def origin_of(config: Config, name: str, source: ConfigSource) -> str:
    """Return what sets a setting, such as "config.py line 4" or "ERRKLEIN_SET__BOT_PREFIX", or "default"."""
    if name not in config._given:
        return "default"
    of_file = source.location(name) + (", from the environment" if name in source.of_environment else "")
    return config._origins.get(name, of_file)


def places_of(config: Config) -> str:
    """Return where the settings are from: the path of the config.py, the environment, both, or "built-in configuration"."""
    places = [str(config.path or ""), "the environment" if config._origins else ""]
    return " and ".join(filter(None, places)) or "built-in configuration"


def shown_settings(
    config: Config, options: Mapping[str, tuple[str, Any]], *, with_defaults: bool = True
) -> Iterator[str]:
    """Yield a line for each setting, such as "BOT_PREFIX = '!' # default", first those that are set, then those of
    networks. `options` are those that replace settings, by the setting, with their values; empty values don't count."""
    options = {name: given for name, given in options.items() if given[1]}
    source = ConfigSource.of(config.path)
    of_plugins = sorted(name for name in config._given.difference(_KNOWN) if name.isupper())
    for name in sorted([*_KNOWN, *of_plugins], key=lambda name: name not in config._given | options.keys()):
        value, location = getattr(config, name), origin_of(config, name, source)
        if name in config._left_to_plugins:
            value, location = SETTINGS[name].default, f"default; {location} is a plugin's"
        elif name == "NETWORKS":
            value = list(value) or value
        elif name == "BOT_EXTRA_PLUGIN_DIR":
            value = config.directories(name)
            location += "".join({", --plugin-dir" for path in value if config.source_of(path) != name})
        location, value = options.get(name, (location, value))
        if with_defaults or location != "default":
            yield f"{name} = {shown_value(name, value)}  # {location}"
    for network, view in config.networks.items() if config.names_networks else ():
        for name in config.NETWORKS[network]:
            location = config._origins.get("NETWORKS") or source.location(name, network)
            yield f"NETWORKS[{network!r}][{name!r}] = {shown_value(name, getattr(view, name))}  # {location}"


def shown_value(name: str, value: Any) -> str:
    """Return the value as text, without secrets. Of confidential settings, only what can't be secret is shown."""
    if name == "WEBHOOKS":
        # References to secrets are no secrets.
        return masker.known(repr(value))
    if name == "CHATROOM_PRESENCE":
        value = tuple((room[0], MASK) if isinstance(room, (tuple, list)) and room[1:] else room for room in value)
    elif name in CONFIDENTIAL and isinstance(value, Mapping):
        value = {key: item if key in _OPEN or isinstance(item, bool) else MASK for key, item in value.items()}
    elif name in CONFIDENTIAL and value:
        value = MASK
    elif name not in _KNOWN or isinstance(value, Mapping):
        value = mask_values({"" if name in _KNOWN else name: value}).popitem()[1]
    return masker(repr(value))


_ABSENT = object()
_LONGEST = 1000


@dataclass(frozen=True)
class Change:
    """A setting that differs: its name, such as "NETWORKS['libera']: BOT_ADMINS", and the difference, without secrets."""

    name: str
    difference: str
    needs_restart: bool

    def line(self, *, details: bool = True) -> str:
        return f"{self.name}{' (needs a restart)' * self.needs_restart}{f': {self.difference}' * details}"


def changes_of(config: Config, fresh: Config) -> Iterator[Change]:
    """Yield the settings that differ from those in use, or from those of the start if they need a restart: backends
    change some. If only one of the configurations has NETWORKS, all need a restart."""
    is_alike, given = config.names_networks == fresh.names_networks, config._given | fresh._given
    for view, other in _pairs(config, fresh):
        for name in sorted(name for name in {*view._loaded, *other._loaded} if name.isupper()):
            is_late = needs_restart(name) or not is_alike
            old, new = (view._loaded if is_late else vars(view)).get(name, _ABSENT), vars(other).get(name, _ABSENT)
            if name == "NETWORKS" and (config.names_networks or fresh.names_networks):
                # Their settings are compared one by one, or have room keys.
                old, new = (tuple(one) if isinstance(one, Mapping) else one for one in (old, new))
            is_from_networks = config.names_networks and name in OF_NETWORKS and name not in given
            is_repeated = is_from_networks if view is config else name not in view._own | other._own
            if not is_repeated and not _same(old, new):
                where = "" if view is config else network_prefix(view)
                yield Change(f"{where}{name}", _shown(name, old, new), is_late)


def apply(config: Config, fresh: Config) -> None:
    """Change the configuration in use, except for what needs a restart and what plugins have added. Its secrets stay masked."""
    if config.names_networks != fresh.names_networks:
        return
    config._reread |= secrets_of(fresh)
    masker.learn(config, "reloads", config._reread)
    if fresh._module is not None and sys.modules.get(name := fresh._module.__name__, config._module) is config._module:
        sys.modules[name] = fresh._module
    config._module, config._path = fresh._module, fresh._path
    config._given, config._left_to_plugins = fresh._given, fresh._left_to_plugins
    config._origins = fresh._origins
    for view, other in _pairs(config, fresh):
        late = {name: value for name, value in view._loaded.items() if needs_restart(name)}
        new = {name: value for name, value in vars(other).items() if name[0] != "_" and not needs_restart(name)}
        vars(view).update(new)
        for name in view._loaded.keys() - late - new.keys():
            vars(view).pop(name, None)
        own = {name for name in view._own if name in late or name not in view._loaded}
        view._own = frozenset(own.union(other._own.intersection(new)))
        view._loaded = {**other._loaded, **late}


def risks(config: Config, fresh: Config) -> Iterator[str]:
    """Yield a sentence for each network that would have no administrator any more, or only the default one."""
    for view, other in _pairs(config, fresh):
        # Empty, for example, if config.py reads the name from a variable that isn't set.
        admins = tuple(name for name in other.BOT_ADMINS if name.strip())
        is_default = admins == (LOCAL_ADMIN,) and LOCAL_ADMIN not in view.BOT_ADMINS
        if view.network and view.BOT_ADMINS and (not admins or is_default):
            yield f"{network_prefix(view)}BOT_ADMINS: the last administrator would be removed"


def _pairs(config: Config, fresh: Config) -> list[tuple[Config, Config]]:
    views = config.networks if config.names_networks and fresh.names_networks else {}
    both = [(view, fresh.networks[network]) for network, view in views.items() if network in fresh.networks]
    return [(config, fresh), *both]


def _same(one: Any, other: Any) -> bool:
    """Return whether values are the same: dicts also in their order, and objects that config.py makes anew if they look so."""
    texts = {re.sub(" at 0x[0-9a-f]+", "", repr(value)) for value in (one, other)}
    return len(texts) == 1 or (one == other and not isinstance(one, dict))


def _shown(name: str, old: Any, new: Any) -> str:
    """Return the difference without secrets: of collections what is removed and added, else both values."""
    if new is _ABSENT:
        return "removed"
    removed, added = (
        [shown_value(name, item) for item in _items(one) if item not in _items(other)]
        for one, other in ((old, new), (new, old))
    )
    texts = [f"removed {text}" for text in removed] + [f"added {text}" for text in added]
    if removed == added:
        # Scalars, secrets, or only another order.
        before, after = ("" if value is _ABSENT else shown_value(name, value) for value in (old, new))
        texts = [f"{before or 'not set'} → {after}" if before != after else "changed"]
    return truncated(", ".join(texts), _LONGEST)


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [{key: item} for key, item in value.items()]
    return [(item,) for item in value] if isinstance(value, (list, tuple, set, frozenset)) else []

"""Differences between the configuration in use and one that is read again, and those that apply without a restart."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from errklein.config._loading import LOCAL_ADMIN, OF_NETWORKS, Config, network_prefix, secrets_of
from errklein.config._settings import needs_restart
from errklein.config.warnings import shown_value
from errklein.text import truncated
from errklein.text.masking import masker

_ABSENT = object()
_LONGEST = 1000


@dataclass(frozen=True)
class Change:
    """A setting that differs: its name, such as "NETWORKS['libera']: BOT_ADMINS", and the difference, without secrets."""

    name: str
    difference: str
    needs_restart: bool

    def line(self, *, details: bool = True) -> str:
        """Return the name, and by default the difference."""
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

"""The settings as lines for people: each with its value, without secrets, and with its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from errklein.config._loading import Config, ConfigSource
from errklein.config._settings import CONFIDENTIAL, DEPENDENT, SETTINGS
from errklein.text.masking import MASK, mask_values, masker

_KNOWN = (*SETTINGS, *DEPENDENT)
_OPEN = frozenset(
    [
        "basedir",
        "bind_address",
        "ipv6",
        "nickname",
        "port",
        "realname",
        "sasl_account",
        "server",
        "ssl",
        "ssl_ca",
        "username",
    ]
)
"""Keys of confidential settings whose values are no secrets."""


def shown_settings(config: Config, options: Mapping[str, tuple[str, Any]]) -> Iterator[str]:
    """Yield a line for each setting, such as "BOT_PREFIX = '!'  # default", first those that are set, then those of networks.

    :param options: Options that replace settings, by the setting, with their values; empty values don't count.
    """
    options = {name: given for name, given in options.items() if given[1]}
    source = ConfigSource.of(config.path)
    of_plugins = sorted(name for name in config._given.difference(_KNOWN) if name.isupper())
    for name in sorted([*_KNOWN, *of_plugins], key=lambda name: name not in config._given | options.keys()):
        value, location = getattr(config, name), "default"
        if name in config._given:
            location = source.location(name) + (", from the environment" if name in source.of_environment else "")
        if name in config._left_to_plugins:
            value, location = SETTINGS[name].default, f"default; {location} is a plugin's"
        elif name == "NETWORKS":
            value = list(value) or value
        elif name == "BOT_EXTRA_PLUGIN_DIR":
            value = config.directories(name)
            location += "".join({", --plugin-dir" for path in value if config.source_of(path) != name})
        location, value = options.get(name, (location, value))
        yield f"{name} = {_shown(name, value)}  # {location}"
    for network, view in config.networks.items() if config.names_networks else ():
        for name in config.NETWORKS[network]:
            shown, location = _shown(name, getattr(view, name)), source.location(name, network)
            yield f"NETWORKS[{network!r}][{name!r}] = {shown}  # {location}"


def _shown(name: str, value: Any) -> str:
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

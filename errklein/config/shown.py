"""The settings as lines for people: each with its value, without secrets, and with its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from errklein.config._loading import Config
from errklein.config._settings import CONFIDENTIAL, DEPENDENT, SETTINGS
from errklein.config._source import ConfigSource
from errklein.text.masking import MASK, mask_values, masker

_OPEN = frozenset(
    {"basedir", "bind_address", "ipv6", "nickname", "port", "realname", "sasl_account", "server", "ssl", "ssl_ca"}
) | {"username"}
"""Keys of confidential settings whose values are no secrets."""


def shown_settings(config: Config, options: Mapping[str, tuple[str, Any]]) -> Iterator[str]:
    """Yield a line for each setting, such as "BOT_PREFIX = '!'  # default", first those that are set, then those of networks.

    :param options: Options that replace settings, by the setting, with their values.
    """
    source = ConfigSource.of(config.path)
    of_plugins = sorted(name for name in config.given - {*SETTINGS, *DEPENDENT} if name.isupper())
    given = {*config.given, *options}
    for name in sorted((*SETTINGS, *DEPENDENT, *of_plugins), key=lambda name: name not in given):
        place = source.place(name) if name in config.given else "default"
        if name in config.given and name in source.of_environment:
            place += ", from the environment"
        value = getattr(config, name)
        if name in config.left_to_plugins:
            value, place = SETTINGS[name].default, f"default; {place} is a plugin's"
        elif name == "BOT_EXTRA_PLUGIN_DIR":
            value = config.directories(name)
            place = (
                ", ".join(
                    [*([place] if name in config.given else []), *sorted(set(map(config.source_of, value)) - {name})]
                )
                or place
            )
        elif name == "NETWORKS":
            value = list(config.networks) if config.names_networks else {}
        place, value = options.get(name, (place, value))
        yield f"{name} = {_shown(name, value, known=name not in of_plugins)}  # {place}"
    for network, view in config.networks.items() if config.names_networks else ():
        for name in config.NETWORKS[network]:
            shown = _shown(name, getattr(view, name), known=name in SETTINGS or name in DEPENDENT)
            yield f"NETWORKS[{network!r}][{name!r}] = {shown}  # {source.place(name, network)}"


def _shown(name: str, value: Any, *, known: bool) -> str:
    """Return the value as text, without secrets. Of confidential settings, only what can't be secret is shown."""
    if not known:
        value = mask_values({name: value})[name]
    elif name == "CHATROOM_PRESENCE":
        value = tuple((room[0], MASK) if isinstance(room, (tuple, list)) and room[1:] else room for room in value)
    elif name in CONFIDENTIAL and isinstance(value, Mapping):
        value = {key: item if key in _OPEN or isinstance(item, bool) else MASK for key, item in value.items()}
    elif name in CONFIDENTIAL and value:
        value = MASK
    elif name == "WEBHOOKS":
        # References to secrets are no secrets.
        return masker.known(repr(value))
    elif isinstance(value, Mapping):
        value = mask_values(value)
    return masker(repr(value))

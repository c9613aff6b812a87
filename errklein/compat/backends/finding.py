"""Lookup of third-party backends, and creation of the one that BACKEND names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errklein.compat.backends.network import ThreadedNetwork
from errklein.compat.core import ErrBot
from errklein.config import ConfigError
from errklein.config.networks import known_networks
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.imports import PluginLoadError, load_module, plugin_class
from errklein.plugins.plug_file import PlugFile
from errklein.text.suggestions import did_you_mean

PACKAGES = {
    "APRS": "err-aprs-backend",
    "Discord": "err-backend-discord",
    "Matrix": "errbot-backend-matrix",
    "Mattermost": "err-backend-mattermost",
    "SlackV3": "errbot-backend-slackv3",
}
"""Backends written for errbot, by the name for BACKEND, with the packages on PyPI that have them."""

GROUPS = ("errbot.backend_plugins", "errklein.backends")  # the entry point groups in which distributions offer networks


def network_plugs(config: Any, unreadable: list[str] | None = None) -> Iterator[PlugFile]:
    """Return an iterator over the `.plug` files of backends in BOT_EXTRA_BACKEND_DIR, then in installed distributions.
    Files that can't be used are skipped; a line for each is added to `unreadable`."""
    roots = [Path(directory) for directory in config.directories("BOT_EXTRA_BACKEND_DIR")]
    return load_plug_files([*roots, *entry_point_roots(GROUPS)], unreadable)


def find_network(config: Any) -> PlugFile:
    """Return the `.plug` file with the Name in BACKEND; raises ConfigError, which lists the known backends."""
    wanted = config.BACKEND
    unreadable: list[str] = []
    plugs = {plug.name: plug for plug in reversed(list(network_plugs(config, unreadable)))}
    by_small_name = {name.lower(): plug for name, plug in plugs.items()}
    plug = plugs.get(wanted) or by_small_name.get(wanted.lower())
    if plug is None:
        known = (*(network.name for network in known_networks()), *sorted(plugs))
        meant = _how_to_get(wanted) or did_you_mean(wanted, known) or "."
        broken = "".join(f" {problem}." for problem in unreadable)
        raise ConfigError(
            f"BACKEND: unknown backend {wanted!r}{meant}{broken} Available: {', '.join(known)}; others are found in "
            "installed packages and BOT_EXTRA_BACKEND_DIR"
        )
    refusal = plug.refusal()
    if refusal is not None:
        raise ConfigError(f"BACKEND: {wanted!r} can't be used ({refusal})")
    if not config.BOT_ADMINS:
        raise ConfigError('BOT_ADMINS is missing; expected a tuple of names, such as ("@alice",)')
    return plug


def _how_to_get(wanted: str) -> str:
    """Return the end of a sentence about a missing backend whose package is known; else ""."""
    by_small_name = {name.lower(): name for name in PACKAGES}
    if (name := by_small_name.get(wanted.lower())) is None:
        return ""
    then = f", and set BACKEND = {name!r}" if name.lower() != wanted.lower() else ""
    return f"; install the package {PACKAGES[name]} into errklein's virtualenv{then}."


def make_network(reactor: Any, config: Any) -> ThreadedNetwork:
    """Create the network that BACKEND names. Raises ConfigError if its module or class doesn't work."""
    plug = find_network(config)

    def make(config: Any) -> ErrBot:
        cls, _ = plugin_class(load_module(plug), ErrBot, plug.name)
        made = cls(config)
        if made.mode is None:
            raise TypeError(f'the mode of {cls.__name__} is None; expected a word such as "irc"')
        return made

    try:
        return ThreadedNetwork(reactor, config, make)
    except PluginLoadError as error:
        raise ConfigError(f"BACKEND: {error}") from error
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or "without a message"
        raise ConfigError(f"BACKEND: {plug.name!r} failed to start ({type(error).__name__}: {reason})") from error

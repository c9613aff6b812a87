"""Finds the networks that are installed beside errklein's own, and loads the one that BACKEND names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from errklein.compat.backends.errbot import ErrBot
from errklein.compat.backends.network import ThreadedNetwork
from errklein.config import BACKENDS, ConfigError
from errklein.plugins.discovery import entry_point_roots, load_plug_files
from errklein.plugins.imports import load_module, plugin_class
from errklein.plugins.load_errors import PluginLoadError
from errklein.plugins.plug_file import PlugFile

GROUPS = ("errbot.backend_plugins", "errklein.backends")
"""The entry point groups in which distributions offer networks."""


def network_plugs(config: Any, unreadable: list[str] | None = None) -> Iterator[PlugFile]:
    """The .plug files in BOT_EXTRA_BACKEND_DIR, then those of installed distributions. Those that can't be used are
    left out; why, is added to `unreadable`, a line each."""
    roots = [Path(directory) for directory in config.directories("BOT_EXTRA_BACKEND_DIR")]
    return load_plug_files([*roots, *entry_point_roots(GROUPS)], unreadable)


def find_network(config: Any) -> PlugFile:
    """The .plug file whose Name is the BACKEND of the configuration; raises ConfigError, saying what there is."""
    wanted = config.BACKEND
    unreadable: list[str] = []
    plugs = {plug.name: plug for plug in reversed(list(network_plugs(config, unreadable)))}
    by_small_name = {name.lower(): plug for name, plug in plugs.items()}
    plug = plugs.get(wanted) or by_small_name.get(wanted.lower())
    if plug is None:
        there_are = ", ".join((*BACKENDS, *sorted(plugs)))
        expected = f"expected one of {there_are}, or a backend in BOT_EXTRA_BACKEND_DIR"
        raise ConfigError("; ".join((f"BACKEND: there is no {wanted!r}", *unreadable, expected)))
    refusal = plug.refusal()
    if refusal is not None:
        raise ConfigError(f"BACKEND: {wanted}: {refusal}")
    if not config.BOT_ADMINS:
        raise ConfigError("BOT_ADMINS is missing; expected a tuple of the administrators' names")
    return plug


def make_network(reactor: Any, config: Any) -> ThreadedNetwork:
    """The network that BACKEND names; raises ConfigError with one line that says why it can't be."""
    plug = find_network(config)

    def make(config: Any) -> ErrBot:
        cls, _ = plugin_class(load_module(plug), ErrBot, plug.name)
        made = cls(config)
        if made.mode is None:
            raise TypeError(f"{cls.__name__} has no mode")
        return made

    try:
        return ThreadedNetwork(reactor, config, make)
    except PluginLoadError as error:
        raise ConfigError(f"BACKEND: {error}") from error
    except (Exception, SystemExit) as error:
        told = " ".join(str(error).split()) or "no reason given"
        raise ConfigError(f"BACKEND: {plug.name} can't be used: {type(error).__name__}: {told}") from error

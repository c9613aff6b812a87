"""Warnings about settings that name unknown plugins or commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from errklein.commands import CommandDeclaration, RegisteredCommand, unmatched
from errklein.config import Config
from errklein.plugins.botplugin import BotPlugin
from errklein.plugins.imports import CORE_PLUGINS
from errklein.plugins.methods import handlers_once_active
from errklein.plugins.plug_file import PlugFile
from errklein.text.suggestions import did_you_mean
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.options import unknown_hooks

_SETTING = re.compile(r"config(?:\.|\[[\"']|,\s*[\"'])([A-Z][A-Z0-9_]*)\b")


def unknown_names(
    config: Config, plugins: Iterable[tuple[str, BotPlugin | None]], registered: Iterable[RegisteredCommand] = ()
) -> list[str]:
    """Return a warning for each unknown name in settings. `plugins` are all that were found, `registered` the active commands."""
    found = list(plugins)
    commands = {(command.owner, command.name) for command in registered}
    for name, instance in found:
        # A plugin may only have them once it is activated.
        handlers = handlers_once_active(instance) if instance is not None else ()
        declared = [CommandDeclaration.of(handler) for _, handler in handlers]
        commands.update((name, command.name) for command in declared if command is not None)
    names = {name for name, _ in found}
    sentences = list(_in_settings(config.own, "", names, commands))
    for network, view in config.networks.items() if config.names_networks else ():
        sentences += _in_settings(view.own, f"NETWORKS[{network!r}]: ", names, commands)
    return sentences


def _in_settings(
    settings: dict[str, Any], where: str, plugins: set[str], commands: set[tuple[str, str]]
) -> Iterator[str]:
    names = {name for _, name in commands}
    for pattern in unmatched(settings.get("ACCESS_CONTROLS", ()), sorted(commands)):
        meant = did_you_mean(pattern, (*names, *map(":".join, commands)))
        yield f"{where}ACCESS_CONTROLS: the pattern {pattern!r} matches no command{meant}"
    for setting in ("DIVERT_TO_PRIVATE", "DIVERT_TO_THREAD"):
        for name in settings.get(setting, ()):
            if name != "ALL_COMMANDS" and name not in names:
                yield f"{where}{setting}: unknown command {name!r}{did_you_mean(name.strip().replace(' ', '_'), names)}"
    for name in settings.get("PLUGINS_CALLBACK_ORDER", ()):
        if name is not None and name not in plugins:
            yield f"{where}PLUGINS_CALLBACK_ORDER: unknown plugin {name!r}{did_you_mean(str(name), plugins)}"
    for name in settings.get("CORE_PLUGINS") or ():
        if name not in plugins and name not in (known := core_plugins()):
            meant = did_you_mean(str(name), known) or ";"
            yield f"{where}CORE_PLUGINS: unknown plugin {name!r}{meant} valid names: {', '.join(known)}"
    if "Webserver" in (chosen := settings.get("CORE_PLUGINS") or ()) and "Deliveries" not in chosen:
        # errbot has no plugin of that name, so a config.py that both bots read may lack it unnoticed.
        yield f"{where}CORE_PLUGINS: add 'Deliveries' for !why, !delivery, and !webhook show, pause and resume"


def unknown_webhooks(
    config: Config, plugins: Iterable[tuple[str, BotPlugin | None]], others: Iterable[Hook] = ()
) -> list[tuple[str, str]]:
    """Return the plugin and an error for each name in WEBHOOKS that isn't a webhook. `plugins` are all plugins found,
    active or not, and `others` are webhooks that may belong to other objects."""
    # The methods of other plugins aren't looked at, since this is called after each change of plugins.
    options = [route for route in config.setting("WEBHOOKS") if ":" in route]
    named = {route.rpartition(":")[0] for route in options}
    methods: dict[str, set[str] | None] = {}
    for plugin, instance in plugins:
        handlers = handlers_once_active(instance) if instance is not None and plugin in named else ()
        its = {name for name, handler in handlers if HookDeclaration.of(handler) is not None}
        methods[plugin] = None if instance is None else its
    for hook in others:
        if (known := methods.setdefault(hook.owner, set())) is not None:
            known.add(hook.name)
    return list(unknown_hooks(options, methods))


def settings_read(plugins: Iterable[tuple[str, BotPlugin | None]]) -> set[str]:
    """Return the names of settings that the plugins' source reads, as `self.bot_config.NAME` for example."""
    classes = {cls for _, instance in plugins for cls in type(instance).__mro__ if cls not in BotPlugin.__mro__}
    names: set[str] = set()
    for cls in classes:
        with suppress(OSError, TypeError, SyntaxError):
            names.update(_SETTING.findall("".join(inspect.findsource(cls)[0])))
    return names


@cache
def core_plugins() -> list[str]:
    """Return the names of all core plugins, sorted."""
    return sorted(PlugFile.load(path).name for path in CORE_PLUGINS.glob("*.plug"))

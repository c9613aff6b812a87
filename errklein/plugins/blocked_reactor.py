"""Warnings about handlers that run on the reactor because of a name that they use, and block it."""

from __future__ import annotations

from collections.abc import Iterator

from errklein.commands import CommandDeclaration
from errklein.plugins.botplugin import BotPlugin, handlers_once_active
from errklein.plugins.names import plugin_name
from errklein.running import explain_placement
from errklein.webhooks import HookDeclaration


def reactor_warnings(plugin: BotPlugin) -> Iterator[str]:
    """A warning for each such command, filter, webhook and callback of the plugin, with the line numbers of both names."""
    for name, handler in handlers_once_active(plugin):
        declared = CommandDeclaration.of(handler) or HookDeclaration.of(handler)
        if declared or getattr(handler, "_err_command_filter", False) or hasattr(BotPlugin, name):
            decided = explain_placement(handler)
            if decided.blocks:
                yield (
                    f"{plugin_name(plugin)}.{name} runs on the reactor, since it {decided.reason}, and would block it: it uses "
                    f"{decided.blocks}. Mark it with threaded=True, or call what blocks with deferToThread"
                )

"""Dependencies between plugins (`DependsOn` in `.plug` files): the order of activation, and errors in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from errklein.plugins.plugin import Plugin


def activation_order(plugins: Mapping[str, Plugin], names: Iterable[str]) -> list[str]:
    """The names, and those of the plugins that these depend on, each after those that it depends on."""
    order: dict[str, None] = {}

    def put(name: str, wanted_by: tuple[str, ...]) -> None:
        if name in order or name in wanted_by or name not in plugins:
            return
        for other in plugins[name].plug.depends_on:
            put(other, (*wanted_by, name))
        order[name] = None

    for name in names:
        put(name, ())
    return list(order)


def missing(plugin: Plugin, name: str) -> str:
    """The error if there is no plugin of that name, on which this one depends."""
    return f"{plugin.name} depends on {name}, and there is no such plugin (DependsOn in {plugin.plug.path})"


def circle(plugins: Mapping[str, Plugin], plugin: Plugin) -> str:
    """The error if the plugin depends on itself, with the plugins by which it does; "" if it doesn't."""
    seen: set[str] = set()
    waiting: list[tuple[str, ...]] = [(plugin.name,)]
    while waiting:
        path = waiting.pop()
        for needed in plugins[path[-1]].plug.depends_on:
            if needed == plugin.name:
                shown = " → ".join((*path, needed))
                return f"{plugin.name} depends on itself: {shown} (DependsOn in {plugin.plug.path})"
            if needed in plugins and needed not in seen:
                seen.add(needed)
                waiting.append((*path, needed))
    return ""

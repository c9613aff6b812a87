"""Registers the templates of plugins: the `.md` files in the directory `templates` beside a `.plug` file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from errklein.plugins.plugin import Plugin

if TYPE_CHECKING:
    from errklein.bot import Bot

# Jinja2 takes its time to import, and few plugins have templates.


async def add_templates(bot: Bot, plugin: Plugin) -> None:
    """Register the plugin's templates, if it has any, in place of those that it had; note which are broken."""
    remove_templates(plugin)
    if has_templates(plugin):
        from errklein.text import templating

        templating.add_templates(plugin.name, plugin.plug.directory)
        plugin.has_templates = True
        plugin.templates = await broken_templates(bot, plugin)


def remove_templates(plugin: Plugin) -> None:
    """Unregister the plugin's templates, if they are registered."""
    if plugin.has_templates:
        from errklein.text import templating

        templating.remove_templates(plugin.name)
        plugin.has_templates = False
    plugin.templates = []


async def broken_templates(bot: Bot, plugin: Plugin) -> list[str]:
    """A line for each of the plugin's templates that can't be used."""
    if not has_templates(plugin):
        return []
    from errklein.plugins import template_checks

    work = partial(template_checks.broken_templates, plugin.plug.directory)
    return await bot.plugin_pool.run(lambda: work, name=lambda: f"checking the templates of {plugin.name}")


def has_templates(plugin: Plugin) -> bool:
    """Whether there is a directory of templates beside the plugin's `.plug` file."""
    return (plugin.plug.directory / "templates").is_dir()

"""Registers the templates of plugins: the `.md` files in the directory `templates` beside a `.plug` file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from errklein.plugins.execution import PluginExecution
from errklein.plugins.plugin import Plugin

# Jinja2 is imported late: the import is slow, and few plugins have templates.


async def add_templates(execution: PluginExecution, plugin: Plugin) -> None:
    """Register the plugin's templates in place of its previous ones, and record the invalid ones."""
    remove_templates(plugin)
    if _has_templates(plugin):
        from errklein.text import templating

        templating.add_templates(plugin.name, plugin.plug.directory)
        plugin.has_templates = True
        plugin.templates = await check_templates(execution, plugin)


def remove_templates(plugin: Plugin) -> None:
    """Unregister the plugin's templates, if they are registered."""
    if plugin.has_templates:
        from errklein.text import templating

        templating.remove_templates(plugin.name)
        plugin.has_templates = False
    plugin.templates = []


async def check_templates(execution: PluginExecution, plugin: Plugin) -> list[str]:
    """Return a line for each invalid template of the plugin."""
    if not _has_templates(plugin):
        return []
    check = partial(broken_templates, plugin.plug.directory)
    return await execution.in_thread(check, f"checking the templates of {plugin.name}")


def broken_templates(directory: Path) -> list[str]:
    """Return a line with file, line and error for each invalid template beside the `.plug` files of a directory."""
    from jinja2 import TemplateSyntaxError

    from errklein.text.templating import SUFFIX, make_templates_path, tenv

    problems = []
    for path in sorted(make_templates_path(directory).rglob(f"*{SUFFIX}")):
        try:
            tenv().compile(path.read_text(encoding="utf-8"), path.name, str(path))
        except TemplateSyntaxError as error:
            problems.append(f"{path}, line {error.lineno}: invalid template: {error.message}")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: the template can't be read: {error}")
    return problems


def _has_templates(plugin: Plugin) -> bool:
    return (plugin.plug.directory / "templates").is_dir()

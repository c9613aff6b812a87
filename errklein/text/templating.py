"""Jinja2 templates for Markdown messages, in `.md` files of errklein and of plugins.

The process has one environment. "Plugin/name.md" is the file of that plugin; "name.md" is searched for in errklein's
templates and then in those of all active plugins.

Values are escaped for HTML, and rendering a message replaces the entities, so that no value becomes a tag. Markdown in values
stays Markdown, as with errbot, since plugins rely on it. The filter `plain` shows untrusted values literally. The source of a
template is always a file, never text from a chat.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any, Protocol

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
)

from errklein.text._markup import as_it_is, md_image, md_link
from errklein.text._markup import md_table as md_table

SUFFIX = ".md"
"""The suffix of template files."""

template_path: list[str] = [str(Path(__file__).with_name("templates"))]
"""The directories in which templates without a plugin's name are searched for, in this order."""

plugin_templates: dict[str, FileSystemLoader] = {}
"""The loaders of active plugins with templates, by the plugins' names."""


class BrokenTemplate(TemplateError):
    """A template can't be rendered. `str()` is one line with the file, the line number and the error."""


class WithTemplates(Protocol):
    """The attributes of a plugin that locate its templates."""

    @property
    def name(self) -> str:
        """The plugin's name."""

    @property
    def location(self) -> Path | None:
        """The path of the plugin's .plug file, or None."""


def tenv() -> Environment:
    """Return the environment of all templates."""
    return env


def make_templates_path(root: Path) -> Path:
    """Return the directory with the templates of the plugin in the directory `root`."""
    return Path(root) / "templates"


def add_plugin_templates_path(plugin_info: WithTemplates) -> None:
    """Add the plugin's directory of templates, if it exists, and clear the cache of templates."""
    if plugin_info.location is not None:
        add_templates(plugin_info.name, Path(plugin_info.location).parent)


def remove_plugin_templates_path(plugin_info: WithTemplates) -> None:
    """Remove the plugin's directory of templates."""
    remove_templates(plugin_info.name)


def add_templates(plugin: str, root: Path) -> None:
    """Add the templates of the plugin in the directory `root`, if it has any, and clear the cache of templates."""
    remove_templates(plugin)
    directory = make_templates_path(root)
    if directory.is_dir():
        plugin_templates[plugin] = FileSystemLoader(str(directory))
        template_path.append(str(directory))


def remove_templates(plugin: str) -> None:
    """Remove the plugin's templates, and clear the cache of templates."""
    loader = plugin_templates.pop(plugin, None)
    if loader is not None and loader.searchpath[0] in template_path:
        # Two plugins in one directory have each added it once.
        template_path.remove(loader.searchpath[0])
    if env.cache is not None:
        env.cache.clear()


def render(name: str, parameters: Mapping[str, Any], plugin: str | None = None) -> str:
    """Render a template as Markdown.

    The plugin's own template takes precedence. If it is missing or can't be rendered, the shared one is used.

    :param name: The template's name, without the suffix.
    :param parameters: The values for the template.
    :param plugin: The plugin's name, or None for the shared template.
    :raises TemplateNotFound: There is no such template. The text is one line.
    :raises BrokenTemplate: The template can't be rendered. The text is one line, about the plugin's template if both fail.
    """
    problem: TemplateError | None = None
    for candidate in (f"{plugin}/{name}", name) if plugin else (name,):
        try:
            text = _rendered(candidate + SUFFIX, parameters, plugin)
        except TemplateError as error:
            if problem is None or isinstance(problem, TemplateNotFound):
                problem = error
            continue
        if isinstance(problem, BrokenTemplate):
            logging.getLogger(f"errbot.plugins.{plugin}").warning(
                "%s; the shared %s is used instead", problem, name + SUFFIX
            )
        return text
    assert problem is not None
    if isinstance(problem, TemplateNotFound):
        where = f" in the plugin {plugin} or in errklein" if plugin else ""
        raise TemplateNotFound(name, f"there is no template {name + SUFFIX}{where}") from None
    raise problem


def _rendered(file: str, parameters: Mapping[str, Any], plugin: str | None) -> str:
    try:
        return tenv().get_template(file).render(dict(parameters))
    except TemplateNotFound as error:
        if error.name == file:
            raise
        raise _broken(file, plugin, None, f"it includes {error.name}, which doesn't exist") from error
    except TemplateSyntaxError as error:
        raise _broken(error.name or file, plugin, error.lineno, error.message or "syntax error") from error
    except Exception as error:
        # The last place is that of the error, which may be in an included template.
        where, line = [(file, None), *_lines(error.__traceback__)][-1]
        raise _broken(where, plugin, line, f"{type(error).__name__}: {error}") from error


def _broken(file: str, plugin: str | None, line: int | None, problem: str) -> BrokenTemplate:
    where = f"{file}, line {line}," if line else file
    user = f" for the plugin {plugin}" if plugin else ""
    return BrokenTemplate(f"the template {where} can't be rendered{user}: {' '.join(problem.split())}")


def _lines(traceback: TracebackType | None) -> Iterator[tuple[str, int]]:
    """Yield the template files and their lines in the traceback, from the outermost."""
    for frame, line in walk_tb(traceback):
        path = Path(frame.f_code.co_filename)
        if any(path.is_relative_to(directory) for directory in template_path):
            yield path.name, line


def _environment() -> Environment:
    shared = FileSystemLoader(template_path)
    # The loader copies its list of directories; this one must be shared, since plugins change it.
    shared.searchpath = template_path
    environment = Environment(
        trim_blocks=True,
        keep_trailing_newline=False,
        autoescape=True,
        loader=ChoiceLoader([PrefixLoader(plugin_templates), shared]),
    )
    environment.filters["plain"] = as_it_is
    environment.globals.update(md_image=md_image, md_link=md_link, md_table=md_table)
    return environment


env = _environment()

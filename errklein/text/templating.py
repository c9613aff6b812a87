"""Templates: Markdown with Jinja2's tags, in `.md` files of errklein and of its plugins.

There is one environment in the process. "Plugin/name.md" is that plugin's own file; "name.md" is looked for in errklein's
templates, then in those of all active plugins. What is filled in is escaped as for HTML, which rendering turns back, so
that nothing becomes a tag on the way. Markdown in it stays Markdown, as it is on errbot, and plugins rely on that; the filter
`plain` is for what comes from strangers. A template's source is a file of the plugin's, never text from a chat.
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
"""What the files of templates end with."""

template_path: list[str] = [str(Path(__file__).with_name("templates"))]
"""The directories that are searched for templates that are named without a plugin, in this order."""

plugin_templates: dict[str, FileSystemLoader] = {}
"""For each active plugin that has templates, what loads them."""


class BrokenTemplate(TemplateError):
    """A template can't be rendered; str() is one line with its file, the line in it, and what is wrong there."""


class WithTemplates(Protocol):
    """What is known of a plugin, as far as its templates are concerned."""

    @property
    def name(self) -> str:
        """The plugin's name."""

    @property
    def location(self) -> Path | None:
        """The plugin's .plug file."""


def tenv() -> Environment:
    """The environment that all templates are rendered in."""
    return env


def make_templates_path(root: Path) -> Path:
    """Where the plugin in the directory `root` has its templates."""
    return Path(root) / "templates"


def add_plugin_templates_path(plugin_info: WithTemplates) -> None:
    """Let the plugin's templates, if it has any, be found; those that were read before are forgotten."""
    if plugin_info.location is not None:
        add_templates(plugin_info.name, Path(plugin_info.location).parent)


def remove_plugin_templates_path(plugin_info: WithTemplates) -> None:
    """The plugin's templates aren't found any more."""
    remove_templates(plugin_info.name)


def add_templates(plugin: str, root: Path) -> None:
    """Let the templates of the plugin in the directory `root`, if it has any, be found, as they are now."""
    remove_templates(plugin)
    directory = make_templates_path(root)
    if directory.is_dir():
        plugin_templates[plugin] = FileSystemLoader(str(directory))
        template_path.append(str(directory))


def remove_templates(plugin: str) -> None:
    """The plugin's templates aren't found any more."""
    loader = plugin_templates.pop(plugin, None)
    if loader is not None and loader.searchpath[0] in template_path:
        # Of two plugins in one directory each has put it there once.
        template_path.remove(loader.searchpath[0])
    if env.cache is not None:
        env.cache.clear()


def render(name: str, parameters: Mapping[str, Any], plugin: str | None = None) -> str:
    """The Markdown of the template `name`, given without its suffix, filled in with `parameters`.

    The plugin's own one goes first; if there is none, or it can't be rendered, the one that all share. Raises
    TemplateNotFound or BrokenTemplate, whose text is one line; where both can't be rendered it is about the plugin's.
    """
    problem: TemplateError | None = None
    for place in (f"{plugin}/{name}", name) if plugin else (name,):
        try:
            text = _rendered(place + SUFFIX, parameters, plugin)
        except TemplateError as error:
            if problem is None or isinstance(problem, TemplateNotFound):
                problem = error
            continue
        if isinstance(problem, BrokenTemplate):
            logging.getLogger(f"errbot.plugins.{plugin}").warning("%s; the shared %s is used", problem, name + SUFFIX)
        return text
    assert problem is not None
    if isinstance(problem, TemplateNotFound):
        owner = f"{plugin}: " if plugin else ""
        raise TemplateNotFound(name, f"{owner}there is no template {name + SUFFIX}") from None
    raise problem


def _rendered(file: str, parameters: Mapping[str, Any], plugin: str | None) -> str:
    try:
        return tenv().get_template(file).render(dict(parameters))
    except TemplateNotFound as error:
        if error.name == file:
            raise
        raise _broken(file, plugin, None, f"it includes {error.name}, which there isn't") from error
    except TemplateSyntaxError as error:
        raise _broken(error.name or file, plugin, error.lineno, error.message or "it can't be understood") from error
    except Exception as error:
        # The last of them is where it happened, perhaps in a template that this one includes.
        place, line = [(file, None), *_places(error.__traceback__)][-1]
        raise _broken(place, plugin, line, f"{type(error).__name__}: {error}") from error


def _broken(file: str, plugin: str | None, line: int | None, problem: str) -> BrokenTemplate:
    owner = f"{plugin}: " if plugin else ""
    place = f"{file}, line {line}" if line else file
    return BrokenTemplate(f"{owner}the template {place} can't be rendered: {' '.join(problem.split())}")


def _places(traceback: TracebackType | None) -> Iterator[tuple[str, int]]:
    """The lines of templates that the traceback goes through, each with the name of its file."""
    for frame, line in walk_tb(traceback):
        path = Path(frame.f_code.co_filename)
        if any(path.is_relative_to(directory) for directory in template_path):
            yield path.name, line


def _environment() -> Environment:
    shared = FileSystemLoader(template_path)
    # It would copy the list, and the plugins come and go.
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

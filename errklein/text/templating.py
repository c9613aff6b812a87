"""Jinja2 templates for Markdown messages, in `.md` files of errklein and of plugins. "Plugin/name.md" is the file of that plugin;
"name.md" is searched for in errklein's templates and then in those of all active plugins.

Values are escaped for HTML, and rendering a message replaces the entities, so that no value becomes a tag. Markdown in values stays
Markdown, as with errbot, since plugins rely on it. The filter `plain` shows untrusted values literally. The source of a template is
always a file, never text from a chat."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jinja2.exceptions import TemplateError, TemplateNotFound, TemplateSyntaxError
from markupsafe import Markup, escape

from errklein.text._quoting import plain_but_html
from errklein.text.xhtml import is_harmless

# Characters that end a URL in Markdown or have a meaning there. URLs may contain them percent-encoded.
_NOT_IN_ADDRESSES = re.compile(r"[\s\x00-\x1f\x7f\"'()<>\\^`{|}]")
_BAR = re.compile(r"(?<!\\)((?:\\\\)*)\|")


def as_it_is(value: Any) -> Markup:
    """Return Markdown that shows the value literally, line by line. In templates this is the filter `plain`."""
    # HTML is escaped before Markdown. In the other order, `\>` would become `\&gt;`, which shows the backslash.
    return _with_breaks(value, plain_but_html)


def md_link(label: Any, address: Any) -> Markup:
    """Return a link, or text if its scheme isn't allowed. The label is shown literally unless it is Markup."""
    if is_harmless(str(address)):
        # A label with `]:` would define the address of other links.
        shown = label if isinstance(label, Markup) else as_it_is(label)
        shown = shown.replace("]:", Markup("]&#58;"))
        return Markup("[{}]({})").format(shown, _address(address))
    return Markup("{} ({})").format(as_it_is(label), as_it_is(address))


def md_image(address: Any) -> Markup:
    """Return an image, or the address as text if it has a scheme that isn't allowed."""
    return Markup("![]({})").format(_address(address)) if is_harmless(str(address)) else as_it_is(address)


def md_table(rows: Sequence[Sequence[Any] | Mapping[Any, Any]], headers: Sequence[Any] | None = None) -> Markup:
    """Return a Markdown table. Rows are sequences of cells, or mappings from headers to cells. By default, the headers are the keys of
    the first row if that is a mapping; else none. Cells are escaped unless they are Markup. A newline starts another line of a cell."""
    if headers is None and rows and isinstance(rows[0], Mapping):
        headers = list(rows[0])
    names = list(headers or ())
    lines = [[row.get(name, "") for name in names] if isinstance(row, Mapping) else list(row) for row in rows]
    columns = max(map(len, [names, *lines]))
    if not columns:
        return Markup("")
    table = [names, ["---"] * columns, *lines]
    return Markup("\n").join(_table_line(line, columns) for line in table) + Markup("\n")


def _address(address: Any) -> str:
    return _NOT_IN_ADDRESSES.sub(lambda character: quote(character[0]), str(address).strip())


def _table_line(cells: Sequence[Any], columns: int) -> Markup:
    # Bars that are already escaped are left unchanged.
    shown = [_with_breaks(cell, partial(_BAR.sub, r"\1\\|")) for cell in cells] + [Markup("")] * (columns - len(cells))
    return Markup("| ") + Markup(" | ").join(shown) + Markup(" |")


def _with_breaks(value: Any, quoted: Callable[[str], str]) -> Markup:
    lines = escape("" if value is None else value).strip().splitlines()
    return Markup("<br/>".join(map(quoted, lines)))  # noqa: S704  the lines are escaped


SUFFIX = ".md"
# The directories in which templates without a plugin's name are searched for, in this order.
template_path: list[str] = [str(Path(__file__).with_name("templates"))]
# The loaders of active plugins with templates, by the plugins' names.
plugin_templates: dict[str, FileSystemLoader] = {}


class BrokenTemplate(TemplateError):
    """A template can't be rendered. `str()` is one line with the file, the line number and the error."""


def tenv() -> Environment:
    """Return the environment of all templates."""
    return env


def make_templates_path(root: Path) -> Path:
    """Return the directory with the templates of the plugin in the directory `root`."""
    return Path(root) / "templates"


def add_plugin_templates_path(plugin_info: Any) -> None:
    """Add the directory of templates, if it exists, of a plugin with this `name` and, as `location`, a .plug file."""
    if plugin_info.location is not None:
        add_templates(plugin_info.name, Path(plugin_info.location).parent)


def remove_plugin_templates_path(plugin_info: Any) -> None:
    """Remove the directory of templates of a plugin with this `name`."""
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
    """Render a template, given without the suffix, as Markdown: that of the plugin, or the shared one if it is missing or can't
    be rendered. Raises TemplateNotFound; BrokenTemplate, with a text of one line, about the plugin's if neither can be
    rendered."""
    problem: TemplateError | None = None
    for candidate in (f"{plugin}/{name}", name) if plugin else (name,):
        try:
            text = _rendered(candidate + SUFFIX, parameters, plugin)
        except TemplateError as error:
            if problem is None or isinstance(problem, TemplateNotFound):
                problem = error
            continue
        if isinstance(problem, BrokenTemplate):
            log = logging.getLogger(f"errbot.plugins.{plugin}")
            log.warning("%s; the shared %s is used instead", problem, name + SUFFIX)
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
        # The last place in a template is that of the error, which may be in an included one.
        where, line = file, None
        for frame, number in walk_tb(error.__traceback__):
            path = Path(frame.f_code.co_filename)
            if any(map(path.is_relative_to, template_path)):
                where, line = path.name, number
        raise _broken(where, plugin, line, f"{type(error).__name__}: {error}") from error


def _broken(file: str, plugin: str | None, line: int | None, problem: str) -> BrokenTemplate:
    where = f"{file}, line {line}," if line else file
    user = f" for the plugin {plugin}" if plugin else ""
    return BrokenTemplate(f"the template {where} can't be rendered{user}: {' '.join(problem.split())}")


def _environment() -> Environment:
    shared = FileSystemLoader(template_path)
    # It copies its list of directories; this one must be shared, since plugins change it.
    shared.searchpath = template_path
    loader = ChoiceLoader([PrefixLoader(plugin_templates), shared])
    environment = Environment(trim_blocks=True, autoescape=True, loader=loader)
    environment.filters["plain"] = as_it_is
    environment.globals.update(md_image=md_image, md_link=md_link, md_table=md_table)
    return environment


env = _environment()

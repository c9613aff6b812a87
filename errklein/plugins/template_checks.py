"""Reads the templates of a plugin, to tell of those that can't be used before somebody needs them."""

from __future__ import annotations

from pathlib import Path

from jinja2 import TemplateSyntaxError

from errklein.text.templating import SUFFIX, make_templates_path, tenv


def broken_templates(root: Path) -> list[str]:
    """A line for each template of the plugin in the directory `root` that can't be understood: the file, where, what."""
    problems = []
    for path in sorted(make_templates_path(root).rglob(f"*{SUFFIX}")):
        try:
            tenv().compile(path.read_text(encoding="utf-8"), path.name, str(path))
        except TemplateSyntaxError as error:
            problems.append(f"{path}, line {error.lineno}: the template can't be used: {error.message}")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: the template can't be read: {error}")
    return problems

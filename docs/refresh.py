"""Copy the code of example files, and lists of the API, into the pages: `venv/bin/python docs/refresh.py`.

The line before a code block names the file, and which part of it the block shows:

    <!-- code: docs/examples/webhooks/hello.py -->
    <!-- code: docs/examples/webhooks/responses.py | object: Responses.visits -->
    <!-- code: docs/examples/config_irc.py | from: BOT_IDENTITY | before: CHATROOM_PRESENCE -->

`from`, `to` and `before` are parts of lines; the line with `before` isn't shown. Code is shown without its indentation.

Before a comment with autodoc directives, there is a table of their names, with the first sentences of the docstrings.
The documentation's build replaces the comment by the docstrings.
"""

import ast
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

BLOCK = re.compile(r"^(<!-- code: ([^\n]+) -->\n(`{3,})[\w-]+\n)(.*?)^\3$", re.MULTILINE | re.DOTALL)

NAMES = re.compile(r"(?:(?:^\|[^\n]*\n)+\n)?^(<!-- api\n(.*?)-->)", re.MULTILINE | re.DOTALL)


def pages():
    """Return the pages of the documentation, and README.md."""
    examples = ROOT / "docs" / "examples"
    return [
        ROOT / "README.md",
        *(page for page in sorted((ROOT / "docs").rglob("*.md")) if examples not in page.parents),
    ]


def code(mark):
    """Return the code that a block with this mark shows. Raises ValueError or OSError if there is none."""
    name, *options = mark.split(" | ")
    text = (ROOT / name).read_text("utf-8")
    lines = text.splitlines(keepends=True)
    for option in options:
        kind, _, value = option.partition(": ")
        if kind == "object":
            lines = lines_of(ast.parse(text), value.split("."), lines)
            continue
        found = [number for number, line in enumerate(lines) if value in line]
        if not found:
            raise ValueError(f"{mark}: {value!r} isn't in the file")
        if kind == "from":
            lines = lines[found[0] :]
        elif kind == "to":
            lines = lines[: found[0] + 1]
        elif kind == "before":
            lines = lines[: found[0]]
        else:
            raise ValueError(f"{mark}: unknown option {kind!r}")
    return textwrap.dedent("".join(lines)).strip("\n") + "\n"


def lines_of(node, names, lines):
    """Return the lines of the function or class with this path in the tree, with its decorators."""
    for name in names:
        [node] = [child for child in node.body if getattr(child, "name", None) == name]
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return lines[first - 1 : node.end_lineno]


def table(directives):
    """Return the table of the documented names, except data and attributes, which have no docstrings."""
    rows = []
    for kind, name in re.findall(r"^\.\. auto(?!data|attribute)(\w+):: (\S+)", directives, re.MULTILINE):
        sentence = re.split(r"(?<=\.)\s", inspect.getdoc(pkgutil.resolve_name(name)))[0]
        shown = name.rpartition(".")[2] if kind in ("method", "property") else name
        rows.append(f"| `{shown}` | {' '.join(sentence.split())} |\n")
    return "".join(["| name | meaning |\n|---|---|\n", *rows])


def refreshed(text):
    """Return the text of a page with the code of the files in its blocks, and its tables of names."""
    text = BLOCK.sub(lambda block: block[1] + code(block[2]) + block[3], text)
    return NAMES.sub(lambda names: f"{table(names[2])}\n{names[1]}", text)


if __name__ == "__main__":
    for page in pages():
        text = page.read_text("utf-8")
        if refreshed(text) != text:
            page.write_text(refreshed(text), "utf-8")
            print(page.relative_to(ROOT))

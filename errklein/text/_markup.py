"""Template functions and filters that build Markdown from untrusted values: literal text, links, images and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from errklein.text._quoting import plain_but_html
from errklein.text.xhtml import is_harmless

# Characters that end a URL in Markdown or have a meaning there. URLs may contain them percent-encoded.
_NOT_IN_ADDRESSES = re.compile(r"[\s\x00-\x1f\x7f\"'()<>\\^`{|}]")

_BAR = re.compile(r"(?<!\\)((?:\\\\)*)\|")


def as_it_is(value: Any) -> Markup:
    """Return Markdown that shows the value literally, line by line. In templates this is the filter `plain`."""
    lines = escape("" if value is None else value).strip().splitlines()
    # HTML is escaped before Markdown. In the other order, `\>` would become `\&gt;`, which shows the backslash.
    return _lines(plain_but_html(line) for line in lines)


def md_link(label: Any, address: Any) -> Markup:
    """Return a link, or the label and the address as text if the address has a scheme that isn't allowed.

    The label is shown literally unless it is Markup.
    """
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
    """Return a Markdown table.

    Cells are escaped unless they are Markup. A newline in a cell starts another line of the cell.

    :param rows: Sequences of cells, or mappings from headers to cells.
    :param headers: The headers. By default, the keys of the first row if that is a mapping; else none.
    """
    if headers is None and rows and isinstance(rows[0], Mapping):
        headers = list(rows[0])
    lines = [
        [row.get(header, "") for header in headers or ()] if isinstance(row, Mapping) else list(row) for row in rows
    ]
    columns = max(map(len, [headers or (), *lines]), default=0)
    if not columns:
        return Markup("")
    table = [list(headers or ()), ["---"] * columns, *lines]
    return Markup("\n").join(_table_line(line, columns) for line in table) + Markup("\n")


def _address(address: Any) -> str:
    return _NOT_IN_ADDRESSES.sub(lambda character: quote(character[0]), str(address).strip())


def _table_line(cells: Sequence[Any], columns: int) -> Markup:
    shown = [_cell(cell) for cell in cells] + [Markup("")] * (columns - len(cells))
    return Markup("| ") + Markup(" | ").join(shown) + Markup(" |")


def _cell(value: Any) -> Markup:
    lines = escape("" if value is None else value).strip().splitlines()
    # Bars that are already escaped are left unchanged.
    return _lines(_BAR.sub(r"\1\\|", line) for line in lines)


def _lines(escaped: Iterable[str]) -> Markup:
    return Markup("<br/>".join(escaped))  # noqa: S704  the lines are escaped

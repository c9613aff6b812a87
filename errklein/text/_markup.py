"""Markdown that templates put together of values from elsewhere: text as it is, links, pictures and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from errklein.text._quoting import plain_but_html
from errklein.text.xhtml import is_harmless

# What would end an address in Markdown, or mean something else there. An address can do without these characters.
_NOT_IN_ADDRESSES = re.compile(r"[\s\x00-\x1f\x7f\"'()<>\\^`{|}]")

_BAR = re.compile(r"(?<!\\)((?:\\\\)*)\|")


def as_it_is(value: Any) -> Markup:
    """Markdown that shows the value as it is, line for line; templates have it as the filter `plain`."""
    lines = escape("" if value is None else value).strip().splitlines()
    # Tags first: escaped after it, the `>` that has got a backslash would be an entity, and the backslash would show.
    return _lines(plain_but_html(line) for line in lines)


def md_link(label: Any, address: Any) -> Markup:
    """The label, as it is unless it is Markup, as a link; if that would lead where no link should, label and address as text."""
    if is_harmless(str(address)):
        # With `]:` in it, it would define where other links lead.
        shown = label if isinstance(label, Markup) else as_it_is(label)
        shown = shown.replace("]:", Markup("]&#58;"))
        return Markup("[{}]({})").format(shown, _address(address))
    return Markup("{} ({})").format(as_it_is(label), as_it_is(address))


def md_image(address: Any) -> Markup:
    """The picture at the address, or that as text, as with a link."""
    return Markup("![]({})").format(_address(address)) if is_harmless(str(address)) else as_it_is(address)


def md_table(rows: Sequence[Sequence[Any] | Mapping[Any, Any]], headers: Sequence[Any] | None = None) -> Markup:
    """A Markdown table; of mappings, the keys of the first are the headers unless `headers` chooses others.

    Cells are escaped like everything else in a template, unless they are Markup; a newline in one begins another line of
    that cell.
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
    # Bars that are escaped already stay so.
    return _lines(_BAR.sub(r"\1\\|", line) for line in lines)


def _lines(escaped: Iterable[str]) -> Markup:
    return Markup("<br/>".join(escaped))  # noqa: S704  the lines are escaped

"""Tables drawn with box characters, or without borders where lines are dear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from errklein.text.styles import strip_styles

Row = Sequence[str]
"""One text for each cell, perhaps of several lines and with marks."""

PADDED_CAP = 200_000
"""Columns of a terminal, on all lines of a table together. Where one long cell would make it larger than that, columns are
narrower, and the cell sticks out of its own: a few thousand characters could be padded to many millions."""


def width(text: str) -> int:
    """The number of terminal columns of one line of text: CJK and emoji take two, combining characters none."""
    text = strip_styles(text)
    if text.isascii() and text.isprintable():
        return len(text)
    # Imported late: it takes 50 ms, and most bots never need it.
    import wcwidth

    return wcwidth.width(text, control_codes="ignore")


def boxed_table(head: Row, body: Sequence[Row]) -> str:
    """The table in a box, the head in heavy lines. Ends with a newline."""
    widths = _widths([head, *body])
    bars = [width * "━" for width in (each + 2 for each in widths)]
    thin = [bar.replace("━", "─") for bar in bars]
    lines = [f"┏{'┳'.join(bars)}┓"]
    lines += [f"┃ {' ┃ '.join(line)} ┃" for line in _lines(head, widths)]
    lines.append(f"┡{'╇'.join(bars)}┩")
    between = f"├{'┼'.join(thin)}┤"
    for number, row in enumerate(body):
        if number:
            lines.append(between)
        lines += [f"│ {' │ '.join(line)} │" for line in _lines(row, widths)]
    lines.append(f"└{'┴'.join(thin)}┘")
    return "\n".join(lines) + "\n"


def compact_table(head: Row, body: Sequence[Row]) -> str:
    """The columns side by side, two spaces apart. An empty head takes no line. Ends with a newline."""
    rows = [row for row in (head, *body) if any(row)]
    widths = _widths(rows)
    return "".join("  ".join(line).rstrip(" ") + "\n" for row in rows for line in _lines(row, widths))


def _widths(rows: Sequence[Row]) -> list[int]:
    columns = max(map(len, rows), default=0)
    widths = [
        max((width(line) for row in rows if column < len(row) for line in row[column].split("\n")), default=0)
        for column in range(columns)
    ]
    height = sum(max((cell.count("\n") + 1 for cell in row), default=0) for row in rows)
    if sum(widths) * height <= PADDED_CAP:
        return widths
    return [min(each, PADDED_CAP // (columns * height)) for each in widths]


def _lines(row: Row, widths: Sequence[int]) -> Iterator[list[str]]:
    """The lines of one row, each a list of cells padded to their columns."""
    cells = [cell.split("\n") for cell in row] + [[""]] * (len(widths) - len(row))
    for number in range(max(map(len, cells), default=0)):
        line = [cell[number] if number < len(cell) else "" for cell in cells]
        yield [text + " " * (columns - width(text)) for text, columns in zip(line, widths, strict=True)]

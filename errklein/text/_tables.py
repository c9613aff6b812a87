"""Tables as plain text, with box-drawing characters or without borders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from errklein.text.styles import strip_styles

Row = Sequence[str]
"""The texts of the cells, which may have several lines and style marks."""

PADDED_CAP = 200_000
"""Maximum size of a table in characters, with padding. In a larger table the columns are narrowed, and long cells exceed
theirs. Without the limit, padding could turn a few thousand characters into millions."""


def width(text: str) -> int:
    """Return the number of terminal columns of one line: 2 for CJK characters and emoji, 0 for combining characters."""
    text = strip_styles(text)
    if text.isascii() and text.isprintable():
        return len(text)
    # Imported late, since it takes 50 ms and most bots never need it.
    import wcwidth

    return wcwidth.width(text, control_codes="ignore")


def boxed_table(head: Row, body: Sequence[Row]) -> str:
    """Return a table with borders, heavy around the head, and a newline at the end."""
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
    """Return a table without borders, its columns two spaces apart, and a newline at the end. An empty head is left out."""
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
    """Yield the lines of one row, each a list of cells padded to the widths of their columns."""
    cells = [cell.split("\n") for cell in row] + [[""]] * (len(widths) - len(row))
    for number in range(max(map(len, cells), default=0)):
        line = [cell[number] if number < len(cell) else "" for cell in cells]
        yield [text + " " * (columns - width(text)) for text, columns in zip(line, widths, strict=True)]

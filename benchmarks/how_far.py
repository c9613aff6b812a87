"""Compute what a number of processes of a bot on PostgreSQL carries, from the costs that benchmarks/nodes.py has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MEASURED = {
    "one": "CPU time of errklein per delivery, one process, beside that at rest, µs",
    "many": "the same, eight processes, µs",
    "rest": "CPU time of a process at rest, ms per second",
    "passed": "CPU time of errklein per request that is passed on to the owner, µs",
    "message": "CPU time of the owner per message that another process sends, µs",
    "command": "CPU time of the owner per command on IRC with its reply, µs",
    "pair": "CPU time of PostgreSQL per delivery that one process records and another one runs, µs",
    "wal": "bytes that PostgreSQL writes to its log (WAL) for it",
    "server": "CPU time of PostgreSQL per delivery that a client records and ends in one transaction, µs",
    "grouped": "the same, 16 in a transaction, µs",
    "alone": "deliveries a second that 4 such clients record and end, one in a transaction",
    "together": "the same, 16 in a transaction",
}
"""The figures, and their names in the table of the page."""

USE = 0.7
"""The part of a core that is planned for: at more, the time until a delivery begins grows without a limit."""

HANDLERS = (1, 20, 100)
"""The CPU times of handlers in milliseconds."""

COUNTS = (1, 2, 4, 8, 16)
A_MINUTE = 2
"""The commands and messages of a room in a minute, in its busy hours."""

Rows = Sequence[Sequence[str]]


def measured_rows(figures: Mapping[str, float]) -> Rows:
    """Return the table of the figures."""
    shown = {name: f"{figures[name]:,.1f}" if figures[name] < 100 else f"{figures[name]:,.0f}" for name in MEASURED}
    return [["measured", ""], *([text, shown[name]] for name, text in MEASURED.items())]


def figures_of(rows: Rows) -> dict[str, float]:
    """Return the figures of such a table."""
    values = {row[0]: float(row[1].replace(",", "")) for row in rows if row[0] in MEASURED.values()}
    return {name: values[text] for name, text in MEASURED.items()}


def computed_rows(figures: Mapping[str, float]) -> Rows:
    """Return a table of the deliveries a second that processes carry, and the cores that PostgreSQL needs for them."""
    heading = [f"handlers of {one} ms CPU time" for one in HANDLERS]
    rows = [["processes, a core each", *heading, "cores of PostgreSQL, at most", "WAL, MB/s, at most"]]
    for number in COUNTS:
        own = figures["one"] if number == 1 else figures["many"]
        rates = [number * (USE - figures["rest"] / 1000) / (own / 1e6 + one / 1000) for one in HANDLERS]
        cores, written = rates[0] * figures["pair"] / 1e6 / USE, rates[0] * figures["wal"] / 1e6
        rows.append([str(number), *(rounded(one) for one in rates), f"{cores:.1f}", f"{written:.1f}"])
    return rows


def limit_rows(figures: Mapping[str, float]) -> Rows:
    """Return a table of the limits that more processes don't change."""
    rooms = USE * 1e6 / figures["command"] * 60 / A_MINUTE
    lines = {
        "deliveries a second for each core of PostgreSQL, each recorded and run by different processes": USE
        * 1e6
        / figures["pair"],
        "the same, many at once: 16 in a transaction": USE * 1e6 / figures["grouped"],
        "requests a second that are passed on to the owner": USE * 1e6 / figures["passed"],
        "messages a second from other processes through the owner": USE * 1e6 / figures["message"],
        f"rooms with {A_MINUTE} commands a minute each": rooms,
    }
    return [["computed", ""], *([name, rounded(value)] for name, value in lines.items())]


def rounded(value: float) -> str:
    """Return a number with two digits: more are not known."""
    return f"{float(f'{value:.1e}'):,.0f}"

"""Tables, a plot and targets of the figures that benchmarks/webhooks.py measures."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Results = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""The figures of each contender, by the titles of the case and the contender."""

RATIOS = ("aiohttp", "Klein", "errbot")
HEADING = ("", "req/s", "CPU µs", "MB", "p50 ms", "p99 ms", *(f"÷ {name}" for name in RATIOS))
PACKAGES = ("errklein", "Twisted", "klein", "aiohttp", "uvicorn", "httptools", "fastapi")
Rows = Sequence[Sequence[str]]
PAGES = tuple(Path(__file__).parents[1] / "docs" / page for page in ("measurements.md", "benchmarks.md"))


@dataclass(frozen=True)
class Target:
    """A ratio of the same figure of two contenders, each named by its case and title, and the bound to reach."""

    name: str
    ours: tuple[str, str]
    theirs: tuple[str, str]
    bound: float
    figure: str = "requests_per_second"
    at_most: bool = False

    def verdict(self, results: Results) -> dict[str, Any]:
        """Return the measured ratio, None if a contender wasn't measured, and whether it meets the target."""
        ours, theirs = (valid(results.get(case, {})).get(title) for case, title in (self.ours, self.theirs))
        ratio = ours[self.figure] / theirs[self.figure] if ours and theirs else None
        return verdict(self.name, ratio, self.bound, self.at_most)


def valid(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the figures of the contenders that had no errors. Errors may be faster than responses."""
    return {title: each for title, each in figures.items() if not each["errors"]}


def verdict(name: str, value: float | None, bound: float, at_most: bool) -> dict[str, Any]:
    """Return a value and whether it meets a target. A value that wasn't measured doesn't."""
    met = value is not None and (value <= bound if at_most else value >= bound)
    return {"name": name, "value": value, "bound": bound, "at_most": at_most, "met": met}


def verdict_rows(verdicts: Iterable[Mapping[str, Any]]) -> Rows:
    """Return a table of targets."""
    rows = [["", "measured", "target", ""]]
    for each in verdicts:
        value = "not measured" if each["value"] is None else f"{each['value']:,.2f}"
        bound = f"{'≤' if each['at_most'] else '≥'} {each['bound']:,g}"
        rows.append([each["name"], value, bound, "met" if each["met"] else "MISSED"])
    return rows


def full_rows(results: Results, case: str, base: str) -> Rows:
    """Return a table of all figures of a case, with the ratios of requests per second.

    A contender that the case doesn't have is represented by its figures in the base case.
    """
    rows: list[Sequence[str]] = [HEADING]
    for title, figures in results[case].items():
        if figures["errors"]:
            rows.append([title, _errors(figures), *["–"] * (len(HEADING) - 2)])
            continue
        rate = figures["requests_per_second"]
        ratios = []
        for name in RATIOS:
            other = _figures_of(results[case], name) or _figures_of(results[base], name)
            ratios.append(f"{rate / other['requests_per_second']:.2f}" if other else "–")
        times = [f"{figures[key]:,.2f}" for key in ("p50_ms", "p99_ms")]
        cells = [f"{rate:,.0f}", f"{figures['cpu_us']:,.0f}", f"{figures['resident_mb']:,.0f}"]
        rows.append([title, *cells, *times, *ratios])
    return rows


def _figures_of(figures: Mapping[str, Mapping[str, Any]], peer: str) -> Mapping[str, Any] | None:
    """Return the figures of a peer's only or first contender in a case."""
    return next((each for each in valid(figures).values() if each["peer"] == peer), None)


def _errors(figures: Mapping[str, Any]) -> str:
    return f"{figures['errors']:,} errors"


def dimension_rows(results: Results, columns: Mapping[str, str]) -> Rows:
    """Return a table with a column for each heading and case: requests per second, and CPU time in µs per request."""
    rows = [["", *columns]]
    cases = list(columns.values())
    titles = dict.fromkeys(title for case in cases[1:] for title in results[case])
    return rows + [[title, *(_cell(results[case].get(title)) for case in cases)] for title in titles]


def _cell(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return "–"
    if figures["errors"]:
        return _errors(figures)
    return f"{figures['requests_per_second']:,.0f} ({figures['cpu_us']:,.0f} µs)"


def text(rows: Rows) -> str:
    """Return a table as aligned text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def markdown(rows: Rows) -> str:
    """Return a table as Markdown."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|---|" + "---:|" * (len(rows[0]) - 1), *rest])


def fill(sections: Mapping[str, str], pages: Iterable[Path] = PAGES) -> None:
    """Replace the lines of pages between the comments `<!-- begin NAME -->` and `<!-- end NAME -->` for each NAME they have."""
    for page in pages:
        content = page.read_text(encoding="utf-8")
        for name, section in sections.items():
            before, begin, rest = content.partition(f"<!-- begin {name} -->\n")
            _, end, after = rest.partition(f"<!-- end {name} -->\n")
            if end:
                content = f"{before}{begin}\n{section.strip()}\n\n{end}{after}"
        page.write_text(content, encoding="utf-8")


def plot(title: str, values: Mapping[str, float]) -> str:
    """Return an SVG image of horizontal bars, the longest first. It is readable on light and dark pages."""
    left, width, height, most = 150, 470, 24, max(values.values())
    bars = []
    for number, (name, value) in enumerate(sorted(values.items(), key=lambda item: -item[1])):
        top = 44 + number * height
        color = "#2463a8" if name.startswith("errklein") else "#a9b4c0"
        bars.append(
            f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{top}" width="{max(1, value / most * width):.0f}" height="17" rx="2" fill="{color}"/>'
            f'<text x="{left + value / most * width + 6:.0f}" y="{top + 13}">{value:,.0f}</text>'
        )
    size = f'viewBox="0 0 {left + width + 80} {54 + len(bars) * height}"'
    font = 'font-family="sans-serif" font-size="13" fill="#1c2733"'
    background = '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>'
    heading = f'<text x="16" y="26" font-weight="bold">{escape(title)}</text>'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img">', background, heading, *bars, "</svg>"]
    return "\n".join(lines) + "\n"


def versions(facts: Mapping[str, Any]) -> str:
    """Return sentences about the measurement, the machine and the versions."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    measured = f"Medians of {facts['rounds']} rounds of {facts['seconds']} s; load average before: {facts['load']:.1f}."
    return f"{measured} Python {facts['python']}, {facts['processors']} processors, {packages}.\n"


def environment() -> dict[str, Any]:
    """Return the versions and the machine of the measurement."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "packages": dict(_versions()),
        "commit": _commit(),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()

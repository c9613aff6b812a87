"""Converters of Markdown as backends written for errbot ask for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from errklein.text import to_ansi, to_imtext, to_md, to_plain, to_xhtml
from errklein.text.characters import ANSI_CHRS


@dataclass(frozen=True)
class Converter:
    """Converts Markdown to one format; may be kept, and used in many threads."""

    convert: Callable[[str], str]


def ansi() -> Converter:
    """A converter of Markdown to text for a terminal. Text that isn't empty ends with the sequence that resets all attributes."""
    return Converter(_to_ansi_with_reset)


def text() -> Converter:
    """To plain text."""
    return Converter(to_plain)


def imtext() -> Converter:
    """To text as people write it to each other, `*bold*` and `_emphasis_`."""
    return Converter(to_imtext)


def xhtml() -> Converter:
    """To XHTML."""
    return Converter(to_xhtml)


def md() -> Converter:
    """To Markdown without attributes."""
    return Converter(to_md)


def _to_ansi_with_reset(markdown: str) -> str:
    converted = to_ansi(markdown)
    return f"{converted}{ANSI_CHRS.fx_reset}" if converted else ""

"""The content of `errbot.rendering`: converters of Markdown, used as `text().convert(markdown)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from errklein.text import to_ansi, to_imtext, to_md, to_plain, to_xhtml
from errklein.text.characters import ANSI_CHRS


@dataclass(frozen=True)
class Converter:
    """Converts Markdown to one format. It has no state, so threads may share it."""

    convert: Callable[[str], str]


def _to_ansi_with_reset(markdown: str) -> str:
    """Return text for a terminal. Unless it is empty, it ends with the sequence that resets all attributes."""
    converted = to_ansi(markdown)
    return f"{converted}{ANSI_CHRS.fx_reset}" if converted else ""


ansi = partial(Converter, _to_ansi_with_reset)
text = partial(Converter, to_plain)
imtext = partial(Converter, to_imtext)
xhtml = partial(Converter, to_xhtml)
md = partial(Converter, to_md)

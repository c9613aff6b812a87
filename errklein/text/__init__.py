"""Rendering of Markdown as plain text, ANSI, IRC and XHTML; splitting, truncation, escaping and sanitizing of text."""

from errklein.text.folding import folded
from errklein.text.quoting import code, fenced, plain, plain_but_html, plain_lines
from errklein.text.rendering import md_escape, to_ansi, to_imtext, to_irc, to_md, to_plain, to_xhtml
from errklein.text.sanitizing import sanitize
from errklein.text.splitting import PARTS_CAP, at_most, grapheme_boundary, split_message, truncated

__all__ = [
    "PARTS_CAP",
    "at_most",
    "code",
    "fenced",
    "folded",
    "grapheme_boundary",
    "md_escape",
    "plain",
    "plain_but_html",
    "plain_lines",
    "sanitize",
    "split_message",
    "to_ansi",
    "to_imtext",
    "to_irc",
    "to_md",
    "to_plain",
    "to_xhtml",
    "truncated",
]

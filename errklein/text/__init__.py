"""What the bot says, as each network can show it: Markdown rendered to plain text, ANSI and IRC, and cut to size."""

from errklein.text.rendering import md_escape, to_ansi, to_imtext, to_irc, to_md, to_plain, to_xhtml
from errklein.text.sanitizing import sanitize
from errklein.text.splitting import PARTS_CAP, at_most, split_message, truncated

__all__ = [
    "PARTS_CAP",
    "at_most",
    "md_escape",
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

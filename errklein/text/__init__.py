"""What the bot says, as each network can show it: Markdown rendered to plain text, ANSI and IRC, and cut to size."""

from errklein.text.printable import printable
from errklein.text.rendering import md_escape, to_ansi, to_imtext, to_irc, to_md, to_plain, to_xhtml
from errklein.text.splitting import PARTS_CAP, at_most, split_message

__all__ = [
    "PARTS_CAP",
    "at_most",
    "md_escape",
    "printable",
    "split_message",
    "to_ansi",
    "to_imtext",
    "to_irc",
    "to_md",
    "to_plain",
    "to_xhtml",
]

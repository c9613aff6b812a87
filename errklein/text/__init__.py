"""What the bot says, as each network can show it: Markdown rendered to plain text, ANSI and IRC, and cut to size."""

from errklein.text.printable import printable
from errklein.text.rendering import to_ansi, to_irc, to_plain
from errklein.text.splitting import split_message

__all__ = ["printable", "split_message", "to_ansi", "to_irc", "to_plain"]

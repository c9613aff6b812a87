"""Rendering of Markdown as plain text, ANSI, IRC and XHTML; splitting, truncation, escaping and sanitizing of text."""

from errklein.text._quoting import code, fenced, folded, plain, plain_but_html, plain_lines, sanitize
from errklein.text._splitting import (
    PARTS_CAP,
    at_most,
    beginning,
    grapheme_boundary,
    split_message,
    split_rendered,
    truncated,
)
from errklein.text.neutralising import without_mentions, without_unsafe_links
from errklein.text.rendering import (
    is_only_text,
    md_escape,
    to_ansi,
    to_imtext,
    to_irc,
    to_md,
    to_mrkdwn,
    to_plain,
    to_xhtml,
)

__all__ = ["md_escape", "split_message", "to_ansi", "to_imtext", "to_irc", "to_md", "to_plain", "to_xhtml"]
"""The names for plugins. Further names are those that other packages of errklein use."""

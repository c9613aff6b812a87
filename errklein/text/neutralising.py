"""Text without effects on other people: mentions of whole rooms, and links to addresses that may run code.

A zero-width space breaks the syntax, so that a reader sees the text as it was written. Networks' own libraries do the same:
a space of no width after the `@` is what discord.py inserts, and Mattermost and Slack end a name at it.
"""

from __future__ import annotations

import html
import re
import unicodedata

from errklein.text._sanitizing import sanitize
from errklein.text.xhtml import is_harmless

ZERO_WIDTH_SPACE = "\u200b"

# Discord recognises these two at the beginning of longer words. Zulip has `topic` and `stream`, Matrix `room`, and Slack
# `<!group>` and `<!subteam^…>`.
_ALWAYS = ("everyone", "here")
_WORDS = (*_ALWAYS, "all", "channel", "group", "room", "stream", "subteam", "topic")

_AT = re.compile(
    r"(?:[@\uff20\ufe6b]|&(?:#0*64|#x0*40|commat);?"
    r"|(?:<|&(?:lt|#0*60|#x0*3c);?)(?:!|&(?:#0*33|#x0*21|excl);?)"
    r"|<(?=users/all>))(?!\u200b)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"&#?\w{1,10};?|\{:[^}\n]{0,200}\}|.")
_MARKUP = frozenset("*_~`\\[]<>")
_INITIALS = frozenset(word[0] for word in _WORDS)
_ROLE = re.compile(r"&[0-9]+>|users/all>", re.IGNORECASE)

# After `]`, `<` or `=`: the address of a link, of a definition, of an address in angle brackets, and of HTML.
_LINK = re.compile(
    r"\](?=\([\s<]*(?P<link>[^)>\[\]]*))"
    r"|\](?=:[ \t]*+(?:\n[ \t]*+)?<?(?P<definition>[^\s>]++)>?[ \t]*+(?:$|[\"'(]))"
    r"|<(?=(?P<bracketed>[a-z&\\][^\s<>|]++)[>|])"
    r"|\b(?:href|src)\s*+=(?=\s*+[\"']?(?P<attribute>[^\"'>\[\]=]*))",
    re.IGNORECASE | re.MULTILINE,
)
_TITLE = re.compile(r"\s[\"'(]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


def without_mentions(markdown: str) -> str:
    """Return the Markdown with `@channel`, `@here`, `@everyone`, `<!here>` and the like neutralised, however they are written.

    Control characters are removed. The result contains no mention either when a network renders it, removes its formatting or
    replaces its entities. Mentions of single people stay.
    """
    return _AT.sub(
        lambda at: at[0] + (ZERO_WIDTH_SPACE if _is_for_all(at.string, at.end()) else ""), sanitize(markdown)
    )


def without_unsafe_links(markdown: str) -> str:
    """Return the Markdown with links to other schemes than `xhtml.SCHEMES` as text."""
    return _LINK.sub(_neutralised_link, markdown)


def _is_for_all(text: str, start: int) -> bool:
    """Return whether one of the names begins at `start`, after removal of all that a renderer or network may remove."""
    follows = text[start : start + 1].lower()
    if follows.isascii() and follows not in _MARKUP and follows not in _INITIALS and follows not in "&{u":
        return False
    if _ROLE.match(text, start):
        return True
    name = ""
    while token := _TOKEN.match(text, start):
        start = token.end()
        name += _shown(token[0])
        if name in _WORDS and (name in _ALWAYS or not text[start : start + 1].isalnum()):
            return True
        if not any(word.startswith(name) for word in _WORDS):
            return False
    return False


def _shown(token: str) -> str:
    """Return the letters of a token in lower case; "" for markup and for what can't be seen."""
    if len(token) == 1 and token.isascii() and token.isprintable():
        return "" if token in _MARKUP else token.lower()
    if token.startswith("{:"):
        return ""
    text = unicodedata.normalize("NFKC", html.unescape(token)).casefold()
    return "".join(
        char for char in text if char not in _MARKUP and unicodedata.category(char) not in ("Cc", "Cf", "Mn")
    )


def _neutralised_link(found: re.Match[str]) -> str:
    kind = found.lastgroup or ""
    address = html.unescape(_TITLE.split(found[kind], maxsplit=1)[0]).replace("\\", "")
    if is_harmless(address) or (kind == "bracketed" and not _SCHEME.match(address)):
        return found[0]
    return found[0] + ZERO_WIDTH_SPACE

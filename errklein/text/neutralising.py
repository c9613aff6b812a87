"""Text without effects on other people: mentions of whole rooms, and links to addresses that may run code. A zero-width
space breaks the syntax, so that a reader sees the text as it was written. Networks' own libraries do the same: a space
of no width after the `@` is what discord.py inserts, and Mattermost and Slack end a name at it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection
from itertools import count

from errklein.text._quoting import sanitize
from errklein.text.xhtml import is_harmless

ZERO_WIDTH_SPACE = "\u200b"

# Maximum number of places that are examined in a text. All further ones are neutralised, since it would take too long.
CANDIDATES_CAP = 1_000
# Maximum number of characters and entities that are examined at a place. If a name may still begin there, it is neutralised.
TOKENS_CAP = 100

# Discord recognises these two at the beginning of longer words. Zulip has `topic` and `stream`, Matrix `room`, and Slack
# `<!group>` and `<!subteam^…>`.
_ALWAYS = ("everyone", "here")
_WORDS = (*_ALWAYS, "all", "channel", "group", "room", "stream", "subteam", "topic")
_AFTER_ANGLE = ("users/all", *(f"!{word}" for word in _WORDS))

_AT = re.compile(
    r"(?:[@\uff20\ufe6b]|&(?:#0*64|#x0*40|commat);?"
    r"|(?P<angle><|&(?:lt|#0*60|#x0*3c);?)"
    r"(?:!|&(?:#0*33|#x0*21|excl);?|(?P<markup>(?=[*_~`\\\[\]]|users/all>))))(?!\u200b)",
    re.IGNORECASE,
)
# An entity, attributes, the end of a link, or a character.
_TOKEN = re.compile(r"&#?\w{1,10};?|\{:[^}\n]{0,200}\}|\]\([^()\n]{0,200}\)|.", re.DOTALL)
_MARKUP = frozenset("*_~`\\[]<>")

# After `]`, `<` or `=`: the address of a link, of a definition, of an address in angle brackets, and of HTML.
_LINK = re.compile(
    r"\](?=\([\s<]*(?P<link>[^)>\[\]]*))"
    r"|\](?=:[ \t]*+(?:\n[ \t]*+)?<?(?P<definition>\S{1,200}+)(?:\S|[ \t]*+(?:$|[\"'(])))"
    r"|<(?=(?P<bracketed>[a-z&\\][^\s<>|]++)[>|])"
    r"|\b(?:href|src)\s*+=(?=\s*+[\"']?(?P<attribute>[^\"'>\[\]=]*))",
    re.IGNORECASE | re.MULTILINE,
)
_TITLE = re.compile(r"\s[\"'(]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


def without_mentions(markdown: str) -> str:
    """Return the Markdown with `@channel`, `@here`, `@everyone`, `<!here>` and the like neutralised, however they are written,
    also when a network renders it or removes its formatting. Control characters are removed. Mentions of single people stay."""
    return _neutralised(_AT, sanitize(markdown), _is_for_all)


def without_unsafe_links(markdown: str) -> str:
    """Return the Markdown with links to other schemes than `xhtml.SCHEMES` as text."""
    return _neutralised(_LINK, markdown, _is_unsafe)


_SIGN = r"(?<!\w)(?:[@\uff20\ufe6b]|&(?:#0*64|#x0*40|commat);?+)(?![\s\u200b])"

# What clients make a link or a mention of without any formatting, also if the rest of it follows in another text.
_EFFECT = re.compile(
    rf"{_SIGN}|(?::|&(?:colon|#0*58|#x0*3a);?)(?=/|&|$)|\bwww(?=\.|&|$)"
    r"|\b(?:mailto|tel|sms|sips?|xmpp|magnet|matrix|geo|data|javascript)(?=:|&|$)",
    re.IGNORECASE,
)


def without_effects(text: str) -> str:
    """Return a text in which no client finds an address for a link, or a mention of a person, without regard to formatting."""
    return _EFFECT.sub(_broken, text)


# Addresses are left as they are; then follow the sign of a mention, and words, whose entities and formatting aren't shown.
_LETTER, _STYLE = r"(?:[^\W_]|&#?\w{1,31};)", "[*`~]"
_NAMES = re.compile(
    rf"(?<!\\)\]\(<?(?:https?:|mailto:)[^()\[\]\n]*+\)|https?://[^\s<>|`\"]++|(?P<at>{_SIGN})"
    rf"|(?P<word>{_LETTER}(?:{_STYLE}*+{_LETTER})*+)",
    re.IGNORECASE,
)


def without_people(markdown: str, nicks: Collection[str] = ()) -> str:
    """Return the Markdown without mentions of single people, as far as they are written with an `@`. `nicks` are names that notify
    people wherever they occur, as on IRC: each of several letters gets a space of no width after the first one."""
    words = {word[0].casefold() for nick in nicks if (word := _WORD.search(nick))}

    def neutralise(found: re.Match[str]) -> str:
        if found["at"]:
            return _broken(found)
        word = found["word"]
        if word and word.casefold() in words:
            return word[0] + ZERO_WIDTH_SPACE + word[1:]
        if not (words and word) or word.isalnum():
            return found[0]
        # A sign of formatting that formats nothing is shown.
        shown = html.unescape(f"{word} {_STYLES.sub('', word)}")
        names = _WORD.findall(shown.casefold())
        return found[0] if words.isdisjoint(names) else ZERO_WIDTH_SPACE.join(_PIECES.findall(word))

    return _NAMES.sub(neutralise, markdown)


_WORD, _STYLES, _PIECES = re.compile(r"[^\W_]++"), re.compile(f"{_STYLE}++"), re.compile(f"{_STYLE}++|{_LETTER}")


def _broken(found: re.Match[str]) -> str:
    return found[0] + ZERO_WIDTH_SPACE


def _neutralised(places: re.Pattern[str], text: str, has_effect: Callable[[re.Match[str]], bool]) -> str:
    examined = count()

    def neutralise(place: re.Match[str]) -> str:
        neutral = next(examined) >= CANDIDATES_CAP or has_effect(place)
        return place[0] + ZERO_WIDTH_SPACE if neutral else place[0]

    return places.sub(neutralise, text)


def _is_for_all(at: re.Match[str]) -> bool:
    """Return whether one of the names follows, after removal of all that a renderer or network may remove."""
    text, start = at.string, at.end()
    words = _WORDS if at["markup"] is None else _AFTER_ANGLE
    name = ""
    for _ in range(TOKENS_CAP):
        token = _TOKEN.match(text, start)
        if token is None:
            return False
        start = token.end()
        name += _shown(token[0])
        if name in words and (name in _ALWAYS or not text[start : start + 1].isalnum()):
            return True
        if name[:1] == "&" and at["angle"] is None:
            # Discord's <@&role>
            if len(name) > 1:
                return name[1].isdecimal()
        elif not any(word.startswith(name) for word in words):
            return False
    return True


def _shown(token: str) -> str:
    """Return the letters of a token in lower case; "" for markup and for what can't be seen."""
    if len(token) == 1 and token.isascii() and token.isprintable():
        return "" if token in _MARKUP else token.lower()
    if token.startswith(("{:", "](")):
        return ""
    text = unicodedata.normalize("NFKC", html.unescape(token)).casefold()
    return "".join(one for one in text if one not in _MARKUP and unicodedata.category(one) not in ("Cc", "Cf", "Mn"))


def _is_unsafe(link: re.Match[str]) -> bool:
    kind = link.lastgroup or ""
    address = html.unescape(_TITLE.split(link[kind])[0]).replace("\\", "")
    return not is_harmless(address) and (kind != "bracketed" or _SCHEME.match(address) is not None)

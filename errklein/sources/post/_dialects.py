"""Conversion of what services write into Markdown: Slack's mrkdwn, Discord's and Mattermost's Markdown, and plain text.
Each conversion takes time in proportion to the text's length. Links have harmless addresses only. Mentions stay as
text; they are neutralised with the whole message."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from markupsafe import Markup

from errklein.text import code, fenced, plain_lines, sanitize, without_unsafe_links
from errklein.text.layout import LINK_CAP
from errklein.text.templating import md_link
from errklein.webhooks.texts import value

Dialect = Callable[[str], str]  # converts a text to Markdown
QUOTE = "\\> "  # begins a line of a quote, as text: Markdown's quotes would continue in the next line

_LONGEST_LABEL = 300

# A place in mrkdwn that may have a meaning. What is between `<` and `>` has neither, so that no character is examined twice.
_SIGN = re.compile(r"```|`|<([^<>\n]{1,3000})>|[*_~\n]")
_QUOTE = re.compile(r"(?:>|&gt;){1,3} ?")
_SCHEMES = ("http://", "https://", "mailto:")
_STYLES = {"*": "**", "_": "_", "~": "~~"}
_LITERAL = {"*": "\\*", "_": "\\_", "~": "&#126;", "`": "\\`", "```": "\\`\\`\\`"}

_SLACK_LINK = re.compile(r"<(https?://[^<>|\s]{1,2000})\|([^<>\n]{1,300})>")
_OF_DISCORD = re.compile(
    r"<(?P<sign>[@#])[!&]?(?P<id>\d{1,25})>|<a?(?P<emoji>:\w{1,40}:)\d{1,25}>"
    r"|<t:(?P<time>-?\d{1,13})(?::[tTdDfFR])?>|<(?P<command>/[\w -]{1,64}):\d{1,25}>"
)


def literal(text: str) -> str:
    """Return Markdown that shows a text as it is, line by line."""
    return text if text.isspace() else plain_lines(sanitize(text))


def markdown(text: str) -> str:
    """Convert Markdown as Mattermost reads it: without links that may run code, and with Slack's links."""
    return without_unsafe_links(_SLACK_LINK.sub(lambda found: link(found[2], found[1]), sanitize(text)))


def discord(text: str) -> str:
    return markdown(_OF_DISCORD.sub(_of_discord, text))


def _of_discord(found: re.Match[str]) -> str:
    if found["time"]:
        try:
            return datetime.fromtimestamp(int(found["time"]), UTC).strftime("%Y-%m-%d %H:%M UTC")
        except (ValueError, OverflowError, OSError):
            return ""
    return found["emoji"] or found["command"] or found["sign"] + found["id"]


def mrkdwn(text: str) -> str:
    return _Mrkdwn(sanitize(text)).converted()


class _Mrkdwn:
    """One text in mrkdwn, read from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._out: list[str] = []
        # The signs that may begin a style, with their places in `_out`. They are written literally until the style ends.
        self._opened: list[tuple[str, int]] = []
        self._is_quoted = False

    def converted(self) -> str:
        self._begin_line()
        while sign := _SIGN.search(self._text, self._at):
            self._write(unescaped(self._text[self._at : sign.start()]))
            self._at = sign.end()
            if sign[0] == "\n":
                self._opened.clear()
                self._out.append("\n")
                self._begin_line()
            elif sign[1]:
                self._out.append(_reference(sign[1]))
            elif sign[0][0] == "`":
                self._read_code(sign[0])
            else:
                self._read_style(sign[0], sign.start())
        self._write(unescaped(self._text[self._at :]))
        return "".join(self._out)

    def _write(self, text: str) -> None:
        if text:
            self._out.append(literal(text))

    def _begin_line(self) -> None:
        quote = _QUOTE.match(self._text, self._at)
        if quote is not None:
            self._out.append(QUOTE)
            self._at = quote.end()
        self._is_quoted = quote is not None

    def _read_code(self, ticks: str) -> None:
        end = self._text.find(ticks, self._at)
        inside = unescaped(self._text[self._at : max(end, 0)])
        if not inside.strip() or (ticks == "`" and "\n" in inside):
            self._out.append(_LITERAL[ticks])
            return
        self._at = end + len(ticks)
        if "\n" in inside and not self._is_quoted:
            self._out.append(f"\n{fenced(inside.strip(chr(10)))}\n")
        else:
            self._out.append(code(inside))

    def _read_style(self, sign: str, start: int) -> None:
        before, after = self._text[max(start - 1, 0) : start], self._text[self._at : self._at + 1]
        number = next((number for number, (opened, _) in enumerate(self._opened) if opened == sign), None)
        if number is None:
            if not before.isalnum() and after.strip():
                self._opened.append((sign, len(self._out)))
        elif before.strip() and not after.isalnum() and len(self._out) > self._opened[number][1] + 1:
            self._out[self._opened[number][1]] = _STYLES[sign]
            self._out.append(_STYLES[sign])
            # A style that began within this one and doesn't end in it is none.
            del self._opened[number:]
            return
        self._out.append(_LITERAL[sign])


def unescaped(text: str) -> str:
    """Return a text of Slack without the three entities that it may have."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _reference(inside: str) -> str:
    """Return Markdown for what mrkdwn has between `<` and `>`: a link, a mention of a person, room or group, or a time."""
    target, _, text = map(unescaped, inside.partition("|"))
    if inside[0] in "@#":
        return literal(inside[0] + (text.removeprefix(inside[0]) or target[1:]))
    if inside[0] == "!":
        return literal(text or "@" + target[1:].partition("^")[0])
    return link(text, target) if text.strip() not in ("", target) else literal(target)


def label(text: str) -> str:
    """Return Markdown for a text that is neither a link nor formatted in its format, such as a title: one line, literally."""
    return value(text, _LONGEST_LABEL)


def link(text: str, address: str) -> str:
    """Return a link, or its text alone if the address isn't one of the web or of mail."""
    shown, address = label(text), sanitize(address).strip()
    if not shown or len(address) > LINK_CAP or not address.lower().startswith(_SCHEMES):
        return shown
    return str(md_link(Markup(shown), address))  # noqa: S704  the text is escaped


def styled(text: str, mark: str) -> str:
    """Return Markdown between two marks such as `**`. White space at its ends is put outside."""
    inside = text.strip()
    before = text[: len(text) - len(text.lstrip())]
    return f"{before}{mark}{inside}{mark}{text[len(before) + len(inside) :]}" if inside else text

"""Texts in Telegram's HTML (https://core.telegram.org/bots/api#html-style), and what messages have besides them."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from errklein.text import is_only_text, sanitize, to_xhtml
from errklein.text.layout import compact_table
from errklein.text.xhtml import subset

# The reactions of bots: https://core.telegram.org/bots/api#reactiontypeemoji
EMOJI = frozenset({"❤\u200d🔥", "👨\u200d💻", "🤷\u200d♂", "🤷\u200d♀"}).union(
    "❤👍👎🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯🤣⚡🍌🏆💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍",
    "🤗🫡🎅🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾🤷😡",
)
TOPIC = "topic:"  # the beginning of the id of a thread that is a topic of a group; others are ids of messages

_TAGS = frozenset({"a", "b", "blockquote", "code", "del", "em", "i", "pre", "s", "strong", "u"})
_TAG, _HEADING = re.compile(r"<[^<>]*>"), re.compile(r"<(/?)h[1-6][^<>]*>")
_TABLE, _ROW, _CELL = (
    re.compile(rf"<{name}\b[^<>]*>([^<]*+(?:<(?!/?{name}\b)[^<]*+)*+)</{name}>") for name in ("table", "tr", "t[dh]")
)


def to_html(markdown: str, people: Mapping[str, str]) -> str:
    """Return the HTML of a text that notifies people, given as names by id: the name in the text, or else before it, is a link."""
    markdown = sanitize(markdown).strip("\n")
    page = html.escape(markdown, quote=False)
    if not is_only_text(markdown):
        page = _HEADING.sub(lambda tag: "</b></p>" if tag[1] else "<p><b>", to_xhtml(markdown))
        page = subset(_TABLE.sub(_as_code, page), _TAGS, {"a": ("href",), "code": ("class",)})
        page = re.sub(r"(<blockquote>)\n+|(?<!\n)\n++(</blockquote>)", r"\1\2", page)
        if not html.unescape(_TAG.sub("", page)).strip():
            # Telegram refuses it.
            page = html.escape(markdown, quote=False)
    for person, name in people.items():
        shown = html.escape(name, quote=False)
        link = f'<a href="tg://user?id={person}">{shown}</a>'
        # Not in tags, and not where Telegram takes no links.
        parts = re.split(rf"(?<![\w&]){re.escape(shown)}(?!\w)(?![^<]*(?:>|</(?:a|code|pre)>))", page, maxsplit=1)
        if len(parts) > 1:
            page = link.join(parts)
        elif _units(page) + 2 * len(name) < 4090:
            page = f"{link}: {page}"
    return page


def size_of(markdown: str) -> int:
    """Return the size of a text as Telegram counts it: in units of UTF-16, without tags."""
    return _units(to_html(markdown, {}))


def _units(page: str) -> int:
    return len(html.unescape(_TAG.sub("", page)).encode("utf-16-le", "surrogatepass")) // 2


def place(thread: str, reply_to: str) -> dict[str, Any]:
    """Return the fields of a message in a thread: a topic of the group, or the answers to a message."""
    topic = int(thread.removeprefix(TOPIC)) if thread.startswith(TOPIC) else None
    reply = reply_to or (thread if topic is None else "")
    parameters = {"message_id": int(reply), "allow_sending_without_reply": True} if reply else None
    return {"message_thread_id": topic, "reply_parameters": parameters}


def keyboard(choices: Sequence[str]) -> dict[str, Any] | None:
    """Return the buttons of a message, each with its number as data; four in a row if all are short."""
    buttons = [{"text": label, "callback_data": str(number)} for number, label in enumerate(choices)]
    width = 4 if max(map(len, choices), default=0) <= 12 else 1
    rows = [buttons[at : at + width] for at in range(0, len(buttons), width)]
    return {"inline_keyboard": rows} if rows else None


def _as_code(table: re.Match[str]) -> str:
    rows = [
        [html.unescape(_TAG.sub("", cell[1])).strip() for cell in _CELL.finditer(row[1])]
        for row in _ROW.finditer(table[1])
    ]
    return f"<pre>{html.escape(compact_table(rows[0], rows[1:]), quote=False)}</pre>" if rows else ""

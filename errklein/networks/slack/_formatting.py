"""Texts in mrkdwn, the markup of Slack (https://docs.slack.dev/messaging/formatting-message-text), and blocks, of which cards and
buttons consist. In a text whose `<` are entities, nothing is a command such as `<!channel>` unless it is put in afterwards."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from errklein.chat.cards import Card
from errklein.text import sanitize, split_message, to_mrkdwn, without_mentions

_SECTION, _FIELD, _FIELDS, _LABEL, _HEADER = 3_000, 2_000, 10, 75, 150

_TOKEN = re.compile(r"<([^<>]*)>")
_LINK = "<[^<>]*>|"  # comes first, so that nothing in it is found
_USER = re.compile(_LINK + r"(?<!/)(?:&lt;)?@?\b([UW][A-Z0-9]{6,40})\b(?:\|[^&<>\s]*)?(?:&gt;)?")
_ALL = re.compile(_LINK + r"(?<![\w/])(?:&lt;!|@)(here|channel|everyone)\b(?:&gt;)?")


def message_text(
    markdown: str, name_of: Callable[[str], str] = lambda user: "", people: Sequence[str] = (), for_all: bool = False
) -> str:
    """Return the text of a message. It notifies `people`, who are given by id; with `for_all` also those whose ids are in the text,
    and all by `@here` and the like. Other mentions are shown as names, as far as `name_of` knows them."""
    text, left = to_mrkdwn(markdown if for_all else without_mentions(markdown)), list(people)

    def show(found: re.Match[str]) -> str:
        user, name = found[1], html.escape(name_of(found[1]) if found[1] else "", quote=False)
        if user in people or (for_all and (name or found[0][0] == "&")):
            left[:] = [one for one in left if one != user]
            return f"<@{user}>"
        return f"@{name}" if name and found[0] != user else found[0]

    text = _USER.sub(show, text)
    for user in left[::-1]:
        name = "@" + html.escape(name_of(user), quote=False)
        places = re.finditer(_LINK + re.escape(name), text) if name[1:] else ()
        found = next((one for one in places if one[0] == name), None)
        text = f"{text[: found.start()]}<@{user}>{text[found.end() :]}" if found else f"<@{user}> {text}"
    return _ALL.sub(lambda found: f"<!{found[1]}>" if found[1] else found[0], text) if for_all else text


def from_mrkdwn(text: str) -> str:
    """Return a received text as it was typed. Mentions of people stay as `<@U0123456789>`, which is unambiguous."""
    return sanitize(html.unescape(_TOKEN.sub(_typed, text)))


def _typed(found: re.Match[str]) -> str:
    what, _, label = found[1].partition("|")
    known = {"@": f"<{what}>", "#": f"#{label}" if label else f"<{what}>", "!": label or f"@{what[1:]}"}
    link = f"{label} ({what})" if label and not what.endswith(label.rstrip("/")) else label or what
    return known.get(what[:1], link)


def _sections(mrkdwn: str) -> list[dict[str, Any]]:
    parts = [part for part in split_message(mrkdwn, _SECTION) if part.strip()]
    return [{"type": "section", "text": {"type": "mrkdwn", "text": part}} for part in parts]


def choice_blocks(mrkdwn: str, choices: Sequence[str]) -> list[dict[str, Any]]:
    """Return the blocks of a text with a button for each choice, whose value is its position."""
    buttons: list[dict[str, Any]] = []
    for number, label in enumerate(choices):
        text = {"type": "plain_text", "text": label[:_LABEL], "emoji": False}
        buttons.append({"type": "button", "action_id": f"choice-{number}", "value": str(number), "text": text})
    return [*_sections(mrkdwn), {"type": "actions", "elements": buttons}]


def card_content(card: Card) -> dict[str, Any]:
    """Return the blocks of a card, in an attachment if it has a colour. Its addresses must be safe."""
    title, heading = sanitize(card.title).strip(), list[dict[str, Any]]()
    if card.link:
        address = html.escape(card.link, quote=False).replace("|", "%7C").replace(">", "%3E")
        heading = _sections(f"*<{address}|{html.escape(title or card.link, quote=False)}>*")
    elif title:
        heading = [{"type": "header", "text": {"type": "plain_text", "text": title[:_HEADER], "emoji": False}}]
    shown = partial(message_text, for_all=card.mentions)
    blocks = [*heading, *_sections(shown(card.body))]
    if card.thumbnail and blocks and blocks[-1]["type"] == "section":
        blocks[-1]["accessory"] = {"type": "image", "image_url": card.thumbnail, "alt_text": title or "thumbnail"}
    fields = [f"*{message_text(name)}*\n{shown(value)}"[:_FIELD] for name, value in card.fields]
    texts = [{"type": "mrkdwn", "text": one} for one in fields]
    blocks += [{"type": "section", "fields": texts[at : at + _FIELDS]} for at in range(0, len(texts), _FIELDS)]
    if card.image:
        blocks.append({"type": "image", "image_url": card.image, "alt_text": title or "image"})
    return {"attachments": [{"color": card.color, "blocks": blocks}]} if card.color else {"blocks": blocks}

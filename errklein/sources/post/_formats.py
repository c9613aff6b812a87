"""The formats of posted messages: those of Slack, Mattermost, Rocket.Chat and Discord, and a title with a message.
Their keys differ, so one function reads them all. Values of other types than the documented ones are used as text or
left out. What would choose a room, a name or an icon is ignored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from errklein.sources.post._dialects import (
    QUOTE,
    Dialect,
    discord,
    label,
    link,
    literal,
    markdown,
    mrkdwn,
    styled,
    unescaped,
)
from errklein.text import fenced
from errklein.webhooks.texts import Markdown

_LONGEST, _LONGEST_PAYLOAD = 8_000, 40_000
"""The numbers of characters of a text, and of all texts of a payload, that are read."""
_MOST = 50  # the number of blocks, attachments, fields and others of a kind that are read
_DEEPEST = 16  # the number of objects and lists in each other that are read

_Object = Mapping[str, Any]


def converted(payload: _Object, dialect: Dialect) -> Markdown:
    """Return the message of a payload; empty if it has none.

    :param dialect: What `text` and attachments are written in.
    """
    pieces = _pieces(_object(_beginning(payload, [_LONGEST_PAYLOAD])), dialect)
    return Markdown("\n".join(piece.strip("\n") for piece in pieces if piece.strip()))


def _beginning(given: object, room: list[int], deepest: int = _DEEPEST) -> object:
    """Return what is read of a value, for which there is room for so many characters and values."""
    room[0] -= 1
    if isinstance(given, str):
        text = given[: max(min(_LONGEST, room[0]), 0)]
        room[0] -= len(text)
        return text
    if isinstance(given, Mapping) and deepest:
        return {key: _beginning(given[key], room, deepest - 1) for key in given if room[0] > 0}
    if isinstance(given, list) and deepest:
        return [_beginning(one, room, deepest - 1) for one in given[:_MOST]]
    return given if isinstance(given, (int, float)) else None


def _pieces(payload: _Object, dialect: Dialect) -> Iterator[str]:
    yield styled(link(_text(payload.get("title")), _text(payload.get("click"))), "**")
    yield (markdown if _is_markdown(payload) else literal)(_text(payload.get("message")))
    blocks = [piece for block in _objects(payload.get("blocks")) for piece in _block(block) if piece.strip()]
    yield from blocks or [dialect(_text(payload.get("text")))]
    for attachment in _objects(payload.get("attachments")):
        yield from _attachment(attachment, dialect)
    yield discord(_text(payload.get("content")))
    for embed in _objects(payload.get("embeds")):
        yield from _embed(embed)


def _is_markdown(payload: _Object) -> bool:
    display = _object(_object(payload.get("extras")).get("client::display"))
    return payload.get("markdown") is True or display.get("contentType") == "text/markdown"


def _attachment(attachment: _Object, dialect: Dialect) -> Iterator[str]:
    text = {name: _text(given) for name, given in attachment.items()}
    plain = defaultdict(str, {name: unescaped(given) for name, given in text.items()})
    pieces = [
        dialect(text.get("pretext", "")),
        link(plain["author_name"], plain["author_link"]),
        styled(link(plain["title"], plain["title_link"]), "**"),
        dialect(text.get("text", "")),
        *(_field(field, "title", dialect) for field in _objects(attachment.get("fields"))),
        *(piece for block in _objects(attachment.get("blocks")) for piece in _block(block)),
        link("image", plain["image_url"]) if plain["image_url"] else "",
        _in_line(attachment.get("actions")),
        label(plain["footer"]),
    ]
    yield from pieces if any(map(str.strip, pieces)) else [literal(plain["fallback"])]


def _embed(embed: _Object) -> Iterator[str]:
    author, image = _object(embed.get("author")), _text(_object(embed.get("image")).get("url"))
    yield link(_text(author.get("name")), _text(author.get("url")))
    yield styled(link(_text(embed.get("title")), _text(embed.get("url"))), "**")
    yield discord(_text(embed.get("description")))
    for field in _objects(embed.get("fields")):
        yield _field(field, "name", discord)
    yield link("image", image) if image else ""
    yield label(_text(embed.get("footer")))


def _field(field: _Object, name: str, dialect: Dialect) -> str:
    title, value = label(unescaped(_text(field.get(name)))), dialect(_text(field.get("value"))).strip("\n")
    return f"{styled(title + ':', '**')} {value}" if title and value else title or value


def _block(block: _Object) -> Iterator[str]:
    kind, text = block.get("type"), block.get("text")
    if kind == "rich_text":
        for element in _objects(block.get("elements")):
            yield _rich_block(element)
    elif kind == "header":
        yield styled(label(unescaped(_text(text))), "**")
    elif kind == "markdown":
        yield markdown(_text(text))
    else:
        yield _element(block) if kind == "image" else _element(text)
        for field in _objects(block.get("fields")):
            yield _element(field)
        yield _in_line([*_objects(block.get("elements")), _object(block.get("accessory"))])


def _in_line(elements: object) -> str:
    return " ".join(filter(None, map(_element, _objects(elements))))


def _element(element: object) -> str:
    given = _object(element)
    text, kind = _text(given.get("text")), given.get("type")
    if kind == "image":
        alternative = _text(given.get("title")) or _text(given.get("alt_text")) or "image"
        return link(unescaped(alternative), _text(given.get("image_url")))
    if "url" in given or kind == "button":
        return link(unescaped(text), _text(given.get("url"))) if given.get("url") else ""
    return literal(unescaped(text)) if kind == "plain_text" else mrkdwn(text)


def _rich_block(block: _Object) -> str:
    kind, elements = block.get("type"), _objects(block.get("elements"))
    if kind == "rich_text_list":
        # No syntax of Markdown: what follows would belong to the last item.
        is_ordered = block.get("style") == "ordered"
        items = enumerate(map(_rich_text, elements), 1)
        return "\n".join(f"{number}\\. {text}" if is_ordered else f"• {text}" for number, text in items)
    if kind == "rich_text_preformatted":
        return fenced("".join(_text(element.get("text") or element.get("url")) for element in elements))
    text = _rich_text(block)
    return "\n".join(QUOTE + line for line in text.split("\n")) if kind == "rich_text_quote" else text


def _rich_text(section: _Object) -> str:
    return "".join(map(_rich, _objects(section.get("elements"))))


def _rich(element: _Object) -> str:
    kind, style, text = element.get("type"), _object(element.get("style")), _text(element.get("text"))
    if kind == "link":
        shown = link(text, _text(element.get("url")))
    elif kind == "emoji":
        shown = literal(f":{_text(element.get('name'))}:")
    elif kind in ("user", "usergroup", "channel", "broadcast"):
        name = _text(element.get("range") or element.get(f"{kind}_id"))
        shown = literal(("#" if kind == "channel" else "@") + name)
    else:
        shown = literal(text or _text(element.get("fallback") or element.get("value")))
    for name, mark in (("strike", "~~"), ("italic", "_"), ("bold", "**")):
        shown = styled(shown, mark) if style.get(name) is True else shown
    return shown


def _text(given: object) -> str:
    """Return the text of a value: of a text, a number, or an object with a text."""
    if isinstance(given, Mapping):
        given = given.get("text")
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        return ""
    return str(given)


def _object(given: object) -> _Object:
    return given if isinstance(given, Mapping) else {}


def _objects(given: object) -> list[_Object]:
    return [found for found in given if isinstance(found, Mapping)] if isinstance(given, list) else []

"""The contents of events: texts with their HTML, mentions, edits, threads and files, as the specification has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from errklein.networks.matrix.identifiers import is_user, split_occupant
from errklein.text import is_only_text, sanitize, to_plain, to_xhtml, without_mentions
from errklein.text.html_subset import subset

# https://spec.matrix.org/latest/client-server-api/#mroommessage-msgtypes. Images may only be those of the homeserver, so they become links.
_TAGS = frozenset(
    re.findall(
        r"\w+",
        "a b blockquote br caption code del details div em h1 h2 h3 h4 h5 h6 hr i li ol p pre s span strong "
        "sub summary sup table tbody td th thead tr u ul",
    )
)
_ATTRIBUTES = {"a": ("href",), "code": ("class",), "ol": ("start",)}

MOST_MENTIONED, _MOST_IDS = 50, 3000
"""The largest number of people whom a message notifies, and of the bytes of their ids."""

_USER_IN_TEXT = re.compile(r"(?<![^\s(\[{<\"'])@[\w.=/+-]{1,200}:[\w.:\[\]-]{1,200}(?<![.:])", re.ASCII)

KINDS = {"notice": "m.notice", "action": "m.emote"}  # the types of messages by the key of `extras` that stands for them

Content = dict[str, Any]


def text_content(markdown: str, mentions: Iterable[str] = (), for_all: bool = False, kind: str = "m.text") -> Content:
    """Return the content of a message.

    :param mentions: The people, or occupants, whom it notifies.
    :param for_all: Whether `@room` and the ids of people in the text notify.
    """
    markdown = sanitize(markdown) if for_all else without_mentions(markdown)
    content: Content = {"msgtype": kind, "m.mentions": _mentions(markdown, mentions, for_all)}
    if is_only_text(markdown):
        return content | {"body": markdown.strip("\n")}
    content["body"] = to_plain(markdown, compact=True, indented=False)
    html = subset(to_xhtml(markdown), _TAGS, _ATTRIBUTES)
    return content | {"format": "org.matrix.custom.html", "formatted_body": html}


def size_of(markdown: str) -> int:
    """Return the size of the content of a message with this text, in bytes."""
    return len(json.dumps(text_content(markdown), ensure_ascii=False).encode())


def edit_content(event: str, content: Content) -> Content:
    """Return the content of an edit of the bot's own event. Clients that know no edits show the text behind an asterisk."""
    # An edit notifies nobody.
    shown = {**content, "body": f"* {content['body']}", "m.mentions": {}}
    if "formatted_body" in content:
        shown["formatted_body"] = f"* {content['formatted_body']}"
    return shown | {"m.new_content": content, "m.relates_to": {"rel_type": "m.replace", "event_id": event}}


def related(content: Content, thread: str, reply_to: str = "") -> Content:
    if not (thread or reply_to):
        return content
    # Clients without threads show what has no `reply_to` as a reply to the message that begins the thread.
    relation: Content = {"rel_type": "m.thread", "event_id": thread, "is_falling_back": not reply_to} if thread else {}
    return content | {"m.relates_to": {**relation, "m.in_reply_to": {"event_id": reply_to or thread}}}


def reaction_content(event: str, emoji: str) -> Content:
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": emoji}}


def file_content(name: str, type: str, size: int, url: str) -> Content:
    kind = type.partition("/")[0]
    return {
        "msgtype": f"m.{kind}" if kind in ("image", "audio", "video") else "m.file",
        "body": name,
        "filename": name,
        "url": url,
        "info": {"mimetype": type or "application/octet-stream", "size": size},
        "m.mentions": {},
    }


def _mentions(text: str, people: Iterable[str], for_all: bool) -> Mapping[str, Any]:
    found = [(split_occupant(one) or ("", one))[1] for one in people]
    if for_all:
        found += _USER_IN_TEXT.findall(text)
    users = [one for one in dict.fromkeys(found) if is_user(one)][:MOST_MENTIONED]
    while len(json.dumps(users)) > _MOST_IDS:
        users.pop()
    everybody = {"room": True} if for_all and "@room" in text else {}
    return ({"user_ids": users} if users else {}) | everybody

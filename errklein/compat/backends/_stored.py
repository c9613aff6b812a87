"""Messages for third-party backends as values that a later process can send.

The details of an `OutgoingMessage` are JSON with those attributes of the message, and of the one that it replies to, that JSON
can express. Identifiers are stored as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from errklein.chat import Card, Identifier, Message
from errklein.chat.outgoing import OutgoingMessage

Identify = Callable[[str], Identifier]

_ELSEWHERE = frozenset({"_ctx", "body", "flow", "frm", "mentions", "parent", "partial", "priority", "to"})
"""Attributes that belong to this process, or have their own places."""

_DEFAULTS = vars(Message())


def details_of(message: Message, is_card: bool = False) -> str:
    """Return the details of a message; "" for one that only has a text."""
    details: dict[str, Any] = {"card": True} if is_card else {}
    if attributes := _attributes(message):
        details["attributes"] = attributes
    if (parent := message.parent) is not None:
        details["parent"] = {
            "body": str(parent.body),
            "attributes": _attributes(parent),
            **{name: str(who) for name in ("frm", "to") if (who := getattr(parent, name)) is not None},
        }
    return json.dumps(details) if details else ""


def is_card(message: OutgoingMessage) -> bool:
    """Return whether the message is sent as a card."""
    return bool(message.details) and "card" in json.loads(message.details)


def restored(message: OutgoingMessage, identify: Identify, frm: Identifier | None) -> Message:
    """Return the message that an earlier process has accepted.

    :param identify: Returns the identifier for a text. May block.
    :param frm: The bot.
    :raises Exception: The one of `identify`, if there is no such recipient any more.
    """
    details = json.loads(message.details or "{}")
    to = identify(message.recipient)
    made = (Card if "card" in details else Message)(message.body, frm, to)
    made.priority = message.priority
    vars(made).update(details.get("attributes", {}))
    if parent := details.get("parent"):
        made.parent = Message(parent["body"], _person(parent, "frm", identify), _person(parent, "to", identify))
        vars(made.parent).update(parent["attributes"])
    return made


def _attributes(message: Message) -> dict[str, Any]:
    """Return the attributes that JSON can express and that differ from the default."""
    found = {name: value for name, value in vars(message).items() if name not in _ELSEWHERE}
    if isinstance(found["extras"], Mapping):
        found["extras"] = _expressible(found["extras"])
    return {name: value for name, value in _expressible(found).items() if value != _DEFAULTS.get(name)}


def _expressible(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(name, str) and _is_expressible(value)}


def _is_expressible(value: Any) -> bool:
    if value is None or isinstance(value, (str, bool)):
        return True
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _person(parent: Mapping[str, str], name: str, identify: Identify) -> Identifier | None:
    """Return the sender or recipient of the parent; None if there is no such identifier any more."""
    with suppress(Exception):
        return identify(parent[name])
    return None

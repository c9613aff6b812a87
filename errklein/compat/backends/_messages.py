"""Values that pass between the bot and a backend written for errbot: identifiers, safe texts, and stored messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from errklein.chat import Card, Identifier, Message, Person, RoomOccupant
from errklein.chat.outgoing import OutgoingMessage
from errklein.config.networks import find_network
from errklein.text import without_mentions, without_unsafe_links
from errklein.text.xhtml import is_harmless

Identify = Callable[[str], Identifier]

_ELSEWHERE = frozenset({"_ctx", "body", "flow", "frm", "mentions", "parent", "partial", "priority", "thread", "to"})
"""Attributes that belong to this process, or have their own places."""

_DEFAULTS = vars(Message())


class NetworkStamp:
    """Records the name of the network in identifiers, since a third-party backend doesn't know it."""

    def __init__(self, network: str) -> None:
        self._network = network

    def identifier(self, identifier: Any) -> Any:
        """Record the network in the identifier and, for an occupant, in its room. Returns the identifier."""
        for part in (identifier, getattr(identifier, "room", None) if isinstance(identifier, RoomOccupant) else None):
            if isinstance(part, Identifier) and part.network != self._network:
                # Some identifiers are immutable; they count as identifiers of the network that is being handled.
                with suppress(Exception):
                    part.network = self._network
        return identifier

    def details(self, details: Iterable[Any]) -> None:
        for detail in details:
            if isinstance(detail, Message):
                self.message(detail)
            elif isinstance(detail, (list, tuple)):
                self.details(detail)
            else:
                for part in (detail, *(getattr(detail, name, None) for name in ("identifier", "reactor"))):
                    self.identifier(part)

    def message(self, message: Message) -> None:
        """Record the network in the sender and recipient, and the thread, which the `extras` of the parent name."""
        self.identifier(message.frm)
        self.identifier(message.to)
        extras = getattr(message.parent, "extras", None)
        if isinstance(extras, Mapping):
            message.thread = str(extras.get("id") or extras.get("thread_id") or "")


def ask_beforehand(*identifiers: Identifier | None) -> None:
    """Read what access control reads on the reactor, in a thread where it may block. Backends cache it."""
    for identifier in identifiers:
        for name in ("person", "aclattr", "nick") if isinstance(identifier, Person) else ("aclattr",):
            with suppress(Exception):
                getattr(identifier, name)
        with suppress(Exception):
            str(identifier)


def neutral_card(mode: str, card: Card) -> Card:
    """Return a copy of the card for a network of that mode. Unsafe addresses become text below the body."""
    return card.changed(partial(neutral_text, mode, card), is_harmless)


def neutral_text(mode: str, message: Message, markdown: str) -> str:
    # On unknown networks, mentions are neutralised.
    network = find_network(mode.lower())
    mentions = message.mentions or (network is not None and not network.mentions_all)
    return without_unsafe_links(markdown if mentions else without_mentions(markdown))


def details_of(message: Message, is_card: bool = False) -> str:
    details: dict[str, Any] = {"card": True} if is_card else {}
    if attributes := _attributes(message):
        details["attributes"] = attributes
    if (parent := message.parent) is not None:
        people = {name: str(who) for name in ("frm", "to") if (who := getattr(parent, name)) is not None}
        details["parent"] = {"body": str(parent.body), "attributes": _attributes(parent), **people}
    return json.dumps(details) if details else ""


def is_card(message: OutgoingMessage) -> bool:
    return bool(message.details) and "card" in json.loads(message.details)


def restored(message: OutgoingMessage, identify: Identify, frm: Identifier | None) -> Message:
    """Return the message of the bot `frm` that an earlier process has accepted. `identify` returns the identifier for a
    text; it may block, and raises an exception if there is no such recipient any more."""
    details = json.loads(message.details or "{}")
    made = (Card if "card" in details else Message)(message.body, frm, identify(message.recipient))
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
    with suppress(Exception):
        return identify(parent[name])
    return None

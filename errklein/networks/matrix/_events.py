"""Received events of rooms: messages, edits, deletions and reactions. Whatever a server sends, no event ends the sync."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import AWAY, OFFLINE, ONLINE, Attachment, Identifier, Message, Presence, Reaction
from errklein.chat.handles import MessageRef
from errklein.networks.directory import RoomOrder
from errklein.networks.matrix._client import mapping, quoted, text_of
from errklein.networks.matrix._formatting import KINDS, MOST_MENTIONED
from errklein.networks.matrix.identifiers import MatrixOccupant, MatrixPerson, is_user
from errklein.text import sanitize

if TYPE_CHECKING:
    from errklein.networks.matrix._backend import MatrixBackend

T = TypeVar("T")

_MOST_KNOWN = 10_000
"""The number of events whose senders are known, for edits, deletions and reactions to them."""

_EVENT = re.compile(r"\$[^\s\x00-\x1f\x7f]{1,254}")
_FILES = frozenset({"m.audio", "m.file", "m.image", "m.video"})
_STATES = {"online": ONLINE, "unavailable": AWAY, "offline": OFFLINE}
_EXTRAS = {kind: key for key, kind in KINDS.items()}


class _Known(NamedTuple):
    sender: str
    thread: str = ""
    target: str = ""
    """The event that it is a reaction to; "" if it is a message."""
    emoji: str = ""


class Receiver:
    """Reports the events of rooms to the bot."""

    log = Logger(namespace="errklein.networks")

    def __init__(self, backend: MatrixBackend) -> None:
        self._backend = backend
        self._order = RoomOrder(backend.context.reactor)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._latest: OrderedDict[str, str] = OrderedDict()

    def receive(self, room: str, event: Any, delayed: bool) -> None:
        """Report an event of a room's timeline. `delayed` states that it is from before the bot was there.

        A message waits until the server has said whose the aliases of its room are, since access rules may name them.
        """
        event, rooms = mapping(event), self._backend.membership
        asked = None
        if event.get("type") == "m.room.message":
            unknown = [alias for alias in rooms.aliases_claimed(room) if rooms.names.known(alias) is None]
            asked = rooms.names.find(unknown[0]) if unknown else None
        self._order.do(room, asked, lambda: self._receive(room, event, delayed))

    def presence(self, event: Any) -> None:
        """Report an event of type m.presence."""
        event = mapping(event)
        sender, content = text_of(event.get("sender")), mapping(event.get("content"))
        status = _STATES.get(text_of(content.get("presence")))
        if self._backend.events is not None and is_user(sender) and status and sender != self._backend.client.user:
            person = MatrixPerson(sender, self._backend.network)
            presence = Presence(person, status, one_line(content.get("status_msg")) or None)
            self._backend.events.presence_changed(self._backend, presence)

    def latest_in(self, thread: str) -> str:
        """Return the latest known event of a thread; "" if none is known."""
        return self._latest.get(thread, "")

    def own_reaction(self, event: str, emoji: str) -> str:
        """Return the bot's reaction to an event; "" if it isn't known."""
        wanted = _Known(self._backend.client.user, target=event, emoji=emoji)
        return next((one for one, known in reversed(self._known.items()) if known == wanted), "")

    def _receive(self, room: str, event: Mapping[str, Any], delayed: bool) -> None:
        sender, content, name = (
            text_of(event.get("sender")),
            mapping(event.get("content")),
            text_of(event.get("event_id")),
        )
        if not (_EVENT.fullmatch(name) and is_user(sender)) or self._backend.events is None:
            return
        kind, relation = text_of(event.get("type")), mapping(content.get("m.relates_to"))
        relates, target = text_of(relation.get("rel_type")), text_of(relation.get("event_id"))
        if kind == "m.room.message" and relates == "m.replace":
            self._edited(room, target, event, delayed)
        elif kind == "m.room.message":
            thread = target if relates == "m.thread" and _EVENT.fullmatch(target) else ""
            _keep(self._known, name, _Known(sender, thread))
            if thread:
                _keep(self._latest, thread, name)
            if sender != self._backend.client.user:
                self._message(room, event, content, name, thread, delayed)
        elif kind == "m.reaction" and relates == "m.annotation":
            emoji = one_line(relation.get("key"))
            if emoji and _EVENT.fullmatch(target):
                _keep(self._known, name, _Known(sender, target=target, emoji=emoji))
                self._reaction("added", room, sender, target, emoji, event)
        elif kind == "m.room.redaction":
            # Since version 11 of rooms it is in the content.
            self._deleted(room, sender, text_of(content.get("redacts") or event.get("redacts")), event)

    def _message(
        self, room: str, event: Mapping[str, Any], content: Mapping[str, Any], name: str, thread: str, delayed: bool
    ) -> None:
        if (message := self._made(room, event, content, name, thread)) is None or self._backend.events is None:
            return
        message.delayed = delayed
        self._backend.events.message_received(self._backend, message)
        mentioned = mapping(content.get("m.mentions")).get("user_ids")
        users = [one for one in mentioned if is_user(text_of(one))] if isinstance(mentioned, list) else []
        if users and not delayed:
            people: list[Identifier] = [self._person(room, one) for one in dict.fromkeys(users[:MOST_MENTIONED])]
            self._backend.events.mention_received(self._backend, message, people)

    def _made(
        self, room: str, event: Mapping[str, Any], content: Mapping[str, Any], name: str, thread: str
    ) -> Message | None:
        backend, sender, kind = self._backend, text_of(event["sender"]), text_of(content.get("msgtype"))
        is_file = kind in _FILES
        if not isinstance(content.get("body"), str) or kind not in {"m.text", *_EXTRAS, *_FILES}:
            return None
        body = sanitize(content["body"])
        if is_file and content.get("filename", body) == body:
            # Without a caption, it is the name of the file, which must run no command.
            body = ""
        elif body.startswith("> ") and mapping(mapping(content.get("m.relates_to")).get("m.in_reply_to")):
            # Old clients quote what they reply to.
            lines = body.split("\n")
            quoted_lines = next((number for number, line in enumerate(lines) if line[:1] != ">"), len(lines))
            body = "\n".join(lines[quoted_lines:]).removeprefix("\n")
        extras = {"event_id": name, **({_EXTRAS[kind]: True} if kind in _EXTRAS else {})}
        frm: Identifier
        to: Identifier | None
        if backend.membership.direct_with(room):
            frm, to = self._person(room, sender), backend.bot_identifier
            backend.membership.direct_used(room)
        else:
            to = backend.membership.room(room)
            frm = MatrixOccupant(sender, to, backend.membership.name_in(room, sender))
        message = backend.build_message(body, frm=frm, to=to, extras=extras)
        message.ref, message.thread = MessageRef(backend.network, room, name, thread), thread
        sent_at = event.get("origin_server_ts")
        if isinstance(sent_at, int) and 0 < sent_at < 1e14:
            message.sent_at = sent_at / 1000
        if is_file and text_of(content.get("url")).startswith("mxc://"):
            message.attachments = (_attachment(backend, content),)
        return message

    def _edited(self, room: str, target: str, event: Mapping[str, Any], delayed: bool) -> None:
        sender = event["sender"]
        if sender == self._backend.client.user or not _EVENT.fullmatch(target):
            return
        if (known := self._known.get(target)) is not None:
            self._report_edit(known, room, target, event, delayed)
            return
        path = f"/rooms/{quoted(room)}/event/{quoted(target)}"
        asked = self._backend.client.call("GET", path)
        asked.addCallback(lambda original: self._report_edit(_known(original), room, target, event, delayed))
        asked.addErrback(self._not_found, target)

    def _report_edit(self, known: _Known, room: str, target: str, event: Mapping[str, Any], delayed: bool) -> None:
        # Servers pass on what anybody claims to be an edit.
        if known.sender != event["sender"] or known.target or self._backend.events is None:
            return
        _keep(self._known, target, known)
        new = mapping(mapping(event.get("content")).get("m.new_content"))
        if (message := self._made(room, event, new, target, known.thread)) is not None:
            message.edited, message.delayed = True, delayed
            self._backend.events.message_edited(self._backend, message)

    def _not_found(self, failure: Failure, target: str) -> None:
        text = "{network}: an edit of {target} is ignored: {reason}"
        self.log.debug(text, network=self._backend.network, target=target, reason=failure.getErrorMessage())

    def _deleted(self, room: str, sender: str, target: str, event: Mapping[str, Any]) -> None:
        known = self._known.pop(target, None)
        if not _EVENT.fullmatch(target) or self._backend.events is None:
            return
        if known is not None and known.target:
            self._reaction("removed", room, known.sender, known.target, known.emoji, event)
        elif sender != self._backend.client.user:
            ref = MessageRef(self._backend.network, room, target, known.thread if known is not None else "")
            self._backend.events.message_deleted(self._backend, ref, self._person(room, sender))

    def _reaction(self, action: str, room: str, sender: str, target: str, emoji: str, event: Mapping[str, Any]) -> None:
        if sender == self._backend.client.user or self._backend.events is None:
            return
        owner = self._known.get(target)
        reaction = Reaction(
            reactor=self._person(room, sender),
            reacted_to_owner=self._person(room, owner.sender) if owner is not None else None,
            action=action,
            timestamp=str(event.get("origin_server_ts", "")),
            # Some clients add the sign that asks for a coloured picture.
            reaction_name=emoji.removesuffix("\ufe0f"),
            reacted_to=MessageRef(self._backend.network, room, target, owner.thread if owner else "")._asdict(),
        )
        self._backend.events.reaction_changed(self._backend, reaction)

    def _person(self, room: str, user: str) -> MatrixPerson:
        return MatrixPerson(user, self._backend.network, self._backend.membership.name_in(room, user))


def _keep(values: OrderedDict[str, T], key: str, value: T) -> None:
    values[key] = value
    values.move_to_end(key)
    if len(values) > _MOST_KNOWN:
        values.popitem(last=False)


def one_line(text: Any) -> str:
    """Return a text from outside as one line of at most 200 characters; "" for anything else."""
    return " ".join(sanitize(text_of(text)).split())[:200]


def _known(event: Any) -> _Known:
    """Return what is to be known of a message that was asked for."""
    event = mapping(event)
    relation = mapping(mapping(event.get("content")).get("m.relates_to"))
    is_message = event.get("type") == "m.room.message" and relation.get("rel_type") != "m.replace"
    thread = text_of(relation.get("event_id")) if relation.get("rel_type") == "m.thread" else ""
    return _Known(text_of(event.get("sender")) if is_message else "", thread)


def _attachment(backend: MatrixBackend, content: Mapping[str, Any]) -> Attachment:
    info, url = mapping(content.get("info")), text_of(content.get("url"))
    size, name = info.get("size"), one_line(content.get("filename")) or one_line(content.get("body")) or "file"
    size = size if isinstance(size, int) and size > 0 else 0
    return Attachment(name, one_line(info.get("mimetype")), size, partial(backend.client.download, url))

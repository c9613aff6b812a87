"""A connection to one Matrix network, the long poll of its homeserver, and what was missed while the bot was away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore
from twisted.python.failure import Failure

from errklein.chat import OFFLINE, ONLINE, Identifier, Message, Person, RoomDoesNotExistError, read_only
from errklein.chat.operations import Delete, Edit, Operation, React, Upload, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.http_client import BodyTooLarge
from errklein.networks._connection import Unusable
from errklein.networks.base import EVERYTHING
from errklein.networks.context import NetworkContext
from errklein.networks.directory import ManagingNetwork
from errklein.networks.json_client import LARGEST, RequestRefused, mapping, one_line, text_of
from errklein.networks.matrix import MatrixSettings
from errklein.networks.matrix._client import KINDS, MOST_MENTIONED, MatrixClient, Receiver, quoted, relation_of, time_of
from errklein.networks.matrix._rooms import MatrixRooms
from errklein.networks.matrix.identifiers import (
    MatrixOccupant,
    MatrixPerson,
    MatrixRoom,
    is_room,
    is_user,
    split_occupant,
)
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.running import on_reactor_soon
from errklein.text import is_only_text, plain, sanitize, to_plain, to_xhtml, without_mentions
from errklein.text.neutralising import without_effects
from errklein.text.xhtml import subset

Content = dict[str, Any]
# https://spec.matrix.org/latest/client-server-api/#mroommessage-msgtypes. Images may only be those of the homeserver, so they become links.
_TAG_NAMES = """a b blockquote br caption code del details div em h1 h2 h3 h4 h5 h6 hr i li ol p pre s span strong sub summary
sup table tbody td th thead tr u ul"""
_TAGS = frozenset(_TAG_NAMES.split())
_ATTRIBUTES = {"a": ("href",), "code": ("class",), "ol": ("start",)}
_MOST_IDS = 3000  # bytes of the ids of people whom a message notifies, at most
_USER_IN_TEXT = re.compile(r"(?<![^\s(\[{<\"'])@[\w.=/+-]{1,200}:[\w.:\[\]-]{1,200}(?<![.:])", re.ASCII)


def text_content(markdown: str, mentions: Iterable[str] = (), for_all: bool = False, kind: str = "m.text") -> Content:
    """Return the content of a message. `mentions` are the people, or occupants, whom it notifies; with `for_all`, `@room`
    and the ids of people in the text notify, too."""
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


MOST_BYTES = 60_000
"""The largest content of an event. The whole event, with what the servers add, may have 65,536 bytes."""
_MOST_EDITED = 29_000  # the same for an edit, which has its text twice
_PRESENCES = {ONLINE: "online", OFFLINE: "offline"}


class MatrixBackend(ManagingNetwork):
    """A connection to one Matrix network, as a client of a homeserver. Implements `outbox.Transport` and `ManagesRooms`, too."""

    mode = "matrix"
    is_encrypted: bool = read_only("settings.is_encrypted", "Whether requests are encrypted, or stay on this computer.")
    joined_rooms: Sequence[MatrixRoom] = read_only("membership.joined", "The rooms that the bot is in.")
    unreadable: Sequence[str] = read_only("membership.unreadable", "The encrypted rooms.")
    membership: MatrixRooms
    window = 8

    def __init__(self, context: NetworkContext) -> None:
        super().__init__(context)
        self.settings = MatrixSettings.read(context.config)
        self.message_size_limit = size = min(
            getattr(context.config, "MESSAGE_SIZE_LIMIT", None) or MOST_BYTES, MOST_BYTES
        )
        self._features = replace(EVERYTHING, measure=size_of, size=size, edit_size=min(size, _MOST_EDITED))
        self.client = MatrixClient(context, self.settings)
        self.manage(MatrixRooms(self))
        self.receiver = Receiver(self)
        self._sync = MatrixSync(self)
        self.presence: tuple[str, str] = ("online", "")  # as Matrix names it, and the text
        self._name = ""

    @property
    def bot_identifier(self) -> Identifier | None:  # type: ignore[override]
        return MatrixPerson(self.client.user, self.network, self._name) if self.client.user else None

    async def session(self) -> None:
        await self._sync.session()

    def unavailable(self, recipient: str) -> str | None:
        return self.membership.unavailable(recipient)

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        return super().disconnect(grace).addCallback(lambda _: self._sync.stop())

    async def signed_on(self) -> None:
        try:
            profile = await self.client.call("GET", f"/profile/{quoted(self.client.user)}")
            self._name = one_line(mapping(profile).get("displayname"))
        except (RequestRefused, RetryLater):
            self._failed(Failure(), "the bot's display name")
        if self.presence != ("online", ""):
            await self._show_presence()

    # What the bot sends

    def recipient_of(self, message: Message, wanted: Wanted) -> str:
        return self.membership.latest(super().recipient_of(message, wanted))

    def details_of(self, message: Message) -> str:
        """Return what an event has besides the text: `notice` and `action` of `extras`, `mentions`, and a reply to `parent`."""
        details: dict[str, Any] = {key: True for key in KINDS if message.extras.get(key)}
        if message.mentions:
            details["mentions"] = True
        if reply := self.replied_to(message):
            details["reply"] = reply
        return json.dumps(details) if details else ""

    async def send_operation(self, message: OutgoingMessage, operation: Operation, key: str) -> str:
        details = json.loads(message.details or "{}")
        ref = getattr(operation, "ref", None)
        to = message.recipient if ref is None else ref.room
        if to != message.recipient and (reason := self.unavailable(to)):
            # What waits for that room would delay others to the recipient.
            raise RequestRefused(0, "", reason)
        room = await self.membership.target(to)
        if isinstance(operation, Delete):
            # Homeservers keep the texts of edits.
            for edit in await self._own(room, operation.ref.id, "m.replace/m.room.message"):
                await self.client.redact(room, text_of(edit.get("event_id")), f"{key}-{edit.get('event_id')}")
            return await self.client.redact(room, operation.ref.id, key)
        if isinstance(operation, React):
            return await self._react(room, operation, key)
        if isinstance(operation, Upload):
            url = await self.client.upload(operation.name, operation.type, operation.content)
            content = file_content(operation.name, operation.type, len(operation.content), url)
        else:
            kind = next((KINDS[name] for name in KINDS if details.get(name)), "m.text")
            content = text_content(operation.text, operation.mentions, bool(details.get("mentions")), kind)
        if isinstance(operation, Edit):
            content = edit_content(operation.ref.id, content)
        else:
            content = related(content, operation.thread, details.get("reply", ""))
        return await self.client.send(room, "m.room.message", content, key)

    async def _react(self, room: str, operation: React, key: str) -> str:
        event, emoji = operation.ref.id, operation.emoji
        if operation.remove:
            own = await self._own(room, event, "m.annotation/m.reaction")
            found = [text_of(one.get("event_id")) for one in own if relation_of(one).get("key") == emoji]
            return await self.client.redact(room, found[0], key) if found else ""
        try:
            return await self.client.send(room, "m.reaction", reaction_content(event, emoji), key)
        except RequestRefused as error:
            if error.code != "M_DUPLICATE_ANNOTATION":
                raise
            return ""

    async def _own(self, room: str, event: str, relation: str) -> list[Mapping[str, Any]]:
        path = f"/rooms/{quoted(room)}/relations/{quoted(event)}/{relation}"
        found = mapping(await self.client.call("GET", path, params={"limit": "100"}, version="v1")).get("chunk")
        events = map(mapping, found if isinstance(found, list) else ())
        return [each for each in events if each.get("sender") == self.client.user]

    def build_identifier(self, text: str) -> Identifier:
        if text[:1] not in ("!", "#"):
            return MatrixPerson(text, self.network)
        if (occupant := split_occupant(text)) is not None:
            room = self.membership.room(occupant[0])
            return MatrixOccupant(occupant[1], room, self.membership.name_in(room.id, occupant[1]))
        if text[0] == "#":
            self.membership.names.ask(text)
        return self.membership.room(text)

    async def look_up(self, text: str) -> Identifier:
        found = self.build_identifier(text)
        room = found.room if isinstance(found, MatrixOccupant) else found
        if isinstance(room, MatrixRoom) and not room.id and await self.membership.names.find(room.text) is None:
            raise RoomDoesNotExistError(f"there is no room {room.text}")
        return found

    def prefix_groupchat_reply(self, message: Message, identifier: Identifier) -> None:
        """Put the person's name and a colon before the text. The person is notified."""
        name = identifier.nick or str(identifier) if isinstance(identifier, Person) else str(identifier)
        space = "\n\n" if message.body.startswith(("#", "|")) else " "
        message.body = f"{without_effects(plain(name))}:{space}{message.body}"
        if isinstance(identifier, MatrixPerson):
            message.mentioned = (*message.mentioned, identifier.person)

    def is_from_self(self, message: Message) -> bool:
        return isinstance(message.frm, MatrixPerson) and message.frm.person == self.client.user

    def change_presence(self, status: str, message: str) -> None:
        self.presence = _PRESENCES.get(status, "unavailable"), message
        on_reactor_soon(self.context.reactor, lambda: self.connection.is_connected and self._show_presence())

    def _show_presence(self) -> Deferred[Any]:
        status, text = self.presence
        content = {"presence": status, **({"status_msg": text} if text else {})}
        shown = self.client.call("PUT", f"/presence/{quoted(self.client.user)}/status", content)
        return shown.addErrback(self._failed, "the bot's presence")

    def _failed(self, failure: Failure, what: str) -> None:
        self.membership.warn(f"{what}: {failure.getErrorMessage()}")


Event = Mapping[str, Any]
POLL, PATIENCE = 30.0, 15.0
"""The seconds for which the homeserver waits for events, and those that its response may take beyond."""
TIMELINE = 50  # the number of events of a room in a response. What was before is read as a gap.
_DAY, _RENEW = 86400.0, 3600.0
"""The age from which a position isn't used, since nobody expects answers to older commands, and that of one to be stored again."""
_LARGEST_STATE = 100_000_000
"""The bytes of the largest response with the state of all rooms: some 2,000 for each, and more if somebody makes it large."""
_INVITED = 300.0  # the seconds before the bot's join in which those who invited it may have written to it
_MARK, _EACH = "errklein.position", 30.0
"""The account data with a copy of the position, and the seconds between changes. It is newer than that of a restored backup."""
_POSITION: Mapping[str, Any] = {"user": str, "since": str, "at": (int, float), "number": int}
_READERS = 8  # the number of rooms whose missed messages are read at the same time
_STATE = ["canonical_alias", "create", "encryption", "member", "name", "tombstone", "topic"]


class MatrixSync:
    """Reads events in `session`, and passes them on: state to the rooms, messages to the receiver."""

    def __init__(self, backend: MatrixBackend) -> None:
        self._backend, self._client, self._rooms = backend, backend.client, backend.membership
        self._now, self._seconds = backend.context.now, backend.context.reactor.seconds
        self._seen = backend.context.seen("sync")
        self._has_state = self._is_restored = False
        self._marked_at, self._most = 0.0, TIMELINE
        self._mark: Mapping[str, Any] = {}
        self._readers = DeferredSemaphore(_READERS)
        self._gaps: list[Deferred[None]] = []

    async def session(self) -> None:
        await self._client.log_in()
        position = await self._position()
        if not (position and self._has_state):
            # The state of all rooms, as it is now.
            self._rooms.states.clear()
            answer = await self._read("", 0.0)
            self._handle(answer, {})
            if not position:
                self._store(answer)
            elif self._mark.get("number", 0) > position["number"]:
                # The data directory is that of a backup.
                self._seen.position, self._is_restored = self._mark, True
            self._has_state = True
        wait = 0.0
        while True:
            before = self._seen.position
            answer = await self._read(before["since"], wait)
            self._store(answer)
            has_messages = self._has_messages(answer)
            try:
                if has_messages:
                    # Before they are handled: no command runs again if the process is killed.
                    await self._seen.flush()
            finally:
                # Also if the session is ended meanwhile: nothing reads it again.
                self._handle(answer, before)
            if has_messages and self._seconds() - self._marked_at >= _EACH:
                self._marked_at = self._seconds()
                path = f"/user/{quoted(self._client.user)}/account_data/{_MARK}"
                self._client.call("PUT", path, self._seen.position).addErrback(lambda failure: None)
            if not wait:
                wait, self._is_restored = POLL, False
                await self._backend.signed_on()
                self._backend.connection.connected()
                self._rooms.connected()

    def stop(self) -> Deferred[None]:
        """Join no rooms and read no gaps any more, and store which events were handled."""
        self._rooms.stop()
        for gap in self._gaps:
            gap.cancel()
        return DeferredList(self._gaps).addCallback(lambda _: self._seen.flush())

    async def _position(self) -> Mapping[str, Any]:
        """Return the position of the latest event that was handled; an empty one for the present."""
        if not self._has_state:
            await self._seen.load()
        stored = mapping(self._seen.position)
        is_valid = stored.get("user") == self._client.user and self._now() - stored["at"] < _DAY
        return stored if is_valid else {}

    def _store(self, answer: Mapping[str, Any]) -> None:
        stored, since, now = mapping(self._seen.position), answer["next_batch"], self._now()
        if since != stored.get("since") or now - stored["at"] >= _RENEW:
            number = stored.get("number", 0) + 1
            self._seen.position = {"user": self._client.user, "since": since, "at": now, "number": number}

    async def _read(self, since: str, wait: float) -> Mapping[str, Any]:
        shown, wanted = self._backend.presence[0], json.dumps(_filter(self._most if since else 1, fresh=not since))
        params = {"filter": wanted, "timeout": str(int(wait * 1000)), "set_presence": shown}
        params |= {"since": since} if since else {}
        # Reading all that was missed may take long.
        timeout = wait + PATIENCE if wait else 4 * POLL
        most = LARGEST if since else _LARGEST_STATE
        try:
            answer = mapping(await self._client.call("GET", "/sync", params=params, timeout=timeout, most=most))
        except BodyTooLarge as error:
            if since and self._most == 1:
                self._seen.position = None
            # What others have written too much of is a gap.
            self._most = 1
            raise NotConfirmed(str(error)) from None
        except RequestRefused as error:
            reason = f"the homeserver refuses to send events ({error})"
            if error.status != 400 or not since:
                raise Unusable(reason) from None
            # As after the homeserver's database was restored: the position means nothing.
            self._seen.position = None
            raise NotConfirmed(reason) from None
        if not text_of(answer.get("next_batch")):
            raise NotConfirmed("the homeserver has answered without a position")
        if since:
            self._most = TIMELINE
        return answer

    def _has_messages(self, answer: Mapping[str, Any]) -> bool:
        """Return whether there is a message of somebody else, which may be a command."""
        events = [event for joined in _rooms_of(answer, "join").values() for event in _events(joined, "timeline")]
        return any(one.get("type") == "m.room.message" and one.get("sender") != self._client.user for one in events)

    def _handle(self, answer: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        for event in _events(answer, "account_data"):
            content = mapping(event.get("content"))
            if event.get("type") == "m.direct":
                self._rooms.direct_changed(content)
            elif all(isinstance(content.get(name), kind) for name, kind in _POSITION.items()):
                self._mark = content
        for room, invited in _rooms_of(answer, "invite").items():
            self._rooms.invited(room, list(_events(invited, "invite_state")))
        for room, joined in _rooms_of(answer, "join").items():
            self._room(room, joined, before)
        for room, left in _rooms_of(answer, "leave").items():
            self._rooms.left(room, [*_events(left, "state"), *_events(left, "timeline")])
        for event in _events(answer, "presence"):
            self._backend.receiver.presence(event)

    def _room(self, room: str, joined: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        was_in, timeline = self._rooms.is_joined(room), list(_events(joined, "timeline"))
        first = self._first(timeline)
        # What happened before the bot was there is no gap.
        is_gap = mapping(joined.get("timeline")).get("limited") is True and was_in and bool(before) and not first
        self._rooms.summary(room, mapping(joined.get("summary")), is_gap)
        if is_gap:
            self._gap(room, text_of(mapping(joined["timeline"]).get("prev_batch")), before, timeline)
        for event in _events(joined, "state"):
            self._rooms.state(room, event)
        is_joining = bool(timeline) and timeline[first].get("state_key") == self._client.user
        joined_at = time_of(timeline[-1]) if is_joining else 0.0
        for number, event in enumerate(timeline):
            is_current = bool(before) and number >= first and self._seen.is_new(text_of(event.get("event_id")))
            if "state_key" in event:
                self._rooms.state(room, event, is_current)
            elif is_current:
                self._backend.receiver.receive(room, event, joined_at - time_of(event) > _INVITED)
        if not was_in:
            self._rooms.complete(room)

    def _first(self, timeline: Sequence[Event]) -> int:
        """Return the number of the first event for the bot: of its invitation, or its join, if that is in the timeline. With
        a position of the account data, which may be some seconds old, it is the bot's last message: what it has answered."""
        first = 0
        for number, event in enumerate(timeline):
            if event.get("type") == "m.room.member" and event.get("state_key") == self._client.user:
                before = mapping(mapping(event.get("unsigned")).get("prev_content")).get("membership")
                now = mapping(event.get("content")).get("membership")
                first = number if now == "invite" or before not in ("invite", "join") else first
            elif self._is_restored and event.get("sender") == self._client.user and "state_key" not in event:
                first = number
        return first

    def _gap(self, room: str, begin: str, before: Mapping[str, Any], timeline: Sequence[Event]) -> None:
        """Read the messages between two positions, at most `missed`, and report what is still missing. The room's events
        wait for that; those of other rooms don't."""
        most, missed = self._backend.settings.missed, list[Event]()

        async def read() -> None:
            nonlocal begin
            with suppress(RequestRefused, RetryLater, NotConfirmed, BodyTooLarge, CancelledError):
                async with self._readers:
                    while begin and len(missed) < most:
                        limit = str(min(100, most - len(missed)))
                        params = {"dir": "b", "from": begin, "to": before["since"], "limit": limit}
                        answer = await self._client.call("GET", f"/rooms/{quoted(room)}/messages", params=params)
                        found = list(_events(mapping(answer), "chunk"))
                        missed.extend(found)
                        begin = text_of(mapping(answer).get("end")) if found else ""

        def report() -> None:
            for event in reversed(missed):
                if "state_key" not in event and self._seen.is_new(text_of(event.get("event_id"))):
                    self._backend.receiver.handle(room, event, True)
            if begin:
                known = [*missed[-1:], *timeline]
                until = time_of(known[0]) if known else self._now()
                self._backend.report("gap_found", self._rooms.room(room), before["at"], until)

        reading = Deferred.fromCoroutine(read())
        self._gaps = [*(one for one in self._gaps if not one.called), reading]
        self._backend.receiver.order.do(room, reading, report)


def _filter(limit: int, fresh: bool) -> dict[str, Any]:
    nothing: dict[str, Any] = {"types": []}
    account = {"types": ["m.direct", _MARK]}
    if fresh:
        # Synapse answers to the same request with what it has answered minutes ago: commands would run again.
        account["not_types"] = [token_hex(8)]
    # Another process has got members before.
    lazy = {"lazy_load_members": True, "include_redundant_members": True}
    state = {"types": [f"m.room.{kind}" for kind in _STATE], **lazy}
    of_room = {"account_data": nothing, "ephemeral": nothing, "state": state, "timeline": {"limit": limit}}
    return {"account_data": account, "room": of_room}


def _rooms_of(answer: Mapping[str, Any], membership: str) -> Mapping[str, Mapping[str, Any]]:
    rooms = mapping(mapping(answer.get("rooms")).get(membership))
    return {room: mapping(content) for room, content in rooms.items() if is_room(room)}


def _events(content: Mapping[str, Any], name: str) -> Iterator[Event]:
    found = content.get(name)
    events = found if isinstance(found, list) else mapping(found).get("events")
    return (event for event in (events if isinstance(events, list) else ()) if isinstance(event, dict))

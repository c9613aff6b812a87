"""A connection to one Matrix network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import OFFLINE, ONLINE, Identifier, Message, Person, RoomDoesNotExistError, read_only
from errklein.chat.features import Features
from errklein.chat.operations import Delete, Edit, Operation, React, Upload, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.networks.context import NetworkContext
from errklein.networks.json_client import RequestRefused, mapping, one_line, text_of
from errklein.networks.matrix import MatrixSettings
from errklein.networks.matrix._client import MatrixClient, quoted
from errklein.networks.matrix._events import (
    KINDS,
    Receiver,
    edit_content,
    file_content,
    reaction_content,
    related,
    relation_of,
    size_of,
    text_content,
)
from errklein.networks.matrix._rooms import MatrixRooms
from errklein.networks.matrix._sync import MatrixSync
from errklein.networks.matrix.identifiers import MatrixOccupant, MatrixPerson, MatrixRoom, split_occupant
from errklein.networks.outbox import RetryLater
from errklein.networks.rooms import ManagingNetwork
from errklein.running import on_reactor_soon
from errklein.text import plain
from errklein.text.neutralising import without_effects

MOST_BYTES = 60_000
"""The largest content of an event. The whole event, with what the servers add, may have 65,536 bytes."""

_MOST_EDITED = 29_000  # the same for an edit, which has its text twice

_FEATURES = Features(
    measure=size_of, threads=True, edits=True, deletions=True, reactions=True, files=True, mentions=True
)

_PRESENCES = {ONLINE: "online", OFFLINE: "offline"}


class MatrixBackend(ManagingNetwork):
    """A connection to one Matrix network, as a client of a homeserver. Implements `outbox.Transport` and `ManagesRooms`, too."""

    log = Logger(namespace="errklein.networks")

    mode = "matrix"
    joins_configured_rooms = True
    is_encrypted: bool = read_only("settings.is_encrypted", "Whether requests are encrypted, or stay on this computer.")
    joined_rooms: Sequence[MatrixRoom] = read_only("membership.joined", "The rooms that the bot is in.")
    unreadable: Sequence[str] = read_only("membership.unreadable", "The encrypted rooms.")

    membership: MatrixRooms
    window = 8
    serial = True

    def __init__(self, context: NetworkContext) -> None:
        super().__init__(context)
        self.settings = MatrixSettings.read(context.config)
        size = min(getattr(context.config, "MESSAGE_SIZE_LIMIT", None) or MOST_BYTES, MOST_BYTES)
        self.message_size_limit = size
        self._features = replace(_FEATURES, size=size, edit_size=min(size, _MOST_EDITED))
        self.client = MatrixClient(context, self.settings)
        self.manage(MatrixRooms(self))
        self.receiver = Receiver(self)
        self._sync = MatrixSync(self)
        self.presence: tuple[str, str] = ("online", "")
        """As Matrix names it, and the text."""
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
        """Ask for the bot's display name, and show its presence, after the first sync of a connection."""
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
        """Return the bot's events that relate to an event, as the homeserver knows them."""
        path = f"/rooms/{quoted(room)}/relations/{quoted(event)}/{relation}"
        found = mapping(await self.client.call("GET", path, params={"limit": "100"}, version="v1")).get("chunk")
        events = map(mapping, found if isinstance(found, list) else ())
        return [each for each in events if each.get("sender") == self.client.user]

    # Names

    def is_certain(self, person: Identifier) -> bool:
        return True

    def build_identifier(self, text: str) -> Identifier:
        """Return the person of @name:server, the room of an id or alias, or the occupant of ROOM/@name:server."""
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

    # Rooms and states

    def change_presence(self, status: str, message: str) -> None:
        self.presence = _PRESENCES.get(status, "unavailable"), message
        on_reactor_soon(self.context.reactor, lambda: self.connection.is_connected and self._show_presence())

    def _show_presence(self) -> Deferred[Any]:
        status, text = self.presence
        content = {"presence": status, **({"status_msg": text} if text else {})}
        shown = self.client.call("PUT", f"/presence/{quoted(self.client.user)}/status", content)
        return shown.addErrback(self._failed, "the bot's presence")

    def _failed(self, failure: Failure, what: str) -> None:
        self.log.warn("{network}: {what}: {reason}", network=self.network, what=what, reason=failure.getErrorMessage())

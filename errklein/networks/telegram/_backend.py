"""A connection to Telegram as one bot, and the groups and channels that the bot is in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from twisted.internet.defer import Deferred

from errklein.chat import Identifier, Room, RoomDoesNotExistError, RoomError, UserDoesNotExistError
from errklein.chat.features import Features
from errklein.chat.operations import Delete, Edit, Operation, Post, React, Upload
from errklein.chat.outgoing import OutgoingMessage, Wait
from errklein.networks._state import Latest
from errklein.networks.base import ConnectedNetwork
from errklein.networks.context import NetworkContext
from errklein.networks.json_client import File, RequestRefused, one_line
from errklein.networks.rooms import RoomActions, reported
from errklein.networks.telegram import rooms_of
from errklein.networks.telegram._client import TelegramClient
from errklein.networks.telegram._formatting import EMOJI, keyboard, place, size_of, to_html
from errklein.networks.telegram._updates import TelegramUpdates
from errklein.networks.telegram.identifiers import TelegramOccupant, TelegramPerson, TelegramRoom

_IDENTIFIER = re.compile("(-[1-9][0-9]{0,18})(?:/([1-9][0-9]{0,18}))?|([1-9][0-9]{0,18})")
_MOST_UNITS, _COLOURED = 4096, "\ufe0f"  # the latter asks for a coloured picture of an emoji
_MOST_LEFT = 1000  # the number of rooms of which it is known why the bot isn't there
_PHOTOS, _LARGEST_PHOTO = ("image/jpeg", "image/png", "image/webp"), 10_000_000
_CAN = dict.fromkeys(("threads", "edits", "deletions", "reactions", "files", "mentions"), True)
_FEATURES = Features(measure=size_of, emoji=EMOJI | {one + _COLOURED for one in EMOJI}, choices=100, **_CAN)


class TelegramBackend(ConnectedNetwork, RoomActions):
    """A connection to Telegram. Implements `outbox.Transport` and `ManagesRooms`, too, and the methods of `Directory` that rooms
    use, for the ids that groups had before they became supergroups."""

    mode = "telegram"
    joins_configured_rooms = is_encrypted = True
    window = 16

    def __init__(self, context: NetworkContext) -> None:
        ConnectedNetwork.__init__(self, context)
        RoomActions.__init__(self, context.reactor, self.network)
        self.message_size_limit = min(getattr(context.config, "MESSAGE_SIZE_LIMIT", None) or _MOST_UNITS, _MOST_UNITS)
        self._features = replace(_FEATURES, size=self.message_size_limit)
        self.client = TelegramClient(context)
        self.me: Mapping[str, Any] = {}
        """The bot, as Telegram describes it; empty before the first connection."""
        self._chats: dict[str, list[Any]] = {}
        """Of each room whether the bot is there, and the title, or why not. Telegram doesn't list them, so they are stored."""
        self._moved: dict[str, str] = {}
        self._reactions = Latest()
        self._updates = TelegramUpdates(self)

    async def session(self) -> None:
        await self._updates.session()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        self.stop()
        return super().disconnect(grace).addCallback(lambda _: self._updates.flush())

    async def send_operation(self, message: OutgoingMessage, operation: Operation, key: str) -> str:
        ref, sent = getattr(operation, "ref", None), None
        chat, number = (message.recipient, 0) if ref is None else (ref.room, int(ref.id))
        call, where = partial(self._call, chat=chat), place(getattr(operation, "thread", ""), message.details)
        match operation:
            case Post(text, _, mentions, choices):
                sent = await call("sendMessage", **self._html(text, mentions), **where, reply_markup=keyboard(choices))
            case Edit(_, text, mentions):
                try:
                    await call("editMessageText", message_id=number, **self._html(text, mentions))
                except RequestRefused as error:
                    if "message is not modified" not in error.reason:
                        raise
            case Delete():
                await call("deleteMessage", message_id=number)
            case React(_, emoji, remove):
                emoji = emoji.replace(_COLOURED, "")
                # A bot has one reaction to a message: a later one may have taken its place.
                if not remove or self._reactions.get((chat, number), emoji) == emoji:
                    self._reactions[chat, number] = "" if remove else emoji
                    reaction = [] if remove else [{"type": "emoji", "emoji": emoji}]
                    await call("setMessageReaction", message_id=number, reaction=reaction)
            case Upload(name, type, content):
                try:
                    if type not in _PHOTOS or len(content) > _LARGEST_PHOTO:
                        raise RequestRefused(0, "", "no photo")
                    sent = await call("sendPhoto", file=File(content, name, type, "photo"), **where)
                except RequestRefused:
                    # Telegram also refuses photos of unusual shapes.
                    file = File(content, name, type or "application/octet-stream", "document")
                    sent = await call("sendDocument", file=file, **where)
        return self._updates.ref(sent, str(self.me["id"])).id if sent is not None else ""

    def _html(self, text: str, mentions: Sequence[str]) -> dict[str, str]:
        people = [who for one in mentions if (who := one.rpartition("/")[2]).isdecimal()]
        return {"text": to_html(text, {who: self._updates.names.get(who, who) for who in people}), "parse_mode": "HTML"}

    async def _call(self, method: str, chat: str, **fields: Any) -> Any:
        """Call a method for a chat, for the supergroup that it may have become."""
        try:
            return await self.client.call(method, chat_id=int(self.known(chat)), **fields)
        except RequestRefused as error:
            if error.code[:1] != "-":
                raise
            self.became(self.known(chat), error.code)
            return await self.client.call(method, chat_id=int(error.code), **fields)

    def is_certain(self, person: Identifier) -> bool:
        return True

    def build_identifier(self, text: str) -> Identifier:
        if (found := _IDENTIFIER.fullmatch(text)) is None:
            raise ValueError(f"invalid person or room: {text!r}; expected an id such as 123456789 or -1001234567890")
        if found[1]:
            return TelegramOccupant(found[2], self.room(found[1])) if found[2] else self.room(found[1])
        person = TelegramPerson(text)
        person.network = self.network
        return person

    async def look_up(self, text: str) -> Identifier:
        found = self.build_identifier(text)
        try:
            await self._call("getChat", text.partition("/")[0])
        except RequestRefused as error:
            if error.status == 400 and text[0] == "-":
                raise RoomDoesNotExistError(f"there is no room {text} that the bot knows ({error})") from None
            if error.status == 400:
                raise UserDoesNotExistError(f"{text} has never written to the bot ({error})") from None
        return found

    def room(self, text: str) -> TelegramRoom:
        return TelegramRoom(text, self.network, names=self, actions=self)  # type: ignore[arg-type]

    def rooms(self) -> Sequence[Room]:
        return [self.room(chat) for chat in list(self._chats) if self.is_joined(chat)]

    def title_of(self, chat: str) -> str | None:
        is_in, text = self._chats.get(chat, (False, ""))
        return text if is_in else None

    def known(self, name: str) -> str:
        return self._moved.get(name, name)

    def names_of(self, meaning: str) -> list[str]:
        return [old for old, new in list(self._moved.items()) if new == meaning]

    def is_joined(self, name: str) -> bool:
        return self.title_of(self.known(name)) is not None

    def unavailable(self, recipient: str) -> str | None:
        is_in, text = self._chats.get(self.known(recipient), (True, ""))
        return None if is_in else text

    def room_status(self, name: str) -> Wait | None:
        is_in, text = self._chats.get(self.known(name), (None, ""))
        status = Wait(f"the bot is in {name}") if is_in else Wait(f"the bot is not in {name}", cause=text)
        return None if is_in is None else self.connection.absence or status

    async def load_rooms(self) -> None:
        """Read the rooms that an earlier process has known, and look for those of CHATROOM_PRESENCE among the others."""
        chats, moved = await self.context.state.get("rooms", ({}, {}))
        self._chats, self._moved = {**chats, **self._chats}, {**moved, **self._moved}
        for room in map(self.room, rooms_of(self.config)):
            if not room.exists:
                try:
                    await self._enter(room)
                except (RequestRefused, RoomError) as error:
                    self.note(room.id, False, str(error))
                    self.warn(f"the bot is not in {room} of CHATROOM_PRESENCE: {error}")

    def note(self, room: str, is_in: bool, text: str) -> None:
        """Note whether the bot is in a room, with its present title, or why it isn't."""
        if self._chats.get(room) != [is_in, text]:
            self._chats[room] = [is_in, text]
            for old in [one for one, (is_there, _) in self._chats.items() if not is_there][:-_MOST_LEFT]:
                del self._chats[old]
            stored = self.context.state.set("rooms", (dict(self._chats), dict(self._moved)))
            stored.addErrback(lambda failure: self.log.failure("The rooms were not stored", failure))
            if self.connection.is_connected:
                self.outbox.resume()

    def became(self, old: str, new: str) -> None:
        """Note that a group has become a supergroup: messages for it go there."""
        if self.known(old) != new:
            self.warn(f"the group {old} has become the supergroup {new}; use that id in the configuration")
            self._moved[old] = new
            # Not what is noted already: `note` would store nothing.
            self.note(new, *self._chats.pop(new, self._chats.pop(old, (True, ""))))
            self.outbox.rename(old, new)

    def is_inside(self, member: Mapping[str, Any]) -> bool:
        return member["status"] not in ("left", "kicked") and member.get("is_member") is not False

    async def _enter(self, room: Room, password: str = "") -> None:
        if not self.is_inside(await self._call("getChatMember", str(room), user_id=self.me["id"])):
            raise RoomError("Telegram doesn't let bots join; add it in the settings of the group")
        self.note(str(room), True, one_line((await self._call("getChat", str(room)))["title"]))

    join = reported(_enter)

    @reported
    async def leave(self, room: Room, reason: str = "") -> None:
        await self._call("leaveChat", str(room))
        self.note(str(room), False, "it was told to leave")

    @reported
    async def topic(self, room: Room) -> str:
        return one_line((await self._call("getChat", str(room))).get("description"))

    @reported
    async def set_topic(self, room: Room, topic: str) -> None:
        await self._call("setChatDescription", str(room), description=topic[:255])

    def create(self, *_: object) -> NoReturn:
        raise RoomError("Telegram lets bots neither make groups nor invite people, and doesn't tell who is in a group")

    destroy = invite = members = occupants = create

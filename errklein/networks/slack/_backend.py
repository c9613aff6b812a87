"""A connection to one workspace of Slack."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from errklein.chat import Identifier, Message, Room, RoomDoesNotExistError, UserDoesNotExistError
from errklein.chat.identifiers import LookupFailed
from errklein.chat.messages import Card
from errklein.chat.operations import Delete, Edit, Operation, Post, React, Upload
from errklein.chat.outgoing import OutgoingMessage
from errklein.networks.base import EVERYTHING
from errklein.networks.context import NetworkContext
from errklein.networks.directory import Directory, ManagingNetwork, WantedRooms, reported
from errklein.networks.json_client import RequestRefused, at, one_line
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.slack import rooms_of
from errklein.networks.slack._client import (
    OPEN,
    SlackClient,
    SlackEvents,
    SocketMode,
    card_content,
    choice_blocks,
    message_text,
)
from errklein.networks.slack.identifiers import SlackOccupant, SlackPerson, SlackRoom, bare, is_user
from errklein.ports.receipts import Receipt
from errklein.running import TokenBuckets
from errklein.text import without_mentions
from errklein.text.emoji import name_of_emoji
from errklein.text.xhtml import is_harmless

MOST_SIZE = 4_000  # characters of a text
PACE, BURST = 1.0, 3  # the seconds between messages to a channel, and how many of them may be saved up
PROBE = 300.0  # seconds between calls that show whether the token is valid, with the Events API
_NOTHING_LEFT = {"message_not_found": Delete, "already_reacted": React, "no_reaction": React}
_EPHEMERAL = "ephemeral-"  # begins the ids of messages that only one person sees
_INVALID = ("invalid_attachments", "invalid_blocks", "invalid_blocks_format")


class SlackBackend(ManagingNetwork):
    """A connection to one workspace, as the bot user of an app. Implements `outbox.Transport`, too."""

    mode = "slack"
    is_encrypted = True
    window = 8
    membership: SlackRooms

    def __init__(self, context: NetworkContext) -> None:
        super().__init__(context)
        self.message_size_limit = min(self.message_size_limit, MOST_SIZE)
        size = self.message_size_limit
        self._features = replace(EVERYTHING, size=size, measure=lambda text: len(message_text(text)), choices=25)
        self.client = SlackClient(context)
        self.manage(SlackRooms(self))
        self.receiver = SlackEvents(self)
        self._socket_mode = SocketMode(self)
        self.user = self.bot_id = self.nick = self.team = ""
        self.posted_at = 0.0
        self._turns = TokenBuckets(context.reactor.seconds, PACE, BURST)
        self._has_route = False

    def rooms(self) -> Sequence[Room]:
        return list(map(self.membership.room, self.membership.joined))

    async def session(self) -> str:
        await self.receiver.seen.load()
        await self._identify()
        rooms, pages = self.membership, self.client.pages("users.conversations", "channels", **OPEN)
        rooms.joined = {rooms.renamed({"channel": one}): f"#{at(one, 'name')}" async for one in pages}
        if self.client.settings["app_token"]:
            return await self._socket_mode.run(self._connected)
        if not self._has_route:
            secret = self.client.settings["signing_secret"].encode()
            self.context.route("/slack/events", self.receiver.request, "slack", [secret])
            self._has_route = True
        self._connected()
        while True:
            await deferLater(self.context.reactor, PROBE)
            await self._identify()

    async def _identify(self) -> None:
        me = await self.client.call("auth.test")
        self.user, self.bot_id, self.nick, self.team = [at(me, key) for key in ("user_id", "bot_id", "user", "team_id")]
        self.membership.domain = domain = at(me, "url").removeprefix("https://").partition(".")[0]
        self.bot_identifier = SlackPerson(self.user, self.network, {"username": self.nick, "domain": domain})

    def _connected(self) -> None:
        # What waits for configured channels is sent after the attempt to join them.
        self.connection.connected(resumes=False)
        joining = self.membership.want(partial(rooms_of, self.config))
        joining.addCallback(lambda _: self.connection.is_connected and self.outbox.resume())

    # What the bot sends

    def build_reply(self, message: Message, text: str, private: bool = False, threaded: bool = False) -> Message:
        reply = super().build_reply(message, text, private, threaded)
        if not private and isinstance(message.extras, Mapping) and "ephemeral" in message.extras:
            reply.extras["ephemeral"] = message.extras["ephemeral"]
        return reply

    def details_of(self, message: Message) -> str:
        """Return `mentions`, the person to whom alone a message is shown, and the blocks and attachments of `extras`."""
        given = {**message.extras, "mentions": message.mentions}
        details = {name: given[name] for name in ("ephemeral", "blocks", "attachments", "mentions") if given.get(name)}
        return json.dumps(details) if details else ""

    def send_card(self, card: Card) -> Receipt:
        """Accept a card into the outbox. One that is too large is sent as text."""
        shown = card.changed(str if card.mentions else without_mentions, is_harmless)
        fields = [f"**{name}**: {value}" for name, value in shown.fields]
        texts = [f"**{shown.title}**" if shown.title else "", shown.body, *fields, shown.link, shown.image]
        content, shown.body = card_content(shown), "\n\n".join(filter(None, texts))
        if len(message_text(shown.body)) <= self.message_size_limit:
            shown.extras = {**shown.extras, **content}
        return self.send_message(shown)

    def take_turn(self, recipient: str) -> float:
        return self._turns.bucket(recipient).take()

    async def send_operation(self, message: OutgoingMessage, operation: Operation, key: str) -> str | None:
        details, ref = json.loads(message.details or "{}"), getattr(operation, "ref", None)
        if ref is not None and ref.id.startswith(_EPHEMERAL):
            raise RequestRefused(0, "", "what only one person sees can't be changed")
        # The press of a button must be of a message with an id.
        if "ephemeral" in details and isinstance(operation, Post) and not operation.choices:
            await self.whisper(details["ephemeral"], operation.text)
            return f"{_EPHEMERAL}{key}"
        channel = await self.membership.target(message.recipient if ref is None else ref.room)
        try:
            return await self._perform(operation, channel, details)
        except RequestRefused as error:
            if isinstance(operation, _NOTHING_LEFT.get(error.code, ())):
                return None
            raise

    async def _perform(self, operation: Operation, channel: str, details: Mapping[str, Any]) -> str | None:
        call = self.client.call
        match operation:
            case Post(text, thread, mentions, choices):
                text = self._shown(text, mentions, details)
                content = {name: details[name] for name in ("blocks", "attachments") if name in details}
                content = {"blocks": choice_blocks(text, choices)} if choices else content
                return await self._post(channel, thread, text, content)
            case Edit(ref, text, mentions):
                # The text replaces a card and buttons.
                text = self._shown(text, mentions, details)
                await call("chat.update", channel=channel, ts=ref.id, text=text, blocks=[], attachments=[])
            case Delete(ref):
                await call("chat.delete", channel=channel, ts=ref.id)
            case React(ref, emoji, remove):
                method = "reactions.remove" if remove else "reactions.add"
                await call(method, channel=channel, timestamp=ref.id, name=name_of_emoji(emoji))
            case Upload():
                await self.client.upload(channel, operation)
        return None

    async def _post(self, channel: str, thread: str, text: str, content: Mapping[str, Any]) -> str:
        # Beside attachments, the text would be shown, too.
        place: dict[str, Any] = {"channel": channel, "thread_ts": thread or None}
        shown = {} if "attachments" in content else {"text": text}
        try:
            answer = await self.client.call("chat.postMessage", **place, **shown, **content)
        except RequestRefused as error:
            if error.code not in _INVALID:
                raise
            # For example, Slack can't load a picture.
            answer = await self.client.call("chat.postMessage", **place, text=text)
        self.posted_at = self.context.reactor.seconds()
        return at(answer, "ts")

    def _shown(self, text: str, mentions: Sequence[str] = (), details: Mapping[str, Any] = {}) -> str:
        people = [user for user in (bare(one.rpartition("/")[2]) for one in mentions) if is_user(user)]
        for_all, known = bool(details.get("mentions")), self.membership.people.known
        return message_text(text, lambda user: (known(user) or {}).get("nick", ""), people, for_all)

    async def whisper(self, to: Mapping[str, Any], text: str) -> None:
        """Show a text to one person alone, in reply to a slash command or press."""
        if (url := at(to, "response_url")) and self.context.now() < to.get("until", math.inf):
            content = {"response_type": "ephemeral", "replace_original": False, "text": self._shown(text)}
            # Slack takes five replies there.
            with suppress(RequestRefused):
                await self.client.post_to(url, content)
                return
        await self.client.call("chat.postEphemeral", channel=to["channel"], user=to["user"], text=self._shown(text))

    async def look_up(self, text: str) -> Identifier:
        rooms = self.membership
        for name in map(bare, text.rpartition("/")):
            if name[:1] == "#":
                await rooms.found(name)
            elif name[:1] == "@" and await rooms.names.find(name) is None:
                raise UserDoesNotExistError(f"there is nobody called {name}")
        found = self.build_identifier(text)
        if isinstance(found, SlackPerson) and await rooms.people.find(found.person) is None:
            raise UserDoesNotExistError(f"there is nobody with the id {found.person}")
        return self.build_identifier(text)

    def build_identifier(self, text: str) -> Identifier:
        place, _, text = text.rpartition("/")
        text, names = bare(text), self.membership.names
        for name in (place, text):
            if name[:1] in ("#", "@"):
                names.ask(name)
        if text[:1] == "@":
            if (found := names.known(text)) is None:
                raise ValueError(f"{text!r} isn't known at present; `await self.resolve(…)` asks Slack")
            text = found
        return self.membership.person(text, place) if place or is_user(text) else self.membership.room(text)


AGAIN = 300.0  # the seconds between attempts to join a channel that refuses the bot
_MOST_NAMED = 200  # the members of a channel whose names are looked up


class SlackRooms(WantedRooms):
    """The channels and people of a connection. Implements `ports.chat.ManagesRooms`. `names` has the ids of channels (`#name`) and
    accounts (`@name`), `titles` and `people` what is known by id, `direct` the conversations with people, `joined` where the bot is, with names."""

    def __init__(self, backend: SlackBackend) -> None:
        super().__init__(backend.context.reactor, backend.network, backend.context.now, AGAIN)
        self._backend, self._client = backend, backend.client
        self.names: Directory[str] = Directory(self._reactor, self._find)
        self.people: Directory[Mapping[str, str]] = Directory(self._reactor, self._find_profile)
        self.titles: Directory[str] = Directory(self._reactor, self._find_title)
        self.joined: dict[str, str] = {}
        self.direct: dict[str, str] = {}
        self.domain = ""

    # What is known; in any thread

    def room(self, text: str) -> SlackRoom:
        return SlackRoom(text, self.network, names=self.names, actions=self)

    def person(self, user: str, place: str = "") -> SlackPerson:
        profile, is_member = self.people.known(user), place[:1] not in ("", "D")
        return SlackOccupant(user, self.room(place), profile) if is_member else SlackPerson(user, self.network, profile)

    def is_joined(self, name: str) -> bool:
        return name in self.joined or name in self.joined.values()

    def needed(self, user: str, channel: str) -> Deferred[Any] | None:
        """Ask for the names of a person and a channel that aren't known at present; None if they are."""
        asked: list[Deferred[Any]] = [self.people.find(user)] if is_user(user) else []
        asked += [self.titles.find(channel)] if channel[:1] in ("C", "G") else []
        unknown = [one for one in asked if not one.called]
        return DeferredList(unknown, consumeErrors=True) if unknown else None

    def renamed(self, answer: Any) -> str:
        """Note the id and name of a channel that an event or response has, and return the id."""
        channel, name = at(answer, "channel", "id"), one_line(at(answer, "channel", "name"))
        if name and channel:
            for old in self.names.names_of(channel):
                self.names.put(old, None)
            self.names.put(f"#{name}", channel)
            self.titles.put(channel, name)
            self.joined.update({channel: f"#{name}"} if channel in self.joined else {})
        return channel

    def moved(self, channel: str, is_in: bool, inviter: str = "") -> None:
        if is_in == (channel in self.joined):
            return
        self._wanted = {name: "" for name in self._wanted if is_in or name not in (channel, self.joined[channel])}
        others = {one: name for one, name in self.joined.items() if one != channel}
        self.joined = {**others, channel: next(iter(self.names.names_of(channel)), "")} if is_in else others
        bot, by = self.person(self._backend.user, channel), self.person(inviter) if is_user(inviter) else None
        self._backend.report("room_joined" if is_in else "room_left", self.room(channel), bot, by)

    async def target(self, recipient: str) -> str:
        if not is_user(recipient):
            return await self.found(recipient)
        if recipient not in self.direct:
            self.direct[recipient] = at(await self._client.call("conversations.open", users=recipient), "channel", "id")
        return self.direct[recipient]

    async def found(self, name: str) -> str:
        channel = await self.names.find(name) if name[:1] == "#" else name
        if channel is None:
            raise RoomDoesNotExistError(f"there is no room {name}, or it is private and the bot is not in it")
        return channel

    async def _find(self, name: str) -> str | None:
        channels = self._client.pages("conversations.list", "channels", **OPEN)
        pages = channels if name[0] == "#" else self._client.pages("users.list", "members")
        found = [str(one["id"]) async for one in pages if one["name"] == name[1:] and not one.get("deleted")]
        if len(found) != 1:
            return None
        # Further messages have the id as their recipient.
        self._backend.outbox.rename(name, found[0])
        return found[0]

    async def _find_title(self, channel: str) -> str | None:
        latest = self.joined.get(channel, "").removeprefix("#")
        # A rule may deny the room by its name, also while Slack doesn't say it.
        with suppress(RequestRefused, *((NotConfirmed, RetryLater) if latest else ())):
            return self.titles.known(self.renamed(await self._client.call("conversations.info", channel=channel)))
        return self.titles.known(self.renamed({"channel": {"id": channel, "name": latest}}))

    async def _find_profile(self, user: str) -> Mapping[str, str] | None:
        method, key = ("bots.info", "bot") if user[0] == "B" else ("users.info", "user")
        try:
            info = (await self._client.call(method, **{key: user})).get(key)
        except RequestRefused:
            return None
        name, nick = at(info, "name"), at(info, "profile", "display_name")
        fullname, email = at(info, "profile", "real_name"), at(info, "profile", "email")
        known = {"username": name, "nick": nick or name, "fullname": fullname, "email": email, "domain": self.domain}
        return {key: one_line(value) for key, value in known.items()}

    # What administrators do

    async def _do(self, what: str, room: Room, is_in: bool | None = None, **arguments: Any) -> Any:
        channel = await self.found(str(room))
        answer = await self._client.call(f"conversations.{what}", channel=channel, **arguments)
        if is_in is not None:
            self.moved(channel, is_in)
        return answer

    @reported
    async def _enter(self, name: str, password: str = "") -> None:
        if not self.is_joined(name):
            await self._do("join", self.room(name), True)
        self._missing.pop(name, None)

    @reported
    async def leave(self, room: Room, reason: str = "") -> None:
        await self._do("leave", room, False)

    @reported
    async def create(self, room: Room) -> None:
        answer = await self._client.call("conversations.create", name=getattr(room, "channelname", str(room)))
        self.moved(self.renamed(answer), True)

    @reported
    async def destroy(self, room: Room) -> None:
        await self._do("archive", room, False)

    @reported
    async def topic(self, room: Room) -> str:
        return at(await self._do("info", room), "channel", "topic", "value")

    @reported
    async def set_topic(self, room: Room, topic: str) -> None:
        await self._do("setTopic", room, topic=topic)

    @reported
    async def members(self, room: Room) -> Sequence[SlackOccupant]:
        found = self.room(await self.found(str(room)))
        pages = self._client.pages("conversations.members", "members", channel=found.id)
        users = [user async for user in pages if is_user(user) and user != self._backend.user]
        for user in users[:_MOST_NAMED]:
            with suppress(LookupFailed, NotConfirmed, RetryLater):
                await self.people.find(user)
        return [SlackOccupant(user, found, self.people.known(user)) for user in users]

    @reported
    async def invite(self, room: Room, person: str) -> None:
        await self._do("invite", room, users=getattr(await self._backend.look_up(person), "person", person))

"""The channels, people and private conversations of a connection to Slack, and what administrators do with channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList

from errklein.chat import Room, RoomDoesNotExistError
from errklein.chat.identifiers import LookupFailed
from errklein.networks.directory import Directory, WantedRooms, reported
from errklein.networks.json_client import RequestRefused, at, one_line
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.networks.slack._client import OPEN
from errklein.networks.slack.identifiers import SlackOccupant, SlackPerson, SlackRoom, is_user

if TYPE_CHECKING:
    from errklein.networks.slack._backend import SlackBackend

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
        """Return a person, in a channel the member of it."""
        profile, is_member = self.people.known(user), place[:1] not in ("", "D")
        return SlackOccupant(user, self.room(place), profile) if is_member else SlackPerson(user, self.network, profile)

    def is_joined(self, name: str) -> bool:
        return name in self.joined or name in self.joined.values()

    # Events

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
        """Note and report that the bot is in a channel, or isn't any more."""
        if is_in == (channel in self.joined):
            return
        self._wanted = {name: "" for name in self._wanted if is_in or name not in (channel, self.joined[channel])}
        others = {one: name for one, name in self.joined.items() if one != channel}
        self.joined = {**others, channel: next(iter(self.names.names_of(channel)), "")} if is_in else others
        bot, by = self.person(self._backend.user, channel), self.person(inviter) if is_user(inviter) else None
        self._backend.report("room_joined" if is_in else "room_left", self.room(channel), bot, by)

    # Lookups

    async def target(self, recipient: str) -> str:
        """Return the id of the conversation for a recipient of the outbox."""
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
        """Return the id of the one channel or account of that name."""
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

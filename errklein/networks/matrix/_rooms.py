"""The rooms of the bot on Matrix: who is in them, invitations, private conversations, and what administrators do with rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from errklein.chat import Message, Room, RoomDoesNotExistError, RoomError, RoomNotJoinedError, UserDoesNotExistError
from errklein.chat.identifiers import LookupFailed
from errklein.chat.outgoing import Wait
from errklein.commands.access import Caller
from errklein.config import ConfigError
from errklein.networks.directory import Directory, ManagedRoom, WantedRooms, reported
from errklein.networks.json_client import RequestRefused, mapping, one_line, text_of
from errklein.networks.matrix._client import quoted
from errklein.networks.matrix.identifiers import MatrixOccupant, MatrixPerson, MatrixRoom, is_room, is_user
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.text import plain

if TYPE_CHECKING:
    from errklein.networks.matrix._backend import MatrixBackend

_MOST = 1000  # the maximal number of invitations that wait
_PATIENCE, _AGAIN, _TRIES = 30.0, 300.0, 3
"""The seconds for which the state of a joined room is waited for, those between attempts to join one that is refused, and
the attempts if the homeserver limits them."""
_UNREADABLE = "{} is encrypted, so that the bot can neither read nor write there"
_MOST_ALIASES = 10


@dataclass
class _State:
    """What is known of a room that the bot is in. Members are loaded lazily: those who have said something are known."""

    since: float
    aliases: Sequence[str] = ()
    name: str = ""
    topic: str = ""
    members: dict[str, str] = field(default_factory=dict)
    people: int = 0
    is_encrypted: bool = False
    before: str = ""
    after: str = ""
    """The room that this one replaces, and the one by which it was replaced, each as somebody in this room says."""
    after_by: str = ""


_NOTHING = _State(0.0)


class MatrixRooms(WantedRooms):
    def __init__(self, backend: MatrixBackend) -> None:
        self._backend, self._client, self._settings = backend, backend.client, backend.settings
        super().__init__(backend.context.reactor, backend.network, backend.context.now, _AGAIN)
        self.names: Directory[str] = Directory(self._reactor, self._look_up)
        self.states: dict[str, _State] = {}
        self._direct: dict[str, list[str]] = {}
        self.last_direct: dict[str, str] = {}  # the private conversation in which a person has written last
        self._is_making = False
        self._invited: dict[str, tuple[str, bool]] = {}
        """Who has invited the bot, and whether to a private conversation, by room that it is going to join."""
        self._appearing: dict[str, list[Deferred[None]]] = {}

    # What is known; in any thread

    def room(self, text: str) -> MatrixRoom:
        return MatrixRoom(self.latest(text), self.network, names=self.names, actions=self)

    @property
    def joined(self) -> Sequence[MatrixRoom]:
        return [self.room(rid) for rid in list(self.states) if self.latest(rid) == rid]

    def is_joined(self, name: str) -> bool:
        return self._id(name) in self.states

    def occupants(self, room: ManagedRoom) -> Sequence[MatrixOccupant]:
        return self._named(room.id, list(self.state_of(room.id).members))

    def topic_of(self, room: ManagedRoom) -> str:
        return self.state_of(room.id).topic

    def known(self, rid: str) -> _State:
        return self.states.get(rid, _NOTHING)

    def state_of(self, rid: str) -> _State:
        if rid not in self.states:
            raise RoomNotJoinedError(f"the bot is not in {rid}")
        return self.states[rid]

    def name_in(self, rid: str, user: str, shared: Mapping[str, int] | None = None) -> str:
        """Return the display name, with the id if others in the room have the same; "" if it is unknown."""
        members = self.known(rid).members
        name = members.get(user, "")
        count = list(members.values()).count(name) if shared is None else shared[name]
        return f"{name} ({user})" if name and count > 1 else name

    def latest(self, rid: str) -> str:
        """Return the id of the room by which a room was replaced, if the bot is there and both rooms say so."""
        for _ in range(_MOST_ALIASES):
            after = self.known(rid).after
            if self.known(after).before != rid:
                break
            rid = after
        return rid

    # What is known; on the reactor

    def direct_with(self, rid: str) -> str:
        """Return the person with whom the room is a private conversation; "" if it is none, for example since others are there."""
        with_user = (user for user, rooms in self._direct.items() if rid in rooms)
        return next(with_user, "") if rid in self.states and self.states[rid].people <= 2 else ""

    def unconfirmed(self, rid: str) -> Deferred[Any] | None:
        """Ask for the claimed aliases of a room whose ids aren't known at present; None if there are none."""
        asked = [self.names.find(alias) for alias in self.known(rid).aliases if self.names.known(alias) is None]
        return DeferredList(asked, consumeErrors=True) if asked else None

    def unavailable(self, recipient: str) -> str | None:
        if not (rid := self._id(recipient)):
            return None
        if (state := self.states.get(rid)) is None:
            return f"the bot is not in {recipient}"
        return self._closed(state, self._shown(rid))

    def status(self, name: str) -> Wait | None:
        # An alias that was entered in a room may be forged, which does no harm here.
        claimed = next((rid for rid, state in self.states.items() if name in state.aliases), "")
        rid = self._id(name) or claimed
        if (state := self.states.get(rid)) is not None:
            cause = self._missing[state.after].cause if state.after in self._missing else ""
            return Wait(self._closed(state, name) or f"the bot is in {name}", state.since, cause)
        return self._missing.get(name) or self._missing.get(rid)

    def _closed(self, state: _State, name: str) -> str | None:
        if state.after and state.after not in self.states:
            return f"{name} was replaced by {state.after}, and the bot is not there"
        return _UNREADABLE.format(name) if state.is_encrypted else None

    def _replacements(self) -> Mapping[str, str]:
        """Return the rooms that the bot should join since they replace its rooms, with the people who say so."""
        states = list(self.states.values())
        return {one.after: one.after_by for one in states if one.after and one.after not in self.states}

    async def target(self, recipient: str) -> str:
        """Return the id of the room for a recipient of the outbox; for a person that of the private conversation."""
        try:
            rid = await (self._direct_room(recipient) if is_user(recipient) else self._found(recipient))
        except (LookupFailed, NotConfirmed) as error:
            raise RetryLater(1.0) from error
        if self.unavailable(rid) is not None:
            # The outbox asks `unavailable` next, which knows the alias now.
            raise RetryLater(1.0)
        return rid

    async def _found(self, name: str) -> str:
        rid = name if name[:1] == "!" else await self.names.find(name)
        if rid is None:
            raise RoomDoesNotExistError(f"there is no room {name}")
        return rid

    # Events

    def direct_changed(self, content: Mapping[str, Any]) -> None:
        self._direct = {user: [*map(str, rooms)] for user, rooms in content.items() if isinstance(rooms, list)}

    def summary(self, rid: str, summary: Mapping[str, Any], is_gap: bool) -> None:
        if (state := self.states.get(rid)) is None:
            state = self.states[rid] = _State(self._now())
            self._missing.pop(rid, None)
        if is_gap:
            state.members.clear()
        joined, invited = summary.get("m.joined_member_count"), summary.get("m.invited_member_count")
        if isinstance(joined, int):
            state.people = joined + (invited if isinstance(invited, int) else 0)

    def state(self, rid: str, event: Mapping[str, Any], is_current: bool = False) -> None:
        state, content, kind = self.states[rid], mapping(event.get("content")), text_of(event.get("type"))
        if kind == "m.room.member":
            self._member(rid, text_of(event.get("state_key")), event, is_current)
        elif kind == "m.room.canonical_alias":
            others = content.get("alt_aliases")
            aliases = [content.get("alias"), *(others[:_MOST_ALIASES] if isinstance(others, list) else ())]
            state.aliases = [alias for alias in map(text_of, aliases) if alias[:1] == "#" and is_room(alias)]
        elif kind == "m.room.name":
            state.name = one_line(content.get("name"))
        elif kind == "m.room.topic":
            state.topic = text_of(content.get("topic"))
            if is_current:
                self._backend.report("room_topic_changed", self.room(rid))
        elif kind == "m.room.create":
            state.before = text_of(mapping(content.get("predecessor")).get("room_id"))
        elif kind == "m.room.tombstone":
            after = text_of(content.get("replacement_room"))
            state.after, state.after_by = after * is_room(after), text_of(event.get("sender"))
            if is_current:
                self._join_soon()
        elif kind == "m.room.encryption" and not state.is_encrypted:
            state.is_encrypted = True
            inviter, _ = self._invited.get(rid, (text_of(event.get("sender")) * is_current, False))
            self._encrypted(rid, inviter)

    def complete(self, rid: str) -> None:
        for old in (self.states[rid].before, rid):
            if old and (new := self.latest(old)) != old:
                for alias in self.names.names_of(old):
                    self.names.put(alias, new)
                self._backend.outbox.rename(old, new)
        for waiting in self._appearing.pop(rid, ()):
            waiting.callback(None)
        if self._backend.connection.is_connected:
            # What waits for the room.
            self._backend.outbox.resume()

    def left(self, rid: str, events: Sequence[Mapping[str, Any]]) -> None:
        state = self.states.pop(rid, None)
        own = [one for one in events if one.get("state_key") == self._client.user]
        by, content = (text_of(own[-1].get("sender")), mapping(own[-1].get("content"))) if own else ("", {})
        is_kicked = by not in ("", self._client.user)
        if is_kicked:
            verb, reason = "banned" if content.get("membership") == "ban" else "kicked", one_line(content.get("reason"))
            self._miss(rid, f"{by} has {verb} the bot" + (f": {reason}" if reason else ""))
        if state is not None:
            bot = MatrixOccupant(self._client.user, self.room(rid), state.members.get(self._client.user, ""))
            self._backend.report("room_left", bot.room, bot, self._person(rid, by) if is_kicked else None)

    def invited(self, rid: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Accept an invitation of an administrator, to a room where the bot should be, or as the settings say."""
        found = {(text_of(one.get("type")), text_of(one.get("state_key"))): one for one in events}
        own = found.get(("m.room.member", self._client.user), {})
        by, is_direct = text_of(own.get("sender")), mapping(own.get("content")).get("is_direct") is True
        alias = one_line(mapping(found.get(("m.room.canonical_alias", ""), {}).get("content")).get("alias"))
        if not is_user(by):
            return
        accepted = self._settings.invitations
        person = MatrixPerson(by, self.network)
        is_admin = Caller.from_identifier(person, None, self._backend.context.config).is_admin
        is_wanted = rid in self._wanted or rid in self._replacements()
        if accepted == "all" or (accepted == "direct" and is_direct) or is_admin or is_wanted:
            # Administrators first.
            invited = {rid: (by, is_direct)}
            if is_admin or len(self._invited) < _MOST:
                self._invited = (invited if is_admin else {}) | self._invited | invited
        elif alias not in self._wanted:
            others = "`room join` joins the room, and BOT_IDENTITY['invitations'] accepts others"
            self.warn(f"the invitation of {by}, who is no administrator, to {alias or rid} isn't accepted; {others}")
            return
        # Anybody can write any alias into a room: the homeserver decides which room it is.
        self._join_soon()

    def connected(self) -> None:
        """Join the rooms that are configured now, and those to which the bot was invited."""
        try:
            self._wanted = dict(self._settings.rooms())
        except ConfigError as error:
            self.warn(f"{error}; CHATROOM_PRESENCE is unchanged")
        self._join_soon()

    @property
    def unreadable(self) -> Sequence[str]:
        return [self._shown(rid) for rid, state in self.states.items() if state.is_encrypted]

    # What administrators do

    @reported
    async def _enter(self, name: str, password: str = "") -> None:
        if not self.is_joined(name):
            # The homeserver looks the alias up. A room of another server is joined by way of that one.
            server = name.partition(":")[2] or self._replacements().get(name, "").partition(":")[2]
            params = {"server_name": server, "via": server} if server else {}
            answer = await self._client.call("POST", f"/join/{quoted(name)}", {}, params=params)
            await self._entered(text_of(mapping(answer).get("room_id")), name)

    @reported
    async def leave(self, room: Room, reason: str = "") -> None:
        await self._post(room, "leave", **({"reason": reason} if reason else {}))
        rid = self._id(str(room))
        self._wanted = {name: "" for name in self._wanted if self._id(name) != rid}

    @reported
    async def invite(self, room: Room, person: str) -> None:
        if not is_user(person):
            raise RoomError(f"{person!r} is nobody on Matrix; expected an id such as @alice:example.org")
        await self._post(room, "invite", user_id=person)

    @reported
    async def create(self, room: Room) -> None:
        """Create the room of an alias. Who isn't invited can't join it."""
        local, _, server = str(room).partition(":")
        own = self._client.user.partition(":")[2]
        if local[0] != "#" or server != own:
            raise RoomError(f"expected the name of a room on the bot's homeserver, such as #ops:{own}")
        content = {"preset": "private_chat", "room_alias_name": local[1:], "name": local[1:]}
        await self._create(content, str(room))

    @reported
    async def destroy(self, room: Room) -> None:
        """Close the room, and remove all people and the alias. The homeserver keeps what was said."""
        rid = await self._found(str(room))
        await self._set(rid, "join_rules", {"join_rule": "invite"})
        for member in await self.members(room):
            await self._post(room, "kick", user_id=member.person, reason="The room is closed.")
        for alias in dict.fromkeys([*self.names.names_of(rid), *self.known(rid).aliases]):
            await self._client.call("DELETE", f"/directory/room/{quoted(alias)}")
            self.names.put(alias, None)
        await self.leave(self.room(rid))

    @reported
    async def topic(self, room: Room) -> str:
        return self.state_of(await self._found(str(room))).topic

    @reported
    async def set_topic(self, room: Room, topic: str) -> None:
        await self._set(await self._found(str(room)), "topic", {"topic": topic})

    @reported
    async def members(self, room: Room) -> Sequence[MatrixOccupant]:
        rid = await self._found(str(room))
        answer = mapping(await self._client.call("GET", f"/rooms/{quoted(rid)}/joined_members")).get("joined")
        found = {user: one_line(mapping(who).get("display_name")) for user, who in mapping(answer).items()}
        if rid in self.states:
            self.states[rid].members = found
        return self._named(rid, list(found))

    async def _post(self, room: Room, what: str, **content: Any) -> None:
        await self._client.call("POST", f"/rooms/{quoted(await self._found(str(room)))}/{what}", content)

    async def _set(self, rid: str, kind: str, content: Mapping[str, Any]) -> None:
        await self._client.call("PUT", f"/rooms/{quoted(rid)}/state/m.room.{kind}", content)

    async def _create(self, content: Mapping[str, Any], alias: str = "") -> str:
        answer = await self._client.call("POST", "/createRoom", content)
        return await self._entered(text_of(mapping(answer).get("room_id")), alias)

    async def _look_up(self, alias: str) -> str | None:
        try:
            answer = await self._client.call("GET", f"/directory/room/{quoted(alias)}")
        except RequestRefused as error:
            if error.status not in (400, 404):
                raise LookupFailed(str(error)) from None
            return None
        if rid := text_of(mapping(answer).get("room_id")):
            # Further messages have the id as their recipient.
            self._backend.outbox.rename(alias, rid)
        return rid or None

    # Private conversations

    async def _usable(self, user: str) -> str:
        """Return the id of a private conversation in which the person is, and that isn't encrypted; "" if there is none."""
        for rid in dict.fromkeys([self.last_direct.get(user, ""), *self._direct.get(user, [])]):
            state = self.known(rid)
            is_open = rid in self.states and state.people in (0, 2) and not (state.after or state.is_encrypted)
            if is_open and (user in state.members or await self._is_in(rid, user)):
                return rid
        return ""

    async def _is_in(self, rid: str, user: str) -> bool:
        """Ask whether a person is in a private conversation: it may be somebody else's whom they have invited."""
        with suppress(RequestRefused):
            path = f"/rooms/{quoted(rid)}/state/m.room.member/{quoted(user)}"
            return mapping(await self._client.call("GET", path)).get("membership") in ("join", "invite")
        return False

    async def _direct_room(self, user: str) -> str:
        if rid := await self._usable(user):
            return rid
        if self._is_making:
            # Those who wait for somebody else's homeserver take the place of others.
            raise RetryLater(1.0)
        self._is_making = True
        try:
            try:
                await self._client.call("GET", f"/profile/{quoted(user)}")
            except RequestRefused as error:
                if error.status == 404:
                    raise UserDoesNotExistError(f"there is nobody called {user}") from None
            rid = await self._create({"preset": "trusted_private_chat", "is_direct": True, "invite": [user]})
            await self._add_direct(user, rid)
            return rid
        finally:
            self._is_making = False

    async def _add_direct(self, user: str, rid: str) -> None:
        """Note a private conversation on the homeserver, so that it is found again without the data directory."""
        if rid not in self._direct.setdefault(user, []):
            self._direct[user].insert(0, rid)
        with suppress(RequestRefused, RetryLater, NotConfirmed):
            path = f"/user/{quoted(self._client.user)}/account_data/m.direct"
            await self._client.call("PUT", path, self._direct)

    async def _entered(self, rid: str, name: str) -> str:
        """Wait for the state of a room that the bot has joined: what is sent there needs it."""
        if name[:1] == "#":
            self.names.put(name, rid)
            self._backend.outbox.rename(name, rid)
        if rid not in self.states:
            appearing: Deferred[None] = Deferred()
            self._appearing.setdefault(rid, []).append(appearing)
            with suppress(defer.TimeoutError):
                await appearing.addTimeout(_PATIENCE, self._reactor)
        return rid

    async def _join_all(self) -> None:
        tried = Counter[str]()
        while name := next(
            (one for one in (*self._wanted, *self._replacements(), *self._invited) if tried[one] < _TRIES), ""
        ):
            pause = await self._try(name)
            tried[name] += 1 if pause else _TRIES
            if pause:
                await deferLater(self._reactor, pause)

    async def _try(self, name: str) -> float:
        """Join a room. Return the seconds after which the homeserver may allow that; 0.0 if there is nothing more to do."""
        by, is_direct = self._invited.get(name, ("", False))
        try:
            if is_direct:
                # Before the first message.
                await self._add_direct(by, name)
            await self._enter(str(self.room(name)))
            self._missing.pop(name, None)
        except RoomError as error:
            if by and isinstance(error.__cause__, NotConfirmed):
                # The invitation is accepted in the next session.
                return 0.0
            self._miss(name, str(error))
            if isinstance(error.__cause__, RetryLater):
                return min(max(error.__cause__.seconds, 0.01), _AGAIN)
        self._invited.pop(name, None)
        return 0.0

    def _member(self, rid: str, user: str, event: Mapping[str, Any], is_current: bool) -> None:
        state, content = self.states[rid], mapping(event.get("content"))
        is_in = content.get("membership") == "join"
        before = mapping(mapping(event.get("unsigned")).get("prev_content")).get("membership")
        name = state.members.pop(user, "")
        if is_in:
            name = state.members[user] = one_line(content.get("displayname"))
        if not is_current or is_in == (before == "join") or not is_user(user):
            return
        who, by = MatrixOccupant(user, self.room(rid), name), text_of(event.get("sender"))
        if is_in:
            by = self._invited.get(rid, ("",))[0] if user == self._client.user else ""
        by_whom = self._person(rid, by) if by != user else None
        self._backend.report("room_joined" if is_in else "room_left", who.room, who, by_whom)

    def _person(self, rid: str, user: str) -> MatrixPerson | None:
        return MatrixPerson(user, self.network, self.name_in(rid, user)) if is_user(user) else None

    def _encrypted(self, rid: str, by: str) -> None:
        """Say in the log, and to the person who has invited the bot or has encrypted the room, that it can't be read."""
        shown = self._shown(rid)
        self.warn(_UNREADABLE.format(shown))
        if is_user(by) and by != self._client.user:
            what = "The conversation" if shown == rid else shown
            text = f"{plain(what)} is encrypted, so that I can neither read nor write there."
            message = Message(f"{text} Write to me here, or in a room without encryption.", to=self._person(rid, by))
            with suppress(OutboxFull, OutboxClosed):
                self._backend.send_message(message)

    def _named(self, rid: str, users: Sequence[str]) -> Sequence[MatrixOccupant]:
        room, shared = self.room(rid), Counter(list(self.known(rid).members.values()))
        people = [user for user in users if user != self._client.user]
        return [MatrixOccupant(user, room, self.name_in(rid, user, shared)) for user in people]

    def _id(self, name: str) -> str:
        return self.latest(name if name[:1] == "!" else self.names.known(name) or "")

    def _shown(self, rid: str) -> str:
        state = self.known(rid)
        return next(iter(state.aliases), state.name or rid)

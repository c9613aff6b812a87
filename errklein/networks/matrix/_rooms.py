"""The rooms of the bot on Matrix: who is in them, invitations, private conversations, and what administrators do with rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from errklein.chat import (
    Message,
    Room,
    RoomDoesNotExistError,
    RoomError,
    RoomNotJoinedError,
    UserDoesNotExistError,
)
from errklein.chat.identifiers import LookupFailed
from errklein.chat.outgoing import Wait
from errklein.commands.access import Caller
from errklein.config import ConfigError
from errklein.networks._connection import Backoff
from errklein.networks._json_client import RequestRefused
from errklein.networks.directory import Directory
from errklein.networks.matrix._client import mapping, quoted, text_of
from errklein.networks.matrix.identifiers import MatrixOccupant, MatrixPerson, MatrixRoom, is_user
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.running import cancel_timers

if TYPE_CHECKING:
    from errklein.networks.matrix._backend import MatrixBackend

_MOST = 1000
"""The maximal numbers of aliases whose ids are kept, and of invitations that wait."""

_PATIENCE = 30.0
"""The longest pause that a homeserver may ask for before it carries out what an administrator wants."""

_FIRST, _LONGEST = 60.0, 3600.0
"""The seconds between attempts to join a room that the homeserver has refused."""

_UNREADABLE = "{} is encrypted, so that the bot can neither read nor write there"

_DIRECT = "errklein.direct"
"""The field of `m.room.create` with the person for whom the bot has made the room."""


@dataclass
class _State:
    """What is known of a room that the bot is in. Members are loaded lazily: those who have said something are known."""

    since: float
    alias: str = ""
    name: str = ""
    topic: str = ""
    members: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    people: int = 0
    is_encrypted: bool = False
    made_for: str = ""
    """The person for whom the bot has made the room."""


class MatrixRooms:
    """The rooms of a connection. Implements `ports.chat.ManagesRooms`. Call the methods on the reactor, unless stated otherwise."""

    def __init__(self, backend: MatrixBackend) -> None:
        self._backend, self._client, self._settings = backend, backend.client, backend.settings
        self._reactor, self._now, self._log = backend.context.reactor, backend.context.now, backend.context.log
        self.names: Directory[str] = Directory(self._reactor, self._look_up)
        """The ids of aliases, as the homeserver states them."""
        self._states: dict[str, _State] = {}
        self._ids: dict[str, str] = {}
        """The latest ids of aliases, also when `names` has to ask again; "" for those that don't exist."""
        self._direct: dict[str, list[str]] = {}
        self._made: dict[str, str] = {}
        """Rooms that were made for people, until the homeserver sends their state."""
        self._making = DeferredLock()
        self._accepted: dict[str, tuple[str, bool]] = {}
        """The people whose invitations are accepted, by room, and whether to private conversations."""
        self._inviters: dict[str, str] = {}
        self._wanted: Mapping[str, None] = {}
        self._missing: dict[str, Wait] = {}
        """Why the bot isn't in rooms where it should be, or was."""
        self._appearing: dict[str, list[Deferred[None]]] = {}
        self._joining: Deferred[None] | None = None
        self._backoff = Backoff(backend.context.chance, _FIRST, _LONGEST)
        self._again: IDelayedCall | None = None

    # What is known

    def room(self, text: str) -> MatrixRoom:
        """Return the room of an id or alias, from any thread; raise ValueError if the text is invalid."""
        return MatrixRoom(text, self._settings.network, names=self.names, actions=self)

    @property
    def joined(self) -> Sequence[MatrixRoom]:
        """The rooms that the bot is in."""
        return [self.room(rid) for rid in self._states]

    def is_joined(self, name: str) -> bool:
        """Return whether the bot is in the room of that id or alias."""
        return self._id(name) in self._states

    def occupants(self, rid: str) -> Sequence[MatrixOccupant]:
        """Return the people who are known to be in the room, without the bot."""
        if (state := self._states.get(rid)) is None:
            raise RoomNotJoinedError(f"the bot is not in {rid}")
        room = self.room(rid)
        return [
            MatrixOccupant(user, room, self.name_in(rid, user)) for user in state.members if user != self._client.user
        ]

    def known_topic(self, rid: str) -> str:
        """Return the topic of a room that the bot is in."""
        if (state := self._states.get(rid)) is None:
            raise RoomNotJoinedError(f"the bot is not in {rid}")
        return state.topic

    def name_in(self, rid: str, user: str) -> str:
        """Return the display name, with the id if others in the room have the same; "" if it is unknown."""
        members = self._states[rid].members if rid in self._states else {}
        name = members.get(user, "")
        is_shared = name and any(other == name and one != user for one, other in members.items())
        return f"{name} ({user})" if is_shared else name

    def aliases_claimed(self, rid: str) -> Sequence[str]:
        """Return the alias that somebody has entered in the room, which may be another room's."""
        return [alias] if rid in self._states and (alias := self._states[rid].alias) else []

    def direct_with(self, rid: str) -> str:
        """Return the person with whom the room is a private conversation; "" if it is none, for example since others are there."""
        state = self._states.get(rid)
        if state is None or state.people > 2 or len(state.members) > 2:
            return ""
        return next((user for user, rooms in self._direct.items() if rid in rooms), state.made_for)

    def direct_used(self, rid: str) -> None:
        """Note that a person has written in a private conversation, where replies go if there are several."""
        for rooms in self._direct.values():
            if rid in rooms:
                rooms.remove(rid)
                rooms.insert(0, rid)

    def unavailable(self, recipient: str) -> str | None:
        """Return why messages to a recipient of the outbox wait; None if they don't."""
        if is_user(recipient):
            return None
        if recipient[0] == "#" and self.names.known(recipient) is None and self._ids.get(recipient) != "":
            self.names.find(recipient).addBoth(lambda _: self._changed())
            return f"the homeserver is asked for {recipient}"
        rid = self._id(recipient)
        if not rid:
            # The message is rejected when its turn comes.
            return None
        if (state := self._states.get(rid)) is None:
            return f"the bot is not in {recipient}"
        return _UNREADABLE.format(recipient) if state.is_encrypted else None

    def status(self, name: str) -> Wait | None:
        """Return whether the bot is in a room, and why not; see `ports.chat.Backend.room_status`."""
        if (state := self._states.get(self._id(name))) is not None:
            return Wait(_UNREADABLE.format(name) if state.is_encrypted else f"the bot is in {name}", state.since)
        wait = self._missing.get(name) or self._missing.get(self._id(name))
        if wait is None or name not in self._wanted or self._again is None or not self._again.active():
            return wait
        return wait._replace(again_at=self._now() + self._again.getTime() - self._reactor.seconds())

    @property
    def unreadable(self) -> Sequence[str]:
        """The encrypted rooms that the bot is in."""
        return [self._shown(rid) for rid, state in self._states.items() if state.is_encrypted]

    async def target(self, recipient: str) -> str:
        """Return the id of the room for a recipient of the outbox; for a person that of the private conversation."""
        if is_user(recipient):
            return await self.direct_room(recipient)
        if recipient[0] == "!":
            return recipient
        if (rid := await self.names.find(recipient)) is None:
            raise RoomDoesNotExistError(f"there is no room {recipient}")
        return rid

    # Events

    def clear(self) -> None:
        """Forget what is known, since the homeserver sends everything again."""
        self._states.clear()

    def account_data(self, event: Mapping[str, Any]) -> None:
        """Note which rooms are private conversations."""
        if event.get("type") == "m.direct":
            content = mapping(event.get("content"))
            self._direct = {user: [*map(str, rooms)] for user, rooms in content.items() if isinstance(rooms, list)}

    def summary(self, rid: str, summary: Mapping[str, Any], is_gap: bool) -> None:
        """Note that the bot is in the room, and the number of people. After a gap, nobody knows who has left."""
        if rid not in self._states:
            self._states[rid] = _State(self._now())
            self._missing.pop(rid, None)
            for waiting in self._appearing.pop(rid, ()):
                waiting.callback(None)
            self._changed()
        state = self._states[rid]
        if is_gap:
            state.members.clear()
        joined, invited = summary.get("m.joined_member_count"), summary.get("m.invited_member_count")
        if isinstance(joined, int):
            state.people = joined + (invited if isinstance(invited, int) else 0)

    def state(self, rid: str, event: Mapping[str, Any], is_current: bool = False) -> None:
        """Note an event of the room's state. If it has happened now, plugins get it."""
        state, kind, content = self._states[rid], event.get("type"), mapping(event.get("content"))
        events, backend = self._backend.events, self._backend
        if kind == "m.room.member":
            self._member(rid, text_of(event.get("state_key")), event, is_current)
        elif kind == "m.room.topic":
            state.topic = text_of(content.get("topic"))
            if is_current and events is not None:
                events.room_topic_changed(backend, self.room(rid))
        elif kind == "m.room.name":
            state.name = text_of(content.get("name"))
        elif kind == "m.room.canonical_alias":
            state.alias = text_of(content.get("alias"))
        elif kind == "m.room.create" and event.get("sender") == self._client.user:
            state.made_for = text_of(content.get(_DIRECT))
        elif kind == "m.room.encryption" and not state.is_encrypted:
            state.is_encrypted = True
            self._encrypted(rid, self._inviters.get(rid, "") or text_of(event.get("sender")) * is_current)

    def left(self, rid: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Note that the bot has left a room, or that it isn't invited any more."""
        state = self._states.pop(rid, None)
        own = [
            one for one in events if one.get("type") == "m.room.member" and one.get("state_key") == self._client.user
        ]
        by = text_of(own[-1].get("sender")) if own else ""
        content = mapping(own[-1].get("content")) if own else {}
        is_kicked = bool(by) and by != self._client.user
        if is_kicked:
            reason = text_of(content.get("reason"))
            verb = "banned" if content.get("membership") == "ban" else "kicked"
            text = f"{by} has {verb} the bot{': ' * bool(reason)}{' '.join(reason.split())}"
            self._missing[rid] = Wait(f"the bot is not in {rid}", self._now(), text)
            self._log.warn("{network}: {what}", network=self._settings.network, what=f"{text} ({rid})")
            self._try_later()
        for user in [user for user, made in self._made.items() if made == rid]:
            del self._made[user]
        if state is not None and self._backend.events is not None:
            room = self.room(rid)
            bot = MatrixOccupant(self._client.user, room, state.members.get(self._client.user, ""))
            self._backend.events.room_left(self._backend, room, bot, self._person(rid, by) if is_kicked else None)

    def gap(self, rid: str, since: float, until: float) -> None:
        """Report that messages between two times can't be read."""
        self._log.warn(
            "{network}: messages in {room} were missed; BOT_IDENTITY['missed'] limits how many are read afterwards",
            network=self._settings.network,
            room=self._shown(rid),
        )
        if self._backend.events is not None:
            self._backend.events.gap_found(self._backend, self.room(rid), since, until)

    def invited(self, rid: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Accept an invitation of an administrator, to a room where the bot should be, or as the settings say."""
        found = {text_of(event.get("type")): event for event in events if event.get("type") != "m.room.member"}
        own = [
            one for one in events if one.get("type") == "m.room.member" and one.get("state_key") == self._client.user
        ]
        by, content = (text_of(own[-1].get("sender")), mapping(own[-1].get("content"))) if own else ("", {})
        if not is_user(by) or rid in self._accepted:
            return
        alias = text_of(mapping(mapping(found.get("m.room.canonical_alias")).get("content")).get("alias"))
        who = Caller.from_identifier(MatrixPerson(by, self._settings.network), None, self._backend.context.config)
        is_direct = content.get("is_direct") is True
        if (
            self._settings.invitations == "all"
            or (self._settings.invitations == "direct" and is_direct)
            or who.is_admin
        ):
            self._accept(rid, by, is_direct)
        elif rid in self._wanted:
            self._accept(rid, by)
        elif alias in self._wanted:
            # Anybody can write any alias into a room: the homeserver decides which room it is.
            self._inviters[rid] = by
            self._join_soon()
        else:
            self._log.info(
                "{network}: the invitation of {by} to {room} isn't accepted, since it isn't by an administrator; "
                "BOT_IDENTITY['invitations'] names others, and `room join` joins the room",
                network=self._settings.network,
                by=by,
                room=alias or rid,
            )

    def connected(self) -> None:
        """Join the rooms that are configured now, and those to which the bot was invited."""
        try:
            self._wanted = self._settings.rooms()
        except ConfigError as error:
            self._log.error("{error}; CHATROOM_PRESENCE is unchanged", error=str(error))
        self._join_soon()

    def stop(self) -> None:
        """Stop joining rooms."""
        cancel_timers(self._again)
        if self._joining is not None:
            self._joining.cancel()

    # What administrators do

    def carry_out(self, action: str, *args: Any) -> None:
        """See `RoomActions`."""
        self._backend.carry_out(action, *args)

    def join(self, room: Room, password: str = "") -> Deferred[None]:
        """Join the room; see `ports.chat.ManagesRooms`."""
        return Deferred.fromCoroutine(self._join(str(room)))

    def leave(self, room: Room, reason: str = "") -> Deferred[None]:
        """Leave the room, or reject an invitation to it."""
        return self._post(room, "leave", {"reason": reason} if reason else {})

    def create(self, room: Room) -> Deferred[None]:
        """Create the room of an alias. Who isn't invited can't join it."""
        return Deferred.fromCoroutine(self._create(str(room)))

    def destroy(self, room: Room) -> Deferred[None]:
        """Close the room, and remove all people and the alias: a homeserver keeps what was said."""
        return Deferred.fromCoroutine(self._destroy(str(room)))

    def topic(self, room: Room) -> Deferred[str]:
        """Return the topic."""
        return Deferred.fromCoroutine(self._topic(str(room)))

    def set_topic(self, room: Room, topic: str) -> Deferred[None]:
        """Set the topic."""
        return Deferred.fromCoroutine(self._set(str(room), "m.room.topic", {"topic": topic}))

    def members(self, room: Room) -> Deferred[Sequence[MatrixOccupant]]:
        """Return all people in the room, without the bot."""
        return Deferred.fromCoroutine(self._members(str(room)))

    def invite(self, room: Room, person: str) -> Deferred[None]:
        """Invite a person."""
        if not is_user(person):
            return fail(RoomError(f"{person!r} is nobody on Matrix; expected an rid such as @alice:example.org"))
        return self._post(room, "invite", {"user_id": person})

    async def direct_room(self, user: str) -> str:
        """Return the id of the private conversation with a person, which is made if there is none."""
        if rid := self._usable(user):
            return rid
        async with self._making:
            # Another message may have made it meanwhile.
            return self._usable(user) or await self._make_direct(user)

    def _post(self, room: Room, what: str, content: Mapping[str, Any]) -> Deferred[None]:
        async def post() -> None:
            rid = await self._found(str(room))
            await self._ask("POST", f"/rooms/{quoted(rid)}/{what}", content)

        return Deferred.fromCoroutine(post())

    async def _ask(self, method: str, path: str, content: Any = None, **options: Any) -> Mapping[str, Any]:
        """Make a request; raise RoomError with the reason if that fails."""
        until = self._reactor.seconds() + _PATIENCE
        while True:
            try:
                return mapping(await self._client.call(method, path, content, **options))
            except RetryLater as error:
                if self._reactor.seconds() + error.seconds > until:
                    raise RoomError(f"the homeserver asks to wait for {error.seconds:.0f} s") from None
                await deferLater(self._reactor, error.seconds)
            except RequestRefused as error:
                kind = RoomDoesNotExistError if error.status == 404 else RoomError
                raise kind(str(error)) from None
            except NotConfirmed as error:
                raise RoomError(str(error)) from error

    async def _look_up(self, alias: str) -> str | None:
        try:
            answer = await self._client.call("GET", f"/directory/room/{quoted(alias)}")
        except RequestRefused as error:
            if error.status not in (400, 404):
                raise LookupFailed(str(error)) from None
            answer = {}
        rid = text_of(mapping(answer).get("room_id"))
        if len(self._ids) >= _MOST:
            del self._ids[next(iter(self._ids))]
        self._ids[alias] = rid
        return rid or None

    async def _found(self, name: str) -> str:
        if name[0] == "!":
            return name
        try:
            rid = await self.names.find(name)
        except (LookupFailed, NotConfirmed, RetryLater) as error:
            raise RoomError(str(error)) from None
        if rid is None:
            raise RoomDoesNotExistError(f"there is no room {name}")
        return rid

    async def _join(self, name: str) -> None:
        if self.is_joined(name):
            return
        # The homeserver looks the alias up. A room of another server is joined by way of that one.
        server = name.partition(":")[2]
        options = {"params": {"server_name": server, "via": server}} if server else {}
        rid = text_of((await self._ask("POST", f"/join/{quoted(name)}", {}, **options)).get("room_id"))
        if name[0] == "#":
            self.names.put(name, rid)
        if rid not in self._states:
            # What is sent there afterwards needs its state.
            appearing: Deferred[None] = Deferred()
            self._appearing.setdefault(rid, []).append(appearing)
            with suppress(TimeoutError):
                await appearing.addTimeout(_PATIENCE, self._reactor)

    async def _create(self, alias: str) -> None:
        local, _, server = alias[1:].partition(":")
        if alias[0] != "#" or server != self._client.user.partition(":")[2]:
            own = self._client.user.partition(":")[2]
            raise RoomError(f"expected the name of a room on the bot's homeserver, such as #{local or 'ops'}:{own}")
        answer = await self._ask(
            "POST", "/createRoom", {"preset": "private_chat", "room_alias_name": local, "name": local}
        )
        self.names.put(alias, text_of(answer.get("room_id")))

    async def _destroy(self, name: str) -> None:
        rid = await self._found(name)
        await self._set(rid, "m.room.join_rules", {"join_rule": "invite"})
        for member in await self._members(rid):
            await self._ask(
                "POST", f"/rooms/{quoted(rid)}/kick", {"user_id": member.person, "reason": "The room is closed."}
            )
        for alias in dict.fromkeys([*self.names.names_of(rid), *self.aliases_claimed(rid)]):
            await self._ask("DELETE", f"/directory/room/{quoted(alias)}")
            self.names.put(alias, None)
        await self._ask("POST", f"/rooms/{quoted(rid)}/leave", {})

    async def _topic(self, name: str) -> str:
        rid = await self._found(name)
        if rid in self._states:
            return self._states[rid].topic
        try:
            return text_of((await self._ask("GET", f"/rooms/{quoted(rid)}/state/m.room.topic")).get("topic"))
        except RoomDoesNotExistError:
            return ""

    async def _set(self, name: str, kind: str, content: Mapping[str, Any]) -> None:
        rid = await self._found(name)
        await self._ask("PUT", f"/rooms/{quoted(rid)}/state/{kind}", content)

    async def _members(self, name: str) -> Sequence[MatrixOccupant]:
        rid = await self._found(name)
        found = mapping((await self._ask("GET", f"/rooms/{quoted(rid)}/joined_members")).get("joined"))
        if rid in self._states:
            self._states[rid].members = {user: text_of(mapping(who).get("display_name")) for user, who in found.items()}
        room = self.room(rid)
        return [MatrixOccupant(user, room, self.name_in(rid, user)) for user in found if user != self._client.user]

    # Private conversations

    def _usable(self, user: str) -> str:
        """Return the id of a private conversation in which the person is, and that isn't encrypted; "" if there is none."""
        if made := self._made.get(user):
            return made
        found = list(self._direct.get(user, ()))
        found += [rid for rid, state in self._states.items() if state.made_for == user]
        for rid in found:
            state = self._states.get(rid)
            if state is not None and not state.is_encrypted and state.people <= 2 and user not in state.gone:
                return rid
        return ""

    async def _make_direct(self, user: str) -> str:
        try:
            await self._client.call("GET", f"/profile/{quoted(user)}")
        except RequestRefused as error:
            if error.status == 404:
                raise UserDoesNotExistError(f"there is nobody called {user}") from None
        content = {
            "preset": "trusted_private_chat",
            "is_direct": True,
            "invite": [user],
            "creation_content": {_DIRECT: user},
        }
        answer = await self._client.call("POST", "/createRoom", content)
        rid = text_of(mapping(answer).get("room_id"))
        self._made[user] = rid
        await self._add_direct(user, rid)
        return rid

    async def _add_direct(self, user: str, rid: str) -> None:
        """Note a private conversation on the homeserver, so that it is found again without the data directory."""
        if rid not in self._direct.setdefault(user, []):
            self._direct[user].insert(0, rid)
            with suppress(RequestRefused, RetryLater, NotConfirmed):
                path = f"/user/{quoted(self._client.user)}/account_data/m.direct"
                await self._client.call("PUT", path, self._direct)

    # Joining

    def _accept(self, rid: str, by: str, is_direct: bool = False) -> None:
        if len(self._accepted) < _MOST:
            self._accepted[rid] = by, is_direct
            self._inviters[rid] = by
            self._join_soon()

    def _join_soon(self) -> None:
        """Join, one after the other, the rooms where the bot should be."""
        if self._joining is None:
            cancel_timers(self._again)
            self._joining = Deferred.fromCoroutine(self._join_all())
            self._joining.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _join_all(self) -> None:
        tried: set[str] = set()
        while waiting := [name for name in (*self._accepted, *self._wanted) if name not in tried]:
            for name in waiting:
                tried.add(name)
                await self._try(name)
        self._joining = None
        if self._missing.keys() & self._wanted.keys():
            self._try_later()
        else:
            self._backoff.reset()

    async def _try(self, name: str) -> None:
        by, is_direct = self._accepted.pop(name, ("", False))
        try:
            await self._join(name)
        except RoomError as error:
            if by and isinstance(error.__cause__, NotConfirmed):
                # In the next session.
                self._accepted[name] = by, is_direct
            before, reason = self._missing.get(name), str(error)
            if before is None or before.cause != reason:
                text = "{network}: the bot can't join {room}: {reason}"
                self._log.warn(text, network=self._settings.network, room=name, reason=reason)
            since = self._now() if before is None else before.since
            self._missing[name] = Wait(f"the bot is not in {name}", since, reason)
            return
        self._missing.pop(name, None)
        if is_direct:
            await self._add_direct(by, name)

    def _try_later(self) -> None:
        if self._joining is None and (self._again is None or not self._again.active()):
            self._again = self._reactor.callLater(self._backoff.delay(), self._join_soon)

    # Details

    def _member(self, rid: str, user: str, event: Mapping[str, Any], is_current: bool) -> None:
        state, content = self._states[rid], mapping(event.get("content"))
        is_in = content.get("membership") == "join"
        before = mapping(mapping(event.get("unsigned")).get("prev_content")).get("membership")
        name = text_of(content.get("displayname")) if is_in else state.members.get(user, "")
        if is_in:
            state.members[user] = name
            state.gone.discard(user)
        else:
            state.members.pop(user, None)
            if content.get("membership") in ("leave", "ban"):
                state.gone.add(user)
        events, backend = self._backend.events, self._backend
        if not is_current or events is None or is_in == (before == "join") or not is_user(user):
            return
        room, by = self.room(rid), text_of(event.get("sender"))
        who = MatrixOccupant(user, room, name)
        if is_in:
            inviter = self._inviters.get(rid, "") if user == self._client.user else ""
            events.room_joined(backend, room, who, self._person(rid, inviter) if inviter else None)
        else:
            events.room_left(backend, room, who, self._person(rid, by) if by != user else None)

    def _person(self, rid: str, user: str) -> MatrixPerson | None:
        return MatrixPerson(user, self._settings.network, self.name_in(rid, user)) if is_user(user) else None

    def _encrypted(self, rid: str, by: str) -> None:
        """Say in the log, and to the person who has invited the bot or has encrypted the room, that it can't be read."""
        shown = self._shown(rid)
        text = "{network}: {what}"
        self._log.warn(text, network=self._settings.network, what=_UNREADABLE.format(shown))
        if is_user(by) and by != self._client.user:
            what = "The conversation" if shown == rid else shown
            text = f"{what} is encrypted, so that I can neither read nor write there. Write to me here, or in a room without encryption."
            with suppress(OutboxFull, OutboxClosed):
                self._backend.send_message(Message(text, to=MatrixPerson(by, self._settings.network)))

    def _id(self, name: str) -> str:
        return name if name[:1] == "!" else self.names.known(name) or self._ids.get(name, "")

    def _shown(self, rid: str) -> str:
        state = self._states.get(rid)
        return (state.alias or state.name or rid) if state is not None else rid

    def _changed(self) -> None:
        """Send what waits for a room."""
        if self._backend.connection.is_connected:
            self._backend.outbox.resume()

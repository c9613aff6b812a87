"""The rooms of the bot on XMPP (XEP-0045): who is in them, invitations, and what administrators do with rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from twisted.internet import defer
from twisted.internet.defer import Deferred, maybeDeferred

from errklein.chat import Room, RoomError, RoomNotJoinedError
from errklein.commands.access import Caller
from errklein.networks.errors import RequestRefused
from errklein.networks.json_client import one_line
from errklein.networks.rooms import WantedRooms, reported
from errklein.networks.xmpp import rooms_of
from errklein.networks.xmpp._client import CLIENT, DATA, element, error_of
from errklein.networks.xmpp.identifiers import XMPPPerson, XMPPRoom, XMPPRoomOccupant, bare, split_identifier
from errklein.running import result_within
from errklein.text import sanitize

if TYPE_CHECKING:
    from errklein.networks.xmpp._backend import XMPPBackend

MUC, USER, OWNER = (f"{{http://jabber.org/protocol/muc{part}}}" for part in ("", "#user", "#owner"))

_PATIENCE, _AGAIN, _HISTORY = 30.0, 60.0, "50"
"""The seconds for which a room is waited for, those between attempts to join it, and the messages to read that others sent before."""

_TOPIC = "topic"  # the id of the message that sets one: rooms repeat it without
_USUAL = ("chat.", "conference.", "groupchat.", "muc.", "rooms.")  # how domains begin that have rooms
_REFUSALS = {
    "forbidden": "the bot is banned",
    "not-authorized": "the password is missing or wrong",
    "registration-required": "only members may join",
}


@dataclass
class JoinedRoom:
    """What is known of a room that the bot is in, or joins. `people` has their JIDs by nick, "" for hidden ones."""

    nick: str
    joined: Deferred[None] = field(default_factory=Deferred)
    gone: Deferred[None] = field(default_factory=Deferred)
    people: dict[str, str] = field(default_factory=dict)
    topic: str = ""
    is_new: bool = False


class XMPPRooms(WantedRooms):
    """The rooms of a connection. Implements `ports.chat.ManagesRooms`."""

    def __init__(self, backend: XMPPBackend) -> None:
        super().__init__(backend.context.reactor, backend.network, backend.context.now, _AGAIN)
        self._backend: Any = backend
        self._config = backend.context.config
        self.states: dict[str, JoinedRoom] = {}
        self._own: dict[str, bool] = {}  # the domains of the bot's server that have rooms, False for gateways
        self._wanted = rooms_of(self._config)
        self._people = {str(jid).rpartition("@")[2] for jid in (backend.jid, *self._config.BOT_ADMINS)}
        self._domains = {name.partition("@")[2] for name in self._wanted}
        self.topic = partial(maybeDeferred, self.topic_of)
        self.members = partial(maybeDeferred, self.occupants)

    def is_room(self, jid: str) -> bool:
        domain = jid.partition("@")[2]
        is_usual = domain.startswith(_USUAL) and domain not in self._people
        return "/" not in jid and (is_usual or domain in self._domains or domain in self._own)

    def room(self, name: str) -> XMPPRoom:
        return XMPPRoom(name, self.network, name, actions=self)

    def occupant(self, name: str, nick: str) -> XMPPRoomOccupant:
        node, _, domain = name.partition("@")
        # While the bot joins, a room repeats messages of those who had the nick then.
        jid = self.states[name].people.get(nick, "") if self.is_joined(name) else ""
        return XMPPRoomOccupant(node, domain, nick, self.room(name), self.network, jid)

    def is_joined(self, name: str) -> bool:
        return name in self.states and self.states[name].joined.called

    def state_of(self, room: Room) -> JoinedRoom:
        if not self.is_joined(str(room)):
            raise RoomNotJoinedError(f"the bot is not in {room}")
        return self.states[str(room)]

    def occupants(self, room: Room) -> Sequence[XMPPRoomOccupant]:
        state = self.state_of(room)
        return [self.occupant(str(room), nick) for nick in list(state.people) if nick != state.nick]

    def topic_of(self, room: Room) -> str:
        return self.state_of(room).topic

    def connected(self, services: Mapping[str, set[str]]) -> None:
        """Join the rooms where the bot should be, on a new stream."""
        self._own = {name: "text" in features for name, features in services.items() if MUC in features}
        self.want(partial(rooms_of, self._config))

    def left(self, name: str, cause: str, by: XMPPRoomOccupant | None = None) -> None:
        bot, state = self.occupant(name, self.states[name].nick), self.states.pop(name)
        state.gone.callback(None)
        if not state.joined.called:
            state.joined.errback(RoomError(cause))
            return
        if name in self._wanted:
            self._miss(name, cause)
        self._backend.events.room_left(self._backend, bot.room, bot, by)

    def presence(self, name: str, nick: str, stanza: Element) -> None:
        state, kind, found = self.states[name], stanza.get("type"), self.occupant(name, nick)
        # Services remove what people add here, but not what is inside other elements.
        own = marks[0] if len(marks := stanza.findall(f"{USER}x")) == 1 else element("none")
        codes = {status.get("code", "") for status in own.findall(f"{USER}status")}
        item = next(own.iterfind(f"{USER}item"), element("item"))
        is_self, new = "110" in codes or nick == state.nick, item.get("nick", "")
        if kind == "error" and not state.joined.called:
            state.joined.errback(error_of(stanza))
        elif kind == "unavailable" and "303" in codes and new:
            # Only the nick has changed.
            state.people[new] = state.people.pop(nick, "")
            state.nick = new if is_self else state.nick
        elif kind == "unavailable":
            actors = (actor.get("nick", "") for actor in item.findall(f"{USER}actor"))
            actor = next(actors, "") if codes & {"301", "307"} else ""
            by = self.occupant(name, actor) if actor else None
            if is_self:
                cause = f"{actor or 'the room'} has {'banned' if '301' in codes else 'removed'} the bot"
                reason = next((f": {one.text}" for one in item.findall(f"{USER}reason") if one.text), "")
                self.left(name, one_line(cause + reason), by)
            elif state.people.pop(nick, None) is not None and state.joined.called:
                self._backend.events.room_left(self._backend, found.room, found, by)
        elif not kind and nick:  # rooms have pictures, too
            is_known, state.people[nick] = nick in state.people, self.vouched(name, item.get("jid", ""))
            if is_self:
                state.nick, state.is_new = nick, state.is_new or "201" in codes
            elif state.joined.called and not is_known:
                self._backend.events.room_joined(self._backend, found.room, self.occupant(name, nick))

    def topic_changed(self, name: str, topic: str) -> None:
        """Note the topic. It is the last thing that a room sends to those who join."""
        state = self.states[name]
        state.topic = sanitize(topic)
        if state.joined.called:
            self._backend.events.room_topic_changed(self._backend, self.room(name))
            self._backend.confirm(_TOPIC)
        elif state.nick in state.people:
            state.joined.callback(None)

    def invited(self, name: str, by: str, password: str) -> None:
        """Accept an invitation of an administrator, or to a room where the bot should be."""
        person = XMPPPerson(*split_identifier(by)[:2], network=self.network)
        if name in self._wanted or Caller.from_identifier(person, None, self._config).is_admin:
            self.carry_out("join", self.room(name), "" if self.is_joined(name) else password)
        else:
            self.warn(f"{by}, who is no administrator, has invited the bot to {name}; `room join` would join it")

    def vouched(self, name: str, jid: str) -> str:
        """Return a JID without resource that a room states; "" if its service isn't the bot's own, nor that of the JID's server, or a gateway."""
        service = name.partition("@")[2]
        with suppress(ValueError):
            is_trusted = self._own.get(service, service.endswith(f".{split_identifier(jid)[1]}"))
            return bare(jid) if is_trusted else ""
        return ""

    @reported
    async def _enter(self, name: str, password: str = "") -> None:
        if self.is_joined(name):
            return
        secret = password or self._wanted.get(name, "")
        content = [element(f"{MUC}password", secret)] * bool(secret) + [element(f"{MUC}history", maxstanzas=_HISTORY)]
        for suffix in ("", "_", "__"):
            nick = self._config.CHATROOM_FN + suffix
            state = self.states[name] = JoinedRoom(nick)
            try:
                self._backend.show_presence(f"{name}/{nick}", element(f"{MUC}x", *content))
                await state.joined.addTimeout(_PATIENCE, self._reactor)
                break
            except defer.TimeoutError:
                raise RoomError(f"no answer within {_PATIENCE:g} s") from None
            except RequestRefused as error:
                if error.code != "conflict" or suffix == "__":
                    raise RoomError(_REFUSALS.get(error.code, str(error))) from error
            finally:
                if self.states.get(name) is state and state.nick not in state.people:
                    del self.states[name]
        self._domains.add(name.partition("@")[2])
        self._missing.pop(name, None)
        if state.is_new:
            # Until its settings are accepted, nobody else can join a new room.
            await self._configure(name)
        self._backend.events.room_joined(self._backend, self.room(name), self.occupant(name, state.nick))
        self._backend.outbox.resume()

    async def _configure(self, name: str, **fields: str) -> None:
        filled = {"FORM_TYPE": f"{MUC[1:-1]}#roomconfig", **{f"muc#roomconfig_{key}": fields[key] for key in fields}}
        made = [element(f"{DATA}field", element(f"{DATA}value", filled[key]), var=key) for key in filled if fields]
        form = element(f"{OWNER}query", element(f"{DATA}x", *made, type="submit"))
        await self._backend.online.request(name, form, type="set")

    @reported
    async def leave(self, room: Room, reason: str = "") -> None:
        state, status = self.state_of(room), element(f"{CLIENT}status", reason)
        self._wanted.pop(str(room), None)
        self._backend.online.send("presence", f"{room}/{state.nick}", status, type="unavailable")
        # What the room sends until then would count for the next time in the room.
        await result_within(self._reactor, _PATIENCE, state.gone)

    @reported
    async def create(self, room: Room) -> None:
        """Create the room so that it stays when all have left. Who isn't invited can't join it."""
        await self.join(room)
        await self._configure(str(room), persistentroom="1", membersonly="1")

    @reported
    async def destroy(self, room: Room) -> None:
        self._wanted.pop(str(room), None)
        wish = element(f"{OWNER}query", element(f"{OWNER}destroy"))
        await self._backend.online.request(str(room), wish, type="set")

    @reported
    async def set_topic(self, room: Room, topic: str) -> None:
        self.state_of(room)
        await self._backend.deliver(str(room), [element(f"{CLIENT}subject", topic)], own=_TOPIC)

    @reported
    async def invite(self, room: Room, person: str) -> None:
        self.state_of(room)
        invitation = element(f"{USER}invite", to=bare(person))
        await self._backend.deliver(str(room), [element(f"{USER}x", invitation)], "normal")

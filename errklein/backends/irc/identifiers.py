"""Persons, rooms and occupants on IRC.

A person is a nick with the user name and host behind it, as far as they are known. An identifier carries the case mapping of
the server at the time it was created, so that its equality never changes. Two identifiers are equal if their names are equal
in both mappings, so an identifier from before the server announced its mapping equals no name that the server distinguishes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from errklein.backends.irc._casemapping import CaseMapping, same_name
from errklein.backends.irc._line_encoding import strip_controls
from errklein.chat import Identifier, Person, Room, RoomOccupant, read_only

if TYPE_CHECKING:
    from errklein.backends.irc._room_membership import RoomMembership

# Servers differ in which characters beyond ASCII they allow; what would break a line or a list is never allowed. Controls
# include NUL, CR and LF.
_NICK = r"[^\s\x00-\x1f\x7f,!@/:#&+*?.$%~-][^\s\x00-\x1f\x7f,!@/:#&+*?.$]*"
_MASK = rf"(?P<nick>{_NICK})(?:!(?P<user>[^\s\x00-\x1f\x7f!@]+)@(?P<host>[^\s\x00-\x1f\x7f!@]+))?"
_ROOM_CHARACTER = r"[^\s\x00-\x1f\x7f,]"
_ROOM = rf"[#&+!]{_ROOM_CHARACTER}{{1,199}}"

_IS_NICK = re.compile(_NICK)
_IS_MASK = re.compile(_MASK)
_IS_ROOM = re.compile(_ROOM)
_IS_OCCUPANT = re.compile(rf"(?P<room>[#&+!]{_ROOM_CHARACTER}{{1,199}}?)/{_MASK}")

ACL_PATTERN = "{nick}!{user}@{host}"
"""The default of IRC_ACL_PATTERN: the text that access rules are matched against."""


def is_nick(text: str) -> bool:
    """Whether `text` can be a nick."""
    return _IS_NICK.fullmatch(text) is not None


def is_room(text: str) -> bool:
    """Whether `text` can be the name of a room."""
    return _IS_ROOM.fullmatch(text) is not None


class _FoldsNames:
    """Base of identifiers whose names are compared by a case mapping."""

    network: str
    _name: str

    # The value of the mapping, for pickles. Pickles of older versions lack it, and use this default.
    _casemapping = CaseMapping.RFC1459.value

    @property
    def name_rules(self) -> CaseMapping:
        """The case mapping that the identifier was created with."""
        return CaseMapping(self._casemapping)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is type(self)
            and isinstance(other, _FoldsNames)
            and other.network == self.network
            and same_name(other._name, self._name, other.name_rules, self.name_rules)
        )

    def __hash__(self) -> int:
        # Names that are equal in any mapping are equal in the coarsest.
        return hash((self.network, CaseMapping.RFC1459.fold(self._name)))


class IRCPerson(_FoldsNames, Person):
    """Somebody on IRC, equal to all of the same nick and network. Raises ValueError for what isn't a nick or mask."""

    person: str = read_only("_nick", "The nick.")
    nick: str = read_only("_nick", "The nick.")
    _name: str = read_only("_nick", "The nick.")

    def __init__(
        self,
        mask: str,
        *,
        network: str = "",
        acl_pattern: str = ACL_PATTERN,
        casemapping: CaseMapping = CaseMapping.RFC1459,
    ) -> None:
        match = _IS_MASK.fullmatch(mask)
        if match is None:
            raise ValueError(f"{mask!r} is neither a nick nor nick!user@host")
        self.network = network
        self._nick: str = match["nick"]
        self.user: str = match["user"] or ""
        self.host: str = match["host"] or ""
        self._acl_pattern = acl_pattern
        self._casemapping = casemapping.value

    @property
    def client(self) -> str | None:
        """user@host, if known."""
        return f"{self.user}@{self.host}" if self.user else None

    @property
    def aclattr(self) -> str:
        """nick!user@host, or as IRC_ACL_PATTERN says; what isn't known is empty."""
        return self._acl_pattern.format(nick=self._nick, user=self.user, host=self.host)

    @property
    def fullname(self) -> str | None:
        """None: IRC tells it only when asked."""
        return None

    def __str__(self) -> str:
        return f"{self._nick}!{self.user}@{self.host}" if self.user else self._nick


class IRCRoom(_FoldsNames, Room):
    """A channel, such as #errklein. Raises ValueError for what can't be one."""

    _name: str = read_only("room", "The name.")
    exists: bool = read_only("joined", "Whether the bot is in it, which is all that IRC tells.")

    def __init__(
        self,
        name: str,
        *,
        network: str = "",
        actions: RoomMembership | None = None,
        casemapping: CaseMapping = CaseMapping.RFC1459,
    ) -> None:
        if not is_room(name):
            raise ValueError(f"{name!r} is not the name of a room; expected one such as #errklein")
        self.network = network
        self.room = name
        self._actions = actions
        self._casemapping = casemapping.value

    @property
    def _act(self) -> RoomMembership:
        if self._actions is None:
            raise NotImplementedError(f"{self.room} was made without a connection; use query_room")
        return self._actions

    def join(self, username: str | None = None, password: str | None = None) -> None:
        """Enter the room, now and after each reconnection; `username` means nothing here."""
        self._act.join_room(self.room, password)

    def leave(self, reason: str | None = None) -> None:
        """Leave the room."""
        self._act.leave_room(self.room, reason)

    def create(self) -> None:
        """Enter the room, which makes it."""
        self.join()

    def destroy(self) -> None:
        """Raises NotImplementedError: a room on IRC goes when the last one leaves."""
        raise NotImplementedError("a room on IRC goes when the last one leaves")

    def invite(self, *args: Identifier | str) -> None:
        """Ask each of `args`, persons or nicks, to come in."""
        people = [one if isinstance(one, IRCPerson) else IRCPerson(str(one)) for one in args]
        for person in people:
            self._act.send(f"INVITE {person.nick} {self.room}")

    @property
    def joined(self) -> bool:
        """Whether the bot is in the room now."""
        return self._act.is_joined(self.room)

    @property
    def topic(self) -> str | None:
        """The topic, None if there is none; raises RoomNotJoinedError outside."""
        return self._act.state_of(self.room).topic or None

    @topic.setter
    def topic(self, topic: str) -> None:
        self._act.send(f"TOPIC {self.room} :{strip_controls(topic)}")

    @property
    def occupants(self) -> Sequence[RoomOccupant]:
        """Who is in the room; raises RoomNotJoinedError outside."""
        return self._act.occupants_of(self.room)

    def __str__(self) -> str:
        return self.room

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Plugins keep identifiers in their storage, where a connection has no place.
        return _stored_room, (self.room, self.network, self._casemapping)


def _stored_room(name: str, network: str, casemapping: str = CaseMapping.RFC1459.value) -> IRCRoom:
    return IRCRoom(name, network=network, casemapping=CaseMapping(casemapping))


class IRCRoomOccupant(IRCPerson, RoomOccupant):
    """Somebody in a room. Written `#room/nick!user@host`. The case mapping is the room's."""

    room: IRCRoom = read_only("_room", "The room that the person was seen in.")

    def __init__(self, mask: str, room: IRCRoom, *, acl_pattern: str = ACL_PATTERN) -> None:
        super().__init__(mask, network=room.network, acl_pattern=acl_pattern, casemapping=room.name_rules)
        self._room = room

    @property
    def as_person(self) -> IRCPerson:
        """The same one, to be spoken to directly."""
        return IRCPerson(
            super().__str__(), network=self.network, acl_pattern=self._acl_pattern, casemapping=self.name_rules
        )

    def __str__(self) -> str:
        return f"{self._room}/{super().__str__()}"

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, IRCRoomOccupant) and other.room == self.room

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._room))


def split_occupant(text: str) -> tuple[str, str] | None:
    """The room and the mask of an occupant as `str` writes it, or None if it is something else."""
    match = _IS_OCCUPANT.fullmatch(text)
    if match is None:
        return None
    return match["room"], text[len(match["room"]) + 1 :]

"""Persons, rooms and occupants on IRC, and the comparison of their names. A person is a nick, with the user name and
host as far as they are known. An identifier keeps the server's case mapping from the time when it was created, so that
its equality and hash never change. Two identifiers are equal if their names are equal in both of their mappings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from errklein.chat import Identifier, Person, Room, RoomOccupant, read_only
from errklein.chat.identifiers import compiled, literal_brackets
from errklein.networks.irc._lines import strip_controls
from errklein.text import folded

if TYPE_CHECKING:
    from errklein.networks.irc._rooms import RoomMembership

_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_TABLES = {
    "ascii": str.maketrans(_UPPER, _LOWER),
    "rfc1459-strict": str.maketrans(_UPPER + "[]\\", _LOWER + "{}|"),
    "rfc1459": str.maketrans(_UPPER + "[]\\~", _LOWER + "{}|^"),
    "unknown": str.maketrans(_UPPER, _LOWER),
}


class CaseMapping(Enum):
    """The rules by which a server compares nicks and channels, a `NameRules`, which it announces as CASEMAPPING in RPL_ISUPPORT
    (005), see https://modern.ircdocs.horse/#casemapping-parameter. The default is that of RFC 1459, section 2.2. The mappings are
    nested: names that are equal in ASCII (or UNKNOWN) are equal in RFC1459_STRICT, and these in RFC1459."""

    ASCII = "ascii"
    RFC1459_STRICT = "rfc1459-strict"
    RFC1459 = "rfc1459"
    UNKNOWN = "unknown"
    """A mapping that errklein doesn't implement, such as rfc7613. It fails closed: names and patterns that allow are compared
    as in ASCII, whose letters every mapping folds; patterns that deny fold all that any mapping may fold."""
    fold: Callable[[str], str]  # Returns the folded form of a nick, channel or mask

    def __init__(self, value: str) -> None:
        self.fold = methodcaller("translate", _TABLES[value])

    @classmethod
    def announced(cls, tokens: Iterable[str]) -> CaseMapping | None:
        """Return the mapping that the tokens of a 005 line announce; None if CASEMAPPING isn't among them."""
        announced = None
        for token in tokens:
            name, equals, value = token.partition("=")
            if name == "CASEMAPPING" and equals:
                announced = _BY_NAME.get(value.lower(), cls.UNKNOWN)
            elif name == "-CASEMAPPING":
                announced = cls.RFC1459
        return announced

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        """Return whether the pattern matches the whole name. Only `*` and `?` are wildcards: nicks may contain brackets."""
        mapping = self
        if denies and self is CaseMapping.UNKNOWN:
            mapping, name, pattern = CaseMapping.RFC1459, folded(name), folded(pattern)
        return compiled(literal_brackets(mapping.fold(pattern))).match(mapping.fold(name)) is not None


# Servers use both spellings of the strict mapping.
_BY_NAME = {mapping.value: mapping for mapping in CaseMapping} | {"strict-rfc1459": CaseMapping.RFC1459_STRICT}


def same_name(one: str, other: str, *mappings: CaseMapping) -> bool:
    """Return whether the names are equal in all of the mappings."""
    return all(mapping.fold(one) == mapping.fold(other) for mapping in set(mappings))


# Servers differ in the non-ASCII characters that they allow. Characters that separate parts of a line or list, and control
# characters such as NUL, CR and LF, are never allowed.
_NICK = r"[^\s\x00-\x1f\x7f,!@/:#&+*?.$%~-][^\s\x00-\x1f\x7f,!@/:#&+*?.$]*"
_MASK = rf"(?P<nick>{_NICK})(?:!(?P<user>[^\s\x00-\x1f\x7f!@]+)@(?P<host>[^\s\x00-\x1f\x7f!@]+))?"
_ROOM_CHARACTER = r"[^\s\x00-\x1f\x7f,]"
_ROOM = rf"[#&+!]{_ROOM_CHARACTER}{{1,199}}"
_IS_MASK = re.compile(_MASK)
_IS_OCCUPANT = re.compile(rf"(?P<room>[#&+!]{_ROOM_CHARACTER}{{1,199}}?)/{_MASK}")
ACL_PATTERN = "{nick}!{user}@{host}"
"""The default of IRC_ACL_PATTERN: the format of the text that access rules are matched against."""
is_nick: Callable[[str], object] = re.compile(_NICK).fullmatch
is_room: Callable[[str], object] = re.compile(_ROOM).fullmatch
"""Return a true value for a valid nick, or a valid name of a room."""


class _FoldsNames:
    network: str
    _name: str

    # Pickles contain the mapping's value. Those of older versions don't, and use this default.
    _casemapping = CaseMapping.RFC1459.value

    @property
    def name_rules(self) -> CaseMapping:
        return CaseMapping(self._casemapping)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, _FoldsNames) or other.network != self.network:
            return False
        return same_name(other._name, self._name, other.name_rules, self.name_rules)

    def __hash__(self) -> int:
        # RFC1459 is the coarsest mapping: names that are equal in any mapping are equal in it.
        return hash((self.network, CaseMapping.RFC1459.fold(self._name)))


class IRCPerson(_FoldsNames, Person):
    """A person on IRC, identified by nick and network; built from the nick, or `nick!user@host`, else raises ValueError. `user`
    and `host` are "" while they are unknown. `acl_pattern` is IRC_ACL_PATTERN, the format of `aclattr`."""

    person: str = read_only("_nick", "The nick.")
    nick: str = read_only("_nick", "The nick.")
    _name: str = read_only("_nick", "The nick.")
    fullname: str | None = None  # servers send full names only in replies to WHO and WHOIS

    def __init__(
        self,
        mask: str,
        *,
        network: str = "",
        acl_pattern: str = ACL_PATTERN,
        casemapping: CaseMapping = CaseMapping.RFC1459,
    ) -> None:
        if (match := _IS_MASK.fullmatch(mask)) is None:
            raise ValueError(f"invalid person: {mask!r}; expected a nick or nick!user@host")
        self.network, self._acl_pattern, self._casemapping = network, acl_pattern, casemapping.value
        self._nick: str = match["nick"]
        self.user: str = match["user"] or ""
        self.host: str = match["host"] or ""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # errbot stores the mask, as a string that may have the network.
        mask = state.get("_nickmask")
        vars(self).update(state if mask is None else vars(IRCPerson(mask, network=getattr(mask, "network", ""))))

    @property
    def client(self) -> str | None:
        return f"{self.user}@{self.host}" if self.user else None

    @property
    def aclattr(self) -> str:
        """The text for access rules: `nick!user@host`, or another format by IRC_ACL_PATTERN. Unknown parts are empty."""
        return self._acl_pattern.format(nick=self._nick, user=self.user, host=self.host)

    def __str__(self) -> str:
        return f"{self._nick}!{self.user}@{self.host}" if self.user else self._nick


class IRCRoom(_FoldsNames, Room):
    """A channel such as #errklein, identified by name and network. `room` is the name; an invalid one raises
    ValueError. Without `actions`, the rooms of the connection, methods raise NotImplementedError."""

    _name: str = read_only("room", "The name.")
    exists: bool = read_only("joined", "True if the bot is in the room: IRC doesn't report whether other rooms exist.")

    def __init__(
        self,
        name: str,
        *,
        network: str = "",
        actions: RoomMembership | None = None,
        casemapping: CaseMapping = CaseMapping.RFC1459,
    ) -> None:
        if not is_room(name):
            raise ValueError(f"invalid room: {name!r}; expected a name such as #errklein")
        self.network, self.room, self._actions, self._casemapping = network, name, actions, casemapping.value

    @property
    def _act(self) -> RoomMembership:
        if self._actions is None:
            raise NotImplementedError(f"{self.room} belongs to no connection; use query_room to get a room that does")
        return self._actions

    def join(self, username: str | None = None, password: str | None = None) -> None:
        """Join the room, now and after each reconnection. `username` is ignored."""
        self._act.join_room(self.room, password)

    def leave(self, reason: str | None = None) -> None:
        self._act.leave_room(self.room, reason)

    def create(self) -> None:
        """Join the room; the server creates it if it doesn't exist."""
        self.join()

    def destroy(self) -> None:
        raise NotImplementedError("a room on IRC can't be destroyed; it exists until its last occupant leaves")

    def invite(self, *args: Identifier | str) -> None:
        for person in [one if isinstance(one, IRCPerson) else IRCPerson(str(one)) for one in args]:
            self._act.send(f"INVITE {person.nick} {self.room}")

    @property
    def joined(self) -> bool:
        return self._act.is_joined(self.room)

    @property
    def topic(self) -> str | None:
        return self._act.state_of(self.room).topic or None

    @topic.setter
    def topic(self, topic: str) -> None:
        self._act.send(f"TOPIC {self.room} :{strip_controls(topic)}")

    @property
    def occupants(self) -> Sequence[RoomOccupant]:
        return self._act.occupants_of(self.room)

    def __str__(self) -> str:
        return self.room

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # Plugins store identifiers. The connection can't be pickled.
        return _stored_room, (self.room, self.network, self._casemapping)


def _stored_room(name: str, network: str, casemapping: str = CaseMapping.RFC1459.value) -> IRCRoom:
    return IRCRoom(name, network=network, casemapping=CaseMapping(casemapping))


class IRCRoomOccupant(IRCPerson, RoomOccupant):
    """A person in a room, identified by nick, room and network. `str()` returns `#room/nick!user@host`."""

    room: IRCRoom = read_only("_room", "The room that the person is in.")

    def __init__(self, mask: str, room: IRCRoom, *, acl_pattern: str = ACL_PATTERN) -> None:
        super().__init__(mask, network=room.network, acl_pattern=acl_pattern, casemapping=room.name_rules)
        self._room = room

    @property
    def as_person(self) -> IRCPerson:
        """The same person without the room, as a recipient of private messages."""
        mask, rules = super().__str__(), self.name_rules
        return IRCPerson(mask, network=self.network, acl_pattern=self._acl_pattern, casemapping=rules)

    def __str__(self) -> str:
        return f"{self._room}/{super().__str__()}"

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, IRCRoomOccupant) and other.room == self.room

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._room))


def split_occupant(text: str) -> tuple[str, str] | None:
    """Return the room and the mask in `#room/nick!user@host`; None for any other text."""
    match = _IS_OCCUPANT.fullmatch(text)
    return (match["room"], text[len(match["room"]) + 1 :]) if match else None

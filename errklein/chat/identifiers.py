"""Who can speak and be spoken to: persons, rooms, and persons in rooms.

Each backend brings its own classes of these. All of them know the network that they belong to, so that a message
finds its way back without anybody naming a backend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from errklein.chat.names import EXACT, NameRules


def read_only(attribute: str, description: str) -> Any:
    """A property for the value that is kept in `attribute`."""
    return property(attrgetter(attribute), doc=description)


class Identifier(ABC):  # noqa: B024 - a mark that backends' classes carry
    """Someone or something that a message can come from or go to.

    Two identifiers of the same thing are equal, and `str()` of one is text that `build_identifier` understands.
    """

    network: str = ""
    """The name of the network (a key of BACKENDS) that this identifier belongs to; empty before a backend sets it."""

    @property
    def name_rules(self) -> NameRules:
        """The rules by which names on this network are compared and matched against patterns."""
        return EXACT


def rules_of(identifier: object) -> NameRules:
    """The `name_rules` of an Identifier; EXACT for any other object."""
    return identifier.name_rules if isinstance(identifier, Identifier) else EXACT


def folded_name(identifier: object, name: str) -> str:
    """The folded form of `name`, a name on the network of the identifier."""
    return rules_of(identifier).fold(name)


def same_network(one: Identifier, other: Identifier) -> bool:
    """Whether both identifiers may be on one network; those that plugins and tests make don't know theirs."""
    return not one.network or not other.network or one.network == other.network


class Person(Identifier):
    """Somebody who can be spoken to directly."""

    @property
    @abstractmethod
    def person(self) -> str:
        """The person's address without the device, such as an IRC nick or a bare JID."""

    @property
    @abstractmethod
    def client(self) -> str | None:
        """The device or session that the person uses, if the network knows of such."""

    @property
    @abstractmethod
    def nick(self) -> str | None:
        """The short name that others see."""

    @property
    @abstractmethod
    def aclattr(self) -> str:
        """What BOT_ADMINS and access rules are matched against: the most trustworthy name that the network has."""

    @property
    @abstractmethod
    def fullname(self) -> str | None:
        """The long name that the person gave, if the network has one."""

    @property
    def email(self) -> str:
        """The person's mail address, or an empty string."""
        return ""


class RoomOccupant(Identifier):
    """Somebody seen inside a room."""

    @property
    @abstractmethod
    def room(self) -> Room:
        """The room that the occupant is in."""


class Room(Identifier):
    """A place where many hear what one says. What a network doesn't offer raises NotImplementedError."""

    def join(self, username: str | None = None, password: str | None = None) -> None:
        """Enter the room, creating it where the network works that way."""
        raise NotImplementedError(f"{type(self).__name__} cannot be joined")

    def leave(self, reason: str | None = None) -> None:
        """Leave the room, telling `reason` to those who stay."""
        raise NotImplementedError(f"{type(self).__name__} cannot be left")

    def create(self) -> None:
        """Make the room if it doesn't exist."""
        raise NotImplementedError(f"{type(self).__name__} cannot be created")

    def destroy(self) -> None:
        """Close the room for everybody."""
        raise NotImplementedError(f"{type(self).__name__} cannot be destroyed")

    def invite(self, *args: Identifier | str) -> None:
        """Ask each of `args` to come in."""
        raise NotImplementedError(f"{type(self).__name__} cannot invite")

    @property
    def exists(self) -> bool:
        """Whether the network knows this room."""
        raise NotImplementedError(f"{type(self).__name__} cannot tell whether it exists")

    @property
    def joined(self) -> bool:
        """Whether the bot is in the room now."""
        raise NotImplementedError(f"{type(self).__name__} cannot tell whether the bot is in it")

    @property
    def topic(self) -> str | None:
        """The room's topic; raises RoomNotJoinedError outside of it."""
        raise NotImplementedError(f"{type(self).__name__} has no topic")

    @topic.setter
    def topic(self, topic: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no topic")

    @property
    def occupants(self) -> Sequence[RoomOccupant]:
        """Who is in the room; raises RoomNotJoinedError outside of it."""
        raise NotImplementedError(f"{type(self).__name__} cannot list its occupants")

    @property
    def aclattr(self) -> str:
        """What access rules for rooms are matched against."""
        return str(self)


class RoomError(Exception):
    """Something about a room went wrong."""


class RoomNotJoinedError(RoomError):
    """The bot has to be in the room for this."""


class RoomDoesNotExistError(RoomError):
    """There is no such room."""


class UserDoesNotExistError(Exception):
    """There is no such person."""


class UserNotUniqueError(Exception):
    """More than one person answers to that name."""

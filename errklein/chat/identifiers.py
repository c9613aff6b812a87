"""Base classes of identifiers: persons, rooms, and occupants of rooms; and rules for comparing their names, and for matching
them against patterns. Each network has its own subclasses. An identifier has the name of its network, by which the bot
finds the one to send a message with."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, Protocol

CHARACTER_SET = r"\[!?\]?[^\]]*\]"
"""A regular expression for a set of characters in a pattern, such as `[abc]`, `[!abc]` or `[]a]`."""


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern with the wildcards `*`, `?`, `[…]` and `[!…]`; it matches whole texts."""
    return re.compile(translate(pattern))


def literal_brackets(pattern: str) -> str:
    """Return the pattern with escaped brackets, so that only `*` and `?` are wildcards."""
    return pattern.replace("[", "[[]")


def patterns_of(patterns: Iterable[str] | str) -> Iterable[str]:
    """Return the patterns as an iterable; a string is one pattern."""
    return (patterns,) if isinstance(patterns, str) else patterns


class NameRules(Protocol):
    """The rules of one network for names of people and rooms."""

    def fold(self, name: str) -> str:
        """Return the folded form of the name. Two names denote the same person or room if their folded forms are equal.
        Folding a folded name changes nothing."""

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        """Return whether the pattern matches the whole name.

        `denies` states that a match denies access. While the network's rules are unknown, such a pattern matches every
        name that may be the same, and other patterns only match names that certainly are.
        """


class _ExactNames:
    """Rules that compare names character by character. The wildcards of patterns are `*`, `?`, `[…]` and `[!…]`."""

    def fold(self, name: str) -> str:
        return name

    def matches(self, name: str, pattern: str, *, denies: bool = False) -> bool:
        return compiled(pattern).match(name) is not None


EXACT: NameRules = _ExactNames()


def matches_any(rules: NameRules, name: str, patterns: Iterable[str] | str, *, denies: bool = False) -> bool:
    """Return whether the rules match the name with at least one of the patterns."""
    return any(rules.matches(name, pattern, denies=denies) for pattern in patterns_of(patterns))


# The purpose of names: BOT_ADMINS, other rules that open something, or rules that close something.
Purpose = Literal["admin", "allow", "deny"]


def read_only(attribute: str, description: str) -> Any:
    """Return a property without setter that reads `attribute`; `description` is its docstring."""
    return property(attrgetter(attribute), doc=description)


class Identifier(ABC):  # noqa: B024 - abstract by its purpose; subclasses define what is abstract
    """The address of a person, a room or a person in a room, as a message's sender or recipient.

    Identifiers are values: two with the same address on the same network are equal and have the same hash. `str()` returns
    the address as text, and `build_identifier` turns that text into an equal identifier::

        ops = self.build_identifier("#ops")
        self.send(ops, "Deployment finished.")
        self["report_to"] = str(ops)

    Each network has its own subclasses. Test for Person, RoomOccupant and Room, not for these.
    """

    network: str = ""
    """The name of the network: a key of NETWORKS, or an empty string for an identifier that no network has built."""

    @property
    def name_rules(self) -> NameRules:
        """The rules for comparing names of this network and for matching them against patterns."""
        return EXACT

    def access_names(self, purpose: Purpose) -> tuple[str, ...]:
        """Return the names that access rules match: by default `aclattr`.

        Networks on which people or rooms have several names override it. To "admin" and "allow" it returns only names that the
        server vouches for, and nothing if there are none; to "deny" also names that somebody claims.
        """
        return (str(getattr(self, "aclattr", None) or getattr(self, "person", None) or self),)


def rules_of(identifier: object) -> NameRules:
    """Return the `name_rules` of an Identifier, and EXACT for any other object."""
    return identifier.name_rules if isinstance(identifier, Identifier) else EXACT


def same_network(one: Identifier, other: Identifier) -> bool:
    """Return whether both identifiers may belong to one network. One without a network matches any."""
    return not one.network or not other.network or one.network == other.network


class Person(Identifier):
    """A person who can receive direct messages.

    `message.frm` is a Person in a direct message; in a room it is a RoomOccupant, on most networks also a Person::

        @botcmd
        def whoami(self, msg, args):
            return f"You are {msg.frm.person}; access rules use {msg.frm.aclattr}."

    Attributes that a network doesn't support are None, or an empty string for `email`.
    """

    @property
    @abstractmethod
    def person(self) -> str:
        """The address without the device, such as an IRC nick or a bare JID."""

    @property
    @abstractmethod
    def client(self) -> str | None:
        """The device or session that the person uses."""

    @property
    @abstractmethod
    def nick(self) -> str | None:
        """The short name that others see."""

    @property
    @abstractmethod
    def aclattr(self) -> str:
        """The name that BOT_ADMINS and ACCESS_CONTROLS are matched against: the one that is hardest to forge."""

    @property
    @abstractmethod
    def fullname(self) -> str | None:
        """The full name that the person has entered."""

    @property
    def email(self) -> str:
        """The e-mail address."""
        return ""


class RoomOccupant(Identifier):
    """A person in a room. On most networks the class is also a Person.

    A reply to an occupant's message goes to the room; `send` to the occupant itself is private.
    """

    @property
    @abstractmethod
    def room(self) -> Room:
        """The room that the person is in."""


class Room(Identifier):
    """A chat room.

    `BotPlugin.query_room` returns the room of a name, whether the bot is in it or not::

        room = self.query_room("#ops")
        if not room.joined:
            room.join()
        room.topic = "Release day"

    A method or property that the network doesn't support raises NotImplementedError.
    """

    def join(self, username: str | None = None, password: str | None = None) -> None:
        """Join the room. Most networks create it if it doesn't exist.

        :param username: The bot's name in the room, on networks with a name for each room.
        :param password: The room's password or key.
        """
        raise NotImplementedError(f"{type(self).__name__} doesn't support joining")

    def leave(self, reason: str | None = None) -> None:
        """Leave the room. Other occupants see the reason."""
        raise NotImplementedError(f"{type(self).__name__} doesn't support leaving")

    def create(self) -> None:
        """Create the room if it doesn't exist."""
        raise NotImplementedError(f"{type(self).__name__} doesn't support creating rooms")

    def destroy(self) -> None:
        """Close the room for all occupants."""
        raise NotImplementedError(f"{type(self).__name__} doesn't support destroying rooms")

    def invite(self, *args: Identifier | str) -> None:
        """Invite people into the room: persons, or their names as text."""
        raise NotImplementedError(f"{type(self).__name__} doesn't support invitations")

    @property
    def exists(self) -> bool:
        """True if the room exists on the network."""
        raise NotImplementedError(f"{type(self).__name__} doesn't support `exists`")

    @property
    def joined(self) -> bool:
        """True if the bot is in the room."""
        raise NotImplementedError(f"{type(self).__name__} doesn't support `joined`")

    @property
    def topic(self) -> str | None:
        """The topic. Assign a string to set it. Raises RoomNotJoinedError if the bot isn't in the room."""
        raise NotImplementedError(f"{type(self).__name__} has no topic")

    @topic.setter
    def topic(self, topic: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no topic")

    @property
    def occupants(self) -> Sequence[RoomOccupant]:
        """The occupants, as far as the network reports them. Raises RoomNotJoinedError if the bot isn't in the room."""
        raise NotImplementedError(f"{type(self).__name__} doesn't list its occupants")

    @property
    def aclattr(self) -> str:
        """The name that access rules for rooms are matched against."""
        return str(self)


class RoomError(Exception):
    """The base class of errors about rooms."""


class RoomNotJoinedError(RoomError):
    """The operation is only possible in a room that the bot has joined."""


class RoomDoesNotExistError(RoomError):
    """The network has no room of that name."""


class LookupFailed(Exception):
    """The network can't say at present whom or what a name means. The text has its reason."""


class UserDoesNotExistError(Exception):
    """The network has no person of that name."""


class UserNotUniqueError(Exception):
    """The name matches more than one person."""

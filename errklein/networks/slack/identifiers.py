"""Persons, channels and members of channels on Slack. Ids are their addresses, since names change, and several people may have
the same one. The further attributes are those that plugins know from errbot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from errklein.chat import read_only
from errklein.networks.base import LocalPerson, Member
from errklein.networks.directory import ManagedRoom

_USER, _CHANNEL = re.compile(r"[UWB][A-Z0-9]{2,40}"), re.compile(r"[CGD][A-Z0-9]{2,40}")
_NAME = re.compile(r"#[^\s#@/<>&\x00-\x1f\x7f\ud800-\udfff]{1,80}")
_WRITTEN = re.compile(r"<?[@#]?([UWBCGD][A-Z0-9]{2,40})(?:\|[^<>]*)?>?")


def is_user(text: str) -> bool:
    """Return whether the text is the id of a person or bot, such as U0123456789."""
    return _USER.fullmatch(text) is not None


def is_room(text: str) -> bool:
    """Return whether the text is the id of a conversation, such as C0123456789, or a name such as #ops."""
    return (_NAME if text[:1] == "#" else _CHANNEL).fullmatch(text) is not None


def bare(text: str) -> str:
    """Return the id of a person or channel, which Slack writes `<@U0123456789>` or `<#C0123456789|ops>`; any other text as it is."""
    found = _WRITTEN.fullmatch(text)
    return found[1] if found and (text[0] not in "#@" or is_user(found[1])) else text


class SlackPerson(LocalPerson):
    """A person, identified by id and network. `profile` has `username`, `nick`, `fullname`, `email` and `domain`."""

    userid: str = read_only("person", "The id of the person.")
    username: str = read_only("_username", "The name of the account.")
    domain: str = read_only("_domain", "The subdomain of the workspace.")
    channelid: str = ""
    channelname: str = ""

    def __init__(self, user: str, network: str = "", profile: Mapping[str, str] | None = None) -> None:
        if not is_user(user):
            raise ValueError(f"invalid person: {user!r}; expected an id such as U0123456789, or @name")
        known = profile or {}
        self._username, self._domain, self.network = known.get("username", user), known.get("domain", ""), network
        super().__init__(user, None, known.get("nick") or self._username, known.get("fullname"), known.get("email"))


class SlackRoom(ManagedRoom):
    """A channel, identified by its id, such as C0123456789, or by a name, such as #ops. Raises ValueError for any other text."""

    channelid: str = read_only("id", "The id of the channel.")
    name: str = read_only("channelname", "The name of the channel.")

    def __init__(self, text: str, network: str = "", id: str = "", *known: Any, **options: Any) -> None:
        if not is_room(text):
            raise ValueError(f"invalid room: {text!r}; expected a name such as #ops, or an id such as C0123456789")
        super().__init__(text, network, id or text * (text[0] != "#"), *known, **options)

    @property
    def channelname(self) -> str:
        """The name of the channel without `#`; the id if it is unknown."""
        return next(iter(self._aliases), self.text).removeprefix("#")


class SlackOccupant(Member, SlackPerson):
    """A person in a channel, identified by id, channel and network. `str()` returns both: `C0123456789/U0123456789`."""

    def __init__(self, user: str, room: SlackRoom, profile: Mapping[str, str] | None = None) -> None:
        super().__init__(user, room.network, profile)
        self._room, self.channelid, self.channelname = room, room.id, room.channelname

"""Tables of the keys of BOT_IDENTITY, one for each network, with which values are checked, explained and documented."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from twisted.internet.abstract import isIPAddress

from errklein.config._loading import Config, network_prefix
from errklein.config._settings import ConfigError
from errklein.text.suggestions import did_you_mean


class IdentityKey(NamedTuple):
    """A key of BOT_IDENTITY; the default and the meaning are Markdown."""

    check: Callable[[str, Any], Any]
    """Called with the key and its value. Returns the value as it is used, or raises ConfigError."""
    default: str
    meaning: str
    required: bool = False  # whether it must be a string that isn't empty


@dataclass(frozen=True)
class NetworkSettings:
    """What the package of a network knows about its settings.

    :param keys: The keys of BOT_IDENTITY.
    :param warnings: Yields sentences about valid settings of a network that are probably mistakes.
    :param accepts_others: Whether BOT_IDENTITY may have the keys of another network, which `--network` replaces.
    :param check: Raises ConfigError for settings that are invalid together, or for files."""

    keys: Mapping[str, IdentityKey]
    warnings: Callable[[Config], Iterator[str]] = lambda view: iter(())
    accepts_others: bool = False
    check: Callable[[Config], object] = lambda view: None

    def read_identity(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values that BOT_IDENTITY has for known keys, as they are used; raise ConfigError if one is invalid."""
        return {
            name: key.check(name, identity[name]) for name, key in self.keys.items() if identity.get(name) is not None
        }

    def all_warnings(self, view: Config) -> Iterator[str]:
        """Yield the network's warnings, and one for each unknown key of BOT_IDENTITY."""
        where = network_prefix(view)
        for name in view.BOT_IDENTITY:
            if name in self.keys:
                continue
            suggestion = did_you_mean(str(name), self.keys)
            if suggestion or not self.accepts_others:
                yield f"{where}BOT_IDENTITY: unknown key {name!r}{suggestion or '; expected ' + ', '.join(self.keys)}"
        for warning in self.warnings(view):
            yield where + warning


def check_text(key: str, value: Any) -> str:
    """Check a string of one line."""
    # The error doesn't show the value, which may be a password.
    if not isinstance(value, str) or any(character in value for character in "\r\n\0"):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be a string of one line")
    return value


def text_like(pattern: str, example: str) -> Callable[[str, Any], str]:
    """Return a check of a text of one line, whose error has an example, and not the value, which may be a secret."""

    def check(key: str, value: Any) -> str:
        if not re.fullmatch(pattern, check_text(key, value), re.ASCII):
            raise ConfigError(f"BOT_IDENTITY: {key!r} must look like {example!r}")
        return str(value)

    return check


def admin_warnings(view: Config, is_person: Callable[[str], object], example: str) -> Iterator[str]:
    """Yield sentences about entries of BOT_ADMINS that are patterns or nobody, on a network whose people have ids."""
    for admin in map(str, view.BOT_ADMINS):
        if any(one in admin for one in "*?["):
            yield f"BOT_ADMINS: everybody whose id matches {admin!r} is an administrator, who can run code; name each one"
        elif not is_person(admin):
            yield f"BOT_ADMINS: {admin!r} matches nobody on {view.BACKEND}; expected {example}"


def check_flag(key: str, value: Any) -> bool:
    """Check True or False. Another value, such as "no", would be true."""
    if not isinstance(value, int):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be True or False, not {value!r}")
    return bool(value)


def is_local(host: str) -> bool:
    """Return whether a host is this computer."""
    host = host.removeprefix("::ffff:")  # of an IPv4 address on a socket of IPv6
    return host in {"localhost", "::1"} or (isIPAddress(host) and host.startswith("127."))


def configured_rooms(config: Any, is_room: Callable[[str], object], expected: str) -> dict[str, str]:
    """Return the rooms of CHATROOM_PRESENCE with their passwords or empty strings. Raises ConfigError if one is invalid."""
    rooms = {}
    for entry in getattr(config, "CHATROOM_PRESENCE", ()):
        name, password = (*entry, "")[:2] if isinstance(entry, (tuple, list)) and entry else (entry, "")
        if not isinstance(name, str) or not is_room(name):
            raise ConfigError(f"CHATROOM_PRESENCE: {name!r} is not a room; expected {expected}")
        if not isinstance(password, str) or any(character in password for character in " ,\r\n\0"):
            text = f"CHATROOM_PRESENCE: the password of {name!r} must be a string without spaces, commas or line breaks"
            raise ConfigError(text)
        rooms[name] = password
    return rooms

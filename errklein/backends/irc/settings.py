"""The settings of an IRC network in config.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from errklein.backends.irc.identifiers import ACL_PATTERN, is_nick, is_room
from errklein.config import ConfigError


@dataclass(frozen=True)
class IRCSettings:
    """The settings of one IRC network, validated. Times are in seconds; a rate is the time from one line to the next."""

    network: str
    nickname: str
    server: str
    port: int = 6667
    username: str = ""
    realname: str = ""
    password: str = field(default="", repr=False)
    nickserv_password: str = field(default="", repr=False)
    sasl_account: str = ""
    sasl_password: str = field(default="", repr=False)
    tls: bool = False
    tls_ca: Path | None = None
    ipv6: bool = False
    bind_address: tuple[str, int] | None = None
    rooms: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    """Returns the rooms of CHATROOM_PRESENCE, with their passwords or empty strings.

    Read at each connection, since plugins may change the setting. Raises ConfigError for an invalid value.
    """
    channel_rate: float | None = None
    private_rate: float | None = None
    rejoin_after_kick: float | None = 5.0
    reconnect_after: float | None = None
    """Seconds from the loss of a connection to the first attempt to reconnect."""
    acl_pattern: str = ACL_PATTERN
    message_size_limit: int = 510
    """Maximum number of bytes of text in a line. Long names of people and rooms reduce it further."""

    @classmethod
    def read(cls, config: Any) -> IRCSettings:
        """Return the settings of a network from its configuration; raises ConfigError if one is invalid."""
        identity: Mapping[str, Any] = config.BOT_IDENTITY
        nickname = _text(identity, "nickname")
        if not is_nick(nickname):
            raise ConfigError(
                f"BOT_IDENTITY: 'nickname' is {nickname!r}; a nick must not contain spaces or any of ,!@/:#&+*?.$, "
                "nor begin with % or ~ or -"
            )
        username = _text(identity, "username") or nickname
        if not username.isprintable() or any(character in username for character in " @!:"):
            raise ConfigError(f"BOT_IDENTITY: 'username' is {username!r}; it must not contain spaces, '@', '!' or ':'")
        rooms = partial(_rooms, config)
        rooms()
        ca = identity.get("ssl_ca")
        if ca is not None and not _is_file(ca):
            shown = repr(str(ca)) if isinstance(ca, (str, os.PathLike)) else f"a {type(ca).__name__}"
            raise ConfigError(
                f"BOT_IDENTITY: 'ssl_ca' is {shown}; it must be the path of a file with certificates in PEM format"
            )
        return cls(
            network=config.network,
            nickname=nickname,
            server=_text(identity, "server"),
            port=int(identity.get("port") or 6667),
            username=username,
            realname=_text(identity, "realname") or nickname,
            password=_text(identity, "password"),
            nickserv_password=_text(identity, "nickserv_password"),
            sasl_account=_text(identity, "sasl_account") or nickname,
            sasl_password=_text(identity, "sasl_password"),
            tls=bool(identity.get("ssl")),
            tls_ca=None if ca is None else Path(ca),
            ipv6=bool(identity.get("ipv6")),
            bind_address=_address(identity.get("bind_address")),
            rooms=rooms,
            channel_rate=getattr(config, "IRC_CHANNEL_RATE", None),
            private_rate=getattr(config, "IRC_PRIVATE_RATE", None),
            rejoin_after_kick=getattr(config, "IRC_RECONNECT_ON_KICK", 5.0),
            reconnect_after=getattr(config, "IRC_RECONNECT_ON_DISCONNECT", None),
            acl_pattern=_acl_pattern(getattr(config, "IRC_ACL_PATTERN", ACL_PATTERN)),
            # A smaller limit would split nearly every message.
            message_size_limit=max(getattr(config, "MESSAGE_SIZE_LIMIT", None) or 510, 64),
        )


def _text(identity: Mapping[str, Any], key: str) -> str:
    value = identity.get(key)
    if value is None:
        return ""
    # The error doesn't show the value, which may be a password.
    if not isinstance(value, str) or any(character in value for character in "\r\n\0"):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be a string of one line")
    return value


def _is_file(path: Any) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, TypeError, ValueError):
        return False


def _address(value: Any) -> tuple[str, int] | None:
    if not value:
        return None
    if isinstance(value, str):
        return value, 0
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int):
        return value[0], value[1]
    raise ConfigError(
        f"BOT_IDENTITY: 'bind_address' is {value!r}; it must be an IP address of this machine, or a pair such as "
        "('192.0.2.1', 0)"
    )


def _rooms(config: Any) -> dict[str, str]:
    rooms = {}
    for entry in getattr(config, "CHATROOM_PRESENCE", ()):
        name, password = (*entry, "")[:2] if isinstance(entry, (tuple, list)) and entry else (entry, "")
        if not isinstance(name, str) or not is_room(name):
            raise ConfigError(
                f"CHATROOM_PRESENCE: {name!r} is not a room; expected a name such as '#errklein', or a pair such as "
                "('#errklein', 'password')"
            )
        if not isinstance(password, str) or any(character in password for character in " ,\r\n\0"):
            raise ConfigError(
                f"CHATROOM_PRESENCE: the password of {name!r} must be a string without spaces, commas or line breaks"
            )
        rooms[name] = password
    return rooms


def _acl_pattern(pattern: Any) -> str:
    try:
        pattern.format(nick="", user="", host="")
    except (AttributeError, LookupError, ValueError):
        expected = "a string whose only fields are {nick}, {user} and {host}"
        raise ConfigError(f"IRC_ACL_PATTERN is {pattern!r}; expected {expected}") from None
    return str(pattern)

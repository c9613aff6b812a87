"""The Matrix network, over the client-server API of a homeserver, and its settings in config.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from errklein.config import Config, ConfigError
from errklein.config.networks import (
    IdentityKey,
    Network,
    NetworkSettings,
    admin_warnings,
    check_text,
    configured_rooms,
    is_local,
    lazily,
)
from errklein.networks.matrix.identifiers import is_room, is_user

__all__ = ["NETWORK", "SETTINGS", "MatrixSettings"]


@dataclass(frozen=True)
class MatrixSettings:
    """The settings of one Matrix network, validated."""

    homeserver: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    missed: int = 200
    invitations: str = "direct"
    rooms: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    """Returns the rooms of CHATROOM_PRESENCE, which plugins may change."""

    @classmethod
    def read(cls, config: Any) -> MatrixSettings:
        """Return the settings of a network from its configuration; raises ConfigError if one is invalid."""
        identity = SETTINGS.read_identity(config.BOT_IDENTITY)
        if bool(identity.get("password")) == bool(identity.get("token")):
            raise ConfigError("BOT_IDENTITY: expected either 'user' and 'password', or 'token'")
        if identity.get("password") and not identity.get("user"):
            raise ConfigError("BOT_IDENTITY: 'user' is missing; with 'password' it is the bot's id or name")
        rooms = partial(configured_rooms, config, is_room, "'#ops:example.org', or an id as '!abc'")
        rooms()
        return cls(rooms=rooms, **identity)

    @property
    def is_encrypted(self) -> bool:
        """Whether requests are encrypted on their way to the homeserver, or don't leave this computer."""
        url = urlsplit(self.homeserver)
        return url.scheme == "https" or is_local(url.hostname or "")


def _homeserver(key: str, value: Any) -> str:
    try:
        url = urlsplit(check_text(key, value))
        is_valid = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or "@" in url.netloc or url.query or url.fragment or url.path.strip("/"):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be the URL of a homeserver: 'https://matrix.example.org'")
    return str(value).rstrip("/")


def _user(key: str, value: Any) -> str:
    if not is_user(check_text(key, value)) and (not value or any(one in value for one in "@:# ")):
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; it must be an id such as '@err:example.org', or 'err'")
    return str(value)


def _missed(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; expected a number from 0 to 10000")
    return value


def _invitations(key: str, value: Any) -> str:
    if value not in ("direct", "all", "admins"):
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; expected 'direct', 'all' or 'admins'")
    return str(value)


def _warnings(view: Config) -> Iterator[str]:
    url = urlsplit(str(view.BOT_IDENTITY.get("homeserver")))
    if url.scheme == "http" and not is_local(url.hostname or ""):
        yield "BOT_IDENTITY: with 'http' in 'homeserver', the password and all messages are sent without encryption"
    yield from admin_warnings(view, is_user, "an id such as '@alice:example.org'")


SETTINGS = NetworkSettings(
    {
        "homeserver": IdentityKey(
            _homeserver, "required", "URL of the homeserver, such as `https://matrix.example.org`"
        ),
        "user": IdentityKey(_user, "required with `password`", "the bot's id or name, such as `@err:example.org`"),
        "password": IdentityKey(
            check_text, "none", "the bot's password. The access token is kept in the data directory"
        ),
        "token": IdentityKey(check_text, "none", "an access token of the bot, instead of `user` and `password`"),
        "invitations": IdentityKey(
            _invitations,
            "`direct`",
            "whose invitations are accepted: `direct` for private conversations with anybody, `all`, or `admins`. Those of "
            "administrators, and to rooms where the bot should be, are accepted always",
        ),
        "missed": IdentityKey(_missed, "200", "messages of a room to read after an outage. They run no commands"),
    },
    _warnings,
    check=MatrixSettings.read,
)


NETWORK = Network(
    "Matrix",
    "Matrix, with a password or an access token",
    SETTINGS,
    lazily(f"{__name__}._backend", "MatrixBackend"),
    values=[f"{__name__}.identifiers:{name}" for name in ("MatrixOccupant", "MatrixPerson", "MatrixRoom")],
    admin="@alice:example.org",
    check=lazily(f"{__name__}._client", "check"),
)

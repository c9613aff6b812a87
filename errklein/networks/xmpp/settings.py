"""The settings of an XMPP network in config.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from errklein.config import Config, ConfigError
from errklein.config.identity import IdentityKey, NetworkSettings, check_text, configured_rooms
from errklein.networks.xmpp.identifiers import bare


@dataclass(frozen=True)
class XMPPSettings:
    """The settings of one XMPP network, validated."""

    username: str
    password: str = field(repr=False)
    nick: str
    authorities: Path | None
    mechanisms: Mapping[str, Any] = field(repr=False)
    ping_after: float
    use_ipv6: bool
    has_xhtml: bool
    rooms: Callable[[], Mapping[str, str]] = field(repr=False)
    """Returns the rooms of CHATROOM_PRESENCE with their passwords, which plugins may change."""
    server: tuple[str, int] | None = None

    @classmethod
    def read(cls, config: Any) -> XMPPSettings:
        """Return the settings of a network from its configuration; raises ConfigError if one is invalid."""
        read = partial(getattr, config)
        file = read("XMPP_CA_CERT_FILE", None)
        if file and not Path(file).is_file():
            raise ConfigError(f"XMPP_CA_CERT_FILE: there is no file {str(file)!r}")
        rooms = partial(configured_rooms, config, _is_room, "'ops@conference.example.org'")
        rooms()
        return cls(
            **SETTINGS.read_identity(config.BOT_IDENTITY),
            nick=read("CHATROOM_FN", None) or "Errbot",
            authorities=Path(file) if file else None,
            mechanisms=read("XMPP_FEATURE_MECHANISMS", None) or {},
            ping_after=float(read("XMPP_KEEPALIVE_INTERVAL", None) or 60),
            use_ipv6=read("XMPP_USE_IPV6", None) in (None, True),
            has_xhtml=bool(read("XMPP_XHTML_IM", False)),
            rooms=rooms,
        )


def _is_room(text: str) -> bool:
    with suppress(ValueError):
        return bare(text) == text
    return False


def _username(key: str, value: Any) -> str:
    try:
        bare(check_text(key, value))
    except ValueError:
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; it must be a JID such as 'err@example.org'") from None
    return str(value)


def _server(key: str, value: Any) -> tuple[str, int]:
    match value:
        case (str(host), int(port)) if host and 0 < port < 65_536:
            return host, port
    raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; expected a host and a port such as ('127.0.0.1', 5222)")


def _warnings(view: Config) -> Iterator[str]:
    for admin in map(str, view.BOT_ADMINS):
        if re.search(r"[*?\[]", admin):
            yield f"BOT_ADMINS: everybody whose JID matches {admin!r} is an administrator, who can run code; name each one"
        elif not _is_room(admin):
            yield f"BOT_ADMINS: {admin!r} is nobody on XMPP; expected a JID in lower case such as 'alice@example.org'"


_SERVER = "host and port, such as `('127.0.0.1', 5222)`. Port 5223 is TLS at once, others begin with STARTTLS"

SETTINGS = NetworkSettings(
    {
        "username": IdentityKey(_username, "required", "the bot's JID, such as `err@example.org`", required=True),
        "password": IdentityKey(check_text, "required", "the bot's password", required=True),
        "server": IdentityKey(_server, "from DNS", _SERVER),
    },
    _warnings,
    check=XMPPSettings.read,
)

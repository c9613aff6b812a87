"""The XMPP network, as a client of a server. Its connection is that of slixmpp."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from errklein.config import Config, ConfigError
from errklein.config.networks import IdentityKey, Network, NetworkSettings, check_text, configured_rooms, lazily
from errklein.networks.xmpp.identifiers import bare

__all__ = ["NETWORK"]


def rooms_of(config: Any) -> dict[str, str]:
    """Return the rooms of CHATROOM_PRESENCE with their passwords; raises ConfigError if one is invalid."""
    rooms = configured_rooms(config, lambda name: _is_bare(name.lower()), "'ops@conference.example.org'")
    return {name.lower(): password for name, password in rooms.items()}


def permits_plaintext(config: Any) -> bool:
    return any(value and key.startswith("unencrypted") for key, value in config.XMPP_FEATURE_MECHANISMS.items())


def _is_bare(text: str) -> bool:
    with suppress(ValueError):
        return bare(text) == text
    return False


def _username(key: str, value: Any) -> str:
    with suppress(ValueError):
        bare(check_text(key, value))
        return str(value)
    raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; it must be a JID such as 'err@example.org'")


def _server(key: str, value: Any) -> tuple[str, int]:
    match value:
        case (str(host), int(port)) if host and 0 < port < 65_536:
            return host, port
    raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; expected a host and a port such as ('127.0.0.1', 5222)")


def _warnings(view: Config) -> Iterator[str]:
    for admin in map(str, view.BOT_ADMINS):
        if re.search(r"[*?\[]", admin):
            yield f"BOT_ADMINS: everybody whose JID matches {admin!r} is an administrator, who can run code; name each one"
        elif not _is_bare(admin):
            yield f"BOT_ADMINS: {admin!r} matches nobody on XMPP; expected a JID in lower case such as 'alice@example.org'"


def _check_files(view: Config) -> None:
    rooms_of(view)
    if (file := view.XMPP_CA_CERT_FILE) and not Path(file).is_file():
        raise ConfigError(f"XMPP_CA_CERT_FILE: there is no file {str(file)!r}")


SETTINGS = NetworkSettings(
    {
        "username": IdentityKey(_username, "required", "the bot's JID, such as `err@example.org`", required=True),
        "password": IdentityKey(check_text, "required", "the bot's password", required=True),
        "server": IdentityKey(_server, "from DNS", "host and port, such as `('127.0.0.1', 5222)`; 5223 is TLS at once"),
    },
    _warnings,
    check=_check_files,
)


NETWORK = Network(
    "XMPP",
    "XMPP (Jabber), with a password",
    SETTINGS,
    lazily(f"{__name__}._backend", "XMPPBackend"),
    values=[f"{__name__}.identifiers:{name}" for name in ("XMPPPerson", "XMPPRoom", "XMPPRoomOccupant")],
    libraries=["slixmpp"],
    extra="errklein[xmpp]",
    admin="alice@example.org",
    mentions_all=False,
    check=lazily(f"{__name__}._client", "check"),
)

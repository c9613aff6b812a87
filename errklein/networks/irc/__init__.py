"""The IRC network, built on Twisted's IRCClient, and its settings in config.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import isIPv6Address

from errklein.config import Config, ConfigError
from errklein.config.networks import (
    IdentityKey,
    Network,
    NetworkSettings,
    check_flag,
    check_text,
    configured_rooms,
    is_local,
    lazily,
)
from errklein.networks.irc.identifiers import ACL_PATTERN, IRCPerson, IRCRoom, IRCRoomOccupant, is_nick, is_room

if TYPE_CHECKING:
    from errklein.networks.irc._backend import IRCBackend

__all__ = ["SETTINGS", "IRCBackend", "IRCPerson", "IRCRoom", "IRCRoomOccupant", "IRCSettings"]
_ROOM = "a name such as '#errklein', or a pair such as ('#errklein', 'password')"


@dataclass(frozen=True)
class IRCSettings:
    """The settings of BOT_IDENTITY and of rooms on one IRC network, validated."""

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
    """Returns the rooms of CHATROOM_PRESENCE, with their passwords or empty strings; at each connection, since plugins
    may change the setting. Raises ConfigError for an invalid value."""
    message_size_limit: int = 510
    """Maximum number of bytes of text in a line. Long names of people and rooms reduce it further."""

    @classmethod
    def read(cls, config: Any) -> IRCSettings:
        """Return the settings of a network from its configuration; raises ConfigError if one is invalid."""
        given = SETTINGS.read_identity(config.BOT_IDENTITY)
        identity = {{"ssl": "tls", "ssl_ca": "tls_ca"}.get(name, name): value for name, value in given.items()}
        for name in ("username", "realname", "sasl_account"):
            identity[name] = identity.get(name) or identity["nickname"]
        rooms = partial(configured_rooms, config, is_room, _ROOM)
        rooms()
        # A smaller limit would split nearly every message.
        size = max(getattr(config, "MESSAGE_SIZE_LIMIT", None) or 510, 64)
        return cls(**identity, network=config.network, rooms=rooms, message_size_limit=size)

    def trusted(self) -> Any:
        """Return the certificates in the file `ssl_ca`; None for those of the system. Raises ConfigError if it is invalid."""
        if self.tls_ca is None:
            return None
        # Imported late, since most networks don't need them.
        from OpenSSL import SSL, crypto
        from twisted.internet import ssl

        end = b"-----END CERTIFICATE-----"
        try:
            certificates = [block + end for block in self.tls_ca.read_bytes().split(end)[:-1]]
            return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(certificate) for certificate in certificates])
        except (OSError, SSL.Error, crypto.Error):
            what = f"must be a readable file with certificates in PEM format; {self.tls_ca} isn't one"
            raise ConfigError(f"BOT_IDENTITY: 'ssl_ca' {what}") from None

    @property
    def is_encrypted(self) -> bool:
        """Whether lines are encrypted on their way to the server, or don't leave this computer."""
        return self.tls or is_local(self.server)

    @property
    def nicks(self) -> Sequence[str]:
        """The nicks to try, in order. The last ones are short, since a server may allow only nine characters."""
        wanted = self.nickname
        longer = (wanted, f"{wanted}_", f"{wanted}__", f"{wanted[:8]}_")
        return (*longer, *(f"{wanted[:7]}_{number}" for number in range(1, 10)))


def _nickname(key: str, value: Any) -> str:
    if not is_nick(check_text(key, value)):
        rule = "a nick must not contain spaces or any of ,!@/:#&+*?.$, nor begin with % or ~ or -"
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; {rule}")
    return str(value)


def _server(key: str, value: Any) -> str:
    host, colon, port = check_text(key, value).rpartition(":")
    if not isIPv6Address(value) and (colon or not value or any(c.isspace() or c in "/[]" for c in value)):
        also = f"; set 'server': {host!r} and 'port': {port}" if host and port.isdecimal() else ""
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; it must be a host name or an address{also}")
    return str(value)


def _port(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; expected a number from 1 to 65535")
    return value


def _username(key: str, value: Any) -> str:
    if not check_text(key, value).isprintable() or any(character in value for character in " @!:"):
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; it must not contain spaces, '@', '!' or ':'")
    return str(value)


def _certificates(key: str, value: Any) -> Path:
    try:
        path = Path(value)
        found = path.is_file()
    except (OSError, TypeError, ValueError):
        found = False
    if not found:
        shown = repr(str(value)) if isinstance(value, (str, os.PathLike)) else f"a {type(value).__name__}"
        expected = "it must be the path of a file with certificates in PEM format"
        raise ConfigError(f"BOT_IDENTITY: {key!r} is {shown}; {expected}")
    return path


def _address(key: str, value: Any) -> tuple[str, int] | None:
    match value or None:
        case None:
            return None
        case str():
            return value, 0
        case (str(host), int(port)):
            return host, port
    expected = "it must be an IP address of this machine, or a pair such as ('192.0.2.1', 0)"
    raise ConfigError(f"BOT_IDENTITY: {key!r} is {value!r}; {expected}")


def _warnings(view: Config) -> Iterator[str]:
    identity = view.BOT_IDENTITY
    server, tls = str(identity.get("server")), bool(identity.get("ssl"))
    if identity.get("sasl_password") and not tls and not is_local(server):
        yield "BOT_IDENTITY: 'sasl_password' is sent without encryption; set 'ssl': True and the port, usually 6697"
    if tls and (identity.get("port") or 6667) == 6667:
        yield "BOT_IDENTITY: 'ssl' is True, and port 6667 is usually one without TLS; set 'port': 6697"
    for admin in view.BOT_ADMINS:
        if warning := _admin_warning(str(admin), view.IRC_ACL_PATTERN):
            yield f"BOT_ADMINS: {warning}"


def _admin_warning(admin: str, acl_pattern: str) -> str:
    """Return a sentence if nobody or more than one person matches an administrator's pattern; "" if it names a host."""
    if acl_pattern != ACL_PATTERN:
        return ""
    nick = admin.partition("!")[0]
    if not any(character in admin for character in "!@*?"):
        return f"{admin!r} matches nobody on IRC, where a person is nick!user@host; expected '{admin}!*@HOST'"
    if admin.rpartition("@")[2].strip("*?") and "@" in admin:
        return ""
    who = f"anybody who takes the nick {nick!r}" if nick.strip("*?") and "!" in admin else "everybody"
    return f"with {admin!r}, {who} is an administrator, who can run code; name a host or account: '*!*@user/NAME'"


SETTINGS = NetworkSettings(
    {
        "nickname": IdentityKey(_nickname, "required", "the bot's nick", required=True),
        "server": IdentityKey(_server, "required", "host name or address", required=True),
        "port": IdentityKey(_port, "6667", "1 to 65535; servers usually offer TLS on 6697"),
        "ssl": IdentityKey(
            check_flag, "`False`", "`True` for TLS. The certificate must be valid for the name in `server`"
        ),
        "ssl_ca": IdentityKey(
            _certificates, "the system's certificates", "file of certificates in PEM format to trust instead"
        ),
        "username": IdentityKey(_username, "the nickname", "user name, without `@`, `!`, `:` and spaces"),
        "realname": IdentityKey(check_text, "the nickname", "real name, as `WHOIS` shows it"),
        "password": IdentityKey(check_text, "none", "server password"),
        "nickserv_password": IdentityKey(
            check_text,
            "none",
            "sent to NickServ after connecting, and after services have changed the nick. A rejection is logged",
        ),
        "sasl_password": IdentityKey(
            check_text,
            "none",
            "password for SASL PLAIN, before the bot joins rooms. If the server doesn't support SASL or rejects the "
            "password, the bot disconnects. Use it with `ssl`",
        ),
        "sasl_account": IdentityKey(check_text, "the nickname", "account for `sasl_password`"),
        "ipv6": IdentityKey(check_flag, "`False`", "`True` to connect by IPv6"),
        "bind_address": IdentityKey(_address, "any", "local address to connect from, or a pair of address and port"),
    },
    _warnings,
    check=lambda view: IRCSettings.read(view).trusted(),
)


def __getattr__(name: str) -> Any:
    # Imported on first use: whoever reads a configuration needs only the descriptor.
    if name == "IRCBackend":
        from errklein.networks.irc._backend import IRCBackend

        return IRCBackend
    raise AttributeError(f"module 'errklein.networks.irc' has no attribute {name!r}")


NETWORK = Network(
    "IRC",
    "IRC, with TLS and SASL",
    SETTINGS,
    lazily(f"{__name__}._backend", "IRCBackend"),
    values=[f"{__name__}.identifiers:{name}" for name in ("IRCPerson", "IRCRoom", "IRCRoomOccupant", "_stored_room")],
    defaults={"COMPACT_OUTPUT": True},
    admin="alice!*@alice.example.org",
    mentions_all=False,
    check=lazily(f"{__name__}._backend", "check"),
)

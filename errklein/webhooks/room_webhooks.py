"""Webhooks of rooms, which need no plugin: their values, and what is stored of them."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from errklein.verify import url_token
from errklein.webhooks.declaration import HookDeclaration
from errklein.webhooks.option_values import HookError, Rate
from errklein.webhooks.source import Source

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_VERSION = 1


@dataclass(frozen=True)
class RoomWebhook:
    """A webhook whose source's messages go to a room.

    :param name: The name in addresses and commands, such as "grafana".
    :param source: The name of the source, such as "grafana".
    :param room: The room, such as "#ops" or "libera:#ops". In the configuration file it may have placeholders.
    :param rooms: The rooms that placeholders in `room` may choose from; the first one is for all others.
    :param events: Patterns of the events that are shown; by default all.
    :param text: A text with placeholders in place of the source's messages.
    :param template: A file beside config.py that is a template in place of the source's messages.
    :param secret: The reference to a secret.
    :param token: The hexadecimal SHA-256 digest of the token in the address.
    :param previous: The reference or digest before the last rotation, and the Unix time until which it is valid.
    :param expires: The Unix time after which requests are refused; 0 without one.
    :param messages: The rate of messages, beyond which they are counted.
    :param rate: The rate of requests, beyond which they are refused.
    :param made_by: Who has made it, and `made_at` the Unix time.
    :param is_from_file: Whether it is in the configuration file.
    """

    name: str
    source: str
    room: str
    rooms: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    text: str = ""
    template: str = ""
    secret: str = ""
    token: str = ""
    previous: tuple[str, float] | None = None
    expires: float = 0.0
    messages: str = "20/min"
    rate: str = "600/min"
    made_by: str = ""
    made_at: float = 0.0
    is_from_file: bool = False

    def stored(self) -> dict[str, Any]:
        """Return the webhook as JSON values, without its name."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        del values["name"], values["is_from_file"]
        return {"version": _VERSION, **values}

    @classmethod
    def of_stored(cls, name: str, stored: Mapping[str, Any]) -> Self:
        """Return the webhook of stored values.

        :raises HookError: A later version of errklein has stored it.
        """
        if stored.get("version", 0) > _VERSION:
            raise HookError(f"the webhook {name} was stored by a later version of errklein; upgrade errklein")
        known = {field.name for field in fields(cls)}
        values: Any = {
            key: tuple(value) if isinstance(value, list) else value for key, value in stored.items() if key in known
        }
        return cls(name=name, **values)

    @property
    def digests(self) -> list[str]:
        """The digests of the tokens that are valid."""
        before = [self.previous[0]] if self.previous is not None and ":" not in self.previous[0] else []
        return [one for one in [self.token, *before] if one]

    @property
    def references(self) -> list[str]:
        """The references to the secrets that are valid."""
        before = [self.previous[0]] if self.previous is not None and ":" in self.previous[0] else []
        return [one for one in [self.secret, *before] if one]

    def declaration(self, source: Source, prefix: str) -> HookDeclaration:
        """Return the declaration of the webhook's route.

        :param prefix: The path below which the webhooks of rooms are.
        """
        if self.token or not source.signs:
            verify = url_token(self.references, digests=self.digests, delivery_id=source.delivery_id)
        else:
            verify = source.verification(secret=self.references)
        return HookDeclaration(
            rule=f"{prefix}/{self.name}",
            methods=("POST",),
            verify=verify,
            ack="now",
            rate=Rate.of(self.rate),
            dedupe="id" if verify.delivery_id is not None else None,
            methods_given=True,
            source_name=self.source,
            source=source,
            events=self.events,
        )


def new_token() -> str:
    """Return a token for an address, with 130 random bits."""
    return f"ekt{_random_text(26)}"


def new_secret() -> str:
    """Return a secret for signatures, with 160 random bits."""
    return f"eks{_random_text(32)}"


def _random_text(length: int) -> str:
    return b32encode(secrets.token_bytes(20)).decode().lower()[:length]


def digest_of(token: str) -> str:
    """Return the hexadecimal SHA-256 digest of a token."""
    return hashlib.sha256(token.encode()).hexdigest()

"""The Telegram network, over the Bot API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from errklein.config import Config, ConfigError
from errklein.config.identity import IdentityKey, NetworkSettings, check_text, configured_rooms, is_local
from errklein.config.networks import Network

__all__ = ["NETWORK", "SETTINGS", "rooms_of"]

SERVER = "https://api.telegram.org"
_NUMBER = re.compile("[1-9][0-9]{0,18}")


def rooms_of(config: Any) -> dict[str, str]:
    """Return the rooms of CHATROOM_PRESENCE; raise ConfigError if one is invalid."""
    return configured_rooms(config, re.compile("-[1-9][0-9]{0,18}").fullmatch, "an id such as -1001234567890")


def _token(key: str, value: Any) -> str:
    if not re.fullmatch(r"[0-9]{1,20}:[\w-]{1,200}", check_text(key, value), re.ASCII):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be a token as @BotFather shows it: '123456789:AAH…'")
    return str(value)


def _url(key: str, value: Any, has_path: bool, example: str) -> str:
    try:
        url = urlsplit(check_text(key, value))
        is_safe = url.scheme == "https" or (url.scheme == "http" and is_local(url.hostname or ""))
        is_valid = is_safe and bool(url.hostname) and url.port != 0 and bool(url.path.strip("/")) == has_path
    except ValueError:
        is_valid = False
    if not is_valid or "@" in url.netloc or url.query or url.fragment:
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be a URL such as {example!r}")
    return str(value).rstrip("/")


def _warnings(view: Config) -> Iterator[str]:
    for admin in view.BOT_ADMINS:
        if not _NUMBER.fullmatch(str(admin)):
            yield f"BOT_ADMINS: {admin!r} is nobody on Telegram; expected the number of a person, such as 123456789"


def _lazy(module: str, name: str) -> Any:
    def call(*args: Any) -> Any:
        return getattr(import_module(f"{__name__}.{module}"), name)(*args)

    return call


_webhook, _server = (
    partial(_url, has_path=True, example="https://bot.example.org/telegram"),
    partial(_url, has_path=False, example=SERVER),
)
_posted = "URL of the bot, to which Telegram posts messages; without it, the bot asks for them"
SETTINGS = NetworkSettings(
    {
        "token": IdentityKey(_token, "required", "the token of the bot, from `@BotFather`", required=True),
        "webhook": IdentityKey(_webhook, "none", _posted),
        "server": IdentityKey(_server, f"`{SERVER}`", "URL of the Bot API"),
    },
    _warnings,
    check=rooms_of,
)
NETWORK = Network(
    "Telegram",
    "Telegram, with the token of a bot",
    SETTINGS,
    _lazy("_backend", "TelegramBackend"),
    values=[f"{__name__}.identifiers:Telegram{kind}" for kind in ("Occupant", "Person", "Room")],
    admin="123456789",
    check=_lazy("_account", "check"),
    push_commands=_lazy("_account", "push_commands"),
)

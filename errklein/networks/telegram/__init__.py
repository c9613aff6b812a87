"""The Telegram network, over the Bot API."""

from __future__ import annotations

import re
from typing import Any

from errklein.config.networks import (
    IdentityKey,
    Network,
    NetworkSettings,
    admin_warnings,
    check_text,
    configured_rooms,
    lazily,
    text_like,
)

__all__ = ["NETWORK", "SERVER", "SETTINGS", "rooms_of"]
SERVER = "https://api.telegram.org"


def rooms_of(config: Any) -> dict[str, str]:
    """Return the rooms of CHATROOM_PRESENCE; raise ConfigError if one is invalid."""
    return configured_rooms(config, re.compile("-[1-9][0-9]{0,18}").fullmatch, "an id such as -1001234567890")


_token = text_like(r"[0-9]{1,20}:[\w-]{1,200}", "123456789:AAH…")
# Telegram's own: the senders of what anybody writes anonymously or as a channel, and of what channels post into their groups.
_person = re.compile("(?!(?:1087968824|136817688|777000)$)[1-9][0-9]{0,18}").fullmatch
_webhook = text_like(r"https://[\w.-]+(:[0-9]+)?(/[\w.~-]+)+", "https://bot.example.org/telegram")
_server = text_like(r"(https://[\w.-]+|http://(localhost|127\.[0-9.]+|\[::1\]))(:[0-9]+)?", SERVER)
_posted = "URL of the bot, to which Telegram posts messages; without it, the bot asks for them"
SETTINGS: NetworkSettings = NetworkSettings(
    {
        "token": IdentityKey(_token, "required", "the token of the bot, from `@BotFather`", required=True),
        "username": IdentityKey(
            check_text, "none", "errbot's key, without effect: Telegram tells the bot its username"
        ),
        "webhook": IdentityKey(_webhook, "none", _posted),
        "server": IdentityKey(_server, f"`{SERVER}`", "URL of the Bot API"),
    },
    lambda view: admin_warnings(view, _person, "a number such as 123456789"),
    check=lambda view: (SETTINGS.read_identity(view.BOT_IDENTITY), rooms_of(view)),
)
NETWORK = Network(
    "Telegram",
    "Telegram, with the token of a bot",
    SETTINGS,
    lazily(f"{__name__}._backend", "TelegramBackend"),
    values=[f"{__name__}.identifiers:Telegram{kind}" for kind in ("Occupant", "Person", "Room")],
    admin="123456789",
    check=lazily(f"{__name__}._backend", "check"),
    push_commands=lazily(f"{__name__}._backend", "push_commands"),
)

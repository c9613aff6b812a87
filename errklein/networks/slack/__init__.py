"""The Slack network, over the Web API and Socket Mode or the Events API, and its settings in config.py."""

from __future__ import annotations

from typing import Any

from errklein.config import ConfigError
from errklein.config.networks import (
    IdentityKey,
    Network,
    NetworkSettings,
    admin_warnings,
    configured_rooms,
    lazily,
    text_like,
)
from errklein.networks.slack.identifiers import is_room, is_user

__all__ = ["NETWORK", "SETTINGS", "rooms_of", "settings_of"]
_API = "https://slack.com/api"
_URL = r"(https://[\w.-]+|http://(localhost|127\.[0-9.]+))(:[0-9]+)?/[\w./-]*"


def settings_of(config: Any) -> dict[str, str]:
    """Return BOT_IDENTITY with all keys; raise ConfigError if it is invalid."""
    found = dict.fromkeys(SETTINGS.keys, "") | {"api": _API} | SETTINGS.read_identity(config.BOT_IDENTITY)
    found["token"] = found["token"] or found["bot_token"]
    if not found["token"] or not (found["app_token"] or found["signing_secret"]):
        others = "'app_token' for Socket Mode or 'signing_secret' for the Events API"
        raise ConfigError(f"BOT_IDENTITY: expected 'token', the bot token, with {others}")
    return found


def rooms_of(config: Any) -> dict[str, str]:
    """Return the rooms of CHATROOM_PRESENCE; raise ConfigError if one is invalid."""
    return configured_rooms(config, is_room, "'#ops', or an id as 'C0123456789'")


def _key(pattern: str, example: str, default: str, meaning: str) -> IdentityKey:
    return IdentityKey(text_like(pattern, example), default, meaning)


SETTINGS: NetworkSettings = NetworkSettings(
    {
        "token": _key(r"xox[\w.-]+", "xoxb-…", "required", "the bot token, which begins with `xoxb-`"),
        "bot_token": _key(r"xox[\w.-]+", "xoxb-…", "none", "another name of `token`"),
        "app_token": _key(r"xapp-[\w.-]+", "xapp-…", "none", "the app-level token for Socket Mode, such as `xapp-…`"),
        "signing_secret": _key(r"\w+", "8f742231b1…", "none", "for the Events API instead of Socket Mode"),
        "config_token": _key(r"xoxe[\w.-]+", "xoxe.xoxp-…", "none", "for `errklein network push-commands`"),
        "api": _key(_URL, _API, f"`{_API}`", "URL of the Web API; for GovSlack `https://slack-gov.com/api`"),
    },
    lambda view: admin_warnings(view, is_user, "an id such as 'U0123456789', which `!whoami` shows"),
    check=lambda view: (settings_of(view), rooms_of(view)),
)
NETWORK = Network(
    "Slack",
    "Slack, with the tokens of an app",
    SETTINGS,
    lazily(f"{__name__}._backend", "SlackBackend"),
    values=[f"{__name__}.identifiers:{name}" for name in ("SlackOccupant", "SlackPerson", "SlackRoom")],
    admin="U0123456789",
    check=lazily(f"{__name__}._client", "check"),
    push_commands=lazily(f"{__name__}._client", "push_commands"),
)

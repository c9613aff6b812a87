"""The Slack network, over the Web API and Socket Mode or the Events API, and its settings in config.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from errklein.config import Config, ConfigError
from errklein.config.identity import IdentityKey, NetworkSettings, check_text, configured_rooms, is_local
from errklein.config.networks import Network
from errklein.networks.slack.identifiers import is_room, is_user

__all__ = ["NETWORK", "SETTINGS", "SlackSettings"]

_API = "https://slack.com/api"


@dataclass(frozen=True)
class SlackSettings:
    """The settings of one Slack network, validated. `rooms` returns those of CHATROOM_PRESENCE, which plugins may change."""

    network: str
    token: str = field(repr=False)
    app_token: str = field(default="", repr=False)
    signing_secret: str = field(default="", repr=False)
    config_token: str = field(default="", repr=False)
    api: str = _API
    rooms: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)

    @classmethod
    def read(cls, config: Any) -> SlackSettings:
        """Return the settings of a network from its configuration; raises ConfigError if one is invalid."""
        identity = SETTINGS.read_identity(config.BOT_IDENTITY)
        token = identity.pop("bot_token", "") or identity.get("token")
        if not token or not (identity.get("app_token") or identity.get("signing_secret")):
            others = "'app_token' for Socket Mode or 'signing_secret' for the Events API"
            raise ConfigError(f"BOT_IDENTITY: expected 'token', the bot token, with {others}")
        rooms = partial(configured_rooms, config, is_room, "'#ops', or an id as 'C0123456789'")
        rooms()
        return cls(network=config.network, rooms=rooms, **{**identity, "token": token})

    @property
    def is_encrypted(self) -> bool:
        """Whether requests are encrypted on their way to Slack."""
        return self.api.startswith("https:") or is_local(urlsplit(self.api).hostname or "")


def _token(prefix: str, key: str, value: Any) -> str:
    # The error doesn't show the value.
    if not check_text(key, value).startswith(prefix):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must begin with {prefix!r}")
    return str(value)


def _warnings(view: Config) -> Iterator[str]:
    for admin in view.BOT_ADMINS:
        if any(one in str(admin) for one in "*?["):
            yield f"BOT_ADMINS: everybody whose id matches {admin!r} is an administrator, who can run code; name each one"
        elif not is_user(str(admin)):
            yield f"BOT_ADMINS: {admin!r} is nobody on Slack; expected an id such as 'U0123456789', which `!whoami` shows"


def _key(prefix: str, default: str, meaning: str) -> IdentityKey:
    return IdentityKey(partial(_token, prefix), default, meaning)


SETTINGS = NetworkSettings(
    {
        "token": _key("xox", "required", "the bot token, which begins with `xoxb-`"),
        "bot_token": _key("xox", "none", "another name of `token`"),
        "app_token": _key("xapp-", "none", "the app-level token for Socket Mode, which begins with `xapp-`"),
        "signing_secret": _key("", "none", "the app's signing secret, for the Events API instead of Socket Mode"),
        "config_token": _key("xoxe", "none", "an app configuration token, for `errklein network push-commands`"),
        "api": _key("http", f"`{_API}`", "URL of the Web API; that of GovSlack is `https://slack-gov.com/api`"),
    },
    _warnings,
    check=SlackSettings.read,
)


def _lazily(module: str, name: str) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        return getattr(import_module(f"{__name__}.{module}"), name)(*given)

    return call


NETWORK = Network(
    "Slack",
    "Slack, with the tokens of an app",
    SETTINGS,
    _lazily("_backend", "SlackBackend"),
    values=[f"{__name__}.identifiers:{name}" for name in ("SlackOccupant", "SlackPerson", "SlackRoom")],
    admin="U0123456789",
    check=_lazily("_app", "check"),
    push_commands=_lazily("_app", "push_commands"),
)

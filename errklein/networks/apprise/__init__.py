"""The Apprise network: named targets at the services that the library Apprise knows. It only sends."""

from __future__ import annotations

import re
from typing import Any

from errklein.config import ConfigError
from errklein.config.networks import IdentityKey, Network, NetworkSettings, lazily
from errklein.verify import parse_reference

__all__ = ["NETWORK"]


def _targets(key: str, value: Any) -> dict[str, str]:
    example = f"BOT_IDENTITY: {key!r} must be a dict such as {{'teams': 'env:TEAMS_URL'}}"
    if not isinstance(value, dict) or not value:
        raise ConfigError(example)
    for name, reference in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(f"{example}; names have letters, digits and any of '._-', unlike {name!r}")
        try:
            parse_reference(reference)
        except ValueError:
            # The error doesn't show the value, which may be the URL itself.
            raise ConfigError(f"{example}; the value of {name!r} doesn't name a secret that has the URL") from None
    return dict(value)


def _schemes(key: str, value: Any) -> frozenset[str]:
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"BOT_IDENTITY: {key!r} must be a list of schemes such as ['xmpp']")
    return frozenset(value)


NETWORK: Network = Network(
    "Apprise",
    "services such as Teams and e-mail, to which messages are only sent",
    NetworkSettings(
        {
            "targets": IdentityKey(
                _targets,
                "required",
                "names of targets, each with a reference to the secret that has its URL in Apprise's notation: "
                '`{"teams": "env:TEAMS_URL"}` makes the room `#teams`',
            ),
            "schemes": IdentityKey(
                _schemes, "none", "schemes of URLs that are allowed besides those of usual services, such as `xmpp`"
            ),
        },
        check=lazily(f"{__name__}._backend", "open_targets"),
    ),
    lazily(f"{__name__}._backend", "AppriseBackend"),
    sends_only=True,
    libraries=["apprise"],
    extra="errklein[apprise]",
    check=lazily(f"{__name__}._backend", "check"),
)

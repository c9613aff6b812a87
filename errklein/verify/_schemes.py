"""The table of all schemes by name, for settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from errklein.text.suggestions import did_you_mean
from errklein.verify._addresses import addresses
from errklein.verify._bearer import basic, bearer
from errklein.verify._bitbucket import bitbucket
from errklein.verify._discord import discord
from errklein.verify._gitea import gitea
from errklein.verify._github import github
from errklein.verify._gitlab import gitlab
from errklein.verify._hmac_signature import hmac_signature
from errklein.verify._linear import linear
from errklein.verify._pagerduty import pagerduty
from errklein.verify._sentry import sentry
from errklein.verify._shopify import shopify
from errklein.verify._slack import slack
from errklein.verify._standard_webhooks import standard_webhooks
from errklein.verify._stripe import stripe
from errklein.verify._telegram import telegram
from errklein.verify._twilio import twilio
from errklein.verify._verification import Verification

SCHEMES: Mapping[str, Callable[..., Verification]] = {
    scheme.__name__: scheme
    for scheme in (
        addresses,
        basic,
        bearer,
        bitbucket,
        discord,
        gitea,
        github,
        gitlab,
        hmac_signature,
        linear,
        pagerduty,
        sentry,
        shopify,
        slack,
        standard_webhooks,
        stripe,
        telegram,
        twilio,
    )
}
"""The functions that return a verification, by the name of the scheme."""


_TYPES: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("True or False", (bool,)),
    "float": ("a number", (int, float)),
    "str": ("a string", (str,)),
    "str | None": ("a string or None", (str, type(None))),
    "str | Sequence[str]": ("a string or a list of strings", (str, list, tuple)),
}
"""The values of the annotations of options, with their description. `references` checks the type of secrets."""


def verification(scheme: str, /, **options: Any) -> Verification:
    """Return the verification of a scheme with these options, as `github(secret="env:GH_SECRET")` does.

    :raises ValueError: The scheme or an option is unknown, missing or invalid. The text has the valid names.
    """
    factory = SCHEMES.get(scheme) if isinstance(scheme, str) else None
    if factory is None:
        known = ", ".join(sorted(SCHEMES))
        raise ValueError(
            f"unknown verification: {scheme!r}; expected one of {known}{did_you_mean(str(scheme), SCHEMES)}"
        )
    parameters = inspect.signature(factory).parameters
    for name in options:
        if name not in parameters:
            known = ", ".join(parameters)
            raise ValueError(
                f"unknown option of the verification {scheme}: {name!r}; expected {known}{did_you_mean(name, parameters)}"
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            example = ", such as 'secret': 'env:NAME'" if name == "secret" else ""
            raise ValueError(f"the verification {scheme} needs the option {name!r}{example}")
        if name in options and not _is_of_type(options[name], parameter.annotation):
            expected = _TYPES[parameter.annotation][0]
            given = type(options[name]).__name__
            raise ValueError(f"the option {name!r} of the verification {scheme} must be {expected}, not a {given}")
    return factory(**options)


def _is_of_type(value: object, annotation: str) -> bool:
    items = value if isinstance(value, (list, tuple)) else ()
    return annotation not in _TYPES or (
        isinstance(value, _TYPES[annotation][1]) and all(isinstance(item, str) for item in items)
    )

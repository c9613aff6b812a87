"""Verification of the sources of webhooks, as pure functions of a request and secrets. Each scheme is a function that
returns a `Verification`, for `@webhook("/github", verify=github(secret="env:GH_SECRET"))`."""

from errklein.verify._algorithms import hmac_signature, standard_webhooks
from errklein.verify._discord import discord
from errklein.verify._senders import (
    addresses,
    basic,
    bearer,
    bitbucket,
    gitea,
    github,
    gitlab,
    linear,
    pagerduty,
    sentry,
    shopify,
    slack,
    stripe,
    telegram,
)
from errklein.verify._twilio import twilio
from errklein.verify._url_token import ADDRESS_SCHEME, digest_of, url_token
from errklein.verify._verification import (
    SCHEMES,
    Expired,
    Header,
    ImmediateResponse,
    Received,
    Refused,
    Secrets,
    UnusableSecret,
    Verification,
    parse_reference,
    references,
    verification,
)

__all__ = [
    "ADDRESS_SCHEME",
    "SCHEMES",
    "Expired",
    "Header",
    "ImmediateResponse",
    "Received",
    "Refused",
    "Secrets",
    "UnusableSecret",
    "Verification",
    "addresses",
    "basic",
    "bearer",
    "bitbucket",
    "digest_of",
    "discord",
    "gitea",
    "github",
    "gitlab",
    "hmac_signature",
    "linear",
    "pagerduty",
    "parse_reference",
    "references",
    "sentry",
    "shopify",
    "slack",
    "standard_webhooks",
    "stripe",
    "telegram",
    "twilio",
    "url_token",
    "verification",
]

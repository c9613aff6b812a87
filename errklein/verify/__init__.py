"""Verification of the sources of webhooks, as pure functions of a request and secrets.

Each scheme is a function that returns a `Verification`, for `@webhook("/github", verify=github(secret="env:GH_SECRET"))`.
"""

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
from errklein.verify._references import parse_reference
from errklein.verify._schemes import SCHEMES, verification
from errklein.verify._sentry import sentry
from errklein.verify._shopify import shopify
from errklein.verify._slack import slack
from errklein.verify._source_headers import source_headers
from errklein.verify._standard_webhooks import standard_webhooks
from errklein.verify._stripe import stripe
from errklein.verify._telegram import telegram
from errklein.verify._twilio import twilio
from errklein.verify._values import Header, ImmediateResponse, Received, Refused, UnusableSecret
from errklein.verify._verification import Verification

__all__ = [
    "SCHEMES",
    "Header",
    "ImmediateResponse",
    "Received",
    "Refused",
    "UnusableSecret",
    "Verification",
    "addresses",
    "basic",
    "bearer",
    "bitbucket",
    "discord",
    "gitea",
    "github",
    "gitlab",
    "hmac_signature",
    "linear",
    "pagerduty",
    "parse_reference",
    "sentry",
    "shopify",
    "slack",
    "source_headers",
    "standard_webhooks",
    "stripe",
    "telegram",
    "twilio",
    "verification",
]

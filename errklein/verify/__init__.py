"""Verification of the senders of webhooks, as pure functions of a request and secrets.

Each scheme is a function that returns a `Verification`, for `@webhook("/github", verify=github(secret="env:GH_SECRET"))`.
"""

from errklein.verify._bearer import bearer
from errklein.verify._github import github
from errklein.verify._references import parse_reference
from errklein.verify._schemes import SCHEMES, verification
from errklein.verify._slack import slack
from errklein.verify._values import ImmediateResponse, Received, Refused
from errklein.verify._verification import Verification

__all__ = [
    "SCHEMES",
    "ImmediateResponse",
    "Received",
    "Refused",
    "Verification",
    "bearer",
    "github",
    "parse_reference",
    "slack",
    "verification",
]

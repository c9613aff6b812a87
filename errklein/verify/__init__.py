"""Verification of the senders of webhooks, as pure functions of a request and secrets."""

from errklein.verify._values import ImmediateResponse, Received, Refused
from errklein.verify._verification import Verification

__all__ = ["ImmediateResponse", "Received", "Refused", "Verification"]

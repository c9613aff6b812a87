"""The exceptions by which networks and what errklein lends them understand each other."""

from errklein.networks._connection import Unusable
from errklein.networks.json_client import RequestRefused
from errklein.networks.outbox import NotConfirmed, RetryLater

__all__ = ["NotConfirmed", "RequestRefused", "RetryLater", "Unusable"]

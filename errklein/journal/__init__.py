"""The journal of webhooks: received deliveries, their outcome, and what is still to be run."""

from errklein.journal._memory import MemoryJournal
from errklein.journal._queue import DeliveryQueue
from errklein.journal._redaction import Redaction
from errklein.journal._retry_policy import RetryPolicy

__all__ = ["DeliveryQueue", "MemoryJournal", "Redaction", "RetryPolicy"]

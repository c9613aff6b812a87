"""The outbox: an ordered, bounded queue of messages for one network, with a rate limit and retransmission."""

from errklein.networks.outbox._network import NotConfirmed, OutboxLimits, RetryLater, Scope, Transport, outbox_limits
from errklein.networks.outbox._outbox import Outbox

__all__ = ["NotConfirmed", "Outbox", "OutboxLimits", "RetryLater", "Scope", "Transport", "outbox_limits"]

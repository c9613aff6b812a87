"""The outbox: an ordered, bounded queue of messages for one network, with a rate limit and retransmission."""

from errklein.backends.outbox._bounds import OutboxLimits, outbox_limits
from errklein.backends.outbox._outbox import Outbox
from errklein.backends.outbox._transport import NotConfirmed, Reports, Transport

__all__ = ["NotConfirmed", "Outbox", "OutboxLimits", "Reports", "Transport", "outbox_limits"]

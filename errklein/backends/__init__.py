"""Chat networks: IRC, the terminal, tests and none. Each is a module or package of its own, which imports no other network.

Networks share local persons and rooms (`base`) and the outbox, an ordered and bounded queue of messages.
"""

from errklein.backends.outbox import NotConfirmed, Outbox, TokenBucket

__all__ = ["NotConfirmed", "Outbox", "TokenBucket"]

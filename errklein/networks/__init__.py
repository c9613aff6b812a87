"""Chat networks, each in a module or package of its own that imports no other. They share base classes (`base`), what errklein
lends them (`context`), and the queue of outgoing messages (`outbox`)."""

__all__: list[str] = []

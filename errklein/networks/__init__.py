"""Backends for chat networks: IRC, Text (this terminal), Test (in memory) and Null (no chat). Each backend implements
`ports.chat.Backend` in a module or package of its own, and imports no other. They share the base classes of networks
inside this process (`base`) and the queue of outgoing messages (`outbox`)."""

__all__: list[str] = []

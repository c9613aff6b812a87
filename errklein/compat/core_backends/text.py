"""The class of the network Text."""

from errklein.backends.text import TextBackend

__all__ = ["TextBackend"]

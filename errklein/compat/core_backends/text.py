"""The module that text.plug names: the class of the network Text."""

from errklein.backends.text import TextBackend

__all__ = ["TextBackend"]

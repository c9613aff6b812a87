"""The module of text.plug."""

from errklein.backends.text import TextBackend

__all__ = ["TextBackend"]

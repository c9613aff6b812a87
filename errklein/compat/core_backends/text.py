"""The module of text.plug."""

from errklein.networks.text import TextBackend

__all__ = ["TextBackend"]

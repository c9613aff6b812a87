"""The module of null.plug."""

from errklein.backends.null import NullBackend

__all__ = ["NullBackend"]

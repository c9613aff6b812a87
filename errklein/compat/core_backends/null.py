"""The module that null.plug names: the class of the network Null."""

from errklein.backends.null import NullBackend

__all__ = ["NullBackend"]

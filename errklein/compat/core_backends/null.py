"""The module of null.plug."""

from errklein.networks.null import NullBackend

__all__ = ["NullBackend"]

"""The module of null.plug."""

from errklein.networks.null import NullBackend as NullBackend

"""The module that test.plug names: the class of the network Test."""

from errklein.backends.test import TestBackend

__all__ = ["TestBackend"]

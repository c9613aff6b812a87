"""The module of test.plug."""

from errklein.backends.test import TestBackend

__all__ = ["TestBackend"]

"""The module of test.plug."""

from errklein.networks.test import TestBackend as TestBackend

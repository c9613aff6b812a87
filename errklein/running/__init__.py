"""Runs any kind of handler where it is safe: on the reactor, or in a thread of a bounded pool."""

from errklein.running.placement import Placement, on_reactor, place
from errklein.running.pool import Overloaded, PoolStopped, WorkerPool
from errklein.running.runner import Runner

__all__ = ["Overloaded", "Placement", "PoolStopped", "Runner", "WorkerPool", "on_reactor", "place"]

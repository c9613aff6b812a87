"""Runs any kind of handler where it is safe: on the reactor, or in a thread of a bounded pool."""

from errklein.running.placement import Decision, Placement, decision, on_reactor, place
from errklein.running.pool import Overloaded, PoolStopped, WorkerPool
from errklein.running.runner import Runner

__all__ = [
    "Decision",
    "Overloaded",
    "Placement",
    "PoolStopped",
    "Runner",
    "WorkerPool",
    "decision",
    "on_reactor",
    "place",
]

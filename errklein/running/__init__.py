"""Runs handlers of every kind where each may run: on the reactor, or in a thread of a bounded pool."""

from errklein.running._coroutines import install_task_factory, loop_of
from errklein.running._deadlines import NEVER, DeadlineSweeper
from errklein.running._in_flight import InFlightCounter
from errklein.running._keyed_queues import KeyedQueueFull, KeyedQueues, QueuedWork
from errklein.running._placement import ExplainedPlacement, Placement, explain_placement, on_reactor, place
from errklein.running._pool_status import PoolStatus, ThreadUse
from errklein.running._reactor_lag import ReactorLag
from errklein.running._runner import PooledRunner, Runner, RunningMethod
from errklein.running._serial_queue import SerialQueue
from errklein.running._time_slices import TimeSlices
from errklein.running._timeouts import Deadline, TimedOut, cancel_timers, result_within
from errklein.running._token_buckets import TokenBucket, TokenBuckets
from errklein.running._worker_threads import start_daemon_thread
from errklein.running.pool import Overloaded, PoolStopped, WorkerPool
from errklein.running.threads import (
    ThreadWaits,
    blocking_in_place,
    in_any_reactor_thread,
    in_reactor_thread,
    may_use_reactor,
    on_reactor_soon,
    register_reactor_thread,
)

__all__ = [
    "NEVER",
    "Deadline",
    "DeadlineSweeper",
    "ExplainedPlacement",
    "InFlightCounter",
    "KeyedQueueFull",
    "KeyedQueues",
    "Overloaded",
    "Placement",
    "PoolStatus",
    "PoolStopped",
    "PooledRunner",
    "QueuedWork",
    "ReactorLag",
    "Runner",
    "RunningMethod",
    "SerialQueue",
    "ThreadUse",
    "ThreadWaits",
    "TimeSlices",
    "TimedOut",
    "TokenBucket",
    "TokenBuckets",
    "WorkerPool",
    "blocking_in_place",
    "cancel_timers",
    "explain_placement",
    "in_any_reactor_thread",
    "in_reactor_thread",
    "install_task_factory",
    "loop_of",
    "may_use_reactor",
    "on_reactor",
    "on_reactor_soon",
    "place",
    "register_reactor_thread",
    "result_within",
    "start_daemon_thread",
]

"""Runs handlers of every kind where each may run: on the reactor, or in a thread of a bounded pool."""

from errklein.running._limits import (
    NEVER,
    Deadline,
    DeadlineSweeper,
    RateLimit,
    ReactorLag,
    TimedOut,
    TokenBucket,
    TokenBuckets,
    cancel_timers,
    result_within,
)
from errklein.running._placement import (
    ExplainedPlacement,
    Placement,
    explain_placement,
    function_layers,
    on_reactor,
    placement_of,
)
from errklein.running._runner import (
    InFlightCounter,
    KeyedQueueFull,
    KeyedQueues,
    QueuedWork,
    Runner,
    SerialQueue,
    TimeSlices,
    Workers,
)
from errklein.running.pool import (
    Overloaded,
    PoolStatus,
    PoolStopped,
    ThreadReactor,
    ThreadUse,
    WorkerPool,
    start_daemon_thread,
)
from errklein.running.reactors import install_task_factory
from errklein.running.threads import (
    ThreadWaits,
    blocking_here,
    call_from_thread,
    deferred_of,
    in_any_reactor_thread,
    in_reactor_thread,
    loop_of,
    may_use_reactor,
    on_reactor_soon,
    register_reactor_thread,
)

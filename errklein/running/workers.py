"""The pools and queues in which the code of a bot's plugins runs."""

from __future__ import annotations

from dataclasses import dataclass

from errklein.running._queues import KeyedQueues
from errklein.running._runner import PooledRunner
from errklein.running.pool import WorkerPool
from errklein.running.threads import ThreadWaits


@dataclass(frozen=True)
class Workers:
    """Runners of plugins' code: commands in one pool, the rest in another. Filters and callbacks queue by plugin.

    `core` runs the core's own commands, so that they work while plugins hold all threads. `values` reads and writes plugins' values.
    """

    commands: PooledRunner
    core: PooledRunner
    others: PooledRunner
    values: WorkerPool
    queues: KeyedQueues
    waits: ThreadWaits

"""A runner together with the pool for handlers that block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from errklein.running.pool import WorkerPool
from errklein.running.runner import Runner


@dataclass(frozen=True)
class PooledRunner:
    """Runs handlers on the reactor or, if they block, in the threads of one pool."""

    runner: Runner
    pool: WorkerPool

    def run(self, handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """As `Runner.run`."""
        return self.runner.run(handler, *args, pool=self.pool, **kwargs)

    def run_generator(self, deliver: Callable[[Any], Any], handler: Callable[..., Any], *args: Any) -> Deferred[None]:
        """As `Runner.run_generator`."""
        return self.runner.run_generator(deliver, handler, *args, pool=self.pool)

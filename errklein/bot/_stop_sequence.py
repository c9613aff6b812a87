"""The sequence in which the parts of a bot stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from errklein.bot._collaborators import Adapters
from errklein.running import Deadline, TimedOut, result_within

SHORTEST_DEACTIVATION = 0.2
"""The time for the deactivation of plugins when handlers have used up the grace period, in seconds."""

Step = Callable[[], object]


StopSteps = tuple[Iterable[Step], Iterable[Step], Iterable[Step]]
"""Functions that stop the parts that accept work, those that do it, and those that plugins use until they are deactivated."""


class StopSequence:
    """Refuses new work, waits for handlers, deactivates plugins, sends the queued messages, and disconnects.

    :param when_quiet: Returns a Deferred that fires when no handler runs and no reply is pending.
    :param deactivate: Deactivates the plugins within the given number of seconds.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        adapters: Adapters,
        when_quiet: Callable[[], Deferred[Any]],
        deactivate: Callable[[float], Deferred[None]],
        steps: StopSteps,
    ) -> None:
        self._reactor = reactor
        self._adapters = adapters
        self._when_quiet = when_quiet
        self._deactivate = deactivate
        self._intake, self._work, self._services = steps

    async def run(self, grace: float) -> None:
        """Stop the bot within `grace` seconds. Each step begins as soon as the one before has ended.

        If the grace period ends before plugins are deactivated, they get SHORTEST_DEACTIVATION seconds, and queued messages
        are not sent.
        """
        web = self._adapters.web
        deadline = Deadline(self._reactor, grace)
        _call(self._intake)
        web.begin_stopping()
        await self._at_most(grace, DeferredList([self._when_quiet(), web.when_idle()]))
        # No handler may start on a plugin that is being deactivated.
        web.refuse_waiting()
        _call(self._work)
        # Networks are disconnected and storage is closed even if a plugin hangs.
        seconds = max(deadline.left, SHORTEST_DEACTIVATION)
        await self._at_most(seconds, self._deactivate(seconds))
        backends = self._adapters.backends.values()
        await DeferredList([backend.disconnect(deadline.left) for backend in backends])
        # Last, since a plugin's `deactivate` or a backend that ends may wait for the reactor in a thread.
        _call(self._services)
        await self._adapters.http_clients.close()
        await web.close()
        await self._adapters.journal.close()
        self._adapters.storage.close()

    async def _at_most(self, seconds: float, awaited: Deferred[Any]) -> None:
        try:
            await result_within(self._reactor, seconds, awaited)
        except TimedOut:
            self.log.info("Stopping: plugins did not finish in time; not waiting for them any longer")
        except Exception:
            self.log.failure("Stopping: plugins could not be deactivated")


def _call(steps: Iterable[Step]) -> None:
    for step in steps:
        step()

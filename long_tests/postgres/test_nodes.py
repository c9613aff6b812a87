"""Further tests of the ownership with processes."""

from __future__ import annotations

import signal

from tests.postgres.nodes import until
from tests.postgres.test_nodes_processes import ProcessesCase


class LongOwnersTests(ProcessesCase):
    """The owner hangs, pauses, or its network is repaired."""

    async def test_short_freeze(self) -> None:
        """An owner that is stopped for 3 s goes on as if nothing had happened."""
        self.first.send(signal.SIGSTOP)
        await self.pause(3.0)
        self.first.send(signal.SIGCONT)
        resumed = self.now()
        await until(self, lambda: self.first.times("wrote")[-1] > resumed + 1.0)
        self.assertFalse(self.second.acting)

    async def test_hanging_owner(self) -> None:
        """An owner whose reactor hangs is replaced, too."""
        self.first.send(signal.SIGUSR2)
        began = self.now()
        await self.taken_over(began, 20.0)
        await until(self, lambda: self.first.times("lost"))
        self.check()

    async def test_repaired_network(self) -> None:
        """A process that isn't the owner comes back when its network is repaired, and can take over then."""
        third = self.start(self.cut_off_url)
        await until(self, lambda: third.times("sees"))
        self.second.end()
        self.proxy.cut()
        await until(self, lambda: self.first.times("lost"))
        await self.pause(3.0)
        self.proxy.repair()
        repaired = self.now()
        await self.taken_over(repaired, 15.0, third)
        self.check()

"""Two machines behind HAProxy, as the guide docs/guides/several-machines.md sets them up: one is lost, cut off, and drained."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from long_tests.postgres.machines import FRONT, Machines
from tests.postgres.server import programs

PLUGIN = """
    import os
    from errklein import BotPlugin, webhook

    class Counter(BotPlugin):
        def note(self, number):
            with open(os.environ["RUNS"], "a") as file:
                file.write(f"{number}\\n")

        @webhook("/owner", ack="now", dedupe="header:X-Id")
        def owner(self, payload):
            self.note(payload)

        @webhook("/anywhere", ack="now", dedupe="header:X-Id", anywhere=True)
        def anywhere(self, payload):
            self.note(payload)

        @webhook("/client", raw=True)
        def client(self, request):
            return f"{request.remote_addr} {request.scheme}"
"""
CLIENTS = 6  # the number of requests that the source sends at a time
CUT = 20.0
"""The seconds for which a machine is cut off."""


class TwoMachinesTests(SynchronousTestCase):
    """bot1 is one process, and bot2 has three."""

    timeout = 600

    def setUp(self) -> None:
        """Start both bots, and let webhooks arrive."""
        programs()
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.machines = Machines(directory, PLUGIN)
        self.addCleanup(self.machines.stop)
        self.machines.command("bot1", "storage", "init")
        self.machines.start("bot1")
        self.await_nodes(1)
        self.machines.start("bot2", "--processes", "2")
        self.await_nodes(4)
        self.source = self.machines.post(0.02)
        self.addCleanup(self.source.stop)
        self.machines.until(lambda: self.source.latest(20) == {"202"}, "webhooks aren't accepted")

    def await_nodes(self, count: int) -> None:
        """Wait until so many processes run, and one of them owns the plugins."""
        owned = "SELECT count(*) FROM nodes JOIN owner ON owner.node = nodes.id"
        self.machines.until(
            lambda: self.count("SELECT count(*) FROM nodes") == count and self.count(owned) == 1,
            f"there are no {count} processes",
        )

    def count(self, query: str) -> int:
        """Return a number; -1 before the tables exist."""
        [[number]] = self.machines.read(query)
        assert isinstance(number, int)
        return number

    def await_acceptance(self) -> None:
        """Wait until each of the next webhooks is accepted."""
        began = time.monotonic()
        self.machines.until(
            lambda: len(self.source.since(began)) > 60 and self.source.latest(60) == {"202"}, "webhooks aren't accepted"
        )

    def check(self) -> None:
        """Check that each webhook that was acknowledged has run."""
        self.source.stop()
        runs = self.machines.directory / "runs"
        self.machines.until(
            lambda: self.source.accepted <= {*map(int, runs.read_text().split())}, "webhooks were lost", 90.0
        )
        self.machines.until(lambda: self.count("SELECT count(*) FROM deliveries WHERE state < 3") == 0, "not all ended")
        self.assertGreater(len(self.source.accepted), 100)
        # What a machine was answering when it was lost fails soon, and the source may send it again.
        failed = [status for _, _, status in self.source.responses if status != "202"]
        self.assertLessEqual({*failed}, {"502", "503", "504"})
        self.assertLessEqual(len(failed), 2 * CLIENTS, failed)
        moments = [moment for moment, _, _ in self.source.responses]
        self.assertLess(max(after - before for before, after in pairwise(moments)), 40)

    def test_pages(self) -> None:
        """Whichever machine gets a request for the owner, the handler knows the client."""
        self.assertEqual([self.machines.fetch("/client") for _ in range(6)], [f"{FRONT} https"] * 6)

    def test_lost_machine(self) -> None:
        """The machine that owns the plugins is without power, without a word to anybody. The other one takes over."""
        began = time.monotonic()
        self.machines.power_off("bot1")
        self.await_nodes(3)
        self.machines.until(lambda: self.count("SELECT count(*) FROM owner WHERE node IS NOT NULL") == 1, "no owner")
        self.assertLess(time.monotonic() - began, 40)
        self.await_acceptance()
        self.machines.set_link("bot1", True)
        self.machines.start("bot1")
        self.await_nodes(4)
        self.await_acceptance()
        self.check()

    def test_cut_machine(self) -> None:
        """The machine that owns the plugins is cut off for 20 s, and works again afterwards."""
        self.machines.set_link("bot1", False)
        cut = time.monotonic()
        self.await_nodes(3)
        self.machines.until(lambda: time.monotonic() - cut > CUT, "")
        self.await_acceptance()
        self.machines.set_link("bot1", True)
        self.await_nodes(4)
        self.await_acceptance()
        self.check()

    def test_drained_machine(self) -> None:
        """While a machine is drained and started again, each webhook is accepted."""
        began = time.monotonic()
        nodes = self.machines.command("bot2", "nodes").splitlines()
        [owner] = [line.split()[0] for line in nodes if "owns plugins" in line]
        self.assertIn("stops in some seconds", self.machines.command("bot1", "drain", owner))
        self.machines.until(lambda: self.machines.ended("bot1"), "it doesn't stop")
        self.await_nodes(3)
        self.machines.start("bot1")
        self.await_nodes(4)
        self.await_acceptance()
        self.assertEqual({*self.source.since(began)}, {"202"})
        self.check()

"""The contract of `errklein.ports.nodes.Nodes`, for PostgreSQL and the double in memory."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from errklein.ports.nodes import CHAT, INTAKE, ROLES, WORKER
from errklein.postgres import _nodes
from tests.postgres.nodes import TestNode, until


class NodesContract:
    """Tests of nodes of one database. They wait for events, in the real time.

    Mixed into `twisted.trial.unittest.TestCase`.
    """

    def new_node(self, roles: Sequence[str] = ROLES) -> TestNode:
        """Return another node of the database of this test."""
        raise NotImplementedError

    def kill(self, node: TestNode) -> None:
        """End the thread of a node and its session, as SIGKILL does, as far as others can see."""

        def end(*_: object) -> None:
            raise SystemExit

        node.nodes._ticks.stop()
        node.nodes._members.connect = node.nodes._members.leave = end
        node.nodes._members.interrupt()
        self.killed.append(node)

    def started(self, roles: Sequence[str] = ROLES) -> TestNode:
        """Return a started node, which is stopped after the test."""
        node = self.new_node(roles)
        node.start()
        self.addCleanup(lambda: None if node in self.killed else node.nodes.stop())
        return node

    def setUp(self) -> None:
        """Kill nobody so far."""
        self.killed: list[TestNode] = []

    async def test_first_node_owns(self) -> None:
        """The only node becomes the owner at once, and knows it."""
        node = self.new_node()
        self.addCleanup(node.nodes.stop)
        self.assertFalse(node.nodes.owns)
        node.start()
        await until(self, lambda: "owned" in node.told)
        self.assertTrue(node.nodes.owns)
        self.assertEqual(node.nodes.owner.id, node.nodes.me.id)
        await until(self, lambda: node.nodes.me.owns_since)
        self.assertGreaterEqual(node.nodes.me.seen_at, node.nodes.me.began_at)

    async def test_second_node_knows_the_owner(self) -> None:
        """A second node doesn't own, knows all nodes with their roles, and has the same secret."""
        first = self.started()
        await until(self, lambda: first.nodes.owns)
        second = self.started([INTAKE, CHAT])
        await until(self, lambda: second.nodes.owner)
        self.assertEqual(second.nodes.owner.id, first.nodes.me.id)
        self.assertEqual(second.nodes.owner.address, "127.0.0.1:1")
        nodes = await second.nodes.all()
        self.assertEqual([node.id for node in nodes], [first.nodes.me.id, second.nodes.me.id])
        self.assertEqual([list(node.roles) for node in nodes], [list(ROLES), [INTAKE, CHAT]])
        self.assertFalse(second.nodes.owns)
        self.assertEqual(first.nodes.secret, second.nodes.secret)
        self.assertGreaterEqual(len(first.nodes.secret), 32)

    async def test_node_without_the_role_never_owns(self) -> None:
        """A worker leaves the ownership to a node that has the role chat."""
        worker = self.started([WORKER])
        await until(self, lambda: worker.nodes.me.seen_at > worker.nodes.me.began_at)
        chat = self.started([CHAT])
        await until(self, lambda: "owned" in chat.told)
        self.assertNotIn("owned", worker.told)

    async def test_stopped_owner_is_replaced_at_once(self) -> None:
        """After a clean stop another node owns within half a second, and the stopped one is gone."""
        first = self.started()
        await until(self, lambda: "owned" in first.told)
        second = self.started()
        await until(self, lambda: second.nodes.owner)
        await first.nodes.stop()
        self.killed.append(first)
        self.assertFalse(first.nodes.owns)
        await until(self, lambda: "owned" in second.told, 0.5)
        self.assertEqual([node.id for node in await second.nodes.all()], [second.nodes.me.id])
        self.assertEqual(first.told, ["owned"])

    async def test_killed_owner_is_replaced(self) -> None:
        """When the session of a killed owner has ended, another node takes over within 2 s."""
        first = self.started()
        await until(self, lambda: first.nodes.owns)
        second = self.started()
        await until(self, lambda: second.nodes.owner)
        self.kill(first)
        await until(self, lambda: "owned" in second.told, 2.0)
        self.assertEqual(second.nodes.owner.id, second.nodes.me.id)

    async def test_starting_node_is_not_in_the_way(self) -> None:
        """While a process loads plugins, before it sends heartbeats, another one takes over as fast, and doesn't remove it."""
        self.patch(_nodes, "DEAD", 2.0)
        first, second = self.started(), self.new_node()
        self.addCleanup(second.nodes.stop)
        await until(self, lambda: first.nodes.owner)
        third = self.started()
        await until(self, lambda: third.nodes.owner)
        self.kill(first if first.nodes.owns else third)
        await until(self, lambda: "owned" in (third if first in self.killed else first).told, 2.0)
        began = monotonic()
        await until(self, lambda: monotonic() - began > 2.5)
        second.start()
        await until(self, lambda: second.nodes.owner)
        self.assertEqual(len(await second.nodes.all()), 2)

    async def test_killed_worker_is_removed(self) -> None:
        """A dead node that doesn't own is removed by the others."""
        worker, other = self.started([WORKER]), self.started()
        await until(self, lambda: other.nodes.owns and worker.nodes.owner)
        self.kill(worker)
        remaining: list[int] = []
        while remaining != [other.nodes.me.id]:
            remaining = [node.id for node in await other.nodes.all()]
        self.assertTrue(other.nodes.owns)

    async def test_change_is_told_to_others(self) -> None:
        """Others call what waits for a change, and who has reported it doesn't."""
        first, second = self.started(), self.started()
        await until(self, lambda: first.nodes.owner and second.nodes.owner)
        first.nodes.changed("outbox")
        await until(self, lambda: "outbox" in second.told)
        second.nodes.changed("plugins")
        await until(self, lambda: "plugins" in first.told)
        self.assertNotIn("outbox", first.told)
        self.assertNotIn("plugins", second.told)

    async def test_drained_node_is_told_once(self) -> None:
        """A node learns that it is to drain, and doesn't become the owner afterwards."""
        first, second = self.started(), self.started()
        await until(self, lambda: first.nodes.owner and second.nodes.owner)
        owner, other = (first, second) if first.nodes.owns else (second, first)
        self.assertTrue(await owner.nodes.drain(other.nodes.me.id))
        self.assertFalse(await owner.nodes.drain(10**6))
        await until(self, lambda: "drained" in other.told)
        self.assertTrue(other.nodes.me.draining)
        self.assertEqual([node.draining for node in await owner.nodes.all()].count(True), 1)
        await owner.nodes.stop()
        self.killed.append(owner)
        third = self.started()
        await until(self, lambda: "owned" in third.told)
        self.assertEqual(other.told, ["drained"])

    async def test_node_that_was_not_started_can_be_stopped(self) -> None:
        """A process whose start fails removes its node."""
        await self.new_node().nodes.stop()
        node = self.started()
        self.assertEqual(len(await node.nodes.all()), 1)

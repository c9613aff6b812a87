"""Tests of the nodes of a bot on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import TestCase

from errklein.ports.nodes import ROLES
from tests.postgres.nodes import TestNode, node_on
from tests.postgres.nodes_contract import NodesContract
from tests.postgres.server import new_bot_database


class PostgresNodesTests(NodesContract, TestCase):
    """The nodes keep their contract on PostgreSQL."""

    def setUp(self) -> None:
        """Make a database."""
        super().setUp()
        self.url = new_bot_database(self)

    def new_node(self, roles: Sequence[str] = ROLES) -> TestNode:
        """Return another node of the database."""
        return node_on(self.url, roles)

    def kill(self, node: TestNode) -> None:
        """End the thread and its session, as far as the database can see."""
        # The thread ends at the next thing that it does, without telling anybody.
        node.nodes._ticks.stop()
        node.nodes._members.connect = node.nodes._members.leave = self._refuse
        node.nodes._members.interrupt()

    def _refuse(self, *_: object) -> None:
        raise SystemExit

"""Tests of the nodes of a bot on a real PostgreSQL."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from random import Random

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from errklein.ports.nodes import ROLES
from tests.postgres.memory import Membership, Server
from tests.postgres.nodes import TestNode, node_on, node_with
from tests.postgres.nodes_contract import NodesContract
from tests.postgres.server import new_bot_database, shared_server


class PostgresNodesTests(NodesContract, TestCase):
    """The nodes keep their contract on PostgreSQL."""

    async def setUp(self) -> None:
        """Make a database on a server that has been running for long enough."""
        super().setUp()
        self.url = new_bot_database(self)
        wait = "SELECT pg_sleep_until(pg_postmaster_start_time() + interval '8 s')"
        await deferToThread(shared_server().execute, wait)

    def new_node(self, roles: Sequence[str] = ROLES) -> TestNode:
        """Return another node of the database."""
        return node_on(self.url, roles)


class MemoryNodesTests(NodesContract, TestCase):
    """The double of PostgreSQL keeps the contract, too, so the simulation can rely on it."""

    def setUp(self) -> None:
        """Make a database."""
        super().setUp()
        self.server = Server(Random(1), time.time)

    def new_node(self, roles: Sequence[str] = ROLES) -> TestNode:
        """Return another node of the database."""
        return node_with(Membership(self.server, f"errklein {secrets.token_hex(8)}"), roles)

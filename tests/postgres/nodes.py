"""Nodes on PostgreSQL for tests."""

from __future__ import annotations

import secrets
import unittest
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from errklein.ports.nodes import ROLES


class TestNode:
    """A node, and what it was told."""

    __test__ = False

    def __init__(self, nodes: Any) -> None:
        self.nodes = nodes
        self.told: list[str] = []

    def start(self) -> None:
        """Start it, with functions that note how they are called."""
        for topic in ("plugins", "outbox"):
            self.nodes.when_changed(topic, lambda topic=topic: self.told.append(topic))
        self.nodes.start(
            lambda: self.told.append("owned"),
            lambda reason: self.told.append(f"lost: {reason}"),
            lambda: self.told.append("drained"),
        )


def node_on(url: str, roles: Sequence[str] = ROLES) -> TestNode:
    """Return a node of a database."""
    from errklein.postgres._membership import Membership

    return node_with(Membership(url, f"errklein {secrets.token_hex(8)}"), roles)


def node_with(members: Any, roles: Sequence[str]) -> TestNode:
    """Return a node with these sessions."""
    from errklein.postgres._nodes import PostgresNodes

    return TestNode(PostgresNodes(reactor, members, roles, "127.0.0.1:1"))


def until(case: unittest.TestCase, condition: Callable[[], object], seconds: float = 20.0) -> Deferred[None]:
    """Wait until the condition is true, for at most that many seconds."""
    ends = reactor.seconds() + seconds

    def look() -> None:
        if condition():
            loop.stop()
        elif reactor.seconds() > ends:
            case.fail("it doesn't happen")

    loop = LoopingCall(look)
    return loop.start(0.02).addCallback(lambda _: None)

"""Several processes of one bot, in memory: their nodes, and a test with their shared journal and values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.config import load_config
from errklein.journal import INLINE
from errklein.ports.nodes import ROLES, Node
from errklein.storage import MemoryStorage
from errklein.testing import TestBot
from errklein.testing._bot import LeftOver
from errklein.testing._surroundings import TestReactor
from errklein.wiring import make_journal


class NodesInMemory:
    """The node of one process. `others` are those of all. A test calls `own`, `lose` and `drained`."""

    secret = b"of tests"

    def __init__(self, others: list[NodesInMemory], roles: Sequence[str] = ROLES) -> None:
        self.roles, self._all = tuple(roles), others
        self._id, self._owns, self.is_stopped, self.is_draining = len(others) + 1, False, False, False
        self._functions: dict[str, list[Callable[[], None]]] = {}
        self.topics: list[str] = []
        others.append(self)

    @property
    def me(self) -> Node:
        """This process."""
        return Node(
            self._id, f"host{self._id}:1", "1", self.roles, "", 0.0, 0.0, self.is_draining, 1.0 if self._owns else 0.0
        )

    @property
    def owner(self) -> Node | None:
        """The one that owns."""
        return next((one.me for one in self._all if one._owns), None)

    @property
    def owns(self) -> bool:
        """Whether it is this one."""
        return self._owns

    def start(self, owned: Callable[[], None], lost: Callable[[str], None], drained: Callable[[], None]) -> None:
        """Keep the functions."""
        self._owned, self.lost, self.drained = owned, lost, drained

    def own(self) -> None:
        """Become the owner."""
        assert self.owner is None
        self._owns = True
        self._owned()

    def lose(self) -> None:
        """Lose this, as after a long pause."""
        self._owns = False
        self.lost("a test")

    def all(self) -> Deferred[Sequence[Node]]:
        """Return the nodes that haven't stopped."""
        return succeed([one.me for one in self._all if not one.is_stopped])

    def drain(self, id: int) -> Deferred[bool]:
        """Drain a node."""
        self._all[id - 1].drained()
        return succeed(True)

    def changed(self, topic: str) -> None:
        """Call the functions of the others at once."""
        self.topics.append(topic)
        for one in self._all:
            if one is not self:
                one.call(topic)

    def call(self, topic: str) -> None:
        """Call the functions for a topic."""
        for function in () if self.is_stopped else self._functions.get(topic, ()):
            function()

    def when_changed(self, topic: str, function: Callable[[], None]) -> None:
        """Keep the function."""
        self._functions.setdefault(topic, []).append(function)

    def stop(self) -> Deferred[None]:
        """Stop."""
        self.is_stopped, self._owns = True, False
        return succeed(None)


class KeptOpen:
    """A part that several processes share, so that none closes it."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    def close(self) -> Any:
        """Stay open."""
        return succeed(None)


class SeveralTestCase(SynchronousTestCase):
    """Processes of one bot on one reactor, which share journal and values."""

    plugins: Sequence[type[BotPlugin]] = ()
    settings: Mapping[str, Any] = {}

    def setUp(self) -> None:
        """No process runs yet."""
        self.reactor: Any = TestReactor()
        config = load_config(None, {"BOT_DATA_DIR": self.mktemp(), "STORAGE": "Memory", "BACKEND": "Test"})
        self.nodes: list[NodesInMemory] = []
        journal = make_journal(self.reactor, config, self.reactor.seconds, runs=INLINE)
        self.journal: Any = KeptOpen(journal)
        self.storage: Any = KeptOpen(MemoryStorage())
        self.restarts: list[NodesInMemory] = []

    def process(self, *roles: str, owns: bool = False) -> TestBot:
        """Start a process with these roles, by default all, and return its bot."""
        node = NodesInMemory(self.nodes, roles or ROLES)
        with (
            mock.patch("errklein.bot.SingleNode", lambda: node),
            mock.patch("errklein.wiring.make_journal", lambda *args: self.journal),
            mock.patch("errklein.compat.storages.make_storage", lambda *args: self.storage),
        ):
            bot = TestBot(self.plugins, config=self.settings, reactor=self.reactor)

        def restart(*, at_once: bool = False) -> Any:
            assert at_once
            self.restarts.append(node)

        bot.bot.restart = restart
        self.addCleanup(self.stop, bot)
        bot.start()
        if owns:
            node.own()
        return bot

    def stop(self, bot: TestBot) -> None:
        """Stop a process. The delayed calls of the others stay."""
        if bot.bot.phase != "stopping":
            with contextlib.suppress(LeftOver):
                bot.stop()

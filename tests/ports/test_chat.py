"""Tests of the port of networks."""

from __future__ import annotations

import inspect

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.base import LocalBackend, NetworkBase
from errklein.networks.irc._backend import IRCBackend
from errklein.ports import chat


def members(port: type) -> dict[str, str]:
    """Return the docstrings of the methods and properties of a port."""
    own = {name: member for name, member in vars(port).items() if name[0] != "_"}
    return {
        name: inspect.getdoc(member) or ""
        for name, member in own.items()
        if isinstance(member, property) or inspect.isfunction(member)
    }


class ThreadTests(SynchronousTestCase):
    """Where each method may be called."""

    def test_backend(self) -> None:
        """Each method states whether any thread may call it, or only the reactor's."""
        for port in (chat.Backend, chat.KnowsHolders):
            for name, doc in members(port).items():
                first = doc.splitlines()[0]
                self.assertTrue(first.endswith(("Any thread.", "Reactor.")), f"{port.__name__}.{name}: {first}")

    def test_all_on_the_reactor(self) -> None:
        """The other ports say it once."""
        for port in (chat.ManagesRooms, chat.BackendEvents):
            self.assertIn("reactor", inspect.getdoc(port) or "")

    def test_networks(self) -> None:
        """The bases of networks have all methods of the port."""
        for backend in (NetworkBase, LocalBackend, IRCBackend):
            missing = [name for name in members(chat.Backend) if not hasattr(backend, name)]
            self.assertEqual([name for name in missing if name not in _ASSIGNED], [], backend)


_ASSIGNED = ("outbox", "message_size_limit", "bot_identifier", "mode")
"""What `__init__` or a subclass assigns."""

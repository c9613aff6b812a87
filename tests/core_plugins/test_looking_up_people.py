"""Tests for commands whose arguments name a person."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Identifier
from errklein.core_plugins.acls import ACLS
from errklein.core_plugins.flows import Flows
from errklein.core_plugins.utils import Utils
from errklein.running import Placement, placement_of
from errklein.testing import PluginTestCase


class PlacementTests(SynchronousTestCase):
    """Where the commands run."""

    def test_in_a_thread(self) -> None:
        """They run in threads, since networks of errbot's backends may ask a server for a person."""
        for command in (ACLS.acl_explain, Flows.flows_kill, Utils.whoami):
            self.assertIs(placement_of(command), Placement.THREAD, command.__name__)


class InvalidNameTests(PluginTestCase):
    """Names that the network doesn't accept."""

    def test_reply(self) -> None:
        """The reply names what is invalid, and why."""
        build = self.bot.backend.build_identifier

        def build_identifier(name: str) -> Identifier:
            if name == "[x]":
                raise ValueError("no brackets")
            return build(name)

        self.patch(self.bot.backend, "build_identifier", build_identifier)
        for command in ("whoami [x]", "acl explain [x] help", "flows kill [x] deploy"):
            self.assertEqual(self.command(f"!{command}"), "[x] is not a valid name: no brackets")

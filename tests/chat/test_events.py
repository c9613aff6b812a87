"""Reactions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import REACTION_ADDED, Reaction
from errklein.networks.test import TestPerson


class ReactionTests(SynchronousTestCase):
    """`Reaction`."""

    def test_text(self) -> None:
        """The text of a reaction has its name, action and person."""
        reaction = Reaction(TestPerson("alice"), action=REACTION_ADDED, reaction_name="thumbsup")
        self.assertEqual(str(reaction), "thumbsup added by alice")

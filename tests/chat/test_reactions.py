"""Reactions as values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.test import TestPerson
from errklein.chat import REACTION_ADDED, Reaction


class ReactionTests(SynchronousTestCase):
    """What a plugin gets in callback_reaction."""

    def test_text(self) -> None:
        """As text it says who reacts, and how."""
        reaction = Reaction(TestPerson("alice"), action=REACTION_ADDED, reaction_name="thumbsup")
        self.assertEqual(str(reaction), "thumbsup added by alice")

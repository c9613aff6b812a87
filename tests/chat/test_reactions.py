"""Reactions as values."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.test import TestPerson
from errklein.chat import REACTION_ADDED, Reaction


class ReactionTests(SynchronousTestCase):
    """What a plugin gets in callback_reaction."""

    def test_fields(self) -> None:
        """Everything that the network told can be read, under the names that plugins know."""
        alice, bob = TestPerson("alice"), TestPerson("bob")
        reaction = Reaction(alice, bob, REACTION_ADDED, "17", "thumbsup", {"id": 4})
        self.assertEqual(
            (reaction.reactor, reaction.reacted_to_owner, reaction.action, reaction.timestamp),
            (alice, bob, "added", "17"),
        )
        self.assertEqual((reaction.reaction_name, reaction.reacted_to), ("thumbsup", {"id": 4}))
        self.assertEqual(str(reaction), "thumbsup added by alice")

    def test_least(self) -> None:
        """Who reacts and how is needed, and enough."""
        self.assertIsNone(Reaction(TestPerson("alice"), reaction_name="tada").action)
        for fields in ({}, {"reactor": TestPerson("alice")}, {"reaction_name": "tada"}):
            with self.assertRaises(ValueError):
                Reaction(**fields)

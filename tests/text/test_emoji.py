"""Tests of the names of emoji."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.text.emoji import emoji_of, name_of_emoji


class EmojiTests(SynchronousTestCase):
    """Names and emoji."""

    def test_both_ways(self) -> None:
        """The emoji of a name has that name again."""
        for name in ("+1", "tada", "de", "heart", "wave::skin-tone-2", "man-shrugging", "1234", "keycap_star"):
            emoji = emoji_of(name)
            self.assertFalse(emoji.isascii(), name)
            self.assertEqual(name_of_emoji(emoji), name)

    def test_of_the_workspace(self) -> None:
        """Other names stay."""
        self.assertEqual((emoji_of("party_parrot"), name_of_emoji(":party_parrot:")), ("party_parrot", "party_parrot"))
        self.assertEqual(
            (emoji_of("parrot_x::skin-tone-9"), emoji_of("+1::skin-tone-9"), name_of_emoji("")),
            ("parrot_x::skin-tone-9", "\N{THUMBS UP SIGN}", ""),
        )

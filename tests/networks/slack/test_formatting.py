"""Tests of texts and blocks."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.slack._client import choice_blocks, from_mrkdwn, message_text
from tests.networks.slack.schemas import SCHEMA, problem

_PIECES = st.sampled_from(
    [
        "<!channel>",
        "<!here|x>",
        "<@U0ALICE00>",
        "@here",
        "&lt;!here&gt;",
        "<",
        ">",
        "&",
        "|",
        "!",
        "*",
        "`",
        "```\n",
        "\n\n",
        "[a](",
        "https://a.org/",
        ")",
        "x",
    ]
)


class TextTests(SynchronousTestCase):
    """Texts from outside have no effect, and arrive whole."""

    @given(st.lists(_PIECES, max_size=12).map("".join))
    def test_no_commands(self, markdown: str) -> None:
        """Without permission, no text has a command of Slack; the only mentions are those of the message's people."""
        link = r"<https://a\.org/[^<>|]*\|[^<>]*>"
        self.assertNotIn("<", re.sub(link, "", message_text(markdown)))
        text = re.sub(link, "", message_text(markdown, lambda user: "<!here>", ["U0BOB0000"]))
        self.assertEqual(set(re.findall("<[^>]*>", text)), {"<@U0BOB0000>"})
        self.assertIsInstance(from_mrkdwn(markdown), str)

    def test_links(self) -> None:
        """A name or an id in the address of a link is left, and the person is mentioned elsewhere."""
        for address in ("https://a.org/@alice", "https://a.org/?user=U0ALICE00"):
            for text in ("hello", "hello @alice"):
                sent = message_text(f"[a]({address}) {text}", lambda user: "alice", ["U0ALICE00"])
                mention, link = "<@U0ALICE00>", f"<{address}|a>"
                expected = f"{mention} {link} hello" if text == "hello" else f"{link} hello {mention}"
                self.assertEqual(sent, expected)

    @given(
        st.text(
            alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zs", "Zl", "Zp", "Co", "Cn"))
        )
    )
    def test_round_trip(self, text: str) -> None:
        """A text without markup is read as it was sent."""
        plain = re.sub(r"[^\w<>&]", "", text)
        self.assertEqual(
            from_mrkdwn(message_text(f"x {plain}x").replace("<@", "")), f"x {plain}x"
        ) if "_" not in plain else None

    def test_size(self) -> None:
        """The size is that of the escaped text."""
        self.assertEqual(len(message_text("a < b")), 8)

    def test_choices(self) -> None:
        """The blocks of a question are valid, also of a long one."""
        for text in ("short", "word " * 790):
            for block in choice_blocks(text, ["yes"] * 25):
                self.assertEqual(problem(block, SCHEMA["blocks"]), "")

"""Cards, and how they look where a network has none."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Card, Message
from errklein.text import to_ansi, to_plain
from errklein.text.templating import render


def shown(**values: Any) -> str:
    """A card as plain text."""
    return to_plain(render("card", {"card": Card(**values)}))


class CardTests(SynchronousTestCase):
    """A card as a value."""

    def test_nothing_given(self) -> None:
        """All but the texts is None or empty."""
        card = Card()
        self.assertEqual(("", "", ()), (card.body, card.title, tuple(card.fields)))
        for value in (card.summary, card.link, card.image, card.thumbnail, card.color, card.parent):
            self.assertIsNone(value)

    def test_text_color(self) -> None:
        """White can be read on black and blue, black on the rest."""
        colors = {color: Card(color=color).text_color for color in ("black", "blue", "red", "#112233", None)}
        self.assertEqual({"black": "white", "blue": "white", "red": "black", "#112233": "black", None: "black"}, colors)

    def test_is_a_message(self) -> None:
        """It has a sender and a thread, and can be cloned."""
        asked = Message("?")
        card = Card("text", parent=asked, title="T", fields=(("a", "b"),))
        copy = card.clone()
        copy.body = "other"
        self.assertEqual("text", str(card))
        self.assertTrue(copy.is_threaded)
        self.assertEqual(("T", (("a", "b"),)), (copy.title, copy.fields))


class ShownTests(SynchronousTestCase):
    """The template "card"."""

    def test_all_of_it(self) -> None:
        """Summary, title with its link, image, body, and the fields as one row of a table."""
        text = shown(
            body="*some* text",
            summary="short",
            title="Title",
            link="http://h/?a=1&b=2",
            image="http://h/i.png",
            color="red",
            fields=(("one", "1"), ("two", "2")),
        )
        self.assertEqual(
            "short\n\n  Title (http://h/?a=1&b=2)\n\n http://h/i.png\n some text\n"
            "┏━━━━━┳━━━━━┓\n┃ one ┃ two ┃\n┡━━━━━╇━━━━━┩\n│ 1   │ 2   │\n└─────┴─────┘",
            text,
        )

    def test_parts(self) -> None:
        """What a card doesn't have takes no room."""
        self.assertEqual("text", shown(body="text"))
        self.assertEqual("T", shown(title="T"))
        self.assertEqual("http://h (http://h)", shown(link="http://h"))
        self.assertEqual("http://h/t.png", shown(thumbnail="http://h/t.png"))
        self.assertEqual("", shown(fields=None))

    def test_body_is_markdown(self) -> None:
        """The body is a message's text: code in it stays as it is."""
        self.assertEqual("a < b", shown(body="```\na < b\n```"))

    def test_title_is_one_line(self) -> None:
        """A title can't end the heading."""
        self.assertEqual("a b", shown(title="a\nb"))

    def test_color(self) -> None:
        """On a terminal the title has the card's colours, if it is one that there is."""
        painted = to_ansi(render("card", {"card": Card(title="T", color="red")}))
        self.assertIn("41", painted)
        unknown = to_ansi(render("card", {"card": Card(title="T", color="#123456")}))
        self.assertEqual("\x1b[1;30mT\x1b[22;39m", unknown)

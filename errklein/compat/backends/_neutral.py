"""Messages and cards for third-party backends, without mentions of whole rooms and without unsafe links.

The text is Markdown, which the backend or its network renders.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from errklein.chat import Card, Message
from errklein.text import without_mentions, without_unsafe_links
from errklein.text.xhtml import is_harmless

WITHOUT_MENTIONS = frozenset({"irc", "null", "test", "text", "xmpp"})
"""The modes of networks on which no text notifies a whole room. On others, unknown ones among them, mentions are neutralised."""


def neutral_text(mode: str, message: Message) -> str:
    """Return the body of the message for a network of that mode."""
    return _neutraliser(mode, message)(message.body)


def neutral_card(mode: str, card: Card) -> Card:
    """Return a copy of the card for a network of that mode. Unsafe addresses become text below the body."""
    return card.changed(_neutraliser(mode, card), is_harmless)


def _neutraliser(mode: str, message: Message) -> Callable[[str], str]:
    return partial(_neutral, mentions=message.mentions or mode.lower() in WITHOUT_MENTIONS)


def _neutral(markdown: str, mentions: bool) -> str:
    return without_unsafe_links(markdown if mentions else without_mentions(markdown))

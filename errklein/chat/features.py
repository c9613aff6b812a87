"""The features of networks, in a room or a direct conversation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Features:
    """What a network can do; `chat.fallbacks` makes the best of what is missing.

    :param size: The largest text of one message, as `measure` measures it; 0 if the network splits texts itself.
    :param measure: Returns the size of a Markdown text in the network's own unit and form, such as the bytes of its HTML.
    :param edit_size: The largest text of an edit; 0 for that of a message.
    :param threads: Whether messages can be in threads.
    :param edits: Whether the bot can edit its messages.
    :param deletions: Whether the bot can delete its messages.
    :param reactions: Whether the bot can react to messages.
    :param emoji: The emoji of reactions; empty for any.
    :param files: Whether the bot can send files.
    :param mentions: Whether a message can notify people; otherwise their names are put before the text.
    :param choices: The most choices that a message offers as buttons; 0 without buttons.
    :param highlights_names: Whether a name in a text notifies its holder.
    """

    size: int = 0
    measure: Callable[[str], int] = len
    edit_size: int = 0
    threads: bool = False
    edits: bool = False
    deletions: bool = False
    reactions: bool = False
    emoji: frozenset[str] = frozenset()
    files: bool = False
    mentions: bool = False
    choices: int = 0
    highlights_names: bool = False


BARE = Features()
"""The features that every network has: it sends text."""

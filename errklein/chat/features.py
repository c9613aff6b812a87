"""The features of networks, in a room or a direct conversation, and the fallbacks: from what is wanted, and what a network can do, to the
operations that come nearest to it. No other module asks what a network can do, apart from the one that splits texts, and the
check for names that notify people."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import NamedTuple

from errklein.chat.handles import MessageRef
from errklein.chat.operations import Delete, Edit, Kind, Operation, Post, React, Unsupported, Upload, Wanted


@dataclass(frozen=True)
class Features:
    """What a network can do; `operations` makes the best of what is missing."""

    size: int = 0  #: the largest text of one message, as `measure` measures it; 0 if the network splits texts itself
    #: Returns the size of a Markdown text in the network's own unit and form, such as the bytes of its HTML.
    measure: Callable[[str], int] = len
    edit_size: int = 0  #: the largest text of an edit; 0 for that of a message
    threads: bool = False  #: whether messages can be in threads
    edits: bool = False  #: whether the bot can edit its messages
    deletions: bool = False  #: whether the bot can delete its messages
    reactions: bool = False  #: whether the bot can react to messages
    emoji: frozenset[str] = frozenset()  #: those of reactions; empty for any
    files: bool = False  #: whether the bot can send files
    mentions: bool = False  #: whether a message can notify people; otherwise their names are put before the text
    choices: int = 0  #: the most choices that a message offers as buttons; 0 without buttons
    highlights_names: bool = False  #: whether a name in a text notifies its holder


BARE = Features()  # what every network can do: it sends text


Split = Callable[[str, Callable[[str], int], int], Sequence[str]]
"""Splits a text into parts that have at most a size, given how a part is measured; see `text.split_rendered`."""

MOST_SHOWN = 2_000  # the largest number of bytes of a file whose text is sent on networks without files
CORRECTED, WITHDRAWN, LESS = "(corrected)", "(withdrawn)", "…"

_MARKDOWN = re.compile(r"[\\`*_\[\]|]")  # in labels, which are plain text


def operations(
    wanted: Wanted,
    body: str,
    features: Features,
    known: Sequence[MessageRef] = (),
    split: Split = lambda text, measure, size: [text],
    file: bytes = b"",
) -> Sequence[Operation]:
    """Return what the network has to do.

    :param body: The text in Markdown. For a reaction, what is sent instead; "" for nothing, as for a message of the bot.
    :param known: The ids of the parts of the target; empty if they are unknown.
    :raises Unsupported: The network can do nothing that comes near.
    """
    if known and wanted.kind in (Kind.POST, Kind.FILE):
        wanted = wanted._replace(thread=known[0].thread or known[0].id)
    posts = partial(_posts, wanted, features, split)
    match wanted.kind:
        case Kind.POST:
            return posts(body)
        case Kind.EDIT if known and features.edits:
            return _edits(wanted, body, features, known, split)
        case Kind.EDIT:
            return posts(beginning_with(CORRECTED, body))
        case Kind.DELETE if known and features.deletions:
            return [Delete(ref) for ref in known]
        case Kind.DELETE if known and features.edits:
            return [Edit(ref, LESS if number else WITHDRAWN) for number, ref in enumerate(known)]
        case Kind.DELETE:
            raise Unsupported("the network can't delete the message" if known else "the id of the message isn't known")
        case Kind.FILE if features.files and (file or not body):
            upload = Upload(wanted.file, wanted.type, file, wanted.thread if features.threads else "")
            return [*(posts(body) if body else ()), upload]
        case Kind.FILE if body and not file:
            # The text is the address of the file.
            return posts(body)
        case Kind.FILE:
            return posts("\n\n".join(filter(None, [body, _block(wanted.file, file)])))
        case _ if known and features.reactions and (not features.emoji or wanted.emoji in features.emoji):
            return [React(known[0], wanted.emoji, wanted.kind is Kind.UNREACT)]
        case _:
            # A text can't be taken back.
            return posts(body) if body and wanted.kind is Kind.REACT else []


class Offer(NamedTuple):
    """How a network shows a question with choices: with buttons or without, as a message that can change, and in a thread."""

    buttons: bool
    edits: bool
    threads: bool


def offer(choices: Sequence[str], features: Features) -> Offer:
    """Return how a network with these features shows the choices."""
    return Offer(0 < len(choices) <= features.choices, features.edits, features.threads)


def chosen(text: str, choices: Sequence[str]) -> int | None:
    """Return the position of the choice that a reply names: by its label, or by its number unless labels are numbers; else None."""
    reply, names = " ".join(text.split()).casefold(), [choice.casefold() for choice in choices]
    if not any(map(str.isdecimal, choices)):
        names += map(str, range(1, len(choices) + 1))
    return names.index(reply) % len(choices) if reply in names else None


def _as_question(text: str, choices: Sequence[str]) -> str:
    shown = [_MARKDOWN.sub(r"\\\g<0>", escape(choice, quote=False)) for choice in choices]
    if not any(map(str.isdecimal, choices)):
        shown = [f"{number} ({label})" for number, label in enumerate(shown, 1)]
    return f"{text}\n\nAnswer {' or '.join(filter(None, [', '.join(shown[:-1]), shown[-1]]))}."


def beginning_with(mark: str, text: str) -> str:
    """Return the text with a mark before it. Markdown recognises headings, tables, quotes and code only at the beginning of a line."""
    return f"{mark}\n\n{text}" if text.startswith(("#", "|", ">", "`")) else f"{mark} {text}"


def _posts(wanted: Wanted, features: Features, split: Split, body: str) -> Sequence[Operation]:
    if not features.mentions:
        # The names, without the rooms and hosts of occupants.
        names = [person.rpartition("/")[2].partition("!")[0] for person in wanted.mentions]
        missing = [name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", body, re.IGNORECASE)]
        body = beginning_with(f"{', '.join(missing)}:", body) if missing else body
    if wanted.quote and not features.threads:
        body = f"> {wanted.quote}\n\n{body}"
    has_buttons = offer(wanted.choices, features).buttons
    if wanted.choices and not has_buttons:
        body = _as_question(body, wanted.choices)
    thread = wanted.thread if features.threads else ""
    mentions = wanted.mentions if features.mentions else ()
    texts = split(body, features.measure, features.size) if features.size else [body]
    # Networks with a size don't take blank texts. People are notified once.
    shown = [text for text in texts if text.strip() or not features.size]
    posts = [Post(text, thread, () if number else mentions) for number, text in enumerate(shown)]
    if has_buttons and posts:
        posts[-1] = replace(posts[-1], choices=wanted.choices)
    return posts


def _edits(
    wanted: Wanted, body: str, features: Features, known: Sequence[MessageRef], split: Split
) -> Sequence[Operation]:
    size, mentions = features.edit_size or features.size, wanted.mentions if features.mentions else ()
    texts = split(body, features.measure, size) if size else [body]
    made: list[Operation] = [Edit(ref, text, mentions) for ref, text in zip(known, texts, strict=False)]
    made += [Post(text, known[-1].thread if features.threads else "") for text in texts[len(known) :]]
    return made + [Delete(ref) if features.deletions else Edit(ref, LESS) for ref in known[len(texts) :]]


def _block(name: str, file: bytes) -> str:
    text = file.decode("utf-8", "surrogateescape")
    if len(file) > MOST_SHOWN or not all(one in "\n\t\r" or " " <= one < "\ud800" or one > "\udfff" for one in text):
        raise Unsupported(f"the network can't carry files, and {name} is no text of at most {MOST_SHOWN} bytes")
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{name}:\n\n{fence}\n{text.rstrip()}\n{fence}"

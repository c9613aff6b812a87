"""The fallbacks of networks: from what is wanted, and what a network can do, to the operations that come nearest to it.
No other module asks what a network can do, apart from the one that splits texts, and the check for names that notify
people."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from errklein.chat.features import Features
from errklein.chat.handles import MessageRef
from errklein.chat.operations import Delete, Edit, Kind, Operation, Post, React, Unsupported, Upload, Wanted

Split = Callable[[str, Callable[[str], int], int], Sequence[str]]
"""Splits a text into parts that have at most a size, given how a part is measured; see `text.split_rendered`."""

MOST_SHOWN = 2_000
"""The largest number of bytes of a file whose text is sent on networks without files."""

CORRECTED, WITHDRAWN, LESS = "(corrected)", "(withdrawn)", "…"


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
    match wanted.kind:
        case Kind.POST:
            return _posts(wanted, body, features, split)
        case Kind.EDIT:
            return _edits(wanted, body, features, known, split)
        case Kind.DELETE:
            return _deletions(features, known)
        case Kind.REACT | Kind.UNREACT:
            return _reactions(wanted, body, features, known, split)
        case Kind.FILE:
            return _files(wanted, body, features, split, file)


def beginning_with(mark: str, text: str) -> str:
    """Return the text with a mark before it. Markdown recognises headings, tables, quotes and code only at the beginning of a line."""
    return f"{mark}\n\n{text}" if text.startswith(("#", "|", ">", "`")) else f"{mark} {text}"


def _posts(wanted: Wanted, body: str, features: Features, split: Split) -> list[Operation]:
    if not features.mentions:
        missing = [name for name in map(_name_in, wanted.mentions) if not _has(body, name)]
        body = beginning_with(f"{', '.join(missing)}:", body) if missing else body
    if wanted.quote and not features.threads:
        body = f"> {wanted.quote}\n\n{body}"
    thread = wanted.thread if features.threads else ""
    mentions = wanted.mentions if features.mentions else ()
    texts = split(body, features.measure, features.size) if features.size else [body]
    # People are notified once.
    return [Post(text, thread, () if number else mentions) for number, text in enumerate(texts)]


def _edits(
    wanted: Wanted, body: str, features: Features, known: Sequence[MessageRef], split: Split
) -> Sequence[Operation]:
    if not (known and features.edits):
        return _posts(wanted, beginning_with(CORRECTED, body), features, split)
    size = features.edit_size or features.size
    texts = split(body, features.measure, size) if size else [body]
    made: list[Operation] = [
        Edit(ref, text, wanted.mentions if features.mentions else ()) for ref, text in zip(known, texts, strict=False)
    ]
    made += [Post(text, known[-1].thread if features.threads else "") for text in texts[len(known) :]]
    return made + [Delete(ref) if features.deletions else Edit(ref, LESS) for ref in known[len(texts) :]]


def _deletions(features: Features, known: Sequence[MessageRef]) -> Sequence[Operation]:
    if known and features.deletions:
        return [Delete(ref) for ref in known]
    if known and features.edits:
        return [Edit(ref, LESS if number else WITHDRAWN) for number, ref in enumerate(known)]
    raise Unsupported("the network can't delete the message" if known else "the id of the message isn't known")


def _reactions(
    wanted: Wanted, body: str, features: Features, known: Sequence[MessageRef], split: Split
) -> Sequence[Operation]:
    is_removal = wanted.kind is Kind.UNREACT
    if known and features.reactions and (not features.emoji or wanted.emoji in features.emoji):
        return [React(known[0], wanted.emoji, is_removal)]
    # A text can't be taken back.
    return [] if is_removal or not body else _posts(wanted, body, features, split)


def _files(wanted: Wanted, body: str, features: Features, split: Split, file: bytes) -> Sequence[Operation]:
    if features.files and file:
        upload = Upload(wanted.file, wanted.type, file, wanted.thread if features.threads else "")
        return [*(_posts(wanted, body, features, split) if body else ()), upload]
    if not file and body:
        # The text is the address of the file.
        return _posts(wanted, body, features, split)
    text = _text_of(file)
    if text is None:
        raise Unsupported(f"the network can't carry files, and {wanted.file} is no text of at most {MOST_SHOWN} bytes")
    fence = "```"
    while fence in text:
        fence += "`"
    shown = f"{wanted.file}:\n\n{fence}\n{text.rstrip()}\n{fence}"
    return _posts(wanted, f"{body}\n\n{shown}" if body else shown, features, split)


def _text_of(file: bytes) -> str | None:
    """Return the text of a small file; None if it is larger, or isn't text."""
    try:
        text = file.decode() if len(file) <= MOST_SHOWN else "\0"
    except UnicodeDecodeError:
        return None
    return text if all(character in "\n\t\r" or character >= " " for character in text) else None


def _has(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _name_in(person: str) -> str:
    """Return the name of a person in a text, without the room and the host of an occupant."""
    return person.rpartition("/")[2].partition("!")[0]

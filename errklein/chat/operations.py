"""The wishes of plugins about messages, and the operations of networks that fulfil them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from errklein.chat.handles import Handle, MessageRef
from errklein.chat.identifiers import Identifier

MOST_FILE = 25_000_000  # the largest number of bytes of a file that is sent


class Kind(StrEnum):
    """What is wanted."""

    POST = "post"
    EDIT = "edit"
    DELETE = "delete"
    REACT = "react"
    UNREACT = "unreact"
    FILE = "file"


class Wanted(NamedTuple):
    """What is wanted besides a text. It is stored with the message as JSON, in which absent fields have their defaults."""

    kind: Kind = Kind.POST
    #: The message that is edited, deleted or reacted to: the text of a handle, or a `MessageRef`. Of a text or file, the message
    #: that begins the thread.
    target: str | MessageRef = ""
    thread: str = ""  #: the id of the thread to send to; "" for none
    emoji: str = ""  #: that of a reaction
    file: str = ""  #: the name of a file
    type: str = ""  #: its content type
    mentions: tuple[str, ...] = ()  #: the people whom the message notifies, as text that `build_identifier` reads
    quote: str = ""  #: the first line of the message whose thread is meant, which networks without threads show
    choices: tuple[str, ...] = ()  #: the labels of the choices that a text offers

    def into(self, thread: str) -> Wanted:
        """Return the same for a thread, given as an id or as the handle of the message that begins it."""
        return self._replace(target=thread) if isinstance(thread, Handle) else self._replace(thread=thread)

    def as_json(self) -> str:
        """Return the fields without defaults as JSON; "" if there are none. Lone surrogates, which no network takes, become "?"."""
        fields = {name: value for name, value in self._asdict().items() if value != Wanted._field_defaults[name]}
        return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace").decode() if fields else ""

    @classmethod
    def from_json(cls, text: str) -> Wanted:
        """Return what `as_json` has written, without the fields of later versions; raise ValueError or TypeError for anything else."""
        if not text:
            return NOTHING_ELSE
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise ValueError(f"expected a JSON object, not {text[:40]!r}")
        read = cls(**{name: fields[name] for name in cls._fields if name in fields})
        target = read.target if isinstance(read.target, str) else MessageRef(*read.target)
        return read._replace(
            kind=Kind(read.kind), target=target, mentions=tuple(read.mentions), choices=tuple(read.choices)
        )


NOTHING_ELSE = Wanted()  # a plain text
LONGEST_LABEL, MOST_CHOICES = 75, 100
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # networks drop it, or refuse the button


def labels_of(choices: Iterable[object]) -> tuple[str, ...]:
    """Return the labels of choices, on one line each; raise ValueError if they aren't different texts of a suitable length."""
    labels = [" ".join(label.split()) if isinstance(label, str) else "" for label in choices]
    are_valid = all(0 < len(one) <= LONGEST_LABEL and not _INVISIBLE.search(one) for one in labels)
    are_valid = are_valid and 0 < len(labels) <= MOST_CHOICES
    if isinstance(choices, str) or not are_valid or len({label.casefold() for label in labels}) < len(labels):
        few = f"1 to {MOST_CHOICES} different texts of at most {LONGEST_LABEL} characters without control characters"
        raise ValueError(f"choose(): expected {few} as choices, not {choices!r:.80}")
    return tuple(labels)


class Press(NamedTuple):
    """Somebody has pressed a button of a message: a person, or the occupant of a room. `number` is the position of the choice, from 0."""

    ref: MessageRef
    by: Identifier
    number: int


class Unsupported(Exception):
    """The network can't do what is wanted, and nothing else comes near it."""


@dataclass(frozen=True)
class Post:
    """Send a text: a message of its own, with a button for each of the choices."""

    text: str
    thread: str = ""
    mentions: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edit:
    """Replace the text of a message of the bot, and remove its buttons."""

    ref: MessageRef
    text: str
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delete:
    """Delete a message of the bot."""

    ref: MessageRef


@dataclass(frozen=True)
class React:
    """Add a reaction of the bot to a message, or take it back."""

    ref: MessageRef
    emoji: str
    remove: bool = False


@dataclass(frozen=True)
class Upload:
    """Send a file."""

    name: str
    type: str
    content: bytes
    thread: str = ""


Operation = Post | Edit | Delete | React | Upload

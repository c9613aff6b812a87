"""Names of messages: the handles of those that the bot has sent, and the ids that networks give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from errklein.chat.messages import Message

_HANDLE = re.compile(r"[^/]+/[0-9a-f]{16}-[0-9a-f]+")  # the text of one; no network has such ids of threads


class MessageRef(NamedTuple):
    """The address of a message on its network; it can be stored as JSON."""

    network: str  #: its name
    room: str  #: the room, or the person of a direct conversation, as text that `build_identifier` reads
    id: str  #: the network's id of the message
    thread: str = ""  #: the network's id of the thread that the message is in; "" for none


class Handle(str):
    """Names a message of the bot from the moment at which it was accepted, also after a restart: `NETWORK/KEY`.

    It is text, so it can be stored in a database or as JSON. The text alone is accepted wherever a handle is.
    """

    __slots__ = ()

    @property
    def network(self) -> str:
        """The name of the network."""
        return self.rpartition("/")[0]

    @property
    def key(self) -> str:
        """The key of the message, which no other message has."""
        return self.rpartition("/")[2]


Target: TypeAlias = "Handle | MessageRef | Message | Sequence[str]"
"""Names a message: a handle or its text, a `MessageRef` or its four texts, or a received message."""


def target_of(value: object) -> Handle | MessageRef:
    """Return what a `Target` names; raise ValueError for anything else, and for a message without an id, as on networks that give none."""
    found = getattr(value, "ref", value)
    if isinstance(found, MessageRef):
        return found
    if isinstance(found, str) and all(found.rpartition("/")):
        return Handle(found)
    if isinstance(found, Sequence) and len(found) == 4 and all(isinstance(part, str) for part in found):
        return MessageRef(*found)
    if found is None and value is not None:
        raise ValueError("the message has no id: its network gives none, or it was made by the plugin")
    raise ValueError(f"expected what send() has returned, or a message, not {value!r}")


def thread_of(value: object) -> str:
    """Return the id of the thread that a message is in, or that begins with it; "" for none. The value may also be the id
    itself, or what `send` has returned, or its text, which is returned as a handle. Raises ValueError for anything else."""
    if isinstance(value, str):
        return Handle(value) if isinstance(value, Handle) or _HANDLE.fullmatch(value) else value
    if getattr(value, "ref", value) is None:
        return ""
    ref = target_of(value)
    return ref if isinstance(ref, Handle) else ref.thread or ref.id


def without_handle(value: Any) -> Any:
    """Return what a handler has returned or yielded, with None in the place of a handle: it is no reply."""
    return None if isinstance(value, Handle) else value

"""A message, as plugins see it whatever the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from errklein.chat.identifiers import Identifier, Person, Room

_OF_ERRBOT = {
    "_body": "body",
    "_from": "frm",
    "_to": "to",
    "_parent": "parent",
    "_delayed": "delayed",
    "_partial": "partial",
    "_extras": "extras",
    "_flow": "flow",
    "ctx": "_ctx",
}
"""Attribute names in errbot's pickles, and the names of the same attributes here."""


class Message:
    """Text on its way from somebody to somebody.

    `body` is Markdown in messages of the bot, and what was typed in messages to it. `extras` holds what only some
    networks have. `delayed` marks what was said before the bot came; `partial` a part of a message that was too long.
    """

    def __init__(
        self,
        body: str = "",
        frm: Identifier | None = None,
        to: Identifier | None = None,
        parent: Message | None = None,
        delayed: bool = False,
        partial: bool = False,
        extras: Mapping[str, Any] | None = None,
        flow: Any = None,
    ) -> None:
        self.body = body
        self.frm = frm
        self.to = to
        self.parent = parent
        self.delayed = delayed
        self.partial = partial
        # Networks that were written for errbot put other things here too.
        self.extras: Any = dict(extras or {}) if extras is None or isinstance(extras, Mapping) else extras
        self.flow = flow
        self._ctx: dict[str, Any] = {}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore the attributes of a message that was pickled by errklein or errbot."""
        vars(self).update({_OF_ERRBOT.get(name, name): value for name, value in state.items()})

    @property
    def ctx(self) -> dict[str, Any]:
        """Values that the steps of a flow share; the message's own outside of flows."""
        ctx: dict[str, Any] = self.flow.ctx if self.flow is not None else self._ctx
        return ctx

    @ctx.setter
    def ctx(self, ctx: dict[str, Any]) -> None:
        if self.flow is not None:
            self.flow.ctx = ctx
        else:
            self._ctx = ctx

    @property
    def is_direct(self) -> bool:
        """Whether the message goes to one person."""
        return isinstance(self.to, Person)

    @property
    def is_group(self) -> bool:
        """Whether the message goes to a room."""
        return isinstance(self.to, Room)

    @property
    def is_threaded(self) -> bool:
        """Whether the message answers another one in a thread."""
        return self.parent is not None

    @property
    def network(self) -> str:
        """The network that the message belongs to, as its addresses tell."""
        for identifier in (self.to, self.frm):
            if identifier is not None and identifier.network:
                return identifier.network
        return ""

    def clone(self) -> Self:
        """A copy whose fields can be changed without touching this message."""
        # Each part of a reply is a clone, and copy.copy takes several times as long.
        clone = object.__new__(type(self))
        vars(clone).update(vars(self), _ctx={})
        clone.extras = dict(self.extras) if isinstance(self.extras, Mapping) else self.extras
        return clone

    def __str__(self) -> str:
        return self.body

    def __repr__(self) -> str:
        return f"<Message from {self.frm} to {self.to}: {self.body!r}>"

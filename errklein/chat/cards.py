"""A card: a message with a title, pictures and fields, which some networks show as a box."""

from __future__ import annotations

from collections.abc import Sequence

from errklein.chat.identifiers import Identifier
from errklein.chat.messages import Message

_DARK = ("black", "blue")


class Card(Message):
    """What a network without cards shows as text, by the template "card".

    `body` is Markdown; `link` belongs to the title; `image` and `thumbnail` are URLs; `color` is that of the box, a name
    or "#rrggbb"; `fields` are pairs of a name and a value; `summary` stands for the card in notifications.
    """

    def __init__(
        self,
        body: str = "",
        frm: Identifier | None = None,
        to: Identifier | None = None,
        parent: Message | None = None,
        summary: str | None = None,
        title: str = "",
        link: str | None = None,
        image: str | None = None,
        thumbnail: str | None = None,
        color: str | None = None,
        fields: Sequence[tuple[str, str]] | None = (),
    ) -> None:
        super().__init__(body, frm, to, parent)
        self._summary = summary
        self._title = title
        self._link = link
        self._image = image
        self._thumbnail = thumbnail
        self._color = color
        self._fields = fields or ()

    @property
    def summary(self) -> str | None:
        """What stands for the card where there is no room for it."""
        return self._summary

    @property
    def title(self) -> str:
        """The heading."""
        return self._title

    @property
    def link(self) -> str | None:
        """Where the title leads to."""
        return self._link

    @property
    def image(self) -> str | None:
        """The URL of a picture."""
        return self._image

    @property
    def thumbnail(self) -> str | None:
        """The URL of a small picture."""
        return self._thumbnail

    @property
    def color(self) -> str | None:
        """The colour of the box; None for the network's own."""
        return self._color

    @property
    def text_color(self) -> str:
        """The colour that can be read on `color`: "white" or "black"."""
        return "white" if self._color in _DARK else "black"

    @property
    def fields(self) -> Sequence[tuple[str, str]]:
        """Names and values."""
        return self._fields

"""A card: a message with a title, pictures and fields, which some networks show as a box."""

from __future__ import annotations

from collections.abc import Sequence

from errklein.chat.identifiers import Identifier, read_only
from errklein.chat.messages import Message

_DARK = ("black", "blue")


class Card(Message):
    """What a network without cards shows as text, by the template "card".

    `body` is Markdown; `link` belongs to the title; `image` and `thumbnail` are URLs; `color` is that of the box, a name
    or "#rrggbb"; `fields` are pairs of a name and a value; `summary` stands for the card in notifications.
    """

    summary: str | None = read_only("_summary", "What stands for the card where there is no room for it.")
    title: str = read_only("_title", "The heading.")
    link: str | None = read_only("_link", "Where the title leads to.")
    image: str | None = read_only("_image", "The URL of a picture.")
    thumbnail: str | None = read_only("_thumbnail", "The URL of a small picture.")
    color: str | None = read_only("_color", "The colour of the box; None for the network's own.")
    fields: Sequence[tuple[str, str]] = read_only("_fields", "Names and values.")

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
    def text_color(self) -> str:
        """The colour that can be read on `color`: "white" or "black"."""
        return "white" if self._color in _DARK else "black"

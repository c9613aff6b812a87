"""Card messages, with a title, pictures and fields; some networks show them as a box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from errklein.chat.identifiers import Identifier, read_only
from errklein.chat.messages import Message

_DARK = ("black", "blue")


class Card(Message):
    """A message with a title, pictures and fields, sent by `BotPlugin.send_card`.

    Networks that support cards show a box. On the others, the template "card" renders the card as text.

    The constructor's parameters are attributes of the same names. Except for those of Message, they are read-only. The body is
    the text below the title.
    """

    summary: str | None = read_only(
        "_summary", "A short text that replaces the card where it doesn't fit, such as in notifications, or None."
    )
    title: str = read_only("_title", "The heading, or an empty string.")
    link: str | None = read_only("_link", "The URL that the title links to, or None.")
    image: str | None = read_only("_image", "The URL of a picture, or None.")
    thumbnail: str | None = read_only("_thumbnail", "The URL of a small picture, or None.")
    color: str | None = read_only(
        "_color", "The colour of the box: a name such as `red`, or `#rrggbb`. None for the network's default."
    )
    fields: Sequence[tuple[str, str]] = read_only("_fields", "Pairs of a name and a value, shown as a table.")

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
        self._summary, self._title, self._color, self._fields = summary, title, color, fields or ()
        self._link, self._image, self._thumbnail = link, image, thumbnail

    def changed(self, change: Callable[[str], str], is_safe: Callable[[str], bool]) -> Self:
        """Return a copy with `change` applied to all texts. Addresses that aren't safe are moved to the body."""

        def text(value: Any) -> Any:
            return change(value) if isinstance(value, str) else value

        copy = self.clone()
        unsafe = []
        for name in ("_link", "_image", "_thumbnail"):
            address = getattr(copy, name)
            if address is not None and not is_safe(str(address)):
                unsafe.append(str(address))
                setattr(copy, name, None)
        copy.body = text("\n\n".join([self.body, *unsafe]) if unsafe else self.body)
        copy._title, copy._summary = text(self.title), text(self.summary)
        copy._fields = [tuple(map(text, field)) for field in self.fields]
        return copy

    @property
    def text_color(self) -> str:
        """A text colour with enough contrast to `color`: "white" on black and blue, else "black"."""
        return "white" if self._color in _DARK else "black"

"""Messages, with the same attributes on every network, and cards, which some networks show as a box."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from errklein.chat.handles import MessageRef
from errklein.chat.identifiers import Identifier, Person, Room, read_only

ERRBOT_ATTRIBUTES = {
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
"""Attribute names in errbot's pickles, mapped to the names of the same attributes here."""


class Attachment:
    """A file that came with a message. Its content is read on demand.

    :param name: The name of the file, as its sender has written it. It isn't safe as the name of a local file.
    :param type: The content type that the sender has stated, such as "image/png"; "" if there is none.
    :param size: The number of bytes that the sender has stated; 0 if there is none.
    :param fetch: Returns a Deferred of the content on the reactor, and gets the largest number of bytes.
    """

    result_of: Callable[..., Any] = staticmethod(lambda work, *args: work(*args))
    """Lets threads wait for a result of the reactor. The bot assigns it."""

    def __init__(self, name: str, type: str, size: int, fetch: Callable[[int], Awaitable[bytes]]) -> None:
        self.name, self.type, self.size, self._fetch = name, type, size, fetch

    def read(self, most: int = 25_000_000) -> Any:
        """Return the content: on the reactor an awaitable, in a thread the bytes.

        ::

            @botcmd
            async def checksum(self, message, args):
                content = await message.attachments[0].read()
                return hashlib.sha256(content).hexdigest()

        :param most: The largest number of bytes that is read.
        :raises errklein.http_client.BodyTooLarge: The file has more.
        """
        return self.result_of(self._fetch, most)


class Message:
    """A chat message, received or sent.

    Commands and callbacks receive one. `send` and return values of commands create those of the bot::

        @botcmd
        def where(self, msg, args):
            if msg.is_direct:
                return f"In private, {msg.frm.person}."
            return f"In {msg.to}."

    The constructor's parameters are attributes of the same names, and may be assigned.

    :param body: The text: as it was typed in a received message, Markdown in a message of the bot.
    :param frm: The sender. None if the network doesn't report one.
    :param to: The recipient: a Person or a Room.
    :param parent: The message that this one replies to in a thread; None outside of threads.
    :param delayed: True for a message from before the bot joined the room, which the network sends afterwards. It runs
        no commands.
    :param partial: True for a part of a message that exceeds the network's size limit.
    :param extras: Data that only some networks have, such as message ids.
    :param flow: The flow that the command in the message belongs to, or None.
    """

    priority = False  #: whether a message of the bot is sent before messages without priority
    mentions = (
        False  #: whether `@channel` and the like in a message of the bot notify people; otherwise they are neutralised
    )
    unstored = False  #: whether a message of the bot must not be written to disk, such as a secret; lost if the bot ends before
    mentioned: tuple[
        str, ...
    ] = ()  #: the people whom a message of the bot notifies, as text that `build_identifier` reads
    choices: tuple[str, ...] = ()  #: the labels of the choices that a message of the bot offers; see `choose`
    quote = ""  #: the first line of the message whose thread is meant, in Markdown, for networks without threads
    ref: MessageRef | None = (
        None  #: the address of a received message, for `edit`, `react` and for storing; None without ids
    )
    thread = ""  #: the network's id of the thread that the message is in, or is sent to; "" outside of threads
    sent_at = 0.0  #: the Unix time at which the network got the message; 0.0 if that is unknown
    edited = False  #: whether it is the new text of one that its sender has edited; it runs no command, and answers no question
    attachments: Sequence[Attachment] = ()  #: the files that came with a received message

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
        self.body, self.frm, self.to, self.parent = body, frm, to, parent
        self.delayed, self.partial, self.flow = delayed, partial, flow
        # Backends written for errbot also assign objects that aren't mappings.
        self.extras: Any = dict(extras or {}) if extras is None or isinstance(extras, Mapping) else extras
        self._ctx: dict[str, Any] = {}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore a message that errklein or errbot has pickled."""
        vars(self).update({ERRBOT_ATTRIBUTES.get(name, name): value for name, value in state.items()})

    @property
    def ctx(self) -> dict[str, Any]:
        """The values that the steps of a flow share; outside of flows, a dictionary of this message."""
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
        """True if the recipient is a person."""
        return isinstance(self.to, Person)

    @property
    def is_group(self) -> bool:
        """True if the recipient is a room."""
        return isinstance(self.to, Room)

    @property
    def is_threaded(self) -> bool:
        """True if the message is in a thread."""
        return bool(self.thread) or self.parent is not None

    @property
    def network(self) -> str:
        """The network's name, taken from the recipient or else the sender; empty if neither has one."""
        for identifier in (self.to, self.frm):
            if identifier is not None and identifier.network:
                return identifier.network
        return ""

    def clone(self) -> Self:
        """Return a copy with its own attributes, `extras` and `ctx`; changing them leaves this message as it is."""
        # Each part of a reply is a clone. copy.copy takes several times as long.
        clone = object.__new__(type(self))
        vars(clone).update(vars(self), _ctx={})
        clone.extras = dict(self.extras) if isinstance(self.extras, Mapping) else self.extras
        return clone

    def __str__(self) -> str:
        return self.body

    def __repr__(self) -> str:
        return f"<Message from {self.frm} to {self.to}: {self.body!r}>"


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
        return "white" if self._color in ("black", "blue") else "black"

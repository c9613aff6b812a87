"""The backend for a conversation of the operator, or of a program, with the bot in this process."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from twisted.internet.defer import Deferred, DeferredList, succeed

from errklein._version import __version__
from errklein.chat import ONLINE, Identifier, Message, Presence, Stream
from errklein.chat.operations import Operation, Post, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.commands import command_hint
from errklein.networks.base import LocalBackend, LocalPerson, LocalRoom
from errklein.networks.outbox import Outbox, outbox_limits
from errklein.networks.text._console import Console, LineConsole
from errklein.networks.text.identifiers import TextOccupant, TextPerson, TextRoom
from errklein.ports.chat import BackendEvents, BotOverview
from errklein.ports.receipts import Receipt
from errklein.running import TimeSlices
from errklein.text import code, plain, sanitize, split_message, to_ansi, to_imtext, to_md, to_plain, to_xhtml

HISTORY = "text-history"  # name of the file in the data directory with the lines that were typed

_PERSON = re.compile(r"@[^\s@/#][^\s/]*")
_ROOM = re.compile(r"#[^\s/#]+")
_OCCUPANT = re.compile(r"(?P<room>#[^\s/#]+)/@?(?P<person>[^\s@/#][^\s/]*)")


class TextBackend(LocalBackend):
    """A conversation of one person, the first of BOT_ADMINS, with the bot. Implements `dispatch.replies.OperatorConsole`.

    On a terminal there is a greeting, a prompt with history and completion, and colours. Otherwise each line of input is a
    message, and the output contains the bot's messages as plain text, and nothing else.

    :param config: The configuration of this network.
    :param stdin: The input; by default that of the process.
    :param stdout: The output; by default that of the process. It isn't sys.stdout, which twistd replaces by the log.
    """

    mode = "text"
    default_name = "@errbot"
    person_type = TextPerson
    occupant_type = TextOccupant
    room_type = TextRoom

    def __init__(self, reactor: Any, config: Any, *, stdin: TextIO | None = None, stdout: TextIO | None = None) -> None:
        admins = [*getattr(config, "BOT_ADMINS", ()), *getattr(config, "BOT_ADMINS_NOTIFICATIONS", ())]
        self._admin_names = frozenset(admins)
        super().__init__(reactor, config)
        self.administrator = self.person_named(admins[0] if admins else "@user")
        self.user = self.administrator  # the sender of messages; `!asuser` changes it
        self.room: TextRoom | None = None
        """The room that messages are sent to; None for direct messages to the bot. `!inroom` changes it."""
        self._answered: Identifier = self.user
        """The recipient of replies to the last message. The next message may have another sender or room."""
        self._lines: list[str] | None = None
        # Each line waits for the commands before it to start, since `!asuser` and `!inroom` change how it is sent.
        self._time_slices = TimeSlices(reactor, share=0.0)
        self._input = stdin or sys.__stdin__
        self._output = stdout or sys.__stdout__
        self._on_terminal = _is_terminal(self._input) and _is_terminal(self._output)
        self._console: Console | None = None
        self._disconnecting: Deferred[None] | None = None
        self._hinted = False
        self._outbox: Outbox[str] = Outbox(reactor, self.network, self, outbox_limits(config, self.message_size_limit))

    def connect(self, events: BackendEvents) -> None:
        self._console = self._open_console()
        super().connect(events)
        self.notify("presence_changed", Presence(self.administrator, ONLINE))
        if self._on_terminal:
            self._console.show(greeting(str(self.bot_identifier), self._overview))
        self._console.start()
        self._outbox.resume()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        self._time_slices.stop()
        if self._disconnecting is None:
            console = self._console
            closed = self._outbox.close(grace if console is not None else 0.0)
            self._disconnecting = closed.addCallback(lambda _: console.close() if console is not None else None)
        return DeferredList([self._disconnecting]).addCallback(lambda _: None)

    def perform(self, message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
        to = self.recipient_of(message, wanted)
        self._at_once.note(to)
        return self._outbox.perform(to, message.body, wanted, file, priority=message.priority, original=message)

    # backends.outbox.Transport

    window = 1
    serial = False

    def estimate(self, body: str) -> int:
        return 1

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[str]:
        assert isinstance(operation, Post)
        to = None if original is None else original.to
        return [self._rendered(part, to) for part in split_message(operation.text, self.message_size_limit)]

    def take_turn(self, recipient: str) -> float:
        return 0.0

    def transmit(self, parts: Sequence[str], keys: Sequence[str]) -> Sequence[Deferred[None]]:
        return [succeed(None) if self._console is None else self._console.show(part) for part in parts]

    def plain_text_reply(self, message: Message) -> str | None:
        """Return a hint for `help`, `quit` and `exit`, and once for any other text unless a plugin reads messages. None
        for messages to rooms, and without a terminal."""
        if not self._on_terminal or not message.is_direct:
            return None
        overview = self._overview
        found = hint(message.body, overview)
        if found is not None or self._hinted or overview.plugins_read_messages:
            return found
        self._hinted = True
        return f"This is not a command. {command_hint(overview.prefix)}"

    def add_reaction(self, message: Message, reaction: str) -> None:
        self._react(message, f"+:{reaction}:")

    def remove_reaction(self, message: Message, reaction: str) -> None:
        self._react(message, f"-:{reaction}:")

    def _react(self, message: Message, mark: str) -> None:
        if message.frm is not None:
            self.send_message(Message(f"reaction {plain(mark)}", frm=self.bot_identifier, to=message.frm))

    def send_stream_request(
        self,
        user: Identifier,
        fsource: BinaryIO,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> Stream:
        """Show the file's name and size as a line. A terminal can't receive files: the stream stays pending and unread."""
        stream = Stream(user, fsource, name, size, stream_type)
        facts = [code(name) if name else "a file", *([f"{size} bytes"] if size is not None else [])]
        self.send_message(Message(f"stream {', '.join(facts)}", frm=self.bot_identifier, to=user))
        return stream

    def build_identifier(self, text: str) -> Identifier:
        """Return the person of `@user` or of a name in BOT_ADMINS, the room of `#room`, or the occupant of
        `#room/user`. Raises ValueError for any other text."""
        occupant = _OCCUPANT.fullmatch(text)
        if occupant:
            room = self.query_room(occupant["room"])
            return room.occupant_named(occupant["person"])
        if _ROOM.fullmatch(text):
            return self.query_room(text)
        if _PERSON.fullmatch(text) or text in self._admin_names:
            return self.person_named(text)
        raise ValueError(f"expected @user, #room or #room/user, not {text!r}")

    def query_room(self, name: str) -> LocalRoom:
        return super().query_room(f"#{name.removeprefix('#')}")

    @property
    def _overview(self) -> BotOverview:
        assert self.events is not None
        return self.events.overview(self)

    def _open_console(self) -> Console:
        if self._on_terminal:
            from errklein.networks.text._terminal import TerminalConsole

            assert self._input is not None and self._output is not None
            return TerminalConsole(
                self._reactor,
                self._input,
                self._output,
                self._line_received,
                self._ended,
                name=self._speaker(),
                history=Path(self.config.BOT_DATA_DIR) / HISTORY,
                commands=self._commands,
            )
        source, target = _descriptor(self._input), _descriptor(self._output)
        encoding = getattr(self._output, "encoding", None) or "utf-8"
        return LineConsole(self._reactor, source, target, encoding, self._line_received, self._ended)

    def _rendered(self, markdown: str, to: Identifier | None) -> str:
        compact: bool = getattr(self.config, "COMPACT_OUTPUT", False)
        if not getattr(self.config, "TEXT_DEMO_MODE", True):
            return self._in_all_ways(markdown, compact)
        if not self._on_terminal:
            return to_plain(markdown, compact=compact)
        text = to_ansi(markdown, compact=compact)
        if to in (self.room or self.user, self._answered):
            return text
        return f"\x1b[2m{sanitize(str(to))}:\x1b[22m {text}"

    def _in_all_ways(self, markdown: str, compact: bool) -> str:
        """Return the text in the rendering of each kind of network, for authors of plugins and backends."""
        ways = {
            "Markdown": to_md(markdown),
            "XHTML": to_xhtml(markdown),
            "text": to_plain(markdown, compact=compact),
            "IM text": to_imtext(markdown, compact=compact),
        }
        if self._on_terminal:
            ways["ANSI"] = to_ansi(markdown, compact=compact)
        return "\n".join(f"--- {name} ---\n{text}" for name, text in ways.items())

    def set_room(self, room: TextRoom | None) -> None:
        self.room = room
        self._show_speaker()

    def set_user(self, person: LocalPerson) -> None:
        self.user = person
        self._show_speaker()

    def _speaker(self) -> str:
        return sanitize(str(self.user if self.room is None else self.room.occupant_named(self.user.person)))

    def _show_speaker(self) -> None:
        if self._console is not None:
            self._console.show_name(self._speaker())

    def toggle_multiline(self) -> bool:
        """Switch between messages of one line and messages that end with an empty line; return True for the latter."""
        self._lines = [] if self._lines is None else None
        return self._lines is not None

    def _line_received(self, text: str) -> None:
        prefix = re.escape(self._overview.prefix)
        # Pasted commands arrive as one text; other lines belong to the command before them.
        for part in re.split(rf"\n(?={prefix})", text) if prefix else [text]:
            self._time_slices.do(partial(self._take, part))

    def _take(self, text: str) -> None:
        if self._lines is not None:
            if text.strip():
                self._lines.append(text)
                return
            text, self._lines = "\n".join(self._lines), []
        if text.strip():
            self._answered = self.room or self.user
            if self.room is not None:
                self.room.enter(self.user.person)
            self.receive_message(self._message(text))

    def _message(self, text: str) -> Message:
        if self.room is None:
            return Message(text, frm=self.user, to=self.bot_identifier)
        return Message(text, frm=self.room.occupant_named(self.user.person), to=self.room)

    def _commands(self, typed: str) -> Sequence[str]:
        return self._overview.commands(self._message(typed))

    def _ended(self) -> None:
        self._time_slices.do(self._end)

    def _end(self) -> None:
        self._take("")
        if self._on_terminal and self._console is not None:
            self._console.show(farewell(self._overview.remaining))
        self.notify("backend_ended")


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"


def _descriptor(stream: TextIO | None) -> int | None:
    return None if stream is None or stream.closed else stream.fileno()


def greeting(name: str, overview: BotOverview) -> str:
    """Return the lines above the first prompt, with ANSI sequences. `name` is the bot's."""
    prefix = overview.prefix
    no_webhooks = f"none; start with --web tcp:3141:interface=127.0.0.1, or use {prefix}plugin config Webserver"
    rows = {
        "Webhooks": ", ".join(overview.addresses) or no_webhooks,
        "Log": overview.log_file,
        "Commands": f"{prefix}help lists them, Tab completes them",
        "Stop": "Ctrl-C; Ctrl-D ends only this conversation" if overview.remaining else "Ctrl-C or Ctrl-D",
    }
    lines = [f"  \x1b[2m{label:<10}\x1b[22m{sanitize(text)}" for label, text in rows.items() if text]
    return "\n".join([f"\x1b[1merrklein {__version__}\x1b[22m: {sanitize(name)} is ready", *lines, ""])


def hint(text: str, overview: BotOverview) -> str | None:
    """Return the reply to `help`, `quit` or `exit` without a prefix, in Markdown; None for any other text."""
    match text.strip().lower():
        case "help":
            return command_hint(overview.prefix)
        case "quit" | "exit":
            if not overview.remaining:
                return "Ctrl-C or Ctrl-D stops the bot."
            others = _listed(overview.remaining)
            return f"Ctrl-C stops the bot. Ctrl-D ends the conversation; the bot continues with {others}."
    return None


def farewell(remaining: Sequence[str]) -> str:
    """Return the line after Ctrl-D. `remaining` is what keeps the bot running."""
    if remaining:
        return f"The conversation has ended; the bot continues with {_listed(remaining)}. Ctrl-C stops it."
    return "The conversation has ended, and the bot stops."


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return sanitize(f"{', '.join(others)} and {last}" if others else last)

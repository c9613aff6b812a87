"""The Text network: a conversation of the operator, or of a program, with the bot in this process, on this terminal, or through
standard input and output. Output to consoles, also to pipes and files, doesn't block."""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, BinaryIO, TextIO

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger

from errklein._version import __version__
from errklein.chat import ONLINE, Identifier, Message, Presence, Stream
from errklein.chat.operations import Operation, Post, Wanted
from errklein.chat.outgoing import OutgoingMessage
from errklein.commands import command_hint
from errklein.config.networks import Network
from errklein.networks.base import LOCAL_SETTINGS, LocalBackend, LocalPerson, LocalRoom
from errklein.networks.outbox import Outbox, outbox_limits
from errklein.networks.text.identifiers import TextOccupant, TextPerson, TextRoom
from errklein.ports.chat import BackendEvents, BotOverview
from errklein.ports.receipts import Receipt
from errklein.running import TimeSlices, start_daemon_thread
from errklein.text import code, plain, sanitize, split_message, to_ansi, to_imtext, to_md, to_plain, to_xhtml

__all__ = ["TextBackend", "TextOccupant", "TextPerson", "TextRoom"]

_ATOMIC = 4096  # number of bytes that a ready pipe accepts without blocking (PIPE_BUF on Linux)


class Console:
    """Base class of the output of a text conversation to the descriptor `target`, which is never closed; None drops all
    text. Methods are called on the reactor, and call `line_received` of the network there with each line of input, and
    `ended` once, after the last one, or when the output can't be written any more. Output doesn't block the reactor: text
    that fits is written at once, and other text in a thread. If writing fails, for example because the reader has closed a
    pipe, the conversation ends and all further text is dropped."""

    log = Logger()

    def __init__(self, reactor: Any, network: TextBackend, target: int | None, encoding: str) -> None:
        self._reactor, self._network, self._encoding = reactor, network, encoding
        self._descriptor = -1 if target is None else target
        self._is_writable, self._is_open, self._has_writer = target is not None, True, False
        self._stopped: Deferred[None] | None = None
        self._writes: SimpleQueue[tuple[bytes, Deferred[None]] | None] = SimpleQueue()
        self._queued = 0
        self._poll = select.poll()
        if target is not None:
            self._poll.register(target, select.POLLOUT)

    def start(self) -> None:
        raise NotImplementedError

    def show(self, text: str) -> Deferred[None]:
        data = f"{text}\n".encode(self._encoding, "replace")
        if not self._is_writable:
            return succeed(None)
        if self._queued == 0 and len(data) <= _ATOMIC and self._poll.poll(0):
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                pass
            except OSError:
                self._break()
                return succeed(None)
            if not data:
                return succeed(None)
        done = Deferred[None]()
        self._queued += 1
        self._writes.put((data, done))
        if not self._has_writer:
            self._has_writer = True
            start_daemon_thread(self._write, "errklein standard output")
        return done

    def show_name(self, name: str) -> None:
        """Set the name in the prompt, if there is one."""

    def close(self) -> Deferred[None]:
        self._is_open = False
        self._writes.put(None)
        return self._stopped or succeed(None)

    def _write(self) -> None:
        """Write the queued text. Runs in a thread until `close`."""
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        while (job := self._writes.get()) is not None:
            data, done = job
            failed = False
            while data and not failed:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    ready.poll()
                except OSError:
                    failed = True
            self._reactor.callFromThread(self._written, done, failed)

    def _written(self, done: Deferred[None], failed: bool) -> None:
        self._queued -= 1
        if failed:
            self._break()
        done.callback(None)

    def _break(self) -> None:
        self._is_writable = False
        self._end()

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._network.ended()

    def _has_stopped(self) -> None:
        assert self._stopped is not None
        self._stopped.callback(None)


class LineConsole(Console):
    """Reads lines from a descriptor, if there is one, and writes messages to another. There is no prompt. A thread reads the
    input, since event loops can't watch regular files. It reads more only after the lines so far are handled."""

    _wake: int | None = None

    def __init__(self, reactor: Any, network: TextBackend, source: int | None, *target: Any) -> None:
        super().__init__(reactor, network, *target)
        self._source = source

    def start(self) -> None:
        if self._source is None:
            self._reactor.callLater(0, self._end)
            return
        waiting, self._wake = os.pipe()
        self._stopped = Deferred()
        start_daemon_thread(partial(self._read, self._source, waiting), "errklein standard input")

    def close(self) -> Deferred[None]:
        if self._wake is not None:
            os.close(self._wake)
            self._wake = None
        return super().close()

    def _read(self, source: int, waiting: int) -> None:
        """Read until the input ends, or until `close` closes the other end of the pipe `waiting`."""
        poll = select.poll()
        poll.register(source, select.POLLIN)
        poll.register(waiting, select.POLLIN)
        rest: list[bytes] = []
        try:
            while not any(ready == waiting for ready, _ in poll.poll()):
                try:
                    data = os.read(source, 65_536)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                *lines, last = data.split(b"\n")
                if lines:
                    lines[0] = b"".join([*rest, lines[0]])
                    rest = []
                rest.append(last)
                if not data:
                    lines.append(b"".join(rest))
                if lines:
                    handled = threading.Event()
                    self._reactor.callFromThread(self._handle_lines, lines, handled)
                    handled.wait()
                if not data:
                    self._reactor.callFromThread(self._end)
                    break
        finally:
            os.close(waiting)
            self._reactor.callFromThread(self._has_stopped)

    def _handle_lines(self, lines: Sequence[bytes], handled: threading.Event) -> None:
        try:
            for line in lines:
                text = line.decode(self._encoding, "replace").rstrip("\r")
                if self._is_open:
                    try:
                        self._network.line_received(text)
                    except Exception:
                        self.log.failure("Handling a line of standard input failed")
        finally:
            handled.set()


HISTORY = "text-history"  # name of the file in the data directory with the lines that were typed
_PERSON = re.compile(r"@[^\s@/#][^\s/]*")
_ROOM = re.compile(r"#[^\s/#]+")
_OCCUPANT = re.compile(r"(?P<room>#[^\s/#]+)/@?(?P<person>[^\s@/#][^\s/]*)")


class TextBackend(LocalBackend):
    """A conversation of one person, the first of BOT_ADMINS, with the bot. Implements `dispatch.replies.OperatorConsole`. On a
    terminal there is a greeting, a prompt with history and completion, and colours. Otherwise each line of input is a message,
    and the output contains the bot's messages as plain text, and nothing else. By default, they are those of the process; not
    sys.stdout, which twistd replaces by the log."""

    mode = "text"
    default_name = "@errbot"
    person_type, occupant_type, room_type = TextPerson, TextOccupant, TextRoom

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
        self._console = console = self._open_console()
        super().connect(events)
        self.notify("presence_changed", Presence(self.administrator, ONLINE))
        if self._on_terminal:
            console.show(greeting(str(self.bot_identifier), self._overview))
        console.start()
        self._outbox.resume()

    def disconnect(self, grace: float = 0.0) -> Deferred[None]:
        self._time_slices.stop()
        if self._disconnecting is None:
            console = self._console
            closed = self._outbox.close(grace if console is not None else 0.0)
            self._disconnecting = closed.addCallback(lambda _: console.close() if console is not None else None)
        return DeferredList([self._disconnecting]).addCallback(lambda _: None)

    def perform(self, message: Message, wanted: Wanted, file: bytes = b"") -> Receipt:
        if self._at_once.given is not None:
            return super().perform(message, wanted, file)
        return self._show(message, wanted, file, self.recipient_of(message, wanted))

    def carry_out(self, receipt: Receipt, message: Message, wanted: Wanted, file: bytes, to: str) -> None:
        """Show what another process has given."""
        self._show(message, wanted, file, to)

    def _show(self, message: Message, wanted: Wanted, file: bytes, to: str) -> Receipt:
        self._at_once.note(to)
        return self._outbox.perform(to, message.body, wanted, file, priority=message.priority, original=message)

    serial = False

    def estimate(self, body: str) -> int:
        return 1

    def parts(self, operation: Operation, message: OutgoingMessage, original: Message | None) -> Sequence[str]:
        assert isinstance(operation, Post)
        to = None if original is None else original.to
        return [self._rendered(part, to) for part in split_message(operation.text, self.message_size_limit)]

    def transmit(self, parts: Sequence[str], keys: Sequence[str]) -> Sequence[Deferred[None]]:
        return [succeed(None) if self._console is None else self._console.show(part) for part in parts]

    def plain_text_reply(self, message: Message) -> str | None:
        """Return a hint for `help`, `quit` and `exit`, and once for any other text unless a plugin reads messages. None
        for messages to rooms, and without a terminal."""
        if not self._on_terminal or not message.is_direct:
            return None
        overview = self._overview
        if (found := hint(message.body, overview)) is not None or self._hinted or overview.plugins_read_messages:
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

    def send_stream_request(self, user: Identifier, fsource: BinaryIO, *details: Any, **more: Any) -> Stream:
        """Show the file's name and size as a line. A terminal can't receive files: the stream stays pending and unread."""
        stream = Stream(user, fsource, *details, **more)
        size = [f"{stream.size} bytes"] if stream.size is not None else []
        facts = [code(stream.name) if stream.name else "a file", *size]
        self.send_message(Message(f"stream {', '.join(facts)}", frm=self.bot_identifier, to=user))
        return stream

    def build_identifier(self, text: str) -> Identifier:
        """Return the person of `@user` or of a name in BOT_ADMINS, the room of `#room`, or the occupant of `#room/user`."""
        if occupant := _OCCUPANT.fullmatch(text):
            return self.query_room(occupant["room"]).occupant_named(occupant["person"])
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
            return TerminalConsole(self._reactor, self, self._input, self._output)
        encoding = getattr(self._output, "encoding", None) or "utf-8"
        return LineConsole(self._reactor, self, _descriptor(self._input), _descriptor(self._output), encoding)

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

    def speaker(self) -> str:
        return sanitize(str(self.user if self.room is None else self.room.occupant_named(self.user.person)))

    def _show_speaker(self) -> None:
        if self._console is not None:
            self._console.show_name(self.speaker())

    def toggle_multiline(self) -> bool:
        """Switch between messages of one line and messages that end with an empty line; return True for the latter."""
        self._lines = [] if self._lines is None else None
        return self._lines is not None

    def line_received(self, text: str) -> None:
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

    def commands(self, typed: str) -> Sequence[str]:
        return self._overview.commands(self._message(typed))

    def ended(self) -> None:
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


NETWORK = Network(
    "Text",
    "the terminal on which the bot runs",
    LOCAL_SETTINGS,
    lambda context: TextBackend(context.reactor, context.config),
    values=[f"{__name__}.identifiers:{name}" for name in ("TextOccupant", "TextPerson", "TextRoom")],
    is_local=True,
    mentions_all=False,
    needs_terminal=True,
)

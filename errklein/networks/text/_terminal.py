"""The console for terminals: a prompt with history, editing and completion, and messages above it. The prompt runs in a
thread with its own event loop, so that it reacts to keys at once even if the reactor is busy."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import re
import signal
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.utils import get_cwidth
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from errklein.listening import SOCKETS
from errklein.networks.text import HISTORY, Console, TextBackend
from errklein.text import sanitize


class CommandCompleter(Completer):
    """Completes commands, of which `commands` returns those that a text may become, one word at a time."""

    log = Logger()

    def __init__(self, commands: Callable[[str], Sequence[str]]) -> None:
        self._commands = commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        typed = document.text_before_cursor
        start = typed.rfind(" ") + 1
        try:
            found = {one[start:].partition(" ")[0] for one in self._commands(typed) if one.startswith(typed)}
        except Exception:
            self.log.failure("Commands that begin with {typed!r} could not be completed", typed=typed)
            return
        for word in sorted(found):
            yield Completion(f"{word} ", start - len(typed), display=sanitize(word))


class TerminalConsole(Console):
    """Shows a prompt with a name on a terminal, and messages above the prompt. Ctrl-C sends SIGINT to this process. Ctrl-D, or the
    loss of the terminal, ends the input. Tab completes the command before the cursor, for which `commands` of the network is
    called in the terminal's thread."""

    def __init__(self, reactor: Any, network: TextBackend, source: TextIO, target: TextIO) -> None:
        super().__init__(reactor, network, target.fileno(), target.encoding)
        self._source, self._target, self._name = source, target, network.speaker()
        self._pending: deque[tuple[str, Deferred[None] | None]] = deque()
        self._session: PromptSession[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._prompting = self._closing = False

    def start(self) -> None:
        self._stopped = Deferred()
        self._prompting = True
        # If the process ends without `close`, the terminal must not stay in raw mode.
        self._settings = termios.tcgetattr(self._source)
        atexit.register(self._restore_terminal)
        threading.Thread(target=self._run, name="errklein terminal", daemon=True).start()

    def show(self, text: str) -> Deferred[None]:
        if not self._prompting:
            return super().show(text)
        done: Deferred[None] = Deferred()
        self._pending.append((text, done))
        self._wake(self._flush)
        return done

    def show_name(self, name: str) -> None:
        self._name = name
        self._wake(self._redraw)

    def close(self) -> Deferred[None]:
        self._closing = True
        self._wake(self._leave)
        return super().close()

    # In the terminal's thread

    def _run(self) -> None:
        try:
            self._session = session = self._build_session()
            session.app.run(pre_run=self._begun, handle_sigint=False, set_exception_handler=False)
        except EOFError:
            pass
        except BaseException:
            self.log.failure("The conversation on the terminal ended with an error")
        finally:
            self._loop = None
            self._reactor.callFromThread(self._has_stopped)

    def _build_session(self) -> PromptSession[str]:
        keys = KeyBindings()

        @keys.add("c-c")
        def interrupt(event: KeyPressEvent) -> None:
            self._pending.append(("Ctrl-C: the bot stops.", None))
            self._flush()
            os.kill(os.getppid() if SOCKETS in os.environ else os.getpid(), signal.SIGINT)

        output = Vt100_Output.from_pty(self._target, term=os.environ.get("TERM"))
        # Off, since the terminal's response to a cursor position request would become input if the prompt had ended.
        output.enable_cpr = False
        session: PromptSession[str] = PromptSession(
            lambda: [("bold", self._name), ("", " > ")],
            history=_open_history(Path(self._network.config.BOT_DATA_DIR) / HISTORY),
            auto_suggest=AutoSuggestFromHistory(),
            enable_history_search=True,
            key_bindings=keys,
            completer=CommandCompleter(self._network.commands),
            complete_style=CompleteStyle.READLINE_LIKE,
            erase_when_done=True,
            reserve_space_for_menu=0,
            input=create_input(self._source),
            output=output,
        )
        # One application for the whole conversation: messages and keys would be lost between two prompts.
        session.default_buffer.accept_handler = self._accept
        return session

    def _begun(self) -> None:
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        # `close` may have been called before there was a loop to wake.
        self._wake(self._leave if self._closing else self._flush)

    def _accept(self, buffer: Buffer) -> bool:
        text = buffer.text
        if text.strip():
            self._pending.append((f"\x1b[1m{self._name}\x1b[22m > {sanitize(text)}", None))
            self._flush()
        self._reactor.callFromThread(self._network.line_received, text)
        return False

    def _flush(self) -> None:
        if self._pending:
            asyncio.ensure_future(run_in_terminal(self._print_pending))  # noqa: RUF006

    def _print_pending(self) -> None:
        assert self._session is not None
        shown: list[Deferred[None]] = []
        output = self._session.app.output
        while self._pending:
            text, done = self._pending.popleft()
            output.write_raw(f"{wrapped(text, output.get_size().columns)}\n")
            if done is not None:
                shown.append(done)
        output.flush()
        if shown:
            self._reactor.callFromThread(lambda: [*map(Deferred.callback, shown, repeat(None))])

    def _redraw(self) -> None:
        if self._session is not None:
            self._session.app.invalidate()

    def _leave(self) -> None:
        if self._session is not None and self._session.app.is_running:
            self._session.app.exit()

    # On the reactor

    def _has_stopped(self) -> None:
        self._prompting = False
        atexit.unregister(self._restore_terminal)
        while self._pending:
            text, done = self._pending.popleft()
            written = self.show(text)
            if done is not None:
                written.chainDeferred(done)
        self._end()
        super()._has_stopped()

    # From both sides

    def _wake(self, function: Callable[[], None]) -> None:
        """Call the function in the terminal's thread, unless the prompt has ended or hasn't started."""
        if (loop := self._loop) is not None:
            # If the loop has just closed, `_has_stopped` shows the pending texts.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(function, context=self._context)

    def _restore_terminal(self) -> None:
        termios.tcsetattr(self._source, termios.TCSADRAIN, self._settings)


def _open_history(path: Path) -> History:
    """Return the history in that file, which only the owner may read, since it may contain secrets; else in memory."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_INDENT = re.compile(r"\s*(?:[•-] |\d+\. )?")


def wrapped(text: str, columns: int) -> str:
    """Return the text with lines of at most so many columns, except longer words and rows of tables. Further lines of a
    paragraph are indented as the text of its first one, also in lists."""
    return "\n".join(line for long in text.split("\n") for line in _lines_of(long, columns))


def _lines_of(text: str, columns: int) -> list[str]:
    if _width(text) <= columns or "│" in text:
        return [text]
    match = _INDENT.match(_STYLE.sub("", text))
    indent = " " * _width(match[0] if match else "")
    lines, begun = [""], 0
    for word in re.findall(r"\S+\s*|\s+", text):
        if begun and _width(lines[-1] + word.rstrip()) > columns:
            lines[-1] = lines[-1].rstrip()
            lines.append(indent)
        lines[-1] += word
        begun = _width(lines[-1].strip())
    return lines


def _width(text: str) -> int:
    return get_cwidth(_STYLE.sub("", text))

"""First contact on a terminal: greeting, hints, completion and Ctrl-D; in this process, and with a whole bot."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Message
from errklein.listening import SOCKETS
from errklein.networks.text import TextBackend
from errklein.ports.chat import BotOverview
from tests import needs_network
from tests.networks.test_text import Output, TerminalCase, configuration, facts
from tests.processes import LIMIT, TWISTD, environment, free_port, write_config, write_plugin


class SessionTests(TerminalCase):
    """The backend on a pseudo-terminal."""

    def open(self, overview: BotOverview | None = None) -> tuple[TextBackend, Output, Callable[[str], None]]:
        """Return a connected backend on a new terminal, its screen, and a function that types."""
        if overview is not None:
            self.events.facts = overview
        opened = super().open()
        opened[0].connect(self.events)
        return opened

    async def test_greeting(self) -> None:
        """The greeting is shown once, above the prompt."""
        _, screen, _ = self.open()
        await screen.until("@gbin")
        self.assertEqual(screen.text.count("http://127.0.0.1:3141"), 1)
        self.assertLess(screen.text.index("is ready"), screen.text.index("@gbin"))

    async def test_tab_completes(self) -> None:
        """Tab completes a command, and lists the completions if there are several."""
        _, screen, type_ = self.open()
        await screen.until("@gbin")
        received = self.events.when("message_received")
        type_("!he\t\r")
        await received
        self.assertEqual(self.events.bodies, ["!help "])
        type_("!pl\t\t")
        await screen.until("config info")

    async def sent_by_ctrl_c(self) -> tuple[int, int]:
        """Return the process and the signal that Ctrl-C sends."""
        from twisted.internet import reactor

        _, screen, type_ = self.open()
        await screen.until("@gbin")
        sent: Deferred[tuple[int, int]] = Deferred()
        self.patch(os, "kill", lambda *given: reactor.callFromThread(sent.callback, given))
        type_("\x03")
        await screen.until("Ctrl-C: the bot stops.")
        return await sent

    async def test_ctrl_c(self) -> None:
        """Ctrl-C stops this process."""
        self.assertEqual(await self.sent_by_ctrl_c(), (os.getpid(), signal.SIGINT))

    async def test_ctrl_c_below_a_supervisor(self) -> None:
        """Ctrl-C stops the supervisor of several processes, which would start this one again."""
        self.patch(os, "environ", {**os.environ, SOCKETS: "{}"})
        self.assertEqual(await self.sent_by_ctrl_c(), (os.getppid(), signal.SIGINT))

    async def test_pasted_commands(self) -> None:
        """Several pasted commands are several messages; a command's further lines belong to it."""
        _, screen, type_ = self.open()
        await screen.until("@gbin")
        type_("\x1b[200~!help\n!plugin config Web {\n'PORT': 1}\n!status\x1b[201~\r")
        await screen.until("PORT")
        while len(self.events.bodies) < 3:
            await self.events.when("message_received")
        self.assertEqual(self.events.bodies, ["!help", "!plugin config Web {\n'PORT': 1}", "!status"])

    async def test_narrow_terminal(self) -> None:
        """Messages are broken between words."""
        backend, screen, _ = self.open()
        await screen.until("@gbin")
        termios.tcsetwinsize(screen.fileno(), (24, 42))
        backend.send_message(Message("word " * 20, to=backend.user))
        await screen.until("word\r\nword")

    async def test_no_overview_of_commands(self) -> None:
        """An error while commands are looked up is logged, and the conversation continues."""
        _, screen, type_ = self.open(facts(commands=lambda message: None))
        await screen.until("@gbin")
        received = self.events.when("message_received")
        type_("!he\t\r")
        await received
        self.assertEqual(self.events.bodies, ["!he"])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    async def test_disconnect_at_once(self) -> None:
        """A bot that stops while the prompt is being opened leaves the terminal in order, and doesn't hang."""
        backend, _, _ = self.open()
        await backend.disconnect()

    async def test_plain_words(self) -> None:
        """`help` and `quit` get a hint each time, other text once, and never text in a room."""
        backend, _, _ = self.open()

        def reply(text: str, to: object = None) -> str | None:
            frm = backend.user if to is None else backend.query_room("#ops").enter("gbin")
            return backend.plain_text_reply(Message(text, frm=frm, to=to or backend.bot_identifier))  # type: ignore[arg-type]

        self.assertIsNone(reply("hello", backend.query_room("#ops")))
        self.assertIsNone(reply("help", backend.query_room("#ops")))
        for _ in range(2):
            self.assertEqual(reply("help"), "Commands begin with `!`; `!help` lists them.")
            self.assertIn("Ctrl-C stops the bot.", reply("quit") or "")
        self.assertEqual(reply("hello"), "This is not a command. Commands begin with `!`; `!help` lists them.")
        self.assertIsNone(reply("hello"))

    async def test_plugin_reads_plain_text(self) -> None:
        """Text that a plugin may read gets no hint."""
        backend, _, _ = self.open(facts(plugins_read_messages=True))
        self.assertIsNone(backend.plain_text_reply(Message("hello", frm=backend.user, to=backend.bot_identifier)))

    async def test_end(self) -> None:
        """After Ctrl-D the terminal shows whether the bot continues."""
        _, screen, type_ = self.open()
        await screen.until("@gbin")
        ended = self.events.when("backend_ended")
        type_("\x04")
        await ended
        await screen.until("the bot continues with webhooks. Ctrl-C stops it.")


class PipeTests(SynchronousTestCase):
    """The backend without a terminal."""

    def test_no_hints(self) -> None:
        """In a pipe there is no hint, so that programs get the replies alone."""
        with open(os.devnull, encoding="utf-8") as source, open(os.devnull, "w", encoding="utf-8") as target:
            from twisted.internet.task import Clock

            backend = TextBackend(Clock(), configuration(), stdin=source, stdout=target)
            message = Message("help", frm=backend.user, to=backend.bot_identifier)
            self.assertIsNone(backend.plain_text_reply(message))


ASKER = """
from errklein import BotPlugin, botcmd

class Asker(BotPlugin):
    @botcmd
    async def order(self, msg, args):
        return f"ordered {await self.ask(msg, 'Which dish?')}"
"""


class WholeBotTests(SynchronousTestCase):
    """`twistd -n errklein` on a pseudo-terminal."""

    def start(self, *arguments: str) -> None:
        """Start the bot, with the plugin Asker."""
        needs_network()
        directory = Path(self.mktemp()).absolute()
        write_plugin(directory / "plugins", "Asker", ASKER)
        write_config(directory, {"BACKEND": "Text", "BOT_EXTRA_PLUGIN_DIR": str(directory / "plugins")})
        self.terminal, terminal = pty.openpty()
        self.addCleanup(os.close, self.terminal)
        self.process = subprocess.Popen(
            [*TWISTD, "-n", "errklein", *arguments],
            cwd=directory,
            env=environment() | {"TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        self.screen = ""

    def wait_for(self, text: str) -> None:
        """Read the terminal until it shows `text`; the next call starts behind it."""
        import select

        limit = time.monotonic() + LIMIT
        while text not in self.screen:
            if not select.select([self.terminal], [], [], max(0, limit - time.monotonic()))[0]:
                self.fail(f"{text!r} did not appear, but:\n{self.screen}")
            self.screen += os.read(self.terminal, 65536).decode(errors="replace")
        self.screen = self.screen.partition(text)[2]

    def type(self, text: str) -> None:
        """Type on the terminal."""
        os.write(self.terminal, text.encode())

    def test_first_contact(self) -> None:
        """The operator is greeted, completes a command with Tab, answers a question with `quit`, and leaves with Ctrl-D."""
        port = free_port()
        self.start("--web", f"tcp:{port}:interface=127.0.0.1")
        self.wait_for(f"http://127.0.0.1:{port}")
        self.wait_for("data/errklein.log")
        self.wait_for(" >")
        self.type("!ord\t")
        self.wait_for("er")
        self.type("\r")
        self.wait_for("Which dish?")
        self.wait_for(" >")
        self.type("quit\r")
        self.wait_for("ordered quit")
        self.wait_for(" >")
        self.type("quit\r")
        self.wait_for("Ctrl-C stops the bot.")
        # While a message is being shown, Ctrl-D is the terminal's.
        self.wait_for(" >")
        self.type("\x04")
        self.wait_for("the bot continues with webhooks. Ctrl-C stops it.")
        self.assertIsNone(self.process.poll())

    def test_nothing_else_to_do(self) -> None:
        """Without webhooks and other networks Ctrl-D stops the bot."""
        self.start()
        self.wait_for("Ctrl-C or Ctrl-D")
        self.wait_for(" >")
        self.type("\x04")
        self.wait_for("The conversation has ended, and the bot stops.")
        self.assertEqual(self.process.wait(LIMIT), 0)

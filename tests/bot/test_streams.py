"""Streams and reactions on their way between networks and plugins."""

from __future__ import annotations

import io
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, Stream, on_reactor
from errklein.backends.test import TestPerson
from errklein.chat import Message
from errklein.testing import TestBot


class Refuser(BotPlugin):
    """Has no use for it."""

    def callback_stream(self, stream: Stream) -> None:
        stream.reject()


class Plain(BotPlugin):
    """Knows nothing of streams."""


def offered(name: str = "a.txt") -> Stream:
    """What somebody wants to send."""
    return Stream(TestPerson("alice"), io.BytesIO(b"bytes"), name, 5)


class StreamsCase(SynchronousTestCase):
    """Bots with plugins that take streams."""

    def bot(self, *plugins: type[BotPlugin]) -> TestBot:
        """A bot with these plugins."""
        bot = TestBot(plugins)
        bot.start()
        return bot

    def offer(self, bot: TestBot, stream: Stream) -> None:
        """Offer it, and wait until nothing of it is left."""
        before = set(threading.enumerate())
        bot.bot.events.stream_offered(bot.backend, stream)
        # One that is being started is alive when the one that starts it has ended.
        while left := [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]:
            left[0].join(10)


class IncomingTests(StreamsCase):
    """What people send."""

    def test_nobody(self) -> None:
        """Where no plugin takes streams, they are rejected."""
        bot = self.bot(Plain)
        stream = offered()
        bot.bot.events.stream_offered(bot.backend, stream)
        self.assertEqual(stream.status, "rejected")
        bot.stop()

    def test_refused(self) -> None:
        """What all plugins reject is rejected."""
        bot = self.bot(Refuser)
        stream = offered()
        self.offer(bot, stream)
        self.assertEqual(stream.status, "rejected")
        bot.stop()

    def test_on_the_reactor(self) -> None:
        """A plugin may decide on the reactor; where it runs is its own choice."""

        class Deciding(BotPlugin):
            @on_reactor
            def callback_stream(self, stream: Stream) -> None:
                stream.reject()

        bot = self.bot(Deciding)
        stream = offered()
        self.offer(bot, stream)
        self.assertEqual(stream.status, "rejected")
        bot.stop()


class OutgoingTests(StreamsCase):
    """What plugins send."""

    def test_no_streams(self) -> None:
        """A network that carries no files says so in one line."""
        bot = TestBot([Plain], networks={"here": {}})
        bot.start()
        bot.bot.backends["null"] = Wordless()
        elsewhere = TestPerson("alice")
        elsewhere.network = "null"
        with self.assertRaisesRegex(NotImplementedError, "null can't carry files: null has no streams"):
            bot.plugin("Plain").send_stream_request(elsewhere, io.BytesIO(b""))
        with self.assertRaisesRegex(NotImplementedError, "null has no reactions: null doesn't know them"):
            bot.plugin("Plain").add_reaction(Message("hi", frm=elsewhere), "tada")
        del bot.bot.backends["null"]
        bot.stop()


class Wordless:
    """A network that has neither streams nor reactions."""

    network = mode = "null"


class ReactionTests(StreamsCase):
    """Thumbs up."""

    def test_put_and_taken_away(self) -> None:
        """A plugin reacts to a message, and takes it back; by the bot's own method too, as in errbot."""
        bot = self.bot(Plain)
        self.assertFalse(hasattr(bot.bot, "add_reaction"))
        calls: list[tuple[str, str, str]] = []
        backend: Any = bot.backend
        backend.add_reaction = lambda message, reaction: calls.append(("added", message.body, reaction))
        backend.remove_reaction = lambda message, reaction: calls.append(("removed", message.body, reaction))
        message = Message("hi", frm=bot.bot.build_identifier("alice"))
        bot.plugin("Plain").add_reaction(message, "tada")
        bot.plugin("Plain").remove_reaction(message, "tada")
        bot.bot.add_reaction(message, "thumbsup")
        self.assertEqual(calls, [("added", "hi", "tada"), ("removed", "hi", "tada"), ("added", "hi", "thumbsup")])
        bot.stop()

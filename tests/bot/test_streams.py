"""Tests for streams and reactions between networks and plugins."""

from __future__ import annotations

import io
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, Stream, on_reactor
from errklein.chat import Message
from errklein.networks.test import TestPerson
from errklein.testing import TestBot


class Refuser(BotPlugin):
    """Rejects all streams."""

    def callback_stream(self, stream: Stream) -> None:
        stream.reject()


class Plain(BotPlugin):
    """Has no `callback_stream`."""


def offered(name: str = "a.txt") -> Stream:
    """Return an incoming stream."""
    return Stream(TestPerson("alice"), io.BytesIO(b"bytes"), name, 5)


class StreamsCase(SynchronousTestCase):
    """Bots with plugins that accept streams."""

    def bot(self, *plugins: type[BotPlugin]) -> TestBot:
        """Return a bot with these plugins."""
        bot = TestBot(plugins)
        bot.start()
        return bot

    def offer(self, bot: TestBot, stream: Stream) -> None:
        """Offer the stream, and wait until its copies have ended."""
        before = set(threading.enumerate())
        bot.bot.events.stream_offered(bot.backend, stream)
        # One that is being started is alive when the one that starts it has ended.
        while left := [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]:
            left[0].join(10)


class IncomingTests(StreamsCase):
    """Streams from people."""

    def test_nobody(self) -> None:
        """A stream is rejected if no plugin has a `callback_stream`."""
        bot = self.bot(Plain)
        stream = offered()
        bot.bot.events.stream_offered(bot.backend, stream)
        self.assertEqual(stream.status, "rejected")
        bot.stop()

    def test_refused(self) -> None:
        """A stream that all plugins reject is rejected."""
        bot = self.bot(Refuser)
        stream = offered()
        self.offer(bot, stream)
        self.assertEqual(stream.status, "rejected")
        bot.stop()

    def test_on_the_reactor(self) -> None:
        """A `callback_stream` on the reactor may accept a stream."""

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
    """Streams from plugins."""

    def test_no_streams(self) -> None:
        """On a network without files, sending one raises an error of one line."""
        bot = TestBot([Plain], networks={"here": {}})
        bot.start()
        bot.bot.backends["null"] = Wordless()
        elsewhere = TestPerson("alice")
        elsewhere.network = "null"
        with self.assertRaisesRegex(NotImplementedError, "null can't carry files: null has no streams"):
            bot.plugin("Plain").send_stream_request(elsewhere, io.BytesIO(b""))
        for react in (bot.plugin("Plain").add_reaction, bot.bot.add_reaction):
            with self.assertRaisesRegex(NotImplementedError, "null has no reactions: null doesn't know them"):
                react(Message("hi", frm=elsewhere), "tada")
        del bot.bot.backends["null"]
        bot.stop()


class Wordless:
    """A network without streams and reactions."""

    network = mode = "null"


class ReactionTests(StreamsCase):
    """Reactions of plugins to messages."""

    def test_put_and_taken_away(self) -> None:
        """A plugin adds a reaction and removes it, also with the bot's methods as on errbot."""
        bot = self.bot(Plain)
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

"""Tests for the bot that runs in a thread while the test blocks."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import unittest
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThreadPool
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat import Presence
from errklein.config import ConfigError
from errklein.logs import Bridge
from errklein.networks.test import QUIT_MESSAGE, STZ_MSG, STZ_PRE, TestPerson, TestRoom
from errklein.running.reactors import WaitTimeout, reactor_thread
from errklein.testing import UnexpectedRequest
from errklein.testing.full_stack import BlockingTestBot

GREETER = Path(__file__).resolve().parent / "fixtures" / "greeter"


class Started(SynchronousTestCase):
    """A running bot with the plugin of the fixtures."""

    config: dict[str, Any] = {}

    def setUp(self) -> None:
        self.testbot = BlockingTestBot(
            extra_plugin_dir=str(GREETER), loglevel=logging.CRITICAL, extra_config=self.config
        )
        self.testbot.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.testbot.bot_thread is not None:
            self.testbot.stop()


class TalkingTests(Started):
    """Messages to and from the bot."""

    def test_waited_out(self) -> None:
        """A timeout of the test's own is waited out, since some tests measure time with it."""
        for wait in (self.testbot.pop_message, lambda timeout: self.testbot.exec_command("said to nobody", timeout)):
            before = monotonic()
            self.assertRaises(Empty, wait, timeout=0.3)
            self.assertGreaterEqual(monotonic() - before, 0.3)

    def test_nothing_can_come(self) -> None:
        """An idle bot ends the wait at once, unless a timer, a thread or a task could send a message."""
        before = monotonic()
        self.assertRaises(Empty, self.testbot.pop_message)
        self.assertLess(monotonic() - before, 4)
        bot = self.testbot.bot
        sent = []

        def say(text: str) -> None:
            sent.append(text)
            bot.send(bot.sender, text)

        async def say_after_a_while() -> None:
            await asyncio.sleep(0.1)
            say("task")

        def start_task() -> None:
            kept.append(bot.reactor._asyncioEventloop.create_task(say_after_a_while()))

        kept: list[Any] = []
        timer = threading.Timer(0.1, say, ["thread"])
        for begin, text in (
            (lambda: bot.reactor.callFromThread(bot.reactor.callLater, 0.1, say, "delayed"), "delayed"),
            (timer.start, "thread"),
            (lambda: bot.reactor.callFromThread(start_task), "task"),
            (lambda: self.testbot.push_message("!slow"), "slowly"),
        ):
            begin()
            self.assertEqual(text, self.testbot.pop_message())
        self.assertEqual(["delayed", "thread", "task"], sent)

    def test_requests(self) -> None:
        """Each HTTP method has a call, which waits for the response for a limited time."""
        for method in ("get", "post", "put", "patch", "delete"):
            response = getattr(self.testbot, method)("/announced", data="it")
            self.assertEqual((response.status, response.text), (200, "announced"))
            self.assertEqual(self.testbot.pop_message(), f"{method.upper()} it")
        self.assertEqual(self.testbot.head("/announced").text, "")
        self.assertIn("PATCH", self.testbot.options("/announced").header("Allow"))
        error = self.assertRaises(WaitTimeout, self.testbot.get, "/announced?slowly=1", timeout=0.05)
        self.assertIn("GET /announced", str(error))

    def test_plugins_requests(self) -> None:
        """The bot's plugins send their requests to `http`, and `stop` raises if a response isn't declared."""
        client = self.testbot.bot.plugin_manager.instance("Greeter").http
        self.testbot.http.respond("GET", "https://example.org/", json=[1])
        response = blockingCallFromThread(self.testbot.bot.reactor, client.get, "https://example.org/")
        self.assertEqual(response.code, 200)
        self.assertEqual([str(request) for request in self.testbot.http.requests], ["GET https://example.org/"])
        call = (self.testbot.bot.reactor, client.post, "https://example.org/")
        self.assertRaises(UnexpectedRequest, blockingCallFromThread, *call)
        self.assertRaises(UnexpectedRequest, self.testbot.stop)
        self.assertIsNone(self.testbot.bot_thread)

    def test_assertions(self) -> None:
        """A failed assertion shows the command and the reply."""
        self.testbot.assertInCommand("!greet you", "Hello")
        self.testbot.assertCommandFound("!greet")
        failed = self.assertRaises(AssertionError, self.testbot.assertInCommand, "!greet you", "Goodbye")
        self.assertEqual("'Goodbye' is not in the reply to '!greet you':\nHello you", str(failed))
        failed = self.assertRaises(AssertionError, self.testbot.assertCommandFound, "!nonesuch")
        self.assertIn('"nonesuch" not found', str(failed))

    def test_queues(self) -> None:
        """The queues can be used directly."""
        queue = self.testbot.bot.incoming_stanza_queue
        queue.put((STZ_MSG, "!heard", {"colour": "red"}))
        self.assertEqual("red gbin@localhost", self.testbot.bot.outgoing_message_queue.get(timeout=5))
        queue.put((STZ_PRE, Presence(TestPerson("bob"), status="away")))
        self.assertEqual("bob is away", self.testbot.pop_message())

    def test_many_in_a_row(self) -> None:
        """Of many messages in a row, none is lost and none is delayed."""
        for number in range(50):
            self.testbot.push_message(f"!greet {number}")
        said = {self.testbot.pop_message() for _ in range(50)}
        self.assertEqual({f"Hello {number}" for number in range(50)}, said)


class NetworkTests(Started):
    """The network in memory."""

    def test_rooms(self) -> None:
        """The bot is in its room, and rooms of one name are one room."""
        bot = self.testbot.bot
        self.assertEqual(["testroom"], [str(room) for room in bot.rooms()])
        self.assertEqual(["err@testroom"], [str(occupant) for occupant in bot.query_room("testroom").occupants])
        room = TestRoom("cellar", bot=bot)
        self.assertEqual((False, False), (room.exists, room.joined))
        room.join()
        self.assertTrue(bot.query_room("cellar").joined)
        bot.query_room("cellar").topic = "wine"
        self.assertEqual("wine", room.topic)
        room.leave()
        self.assertEqual((True, False), (bot.query_room("cellar").exists, room.joined))
        bot.reset_rooms()
        self.assertEqual([], bot.rooms())


class LifeTests(SynchronousTestCase):
    """The start and the stop of a bot."""

    def test_settings(self) -> None:
        """The default settings are those of errbot's test bot, and a test's own settings take precedence."""
        testbot = BlockingTestBot(extra_config={"BOT_ADMINS": ("boss",), "MY_SETTING": 3})
        config = testbot.bot_config
        self.assertEqual(("boss",), config.BOT_ADMINS)
        self.assertEqual((3, "!", "Memory", ("testroom",)), (
            config.MY_SETTING, config.BOT_PREFIX, config.STORAGE, config.CHATROOM_PRESENCE,
        ))  # fmt: skip
        self.assertTrue(Path(config.BOT_DATA_DIR).is_dir())
        self.assertRaises(ConfigError, BlockingTestBot, extra_config={"BOT_ADMINS": 3})

    def test_before_and_after(self) -> None:
        """A bot exists after `start` only, starts once, and removes its data at the end."""
        testbot = BlockingTestBot()
        self.assertRaises(AttributeError, getattr, testbot, "bot")
        self.assertRaises(RuntimeError, testbot.stop)
        testbot.start()
        self.assertRaises(RuntimeError, testbot.start)
        self.assertIs(testbot.bot, testbot._bot)
        assert testbot.bot_thread is not None
        self.assertTrue(testbot.bot_thread.is_alive())
        testbot.stop()
        self.assertFalse(Path(testbot.bot_config.BOT_DATA_DIR).exists())

    def test_other_secrets(self) -> None:
        """An attribute `secrets` of a test that was written for errbot, with another meaning, has no effect."""
        before = dict(os.environ)
        for other in (os, {"api-token": "x"}, {"TOKEN": 1}, ["x"]):
            testbot = BlockingTestBot(loglevel=logging.CRITICAL)
            testbot.secrets = other  # type: ignore[assignment]
            testbot.start()
            self.assertEqual(dict(os.environ), before)
            testbot.stop()

    def test_own_reactor(self) -> None:
        """All bots share one reactor in a thread, which has an asyncio loop and isn't trial's."""
        first, second = BlockingTestBot(), BlockingTestBot()
        for testbot in (first, second):
            testbot.start()
            self.addCleanup(testbot.stop)
        self.assertIs(first.bot.reactor, second.bot.reactor)
        self.assertIsNot(reactor, first.bot.reactor)
        self.assertIs(first.bot_thread, second.bot_thread)
        first.push_message("!echo one")
        second.push_message("!echo two")
        self.assertEqual(["one", "two"], [first.pop_message(), second.pop_message()])

    def test_code_begins_anew(self) -> None:
        """Each bot loads a plugin's modules again, and has its own storage."""
        for _ in range(2):
            testbot = BlockingTestBot(extra_plugin_dir=str(GREETER), loglevel=logging.CRITICAL)
            testbot.start()
            self.assertEqual("0 calls", testbot.exec_command("!calls"))
            testbot.exec_command("!greet you")
            plugin = testbot.bot.plugin_manager.get_plugin_obj_by_name("Greeter")
            assert plugin is not None
            self.assertNotIn("key", plugin)
            plugin["key"] = 1
            testbot.stop()
            self.assertNotIn("errbot.plugins.greeter", sys.modules)

    def test_helper_by_its_bare_name(self) -> None:
        """A helper module is the same module for the test and the plugin."""
        self.addCleanup(sys.modules.pop, "greetings", None)
        self.patch(sys, "path", list(sys.path))
        for _ in ("the plugin first", "the test first"):
            testbot = BlockingTestBot(extra_plugin_dir=str(GREETER), loglevel=logging.CRITICAL)
            testbot.start()
            import greetings

            self.patch(greetings, "greeting", lambda name: "patched")
            self.assertEqual("patched", testbot.exec_command("!greet you"))
            testbot.stop()

    def test_quit_message(self) -> None:
        """errbot's quit message gets no reply, and doesn't stop the bot of another test."""
        testbot = BlockingTestBot()
        testbot.start()
        testbot.push_message(QUIT_MESSAGE)
        self.assertRaises(Empty, testbot.pop_message, timeout=0.01)
        testbot.stop()

    def test_log(self) -> None:
        """The log of the bot and its plugins goes to logging, whose level is restored at the end."""
        level = logging.getLogger().level
        with self.assertLogs("errklein", logging.WARNING) as logs:
            testbot = BlockingTestBot(extra_plugin_dir=str(GREETER))
            testbot.start()
            testbot.stop()
        self.assertIn("said while starting", "\n".join(logs.output))
        self.assertEqual(level, logging.getLogger().level)

    def test_log_file(self) -> None:
        """BOT_LOG_FILE gets each line from BOT_LOG_LEVEL on once, until the bot stops."""
        path = Path(self.mktemp())
        testbot = BlockingTestBot(extra_config={"BOT_LOG_FILE": str(path), "BOT_LOG_LEVEL": logging.INFO})
        testbot.start()
        logging.getLogger("errbot.plugins.Mine").info("of a\nplugin")
        logging.getLogger("errbot.plugins.Mine").debug("too much")
        testbot.exec_command("!echo logged")
        testbot.stop()
        with self.assertLogs("errbot.plugins.Mine"):
            logging.getLogger("errbot.plugins.Mine").error("too late")
        lines = path.read_text().splitlines()
        self.assertEqual(sum(line.endswith("[errbot.plugins.Mine#info] of a\\nplugin") for line in lines), 1, lines)
        self.assertEqual(sum("gbin@localhost" in line and "echo" in line for line in lines), 2, lines)
        self.assertFalse([line for line in lines if "too " in line])
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertFalse([handler for handler in logging.getLogger().handlers if isinstance(handler, Bridge)])

    def test_log_formatter(self) -> None:
        """BOT_LOG_FORMATTER formats the lines, and may log itself."""

        class Formatter(logging.Formatter):
            def format(self, record: logging.LogRecord) -> str:
                logging.getLogger("errbot.formatter").warning("formatting")
                return f"<{record.name}> {record.getMessage()}"

        path = Path(self.mktemp())
        testbot = BlockingTestBot(extra_config={"BOT_LOG_FILE": str(path), "BOT_LOG_FORMATTER": Formatter()})
        testbot.start()
        logging.getLogger("errbot.plugins.Mine").info("here")
        testbot.stop()
        self.assertIn("<errbot.plugins.Mine> here\n", path.read_text())

    def test_bad_log_file(self) -> None:
        """A log file that can't be written is an error of one line, and doesn't change logging."""
        before = list(logging.getLogger().handlers)
        testbot = BlockingTestBot(extra_config={"BOT_LOG_FILE": f"{self.mktemp()}/none/log"})
        error = self.assertRaises(ConfigError, testbot.start)
        self.assertIn("BOT_LOG_FILE", str(error))
        self.assertEqual((testbot.bot_thread, logging.getLogger().handlers), (None, before))

    assertLogs = unittest.TestCase.assertLogs


class ReactorThreadTests(SynchronousTestCase):
    """The reactor in a thread."""

    def test_waiting(self) -> None:
        """`wait` returns the result, raises the error, or raises a timeout that names the work."""
        thread = reactor_thread()
        thread.start()
        self.assertIs(threading.current_thread(), threading.main_thread())
        self.assertIs(thread.thread, thread.wait(threading.current_thread, timeout=5, what="the name"))
        self.assertRaises(ZeroDivisionError, thread.wait, lambda: 1 / 0, timeout=5, what="the division")
        overdue = self.assertRaises(WaitTimeout, thread.wait, Deferred, timeout=0.01, what="the end of the world")
        self.assertEqual("timed out after 0.01 s, waiting for the end of the world", str(overdue))

    def test_global(self) -> None:
        """Without trial, it is the reactor that plugins and their libraries import, once the test tools are imported."""
        program = (
            "from errklein.testing import full_stack\n"
            "from errklein.running.reactors import reactor_thread\n"
            "from twisted.internet import reactor\n"
            "print(reactor is reactor_thread().reactor)"
        )
        printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        self.assertEqual(printed, "True\n")

    def test_asyncio(self) -> None:
        """The loop runs, and the reactor's threads don't keep the process alive."""
        thread = reactor_thread()
        thread.start()

        async def sleep() -> str:
            await asyncio.sleep(0)
            return "slept"

        sleeping = asyncio.run_coroutine_threadsafe(sleep(), thread.reactor._asyncioEventloop)
        self.assertEqual("slept", sleeping.result(5))
        pool = thread.reactor.getThreadPool()

        def is_daemon() -> Any:
            return deferToThreadPool(thread.reactor, pool, lambda: threading.current_thread().daemon)

        self.assertTrue(thread.wait(is_daemon, timeout=5, what="the thread"))

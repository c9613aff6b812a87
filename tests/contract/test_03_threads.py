"""Chapter 3: threads and order of commands and callbacks."""

from __future__ import annotations

import threading
from typing import Any
from unittest import mock

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import LONGEST, ContractTest, decided
from tests.contract.test_03_prefixes import PLUGIN


class CallbackTests(ContractTest):
    """Messages that plugins get in `callback_message`."""

    plugin = PLUGIN

    def test_commands_too(self) -> None:
        """`callback_message` gets all messages, including commands."""
        self.ask("!show x")
        self.assert_silent("just talking")
        heard = self.instance().heard
        self.assertIn("!show x", heard)
        self.assertIn("just talking", heard)

    def test_not_what_was_delayed(self) -> None:
        """A delayed message runs no command, and plugins don't get it."""
        from errbot.backends.base import Message

        self.bot.callback_message(Message("!show old", frm=self.bot.sender, to=self.bot.bot_identifier, delayed=True))
        self.assert_silent("just talking")
        self.assertNotIn("!show old", self.instance().heard)

    def test_not_what_the_bot_said(self) -> None:
        """A message from the bot itself runs no command, and plugins don't get it."""
        from errbot.backends.base import Message

        me = self.bot.bot_identifier
        self.bot.callback_message(Message("!show me", frm=me, to=me))
        self.assert_silent("just talking")
        self.assertNotIn("!show me", self.instance().heard)


THREADS = """
    import queue
    import threading
    from errbot import BotPlugin, botcmd, cmdfilter

    class Tried(BotPlugin):
        def __init__(self, bot, name):
            super().__init__(bot, name)
            self.events = queue.Queue()
            self.go_on = threading.Event()
            self.threads = {}

        def note(self, what):
            self.threads[what] = threading.current_thread()
            self.events.put(what)

        def activate(self):
            super().activate()
            self.note("activate")

        def callback_connect(self):
            self.note("connect")

        @cmdfilter
        def filtered(self, msg, cmd, args, dry_run):
            if cmd in ("wait", "quick"):
                self.note(f"filter {cmd}")
            return msg, cmd, args

        @botcmd
        def wait(self, msg, args):
            self.note("begins")
            self.go_on.wait(5)
            return f"waited {args}"

        @botcmd
        def quick(self, msg, args):
            self.note("quick")
            return "quick"

        def callback_message(self, msg):
            self.note("message " + str(msg))
            if str(msg) == "raise":
                raise RuntimeError("in a callback")

        def callback_mention(self, msg, people):
            self.note("mention")

        def poll(self):
            self.note("poll")
            self.stop_poller(self.poll)
    """


class ThreadsTests(ContractTest):
    """Concurrency and order of commands, callbacks, filters and pollers."""

    plugin = THREADS
    config = {"BOT_ASYNC_POOLSIZE": 4}
    files = {
        "second.plug": "[Core]\nName = Zsecond\nModule = second\n",
        "second.py": """
            from errbot import BotPlugin

            class Zsecond(BotPlugin):
                heard = ()

                def callback_message(self, msg):
                    self.heard += (str(msg),)
            """,
    }

    def setUp(self) -> None:
        """Discard the events of the start."""
        super().setUp()
        self.tried: Any = self.instance()
        self.addCleanup(self.tried.go_on.set)
        self.say("the start is over")
        self.until("message the start is over")

    def until(self, event: str) -> list[str]:
        """Return the events up to and including the given one."""
        happened: list[str] = []
        while event not in happened:
            happened.append(self.tried.events.get(timeout=LONGEST))
        return happened

    def test_commands_side_by_side(self) -> None:
        """While a command runs, other commands run, and plugins get messages."""
        self.say("!wait x")
        self.until("begins")
        self.assertEqual(self.ask("!quick"), "quick")
        self.say("talk")
        self.until("message talk")
        self.tried.go_on.set()
        self.assertEqual(self.hear(), "waited x")

    def test_one_command_twice(self) -> None:
        """A command may run several times at once, on the same instance."""
        self.say("!wait 1")
        self.until("begins")
        self.say("!wait 2")
        self.until("begins")
        self.tried.go_on.set()
        self.assertEqual({self.hear(), self.hear()}, {"waited 1", "waited 2"})

    def test_callback_of_a_command(self) -> None:
        """`callback_message` is called while the command still runs; filters are called before it starts."""
        self.say("!wait x")
        happened = self.until("message !wait x")
        if "begins" not in happened:
            happened += self.until("begins")
        self.assertLess(happened.index("filter wait"), happened.index("begins"))
        self.tried.go_on.set()
        self.assertEqual(self.hear(), "waited x")

    def test_in_order(self) -> None:
        """Callbacks are called in the order of the messages."""
        said = [f"talk {number}" for number in range(5)]
        for text in said:
            self.say(text)
        self.assertEqual(self.until("message talk 4"), [f"message {text}" for text in said])

    def test_mention_after_message(self) -> None:
        """`callback_mention` is called after `callback_message` for the same message."""
        self.say("about @somebody")
        self.assertEqual(self.until("mention"), ["message about @somebody", "mention"])

    def test_errors_of_callbacks(self) -> None:
        """An exception in a callback is logged; other plugins and later messages aren't affected."""
        with self.assertLogs(level="ERROR") as logs:
            self.say("raise")
            self.assertEqual(self.ask("!quick"), "quick")
            self.until("message !quick")
        self.assertIn("in a callback", [str(record.exc_info[1]) for record in logs.records if record.exc_info])
        self.say("talk")
        self.until("message talk")
        self.assertIn("raise", self.instance("Zsecond").heard)

    def test_threads_of_commands(self) -> None:
        """Commands run neither in the main thread nor in the thread of callbacks."""
        self.ask("!quick")
        self.until("message !quick")
        threads = self.tried.threads
        self.assertIsNot(threads["quick"], threads["message !quick"])
        self.assertNotIn(threads["quick"], (threading.main_thread(), threading.current_thread()))

    def test_threads_of_pollers(self) -> None:
        """Pollers don't run in the main thread; they may share threads with callbacks."""
        self.tried.start_poller(0.01, self.tried.poll)
        self.until("poll")
        self.assertNotIn(self.tried.threads["poll"], (threading.main_thread(), threading.current_thread()))

    def test_activation(self) -> None:
        """`callback_connect` is called after `activate`."""
        self.ask("!plugin deactivate Tried")
        self.ask("!plugin activate Tried")
        happened = self.until("connect")
        self.assertEqual(
            [event for event in happened if not event.startswith("message")], ["activate", "connect"], happened
        )


class OneAtATimeTests(ContractTest):
    """Callbacks and filters run one at a time."""

    plugin = """
        import threading
        import time
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.heard = []
                self.filtered = []
                self.said = []
                self.over = threading.Event()

            def callback_message(self, msg):
                if "slow" in msg.body:
                    time.sleep(0.02)
                self.heard.append(msg.body)
                msg.seen_by_tried = True

            def callback_mention(self, msg, people):
                self.heard.append("mention")

            def callback_botmessage(self, msg):
                if "slow" in msg.body:
                    time.sleep(0.02)
                self.said.append(msg.body)
                if msg.body == "quick end":
                    self.over.set()

            @cmdfilter
            def look(self, msg, cmd, args, dry_run):
                if args == "slow":
                    time.sleep(0.02)
                if cmd == "show":
                    self.filtered.append(args)
                return msg, cmd, args

            @botcmd
            def show(self, msg, args):
                return args

            @botcmd
            def several(self, msg, args):
                yield "slow begin"
                yield "quick end"
        """
    files = {
        "second.plug": "[Core]\nName = Zsecond\nModule = second\n",
        "second.py": """
            import threading
            from errbot import BotPlugin

            class Zsecond(BotPlugin):
                def __init__(self, bot, name):
                    super().__init__(bot, name)
                    self.heard = []
                    self.over = threading.Event()

                def callback_message(self, msg):
                    self.heard.append((msg.body, hasattr(msg, "seen_by_tried")))
                    if msg.body == "the end":
                        self.over.set()
            """,
    }
    config = {"BOT_ASYNC_POOLSIZE": 4, "PLUGINS_CALLBACK_ORDER": ("Tried", None)}

    def test_messages(self) -> None:
        """A plugin gets one event after the other, however long each takes, and before the plugins after it."""
        for text in ("slow one", "about @somebody", "slow two", "quick", "the end"):
            self.say(text)
        second = self.instance("Zsecond")
        self.assertTrue(second.over.wait(5))
        heard = [text for text in self.instance().heard if not text.startswith("!")]
        self.assertEqual(heard, ["slow one", "about @somebody", "mention", "slow two", "quick", "the end"])
        expected = [(text, True) for text in heard if text != "mention"]
        self.assertEqual([pair for pair in second.heard if not pair[0].startswith("!")], expected)

    def test_filters(self) -> None:
        """A filter gets one command after the other."""
        for text in ("slow", "quick", "slow", "end"):
            self.say(f"!show {text}")
        self.assertEqual({self.hear() for _ in range(4)}, {"slow", "quick", "end"})
        self.assertEqual(self.instance().filtered, ["slow", "quick", "slow", "end"])

    def test_what_the_bot_says(self) -> None:
        """`callback_botmessage` is called in the order in which messages are sent."""
        self.say("!several")
        tried = self.instance()
        self.assertTrue(tried.over.wait(5))
        self.assertEqual(tried.said[-2:], ["slow begin", "quick end"])


class SynchronousTests(ContractTest):
    """BOT_ASYNC = False: commands without concurrency."""

    plugin = THREADS
    config = {"BOT_ASYNC": False}

    def setUp(self) -> None:
        """Give errbot a thread pool, which it needs to stop."""
        super().setUp()
        if not IS_ERRKLEIN:
            self.bot.thread_pool = mock.Mock()

    def test_one_after_the_other(self) -> None:
        """Commands run one after the other, in the order of the messages."""
        self.instance().go_on.set()
        for text in ("!wait 1", "!quick", "!wait 2"):
            self.say(text)
        self.assertEqual([self.hear() for _ in range(3)], ["waited 1", "quick", "waited 2"])


class AdminCommandTests(ContractTest):
    """Commands for administrators while other commands run."""

    plugin = """
        import threading
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.begun = threading.Event()
                self.go_on = threading.Event()

            @botcmd
            def wait(self, msg, args):
                self.begun.set()
                self.go_on.wait(5)
                return "waited"

            @botcmd
            def quick(self, msg, args):
                return "quick"

            @botcmd(admin_only=True)
            def of_admins(self, msg, args):
                return "of admins"
        """
    config = {"BOT_ASYNC_POOLSIZE": 4}

    @decided("a command for administrators waits for all other commands, and no message is received meanwhile")
    def test_nothing_waits(self) -> None:
        """A command for administrators doesn't wait for a long command, and other messages are handled meanwhile."""
        tried = self.instance()
        self.say("!wait")
        try:
            self.assertTrue(tried.begun.wait(5))
            self.say("!of admins")
            self.say("!quick")
            self.assertEqual({self.hear(1), self.hear(1)}, {"of admins", "quick"})
        finally:
            tried.go_on.set()

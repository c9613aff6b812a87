"""Chapter 4: callbacks, including coroutines."""

from __future__ import annotations

import io
import threading
from typing import Any

from tests.contract.kit import LONGEST, ContractTest, decided


class CallbackTests(ContractTest):
    """Callbacks for events of the network."""

    plugin = """
        import threading
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.told = []
                self.happened = threading.Semaphore(0)

            def note(self, *what):
                self.told.append(what)
                self.happened.release()

            def callback_mention(self, message, mentioned_people):
                self.note("mention", str(message), [str(person) for person in mentioned_people])

            def callback_presence(self, presence):
                self.note("presence", str(presence.identifier), presence.status)

            def callback_reaction(self, reaction):
                self.note("reaction", reaction.reaction_name)

            def callback_room_joined(self, room, identifier, invited_by=None):
                self.note("joined", str(room), str(identifier))

            def callback_room_left(self, room, identifier, kicked_by=None):
                self.note("left", str(room), str(identifier))

            def callback_room_topic(self, room):
                self.note("topic", str(room), room.topic)
        """
    files = {
        "invited.plug": "[Core]\nName = Invited\nModule = invited\n",
        "invited.py": """
            import threading
            from errbot import BotPlugin

            class Invited(BotPlugin):
                def __init__(self, bot, name):
                    super().__init__(bot, name)
                    self.told = []
                    self.happened = threading.Semaphore(0)

                def callback_room_joined(self, room, identifier, invited_by=None):
                    self.told.append((str(room), identifier, invited_by))
                    self.happened.release()

                def callback_room_left(self, room, identifier, kicked_by=None):
                    self.told.append((str(room), identifier, kicked_by))
                    self.happened.release()
            """,
    }

    def setUp(self) -> None:
        """Discard the events of the rooms that the bot joins at the start."""
        super().setUp()
        self.until_quiet()
        self.tried: Any = self.instance()
        self.tried.told.clear()
        self.tried.happened = threading.Semaphore(0)

    def next_event(self) -> tuple[Any, ...]:
        """Return the plugin's next event."""
        self.assertTrue(self.tried.happened.acquire(timeout=LONGEST))
        first: tuple[Any, ...] = self.tried.told.pop(0)
        return first

    def test_mention(self) -> None:
        """`callback_mention` gets the message and the mentioned people."""
        self.say("what does @somebody say")
        self.assertEqual(self.next_event(), ("mention", "what does @somebody say", ["somebody"]))

    def test_reaction(self) -> None:
        """`callback_reaction` gets the reaction."""
        from errbot.backends.base import Reaction

        self.bot.callback_reaction(Reaction(reactor=self.bot.sender, reaction_name="thumbsup"))
        self.assertEqual(self.next_event(), ("reaction", "thumbsup"))

    def test_presence(self) -> None:
        """`callback_presence` gets the identifier and its status."""
        from errbot.backends.base import AWAY, Presence

        self.bot.callback_presence(Presence(self.bot.build_identifier("a@b"), AWAY))
        self.assertEqual(self.next_event(), ("presence", "a@b", "away"))

    def test_rooms(self) -> None:
        """Rooms that the bot joins, leaves or gives a topic lead to the callbacks for rooms."""
        room = self.bot.query_room("#here")
        room.join()
        event, where, who = self.next_event()
        self.assertEqual((event, where), ("joined", "#here"))
        self.assertIn("err", who)
        room.topic = "tests"
        self.assertEqual(self.next_event(), ("topic", "#here", "tests"))
        room.leave()
        event, where, who = self.next_event()
        self.assertEqual((event, where), ("left", "#here"))
        self.assertIn("err", who)

    def test_who_and_by_whom(self) -> None:
        """The callbacks get who joined or left, by default the bot, and who invited or kicked them."""
        invited, room = self.instance("Invited"), self.bot.query_room("#there")
        who, by = (self.bot.build_identifier(name) for name in ("a@b", "c@d"))
        invited.told.clear()
        invited.happened = threading.Semaphore(0)
        for callback in (self.bot.callback_room_joined, self.bot.callback_room_left):
            callback(room, who, by)
            callback(room)
        for _ in range(4):
            self.assertTrue(invited.happened.acquire(timeout=LONGEST))
        me = self.bot.bot_identifier
        self.assertEqual(invited.told, [("#there", who, by), ("#there", me, None)] * 2)


class OrderTests(ContractTest):
    """PLUGINS_CALLBACK_ORDER."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            pass
        """
    config = {"PLUGINS_CALLBACK_ORDER": ("Tried", None, "Kit")}

    def test_order(self) -> None:
        """Named plugins have their place in the order; all others take the place of None."""
        names = [plugin.name for plugin in self.bot.plugin_manager.get_all_active_plugins()]
        self.assertEqual((names[0], names[-1]), ("Tried", "Kit"))
        self.assertGreater(len(names), 5)


class StreamTests(ContractTest):
    """Incoming files in `callback_stream`."""

    plugin = """
        import threading
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.read = []
                self.over = threading.Event()

            def callback_stream(self, stream):
                stream.accept()
                self.read.append((stream.name, stream.size, stream.stream_type, str(stream.identifier), stream.read()))
                self.thread = threading.current_thread()
                self.over.set()
        """

    files = {
        "second.plug": "[Core]\nName = Zsecond\nModule = second\n",
        "second.py": """
            import threading
            from errbot import BotPlugin

            class Zsecond(BotPlugin):
                def __init__(self, bot, name):
                    super().__init__(bot, name)
                    self.over = threading.Event()

                def callback_stream(self, stream):
                    stream.accept()
                    self.read, self.thread = stream.read(), threading.current_thread()
                    self.over.set()
            """,
    }

    def offered(self) -> Any:
        """Return a stream that a person offers to the bot."""
        from errbot.backends.base import Stream

        sender = self.bot.build_identifier("somebody@host")
        return Stream(sender, io.BytesIO(b"x" * 5000), name="name", size=5000, stream_type="text/plain")

    def test_accepted(self) -> None:
        """Each plugin may accept the stream and reads the whole content in its own thread."""
        self.bot.callback_stream(self.offered())
        second = self.instance("Zsecond")
        for plugin in (self.instance(), second):
            self.assertTrue(plugin.over.wait(5))
        self.assertEqual(second.read, b"x" * 5000)
        self.assertIsNot(second.thread, self.instance().thread)
        self.assertEqual(self.instance().read, [("name", 5000, "text/plain", "somebody@host", b"x" * 5000)])


class RejectedStreamTests(ContractTest):
    """The inherited `callback_stream`."""

    def test_rejected(self) -> None:
        """The inherited `callback_stream` rejects the stream."""
        from errbot.backends.base import STREAM_REJECTED

        stream = StreamTests.offered(self)  # type: ignore[arg-type]
        self.instance("Kit").callback_stream(stream)
        self.assertEqual(stream.status, STREAM_REJECTED)


class AsyncTests(ContractTest):
    """Methods declared with `async def`."""

    plugin = """
        import queue
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.events = queue.Queue()

            async def activate(self):
                super().activate()

            async def callback_connect(self):
                self.connected = True

            async def callback_message(self, msg):
                self.events.put(str(msg))

            async def poll(self, what):
                self.events.put(what)

            @cmdfilter
            async def filtered(self, msg, cmd, args, dry_run):
                return msg, cmd, f"{args} filtered" if cmd == "show" else args

            @botcmd
            def show(self, msg, args):
                return args
        """

    def until(self, event: str) -> None:
        """Wait for the event."""
        while self.instance().events.get(timeout=LONGEST) != event:
            pass

    @decided("the coroutine isn't awaited")
    def test_activated(self) -> None:
        """`activate` and `callback_connect` may be coroutines."""
        self.assertTrue(self.instance().is_activated)
        self.assertTrue(self.instance().connected)

    @decided("the coroutine isn't awaited")
    def test_callbacks(self) -> None:
        """Callbacks may be coroutines."""
        self.say("just talking")
        self.until("just talking")

    @decided("the coroutine isn't awaited")
    def test_pollers(self) -> None:
        """Pollers may be coroutines, and are called repeatedly."""
        self.instance().start_poller(0.005, self.instance().poll, args=("polled",))
        self.until("polled")
        self.until("polled")

    @decided("the coroutine isn't awaited, so the filter blocks the command")
    def test_filters(self) -> None:
        """Filters may be coroutines."""
        self.assertEqual(self.ask("!show x"), "x filtered")

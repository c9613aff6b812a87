"""Chapter 4, continued: corners of what plugins inherit."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any
from unittest import mock

from tests.contract.kit import ADMIN, ContractTest, decided


class LifeCornersTests(ContractTest):
    """`activate`, `deactivate`, `configure`."""

    plugin = """
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.states = [("init", self.is_activated, bot is self._bot, name)]
                self.connects = 0

            def configure(self, configuration):
                super().configure(configuration)
                self.states.append(("configure", self.is_activated, configuration))

            def activate(self):
                self.states.append(("activate", self.is_activated, "begun" in self._bot.all_commands))
                super().activate()
                self["kept"] = 1
                self.states.append(("activated", self.is_activated, "begun" in self._bot.all_commands))

            def deactivate(self):
                self.states.append(("deactivate", self.is_activated, self["kept"]))
                super().deactivate()
                self.states.append(("deactivated", self.is_activated, "begun" in self._bot.all_commands))

            def callback_connect(self):
                self.connects += 1

            @botcmd
            def begun(self, msg, args):
                return "begun"

            @cmdfilter
            def filtered(self, msg, cmd, args, dry_run):
                return msg, cmd, args

            def poll(self):
                pass
        """

    def test_begin(self) -> None:
        """Commands and storage are there after the inherited `activate`."""
        self.assertEqual(
            self.instance().states,
            [
                ("init", False, True, "Tried"),
                ("configure", False, None),
                ("activate", False, False),
                ("activated", True, True),
            ],
        )

    def test_connected_twice(self) -> None:
        """`callback_connect` comes after the activation, and once more when the network is connected."""
        self.assertEqual(self.instance().connects, 2)

    def test_end(self) -> None:
        """Commands, filters and storage are there until the inherited `deactivate`."""
        tried = self.instance()
        tried.states.clear()
        self.ask("!plugin deactivate Tried")
        self.assertEqual(tried.states, [("deactivate", True, 1), ("deactivated", False, False)])
        self.assertNotIn(tried.filtered, list(self.bot.command_filters))
        self.assertIn("not found", self.ask("!begun"))

    def test_again(self) -> None:
        """It is the same instance that is activated again, configured before; it is told that there is a connection."""
        tried = self.instance()
        self.ask("!plugin deactivate Tried")
        tried.states.clear()
        self.ask("!plugin activate Tried")
        self.assertIs(self.instance(), tried)
        self.assertEqual([state[0] for state in tried.states], ["configure", "activate", "activated"])
        self.assertEqual(tried.connects, 3)
        self.assertEqual(tried["kept"], 1)

    def test_opened_twice(self) -> None:
        """`init_storage` opens what is open already, which is an error."""
        from errbot.storage import StoreAlreadyOpenError

        with self.assertRaises(StoreAlreadyOpenError):
            self.instance().init_storage()


class InactiveTests(ContractTest):
    """A plugin that doesn't call what it overrides."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            def activate(self):
                pass

            @botcmd
            def never(self, msg, args):
                return "never"
        """

    def test_inactive(self) -> None:
        """It stays inactive, although `!plugin activate` says that it is active."""
        self.assertFalse(self.instance().is_activated)
        self.assertEqual(self.ask("!plugin activate Tried"), "Plugin Tried activated.")
        self.assertFalse(self.instance().is_activated)
        self.assertIn("not found", self.ask("!never"))


class CheckedTests(ContractTest):
    """`check_configuration`."""

    plugin = """
        from errbot import BotPlugin, ValidationException

        class Tried(BotPlugin):
            checked = ()
            configured = ()
            template = {"a": 1}

            def get_configuration_template(self):
                return self.template

            def check_configuration(self, configuration):
                self.checked += (configuration,)
                super().check_configuration(configuration)

            def configure(self, configuration):
                self.configured += (configuration,)
                super().configure(configuration)
        """

    def test_not_without_configuration(self) -> None:
        """It isn't called while there is nothing to check."""
        self.assertEqual(self.instance().checked, ())

    def test_structure(self) -> None:
        """The inherited one compares with the template."""
        self.assertIn("Plugin configuration done.", self.ask("!plugin config Tried {'a': 5}"))
        self.assertEqual(set(map(str, self.instance().checked)), {"{'a': 5}"})
        self.assertEqual(self.instance().config, {"a": 5})
        self.assertIn("Incorrect plugin configuration", self.ask("!plugin config Tried {'a': 'x'}"))

    def test_activated_again(self) -> None:
        """What is stored is checked before it is given to the plugin; without a template there is nothing to check."""
        self.ask("!plugin config Tried {'a': 5}")
        tried = self.instance()
        for template, checked in (({"a": 1}, {"{'a': 5}"}), (None, set())):
            self.ask("!plugin deactivate Tried")
            tried.template, tried.checked, tried.configured = template, (), ()
            self.ask("!plugin activate Tried")
            self.assertEqual((tried.is_activated, tried.configured), (True, ({"a": 5},)))
            self.assertEqual(set(map(str, tried.checked)), checked)


class MoreMembersTests(ContractTest):
    """What a plugin knows and can be told."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            pass
        """
    plug = "DependsOn = Kit\n"

    def test_state(self) -> None:
        """Lists of pollers are empty, and so on."""
        tried = self.instance()
        self.assertTrue(tried.is_activated)
        self.assertEqual((tried.current_pollers, tried.current_timers), ([], []))
        self.assertEqual(Path(tried.plugin_dir), self.data / "plugins")
        self.assertIsNone(tried.get_configuration_template())

    def test_own_configuration_module(self) -> None:
        """A lone administrator may be named by a text."""
        self.testbot.bot_config.BOT_ADMINS = "somebody@host"
        self.assertEqual(self.instance().bot_config.BOT_ADMINS, ("somebody@host",))

    def test_made_by_hand(self) -> None:
        """Who makes an instance gives it the bot, and a name; it isn't active."""
        made = type(self.instance())(self.bot, name="Made")
        self.assertEqual((made.name, made._bot, made.is_activated), ("Made", self.bot, False))
        self.assertIs(self.bot.plugin_manager.get_plugin_obj_by_name("Made"), None)

    def test_commands_of_plugins(self) -> None:
        """A plugin may have the bot run a command, as if somebody had given it."""
        from errbot.backends.base import Message

        message = self.bot.build_message("!echo by hand")
        self.assertIsInstance(message, Message)
        message.frm, message.to = self.bot.sender, self.bot.bot_identifier
        self.assertTrue(self.bot.process_message(message))
        self.assertEqual(self.hear(), "by hand")
        message.delayed = True
        self.assertFalse(self.bot.process_message(message))
        self.assertEqual(tuple(self.bot.bot_alt_prefixes), ())

    def test_get_plugin(self) -> None:
        """It is the instance; nobody can be had before the activation, nor who isn't there."""
        tried = self.instance()
        self.assertIs(tried.get_plugin("Kit"), self.instance("Kit"))
        with self.assertRaises(Exception):  # noqa: B017 - errbot raises nothing more special
            tried.get_plugin("Nobody")
        self.ask("!plugin deactivate Tried")
        with self.assertRaises(Exception):  # noqa: B017
            tried.get_plugin("Kit")

    def test_bot_s_own(self) -> None:
        """What plugins use of the bot."""
        bot = self.instance()._bot
        names = (
            "plugin_manager repo_manager send_simple_reply all_commands commands re_commands prefix cmd_history "
            "thread_pool flow_executor process_template startup_time warn_admins send_templated send_card "
            "split_and_send_message inject_commands_from unknown_command get_doc message_size_limit"
        )
        self.assertEqual([name for name in names.split() if not hasattr(bot, name)], [])

    def test_thread_pool(self) -> None:
        """`_bot.thread_pool` does work in threads."""
        done = self.instance()._bot.thread_pool.apply_async(lambda number: (number, threading.current_thread()), (5,))
        number, thread = done.get(5)
        self.assertEqual(number, 5)
        self.assertIsNot(thread, threading.current_thread())

    def test_presence(self) -> None:
        """`change_presence` takes a status and a text, or nothing."""
        self.assertIsNone(self.instance().change_presence("away", "gone"))
        self.assertIsNone(self.instance().change_presence())

    def test_log(self) -> None:
        """`log` takes what loggers take."""
        with self.assertLogs("errbot.plugins.Tried", "INFO") as logs:
            self.instance().log.info("a %s", "line")
        self.assertEqual(logs.records[0].getMessage(), "a line")


class MoreSendingTests(ContractTest):
    """What a plugin says."""

    plugin = """
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                import queue

                super().__init__(bot, name)
                self.said = queue.Queue()

            def callback_botmessage(self, msg):
                self.said.put(msg)
        """
    files = {"templates/hello.md": "hello *{{name}}*"}

    def setUp(self) -> None:
        """Have somebody to talk to."""
        super().setUp()
        self.tried: Any = self.instance()
        self.somebody = self.tried.build_identifier("somebody@host")

    def sent(self, text: str) -> Any:
        """The message with that text, as plugins are told of it."""
        while True:
            message = self.tried.said.get(timeout=5)
            if text in message.body:
                return message

    def test_told(self) -> None:
        """`callback_botmessage` gets the message: its Markdown, who it is from and to, and what it answers."""
        from errbot.backends.base import Message

        question = Message("question", frm=self.somebody, to=self.tried.bot_identifier)
        self.tried.send(self.somebody, "*text*", in_reply_to=question)
        message = self.sent("*text*")
        self.assertEqual((message.body, str(message.to)), ("*text*", "somebody@host"))
        self.assertEqual(str(message.frm), str(self.tried.bot_identifier))
        self.assertIs(message.parent, question)

    def test_texts_are_no_identifiers(self) -> None:
        """Nobody can be named by a text, wherever an identifier is wanted."""
        for send in (
            lambda: self.tried.send(None, "text"),
            lambda: self.tried.send_card(to="somebody", body="text"),
            lambda: self.tried.send_templated("somebody", "hello", {"name": "x"}),
        ):
            with self.assertRaises(ValueError):
                send()

    def test_templated(self) -> None:
        """A template that isn't there is Jinja's error."""
        from errbot.backends.base import Message
        from jinja2 import TemplateNotFound

        question = Message("question", frm=self.somebody, to=self.tried.bot_identifier)
        self.tried.send_templated(self.somebody, "hello", {"name": "x"}, in_reply_to=question)
        self.assertEqual(self.hear(), "hello x")
        self.assertIs(self.sent("hello").parent, question)
        with self.assertRaises(TemplateNotFound):
            self.tried.send_templated(self.somebody, "missing", {})

    def test_card(self) -> None:
        """A card goes to whom is named, else to who has asked."""
        from errbot.backends.base import Message

        self.tried.send_card(to=self.somebody, body="the body", summary="in short", title="Title")
        self.assertEqual(str(self.sent("the body").to), "somebody@host")
        self.tried.send_card(in_reply_to=Message("x", frm=self.somebody, to=self.tried.bot_identifier), body="reply")
        self.assertEqual(str(self.sent("reply").to), "somebody@host")

    def test_card_as_the_network_gets_it(self) -> None:
        """It has all that was given, or what `send_card` takes otherwise."""
        from errbot.backends.base import Message

        question = Message("x", frm=self.somebody, to=self.tried.bot_identifier)
        cards: list[Any] = []
        fields = (("a", "1"), ("b", "2"))
        with mock.patch.object(self.bot, "send_card", side_effect=cards.append):
            self.tried.send_card("body", None, question, "summary", "title", "link", "image", "thumb", "red", fields)
            self.tried.send_card(to=self.somebody)
        full, plain = cards
        self.assertEqual(
            (full.body, full.summary, full.title, full.link, full.image, full.thumbnail, full.color, full.fields),
            ("body", "summary", "title", "link", "image", "thumb", "red", fields),
        )
        self.assertIs(full.parent, question)
        self.assertEqual(
            (plain.body, plain.summary, plain.title, plain.link, plain.image, plain.thumbnail, plain.color),
            ("", None, "", None, None, None, "green"),
        )
        self.assertEqual((plain.fields, plain.parent), ((), None))
        for card in cards:
            self.assertEqual((card.frm, card.to), (self.tried.bot_identifier, self.somebody))

    def test_stream(self) -> None:
        """A file is offered."""
        self.tried.send_stream_request(self.somebody, io.BytesIO(b"content"), name="n", size=7, stream_type="x/y")
        self.assertEqual(self.testbot.pop_message(timeout=5), b"content")


class NotifiedTests(ContractTest):
    """`warn_admins`."""

    plugin = MoreSendingTests.plugin
    config = {"BOT_ADMINS_NOTIFICATIONS": ("one@host", "two@host")}

    def test_all(self) -> None:
        """Everybody in BOT_ADMINS_NOTIFICATIONS gets it, and it is logged."""
        tried = self.instance()
        with self.assertLogs(level="WARNING") as logs:
            tried.warn_admins("beware")
        self.assertEqual([record.levelname for record in logs.records if "beware" in record.getMessage()], ["WARNING"])
        self.assertEqual([self.hear(), self.hear()], ["beware", "beware"])
        told = []
        while len(told) < 2:
            message = tried.said.get(timeout=5)
            if message.body == "beware":
                told.append(str(message.to))
        self.assertEqual(told, ["one@host", "two@host"])
        self.assertNotIn(ADMIN, told)


class PollerCornersTests(ContractTest):
    """Pollers."""

    plugin = """
        import threading
        from errbot import BotPlugin

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                self.polled = []
                self.happened = threading.Semaphore(0)

            def poll(self, *args, **kwargs):
                self.polled.append((args, kwargs))
                self.happened.release()

            def fails(self):
                self.happened.release()
                raise RuntimeError("in a poller")

            def once(self):
                self.stop_poller(self.once)
                self.happened.release()
        """

    def happen(self, times: int) -> None:
        """Wait until a poller has been called so many times more."""
        for _ in range(times):
            self.assertTrue(self.instance().happened.acquire(timeout=5))

    def test_errors(self) -> None:
        """A poller that raises is called again, and what it has raised is logged."""
        tried = self.instance()
        with self.assertLogs(level="ERROR") as logs:
            tried.start_poller(0.005, tried.fails)
            self.happen(3)
        tried.stop_poller(tried.fails)
        self.assertIn("in a poller", [str(record.exc_info[1]) for record in logs.records if record.exc_info])

    def test_wrong_arguments(self) -> None:
        """Arguments that aren't a tuple are no error of `start_poller`; the method is never called with them."""
        tried = self.instance()
        for wrong in ({"args": 90}, {"kwargs": 5}):
            tried.start_poller(0.001, tried.poll, **wrong)
            tried.start_poller(0.001, tried.poll, times=3, args=("right",))
            self.happen(3)
            with self.assertRaises(ValueError):
                tried.stop_poller(tried.poll)
            tried.stop_poller(tried.poll, **wrong)
        self.assertEqual(tried.polled, [(("right",), {})] * 6)

    def test_unusual_arguments(self) -> None:
        """Whatever can be unpacked are the arguments; a generator is used up by the first call."""
        tried = self.instance()
        words = iter(["a", "b"])
        for args in ("ab", ["a", "b"], words):
            tried.polled.clear()
            tried.start_poller(0.001, tried.poll, args=args)
            self.happen(2)
            tried.stop_poller(tried.poll, args=args)
            self.assertEqual(tried.polled[0], (("a", "b"), {}))
        self.assertEqual(tried.polled[1], ((), {}))

    def test_times(self) -> None:
        """`times` is how often it is called; 0 is never."""
        tried = self.instance()
        tried.start_poller(0.001, tried.poll, times=3, args=("counted",))
        tried.start_poller(0.001, tried.poll, times=0, args=("never",))
        self.happen(3)
        tried.start_poller(0.01, tried.poll, times=1, kwargs={"last": True})
        self.happen(1)
        self.assertEqual(tried.polled, [(("counted",), {})] * 3 + [((), {"last": True})])

    def test_stopped_from_within(self) -> None:
        """A method may stop itself being polled."""
        tried = self.instance()
        tried.start_poller(0.001, tried.once)
        self.happen(1)
        self.assertEqual(tried.current_pollers, [])

    def test_listed(self) -> None:
        """What is polled can be seen."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,), kwargs={"a": 2})
        ((method, args, kwargs),) = tried.current_pollers
        self.assertEqual((method, tuple(args), dict(kwargs)), (tried.poll, (1,), {"a": 2}))
        self.assertEqual(len(tried.current_timers), 1)

    def test_arguments_must_match(self) -> None:
        """Which poller is stopped is told by method and arguments together."""
        tried = self.instance()
        tried.start_poller(60, tried.poll, args=(1,))
        tried.start_poller(60, tried.poll, args=(2,))
        for wrong in ((tried.poll, (3,)), (tried.once, (1,)), (tried.poll, (1,), {"a": 1})):
            with self.assertRaises(ValueError):
                tried.stop_poller(*wrong)
        tried.stop_poller(tried.poll, args=(2,))
        self.assertEqual([tuple(args) for _, args, _ in tried.current_pollers], [(1,)])

    @decided("the old timer goes on")
    def test_stopped_and_started(self) -> None:
        """Stopped and started again at once, there is one of it."""
        tried = self.instance()
        tried.start_poller(60, tried.poll)
        tried.stop_poller(tried.poll)
        tried.start_poller(0.005, tried.poll)
        tried.stop_poller(tried.poll)
        tried.start_poller(60, tried.poll)
        self.assertEqual(len(tried.current_timers), 1)
        self.assertFalse(tried.happened.acquire(timeout=0.02))


class DynamicTests(ContractTest):
    """Plugins that are made at run time."""

    plugin = """
        from errbot import BotPlugin, Command, arg_botcmd, botcmd

        class Tried(BotPlugin):
            def make(self, name, *commands, doc=None):
                if doc is None:
                    self.create_dynamic_plugin(name, commands)
                else:
                    self.create_dynamic_plugin(name, commands, doc=doc)

            def command(self, name, answer):
                return Command(lambda plugin, msg, args: f"{answer} {plugin.name} {type(plugin).__name__}", name=name,
                               doc=f"Says {answer}.")

            @botcmd
            def fixed(self, msg, args):
                return "fixed"
        """

    def test_class(self) -> None:
        """The plugin's class is named after it, as far as names of classes can be; it is a BotPlugin."""
        from errbot import BotPlugin

        tried = self.instance()
        tried.make("my plugin-1", tried.command("made", "x"), doc="Its doc.")
        self.assertEqual(self.ask("!made"), "x my plugin-1 my_plugin_1")
        plugin = self.bot.commands["made"].__self__
        self.assertIsInstance(plugin, BotPlugin)
        self.assertIsNot(plugin, tried)
        self.assertEqual(type(plugin).__errdoc__, "Its doc.")

    def test_help(self) -> None:
        """Its commands are in the list of all, under its name and documentation."""
        tried = self.instance()
        tried.make("mine", tried.command("made", "x"), doc="Its doc.")
        text = self.ask("!help")
        self.assertIn("!made", text)
        self.assertIn("Its doc.", text)

    def test_not_activated(self) -> None:
        """It has neither a configuration nor storage, and isn't among the plugins."""
        from errbot.storage import StoreNotOpenError

        tried = self.instance()
        tried.make("mine", tried.command("made", "x"))
        plugin = self.bot.commands["made"].__self__
        self.assertFalse(plugin.is_activated)
        self.assertNotIn("mine", self.bot.plugin_manager.get_all_active_plugin_names())
        with self.assertRaises((AttributeError, StoreNotOpenError)):
            plugin["a"] = 1

    def test_several(self) -> None:
        """There may be several, each destroyed by its name; one may be made anew, but none be there twice."""
        tried = self.instance()
        tried.make("one", tried.command("first", "1"))
        tried.make("two", tried.command("second", "2"))
        tried.destroy_dynamic_plugin("one")
        self.assertIn("not found", self.ask("!first"))
        self.assertEqual(self.ask("!second"), "2 two two")
        tried.make("one", tried.command("first", "again"))
        self.assertEqual(self.ask("!first"), "again one one")
        with self.assertRaises(ValueError):
            tried.make("one", tried.command("third", "3"))
        tried.destroy_dynamic_plugin("one")
        with self.assertRaises(ValueError):
            tried.destroy_dynamic_plugin("one")

    def test_clash(self) -> None:
        """A command whose name is taken gets another one, as with any plugin."""
        tried = self.instance()
        tried.make("mine", tried.command("fixed", "made"))
        self.assertIn("clashes with", self.hear())
        self.assertEqual(self.ask("!fixed"), "fixed")
        self.assertEqual(self.ask("!mine-fixed"), "made mine mine")

    def test_gone_with_its_maker(self) -> None:
        """When the plugin that made it is deactivated, it is no more."""
        tried = self.instance()
        tried.make("mine", tried.command("made", "x"))
        self.ask("!plugin deactivate Tried")
        self.assertIn("not found", self.ask("!made"))


class StreamTests(ContractTest):
    """`callback_stream`."""

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
        """A stream that somebody offers to the bot."""
        from errbot.backends.base import Stream

        sender = self.bot.build_identifier("somebody@host")
        return Stream(sender, io.BytesIO(b"x" * 5000), name="name", size=5000, stream_type="text/plain")

    def test_accepted(self) -> None:
        """Each plugin may accept it, and reads all of it, in a thread of its own."""
        self.bot.callback_stream(self.offered())
        second = self.instance("Zsecond")
        for plugin in (self.instance(), second):
            self.assertTrue(plugin.over.wait(5))
        self.assertEqual(second.read, b"x" * 5000)
        self.assertIsNot(second.thread, self.instance().thread)
        self.assertEqual(self.instance().read, [("name", 5000, "text/plain", "somebody@host", b"x" * 5000)])


class RejectedStreamTests(ContractTest):
    """`callback_stream`, as it is inherited."""

    def test_rejected(self) -> None:
        """It rejects."""
        from errbot.backends.base import STREAM_REJECTED

        stream = StreamTests.offered(self)  # type: ignore[arg-type]
        self.instance("Kit").callback_stream(stream)
        self.assertEqual(stream.status, STREAM_REJECTED)


class AsyncTests(ContractTest):
    """Methods that are `async def`."""

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
        """Wait until that happens."""
        while self.instance().events.get(timeout=2) != event:
            pass

    @decided("nobody awaits it")
    def test_activated(self) -> None:
        """The plugin is active, and told of connections."""
        self.assertTrue(self.instance().is_activated)
        self.assertTrue(self.instance().connected)

    @decided("nobody awaits it")
    def test_callbacks(self) -> None:
        """Callbacks are awaited."""
        self.say("just talking")
        self.until("just talking")

    @decided("nobody awaits it")
    def test_pollers(self) -> None:
        """So are pollers, again and again."""
        self.instance().start_poller(0.005, self.instance().poll, args=("polled",))
        self.until("polled")
        self.until("polled")

    @decided("what isn't awaited isn't what a filter should return")
    def test_filters(self) -> None:
        """So are filters."""
        self.assertEqual(self.ask("!show x"), "x filtered")

"""Chapter 15: what plugins assign to the names of `self._bot`, which changes what the bot does."""

from __future__ import annotations

import queue
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest import skipUnless

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import LONGEST, ContractTest
from tests.contract.network import PEOPLE, NetworkCase

PLUGIN = """
    import io
    from errbot import BotPlugin, botcmd, re_botcmd

    class Tried(BotPlugin):
        def __init__(self, bot, name):
            super().__init__(bot, name)
            self.heard = []

        def callback_message(self, msg):
            self.heard.append(msg.body)

        @botcmd
        def one(self, msg, args):
            '''The first command.'''
            return "one!"

        @botcmd(template="own")
        def templated(self, msg, args):
            return {"text": "here"}

        @botcmd
        def bad(self, msg, args):
            raise ValueError("of the plugin")

        @botcmd
        def long(self, msg, args):
            return "word " * 4000

        @botcmd
        def say(self, msg, args):
            self.send(msg.frm, "said")

        @botcmd
        def say_templated(self, msg, args):
            self.send_templated(msg.frm, "own", {"text": "there"})

        @botcmd
        def urgent(self, msg, args):
            self.send_templated(msg.frm, "own", {"text": "there"}, priority=True)

        @botcmd
        def card(self, msg, args):
            self.send_card(to=msg.frm, title="title", body="body")

        @botcmd
        def warn(self, msg, args):
            self.warn_admins("warned")

        @botcmd
        def presence(self, msg, args):
            self.change_presence("away")
            return "away"

        @botcmd
        def place(self, msg, args):
            return f"{self.query_room('testroom')} {len(self.rooms())} {self.build_identifier('someone')}"

        @botcmd
        def offer(self, msg, args):
            self.send_stream_request(msg.frm, io.BytesIO(b"content"), name="name", size=7)

        @botcmd
        def me(self, msg, args):
            return str(self.bot_identifier)

        @re_botcmd(pattern="pattern.*")
        def matched(self, msg, match):
            return "matched"
    """

CALLED = (
    ("callback_message", "!one"),
    ("process_message", "!one"),
    ("is_from_self", "!one"),
    ("process_template", "!one"),
    ("process_template", "!templated"),
    ("process_template", "!say templated"),
    ("send_simple_reply", "!one"),
    ("send_simple_reply", "!bad"),
    ("send_simple_reply", "!nonesuch"),
    ("build_reply", "!one"),
    ("build_message", "!one"),
    ("build_message", "!say"),
    ("split_and_send_message", "!one"),
    ("split_and_send_message", "!say"),
    ("send_message", "!one"),
    ("send_message", "!card"),
    ("send", "!say"),
    ("send", "!say templated"),
    ("send", "!warn"),
    ("send_templated", "!say templated"),
    ("send_templated", "!card"),
    ("send_card", "!card"),
    ("warn_admins", "!warn"),
    ("change_presence", "!presence"),
    ("query_room", "!place"),
    ("rooms", "!place"),
    ("build_identifier", "!place"),
    ("send_stream_request", "!offer"),
    ("unknown_command", "!nonesuch"),
    ("get_doc", "!help one"),
    ("callback_mention", "hello @bob"),
    ("callback_room_joined", "!room join testroom2"),
    ("callback_room_topic", "!room topic testroom2 subject"),
    ("callback_room_left", "!room leave testroom2"),
    ("remove_commands_from", "!plugin deactivate Tried"),
    ("inject_commands_from", "!plugin activate Tried"),
    ("remove_command_filters_from", "!plugin deactivate Tried"),
    ("inject_command_filters_from", "!plugin activate Tried"),
)
"""Methods that the bot calls, and a message that makes it do so."""

CALLABLE = """
    attach_plugin_manager attach_repo_manager attach_storage_plugin callback_presence callback_reaction
    callback_stream connect_callback disconnect_callback get_command_classes inject_flows_from
    prefix_groupchat_reply remove_flows_from
    flow_executor.start_flow flow_executor.stop_flow flow_executor.trigger
    plugin_manager.activate_flow plugin_manager.activate_non_started_plugins plugin_manager.activate_plugin
    plugin_manager.blacklist_plugin plugin_manager.deactivate_all_plugins plugin_manager.deactivate_flow
    plugin_manager.deactivate_plugin plugin_manager.get_all_active_plugin_names
    plugin_manager.get_all_active_plugins plugin_manager.get_all_plugin_names plugin_manager.get_blacklisted_plugin
    plugin_manager.get_plugin_configuration plugin_manager.get_plugin_obj_by_name plugin_manager.get_plugins_by_path
    plugin_manager.is_plugin_blacklisted plugin_manager.reload_plugin_by_name plugin_manager.remove_plugin
    plugin_manager.remove_plugins_from_path plugin_manager.set_plugin_configuration plugin_manager.shutdown
    plugin_manager.unblacklist_plugin plugin_manager.update_plugin_places
    thread_pool.apply_async
    """
"""Further methods."""

ASSIGNED = """
    all_commands bot_alt_prefixes bot_config bot_identifier cmd_history command_filters commands
    flow_executor.flow_roots flow_executor.in_flight message_size_limit mode namespace plugin_manager
    plugin_manager.flows plugin_manager.plugin_infos plugin_manager.plugins prefix re_commands repo_manager
    startup_time storage_plugin MSG_ERROR_OCCURRED
    """
"""Attributes."""


def found(owner: Any, dotted: str) -> Any:
    """Return the attribute at the end of the dotted name."""
    for name in dotted.split("."):
        owner = getattr(owner, name)
    return owner


def replace_by_the_class(bot: Any) -> list[str]:
    """Assign functions that call the methods of ErrBot with the bot, and return the list of the messages they get."""
    from errbot.core import ErrBot

    passed = []

    def callback_message(msg: Any) -> None:
        passed.append(msg.body)
        msg.body = msg.body.replace("first", "one")
        ErrBot.callback_message(bot, msg)

    def send_simple_reply(msg: Any, text: str, private: bool = False, threaded: bool = False) -> Any:
        return ErrBot.send_simple_reply(bot, msg, f"({text})", private=private, threaded=threaded)

    bot.callback_message, bot.send_simple_reply = callback_message, send_simple_reply
    return passed


@contextmanager
def wrapped(bot: Any, name: str) -> Iterator[list[tuple[Any, ...]]]:
    """Assign a function that calls the method of that name, and yield the list of its calls' arguments."""
    original, calls = getattr(bot, name), []

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return original(*args, **kwargs)

    setattr(bot, name, wrapper)
    try:
        yield calls
    finally:
        setattr(bot, name, original)


class ReplacedMethodTests(ContractTest):
    """Methods that a plugin wraps."""

    plugin = PLUGIN
    files = {"templates/own.md": "own {{text}}\n"}

    def test_wrapped_methods_are_called(self) -> None:
        """The bot calls what is assigned to a method's name; when the method is assigned again, it calls that."""
        for name, message in CALLED:
            with self.subTest(name=name, message=message):
                with wrapped(self.bot, name) as calls:
                    self.say(message)
                    within = str(self.hear()) if message.startswith("!") else None
                    self.until_quiet()
                number = len(calls)
                self.assertGreater(number, 0, f"{name} isn't called by {message}")
                if within is not None and not message.startswith(("!plugin", "!room")):
                    # The id of an error differs.
                    self.assertEqual(str(self.ask(message)).split("\n")[:1], within.split("\n")[:1])
                    self.until_quiet()
                    self.assertEqual(len(calls), number)

    def test_names(self) -> None:
        """The bot has all names that plugins use."""
        bot = self.bot
        self.assertEqual(
            [name for name in CALLABLE.split() if not callable(getattr(_owner(bot, name), _last(name), None))], []
        )
        missing = object()
        self.assertEqual([n for n in ASSIGNED.split() if getattr(_owner(bot, n), _last(n), missing) is missing], [])

    def test_message_is_withheld(self) -> None:
        """A message that a replaced `callback_message` doesn't pass on has no effect."""
        original = self.bot.callback_message
        self.bot.callback_message = lambda msg: original(msg) if msg.body != "!one" else None
        self.assertEqual(self.replies("!one"), [])
        self.assertEqual(self.replies("!me"), [str(self.bot.bot_identifier)])

    def test_reply_is_changed(self) -> None:
        """A replaced `send_simple_reply` changes the replies to commands."""
        original = self.bot.send_simple_reply
        self.bot.send_simple_reply = lambda msg, text, private=False, threaded=False: original(
            msg, text.replace("one!", "two!"), private, threaded
        )
        self.assertEqual(self.replies("!one"), ["two!"])

    def test_methods_of_the_class(self) -> None:
        """A function that is assigned can call the method of ErrBot with the bot; plugins get the changed message."""
        passed = replace_by_the_class(self.bot)
        self.say("!first")
        self.assertEqual(self.hear(), "(one!)")
        self.say("!echo end")
        self.assertEqual(self.hear(), "(end)")
        self.assertEqual(passed[:2], ["!first", "!echo end"])
        self.assertIn("!one", self.instance().heard)

    def test_unreplaced_methods_of_the_class(self) -> None:
        """The other methods of ErrBot can be called with the bot, too."""
        from errbot.core import ErrBot

        bot, person = self.bot, self.bot.build_identifier("bob")
        ErrBot.send(bot, person, "sent")
        ErrBot.warn_admins(bot, "warned")
        self.assertEqual([self.hear(), self.hear()], ["sent", "warned"])
        self.assertIn("nonesuch", ErrBot.unknown_command(bot, None, "nonesuch", "it"))
        ErrBot.callback_mention(bot, bot.build_message("hello"), [person])
        self.assertEqual(self.replies("!one"), ["one!"])

    def test_result_is_changed(self) -> None:
        """A replaced `process_template` gets the result of each command."""
        self.bot.process_template = lambda name, parameters, plugin_name=None: f"{name} {parameters} {plugin_name}"
        self.say("!one")
        self.assertEqual(self.hear(), "None one! Tried")

    def test_parts(self) -> None:
        """A replaced `send_message` gets long messages in parts."""
        with wrapped(self.bot, "send_message") as calls:
            self.replies("!long")
        parts = [message for message, *_ in calls if message.body.startswith("word")]
        self.assertEqual([message.partial for message in parts], [True, True])


class ReplacedAttributeTests(ContractTest):
    """Attributes that a plugin assigns."""

    plugin = PLUGIN

    def test_error_reply(self) -> None:
        """MSG_ERROR_OCCURRED begins the reply to a command that fails."""
        self.bot.MSG_ERROR_OCCURRED = "Oops"
        self.assertTrue(self.ask("!bad").startswith("Oops:\nof the plugin"))
        self.assertEqual(self.bot.MSG_ERROR_OCCURRED, "Oops")

    def test_commands_in_place(self) -> None:
        """Commands can be added to `commands`, and deleted."""
        self.bot.commands["another"] = self.bot.commands["one"]
        self.assertEqual(self.replies("!another"), ["one!"])
        del self.bot.commands["another"]
        self.assertIn("not found", self.ask("!another"))
        self.assertEqual(self.bot.commands.pop("say").__name__, "say")
        self.assertNotIn("said", self.ask("!say"))
        self.assertEqual(self.replies("!one"), ["one!"])

    def test_commands(self) -> None:
        """`commands` and `re_commands` can be replaced as a whole."""
        commands = dict(self.bot.commands)
        self.bot.commands = {name: commands[name] for name in commands if name != "say"}
        self.assertNotIn("said", self.ask("!say"))
        self.bot.commands = commands
        self.assertEqual(self.replies("!say"), ["said"])
        self.bot.re_commands = {}
        self.assertIn("not found", self.ask("!pattern"))

    def test_all_commands(self) -> None:
        """`all_commands` can't be assigned."""
        with self.assertRaises(AttributeError):
            self.bot.all_commands = {}

    def test_filters(self) -> None:
        """`command_filters` can be replaced."""
        blocked: list[str] = []

        def block(msg: Any, cmd: str, args: Any, dry_run: bool, emptycmd: bool = False) -> Any:
            blocked.append(cmd)
            return (None, None, None) if cmd == "one" else (msg, cmd, args)

        self.bot.command_filters = [*self.bot.command_filters, block]
        self.assertEqual(self.replies("!one"), [])
        self.assertIn("one", blocked)

    def test_history(self) -> None:
        """`cmd_history` can be replaced by one of another length."""
        self.bot.cmd_history = defaultdict(lambda: deque(maxlen=2))
        for number in range(3):
            self.ask(f"!echo {number}")
        self.assertEqual([len(given) for given in self.bot.cmd_history.values()], [2])

    def test_identifier(self) -> None:
        """`bot_identifier` can be replaced."""
        self.bot.bot_identifier = self.bot.build_identifier("other")
        self.assertEqual(self.replies("!me"), ["other"])

    def test_start_time(self) -> None:
        """`!uptime` counts from `startup_time`."""
        self.bot.startup_time = datetime(2000, 1, 1)
        self.assertIn("Jan 01", self.ask("!uptime"))

    def test_prefix(self) -> None:
        """`prefix` and `bot_alt_prefixes` can be assigned; the prefix of commands is that of the configuration."""
        self.bot.prefix, self.bot.bot_alt_prefixes = "?", ("hey",)
        self.assertEqual(self.replies("!one"), ["one!"])
        self.assertEqual((self.bot.prefix, self.bot.bot_alt_prefixes), ("?", ("hey",)))

    def test_attribute_of_the_network(self) -> None:
        """An attribute of the network, such as `sender`, can be assigned; so can a new one."""
        self.bot.sender = self.bot.build_identifier("bob")
        self.bot.of_the_plugin = 1
        self.assertIn("bob", self.ask("!whoami"))
        self.assertEqual(self.bot.of_the_plugin, 1)


@skipUnless(IS_ERRKLEIN, "errbot ends the bot")
class ReplacedOnErrkleinTests(ContractTest):
    """What errbot can't do."""

    plugin = PLUGIN
    files = ReplacedMethodTests.files

    def test_presence(self) -> None:
        """A replaced `callback_presence` gets the presence of people."""
        from errbot import ONLINE
        from errbot.backends.base import Presence

        with wrapped(self.bot, "callback_presence") as calls:
            self.testbot.push_presence(Presence(self.bot.build_identifier("bob"), ONLINE))
            self.until_quiet()
        self.assertEqual(str(calls[0][0].identifier), "bob")

    def test_options(self) -> None:
        """A replaced `send` gets only the arguments that it has on errbot."""
        with wrapped(self.bot, "send") as calls:
            self.replies("!urgent")
        self.assertEqual([len(call) for call in calls], [4])

    def test_failure(self) -> None:
        """An error of a replaced method is logged, and the bot goes on."""
        original = self.bot.send_simple_reply
        self.bot.send_simple_reply = lambda *args: 1 / 0
        self.say("!one")
        self.bot.send_simple_reply = original
        self.assertEqual(self.replies("!me")[-1:], [str(self.bot.bot_identifier)])


class ReplacedOnThirdPartyNetworkTests(NetworkCase):
    """Methods that a plugin wraps on a network with a backend of its own package."""

    backend = (
        PEOPLE
        + """
    class ContractBackend(ErrBot):
        mode = "contract"

        def __init__(self, config):
            super().__init__(config)
            self.bot_identifier = Somebody("me")

        def serve_once(self):
            self.connect_callback()
            for text in iter(HEARD.get, None):
                self.callback_message(Message(text, frm=Somebody("admin"), to=self.bot_identifier))
            self.disconnect_callback()
            return True

        def send_message(self, msg):
            super().send_message(msg)
            SAID.put(msg.body)

        def build_identifier(self, text):
            return Somebody(text)

        def build_reply(self, msg, text=None, private=False, threaded=False):
            response = self.build_message(text)
            response.frm, response.to = self.bot_identifier, msg.frm
            return response

        def change_presence(self, status=ONLINE, message=""):
            pass

        def query_room(self, room):
            return None

        def rooms(self):
            return []

        def prefix_groupchat_reply(self, message, identifier):
            pass
    """
    )
    plugin = PLUGIN

    def ask(self, text: str) -> str:
        """Send the text and return the reply."""
        self.heard.put(text)
        said: str = self.said.get(timeout=LONGEST)
        return said

    def test_wrapped(self) -> None:
        """The network calls what is assigned to its methods' names, once for each message, until they are assigned again."""
        self.ask("!one")
        bot = self.bot.plugin_manager.get_plugin_obj_by_name("Tried")._bot
        for name in (
            "callback_message",
            "process_message",
            "is_from_self",
            "send_simple_reply",
            "build_reply",
            "build_message",
            "split_and_send_message",
            "send_message",
        ):
            with self.subTest(name=name):
                with wrapped(bot, name) as calls:
                    self.assertEqual(self.ask("!one"), "one!")
                self.assertEqual(len(calls), 1)
                self.assertEqual(self.ask("!one"), "one!")
                self.assertEqual(len(calls), 1)
        passed = replace_by_the_class(bot)
        self.assertEqual(self.ask("!first"), "(one!)")
        self.assertEqual(passed, ["!first"])
        bot.MSG_ERROR_OCCURRED = "Oops"
        self.assertTrue(self.ask("!bad").startswith("(Oops"))
        if IS_ERRKLEIN:
            self.flushLoggedErrors(ValueError)
        with self.assertRaises(queue.Empty):
            self.said.get(timeout=0.1)


def _owner(bot: Any, dotted: str) -> Any:
    return found(bot, dotted.rpartition(".")[0]) if "." in dotted else bot


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]

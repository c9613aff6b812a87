"""Chapter 3, continued: what is a command, what is repeated, who replies where, and in which thread."""

from __future__ import annotations

import threading
from typing import Any
from unittest import mock

from tests.contract import IS_ERRKLEIN
from tests.contract.kit import ADMIN, ContractTest, decided
from tests.contract.test_03_dispatch import PLUGIN


def message(bot: Any, text: str, **extra: Any) -> Any:
    """Something that the usual person says to the bot."""
    from errbot.backends.base import Message

    return Message(text, frm=bot.sender, to=bot.bot_identifier, **extra)


class PersonTests(ContractTest):
    """Who says something."""

    plugin = PLUGIN

    def test_history_by_person(self) -> None:
        """Each person has a history of their own."""
        self.ask("!show mine")
        self.bot.sender = self.bot.build_identifier("somebody@host")
        self.ask("!show theirs")
        self.assertEqual(self.ask("!!"), "[theirs]")
        self.bot.sender = self.bot.build_identifier(ADMIN)
        self.assertEqual(self.ask("!!"), "[mine]")
        self.assertEqual(self.bot.cmd_history[ADMIN].maxlen, 10)

    @decided("what was given in private can be repeated in a room")
    def test_history_by_place(self) -> None:
        """`!!` in a room doesn't repeat what was given in private."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        self.ask("!show private")
        room = self.bot.query_room("testroom")
        occupant = TestOccupant(ADMIN, room)
        self.bot.callback_message(Message("!!", frm=occupant, to=room))
        self.assertEqual(self.until_quiet(), [])

    def test_unknown_person(self) -> None:
        """Who never gave a command has an empty history."""
        self.assertEqual(list(self.bot.cmd_history["nobody@nowhere"]), [])


class MoreHistoryTests(ContractTest):
    """Corners of the history."""

    plugin = """
        from errbot import BotPlugin, arg_botcmd, botcmd, cmdfilter, re_botcmd

        class Tried(BotPlugin):
            heard = ()

            @botcmd
            def show(self, msg, args):
                return f"[{args}]"

            @botcmd(split_args_with=None)
            def words(self, msg, args):
                return repr(args)

            @botcmd(split_args_with=int)
            def number(self, msg, args):
                return str(args)

            @botcmd
            def fails(self, msg, args):
                raise RuntimeError("it broke")

            @re_botcmd(pattern="^match (.*)$")
            def matched(self, msg, match):
                return "matched " + match.group(1)

            @re_botcmd(pattern="hear (.*)$", prefixed=False)
            def overheard(self, msg, match):
                return "heard " + match.group(1)

            @botcmd
            def blocked(self, msg, args):
                return "not blocked"

            @cmdfilter
            def block(self, msg, cmd, args, dry_run):
                if cmd == "blocked":
                    return None, None, None
                if args == "change me":
                    return msg, cmd, "changed"
                return msg, cmd, args

            def callback_message(self, msg):
                self.heard += (str(msg),)
        """

    def setUp(self) -> None:
        """Forget what others have said."""
        super().setUp()
        self.bot.cmd_history.clear()

    def kept(self) -> list[Any]:
        """The history, the test API's own commands left out."""
        return [tuple(entry) for entry in self.bot.cmd_history[ADMIN] if entry[0] != "echo"]

    def test_unsplit(self) -> None:
        """Arguments are kept as they were typed, and split once more."""
        self.ask("!words a  b")
        self.assertEqual(self.kept(), [("words", "a  b")])
        self.assertEqual(self.ask("!!"), "['a', 'b']")

    def test_failed_ones(self) -> None:
        """Commands that fail are kept, and so are those whose arguments couldn't be parsed."""
        self.ask("!fails x")
        self.ask("!number x")
        self.assertEqual(self.kept(), [("fails", "x"), ("number", "x")])

    def test_not_what_there_is_not(self) -> None:
        """What is no command isn't kept, nor what a filter has blocked."""
        self.ask("!show x")
        self.ask("!nothing")
        self.say("!blocked")
        self.until_quiet()
        self.assertEqual([entry for entry in self.kept() if entry[0] in ("nothing", "blocked")], [])

    def test_changed_by_a_filter(self) -> None:
        """Filters come before: what they have made of it is kept."""
        self.assertEqual(self.ask("!show change me"), "[changed]")
        self.assertEqual(self.kept(), [("show", "changed")])

    @decided("the bot hears nothing any more after it")
    def test_matched(self) -> None:
        """Commands that are given by a pattern are kept with their text, and can be repeated."""
        self.ask("!match this")
        self.assertEqual(self.kept(), [("matched", "match this")])
        self.assertEqual(self.ask("!!"), "matched this")

    @decided("the bot hears nothing any more after it")
    def test_overheard(self) -> None:
        """So are those without prefix."""
        self.ask("I hear you")
        self.assertEqual(self.ask("!!"), "heard you")

    def test_spaces(self) -> None:
        """Spaces before and after don't matter."""
        self.ask("!show x")
        self.assertEqual(self.ask("! 1 "), "[x]")

    def test_repeating_is_heard(self) -> None:
        """Plugins hear of `!!` itself."""
        self.ask("!show x")
        self.ask("!!")
        self.until_quiet()
        self.assertIn("!!", self.instance().heard)

    def test_nothing_to_repeat(self) -> None:
        """Without any history nothing is said to `!!` and `!1`, and plugins don't hear of it."""
        self.bot.sender = self.bot.build_identifier("newcomer@host")
        self.say("!!")
        self.say("!1")
        self.say("nothing")
        self.bot.sender = self.bot.build_identifier(ADMIN)
        self.assertEqual(self.until_quiet(), [])
        heard = self.instance().heard
        self.assertIn("nothing", heard)
        self.assertNotIn("!!", heard)
        self.assertNotIn("!1", heard)

    def test_ten(self) -> None:
        """The tenth can be repeated, the eleventh can't."""
        for number in range(12):
            self.ask(f"!show {number}")
        self.assertEqual(self.ask("!10"), "[2]")
        self.assert_silent("!11")


class AlternativeCornersTests(ContractTest):
    """BOT_ALT_PREFIXES, in its corners."""

    plugin = PLUGIN
    config = {"BOT_ALT_PREFIXES": ("Err", "Errbot", "@err"), "BOT_ALT_PREFIX_SEPARATORS": (":", ",", ";")}

    def test_longest(self) -> None:
        """The longest of those that match is taken away."""
        self.assertEqual(self.ask("Errbot show x"), "[x]")

    def test_separators(self) -> None:
        """Each separator is taken away once, in the order of the setting."""
        self.assertEqual(self.ask("Err:,; show x"), "[x]")
        self.assertIn("not found", self.ask("Err:: show x"))

    def test_history(self) -> None:
        """What is said after another prefix can be repeated, and be a repetition."""
        self.ask("Err show x")
        self.assertEqual(self.ask("!!"), "[x]")
        self.assertEqual(self.ask("Err, 1"), "[x]")

    def test_regular_expressions(self) -> None:
        """With another prefix all patterns are looked for, as with the usual one, in what comes after it."""
        self.assertEqual(self.replies("Err: some thing"), ["thing"])

    def test_alone(self) -> None:
        """An alternative alone is a command that isn't found."""
        self.assertIn("not found", self.ask("Errbot:"))


class OptionalCornersTests(ContractTest):
    """BOT_PREFIX_OPTIONAL_ON_CHAT, in its corners."""

    plugin = PLUGIN
    config = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}

    def test_regular_expressions(self) -> None:
        """All patterns are looked for in a direct message."""
        self.assertEqual(sorted(self.replies("some body, any")), ["any", "body"])

    def test_in_rooms(self) -> None:
        """In a room the prefix is needed."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#room")
        occupant = TestOccupant("somebody", room)
        self.bot.callback_message(Message("show x", frm=occupant, to=room))
        self.assertEqual(self.until_quiet(), [])
        self.bot.callback_message(Message("!show x", frm=occupant, to=room))
        self.assertIn("[x]", self.hear())


class PatternCornersTests(ContractTest):
    """Patterns and prefixes."""

    plugin = r"""
        from errbot import BotPlugin, botcmd, re_botcmd

        class Tried(BotPlugin):
            @re_botcmd(pattern="^begins")
            def begins(self, msg, match):
                return "begins"

            @re_botcmd(pattern="!?bang$", prefixed=False)
            def bang(self, msg, match):
                return match.group()

            @re_botcmd(pattern="^(.*)middle(.*)$", prefixed=False)
            def middle(self, msg, match):
                return repr(match.groups())
        """

    def test_without_the_prefix(self) -> None:
        """The prefix is no part of what is searched."""
        self.assertEqual(self.ask("!begins"), "begins")
        self.assertEqual(self.ask("!bang"), "bang")

    def test_not_the_other_prefix(self) -> None:
        """Where no prefix is at the beginning, all is searched."""
        self.assertEqual(self.ask("a !bang"), "!bang")

    def test_white_space(self) -> None:
        """That around the text is taken away, that inside stays."""
        self.assertEqual(self.ask("! a  middle  b "), "('a  ', '  b')")
        self.assertEqual(self.ask("a  middle  b"), "('a  ', '  b')")


class FoundTests(ContractTest):
    """Names of commands."""

    plugin = """
        from errbot import BotPlugin, botcmd

        class Tried(BotPlugin):
            @botcmd
            def one_two(self, msg, args):
                return f"one_two [{args}]"

            @botcmd
            def one_two_three_four(self, msg, args):
                return f"one_two_three_four [{args}]"
        """

    def test_gaps(self) -> None:
        """A longer name is found although there is none of a length in between."""
        self.assertEqual(self.ask("!one two three four five"), "one_two_three_four [five]")
        self.assertEqual(self.ask("!one two three five"), "one_two [three five]")
        self.assertEqual(self.ask("!one_two three_four x"), "one_two_three_four [x]")

    def test_spaces_between(self) -> None:
        """How much white space is between words of a name doesn't matter."""
        self.assertEqual(self.ask("!one   two  x"), "one_two [x]")
        self.assertEqual(self.ask("!one\ntwo\nx"), "one_two [x]")

    def test_part_of_a_name(self) -> None:
        """Too few words are no command, and the longer ones are offered."""
        self.assertIn("not found", self.ask("!one"))

    def test_replaced_reply(self) -> None:
        """The reply comes from `unknown_command` of the bot."""
        said = self.bot.unknown_command(message(self.bot, "!on two"), "on", "two")
        self.assertIn('Command "on" / "on two" not found', said)
        self.bot.unknown_command = lambda msg, cmd, args: f"no {cmd} for {msg.frm}, nor {args}"
        self.assertEqual(self.ask("!on two three"), f"no on for {ADMIN}, nor two three")

    def test_not_found_is_a_plugin(self) -> None:
        """CommandNotFoundFilter replies; deactivated it doesn't."""
        self.assertIn("CommandNotFoundFilter", self.bot.plugin_manager.get_all_active_plugin_names())
        self.ask("!plugin deactivate CommandNotFoundFilter")
        self.assert_silent("!on two")
        self.ask("!plugin activate CommandNotFoundFilter")
        self.assertIn("not found", self.ask("!on two"))


class ClashingTests(ContractTest):
    """Plugins with commands of one name."""

    plugin = PLUGIN
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, botcmd

            class Zother(BotPlugin):
                @botcmd
                def show(self, msg, args):
                    return "the other one"

                @botcmd
                def other(self, msg, args):
                    return "no clash"
            """,
    }

    def renamed(self) -> tuple[str, str]:
        """The plugin whose command has another name, and that name."""
        names = {"tried-show": "Tried", "zother-show": "Zother"}
        (name,) = [name for name in self.bot.all_commands if name in names]
        return names[name], name

    def test_told(self) -> None:
        """Admins are told what clashes, and the new name."""
        plugin, name = self.renamed()
        # The function keeps its new name, so there has to be a new function for another clash.
        told = [text for text in self.replies(f"!plugin reload {plugin}") if "clashes with" in text]
        self.assertEqual(len(told), 1)
        self.assertIn("so it has been renamed", told[0])
        self.assertIn(name, told[0])

    def test_marked(self) -> None:
        """The function has the new name from then on."""
        plugin, name = self.renamed()
        self.assertEqual(self.instance(plugin).show._err_command_name, name)
        self.assertIn(name, self.bot.commands)
        self.ask(f"!plugin deactivate {plugin}")
        self.ask(f"!plugin activate {plugin}")
        self.assertIn(name, self.bot.commands)

    def test_no_other(self) -> None:
        """Commands that don't clash keep their names."""
        self.assertEqual(self.ask("!other"), "no clash")
        self.assertEqual(self.ask("!show more x"), "more [x]")

    def test_removed(self) -> None:
        """When the plugin goes, so does its command, and only that one."""
        plugin, name = self.renamed()
        self.ask(f"!plugin deactivate {plugin}")
        self.assertNotIn(name, self.bot.all_commands)
        self.assertIn("show", self.bot.all_commands)


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
    """What runs at the same time, and in which order."""

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
        """Forget what happened at the start."""
        super().setUp()
        self.tried: Any = self.instance()
        self.addCleanup(self.tried.go_on.set)
        self.say("the start is over")
        self.until("message the start is over")

    def until(self, event: str) -> list[str]:
        """What happens up to that."""
        happened: list[str] = []
        while event not in happened:
            happened.append(self.tried.events.get(timeout=5))
        return happened

    def test_commands_side_by_side(self) -> None:
        """While a command runs, others run, and messages are heard."""
        self.say("!wait x")
        self.until("begins")
        self.assertEqual(self.ask("!quick"), "quick")
        self.say("talk")
        self.until("message talk")
        self.tried.go_on.set()
        self.assertEqual(self.hear(), "waited x")

    def test_one_command_twice(self) -> None:
        """A command may run several times at once, on the one instance."""
        self.say("!wait 1")
        self.until("begins")
        self.say("!wait 2")
        self.until("begins")
        self.tried.go_on.set()
        self.assertEqual({self.hear(), self.hear()}, {"waited 1", "waited 2"})

    def test_callback_of_a_command(self) -> None:
        """Plugins hear a message that is a command while it still runs; filters have seen it before it began."""
        self.say("!wait x")
        happened = self.until("message !wait x")
        if "begins" not in happened:
            happened += self.until("begins")
        self.assertLess(happened.index("filter wait"), happened.index("begins"))
        self.tried.go_on.set()
        self.assertEqual(self.hear(), "waited x")

    def test_in_order(self) -> None:
        """Callbacks come in the order of what was said."""
        said = [f"talk {number}" for number in range(5)]
        for text in said:
            self.say(text)
        self.assertEqual(self.until("message talk 4"), [f"message {text}" for text in said])

    def test_mention_after_message(self) -> None:
        """A mention is told after the message that it is in."""
        self.say("about @somebody")
        self.assertEqual(self.until("mention"), ["message about @somebody", "mention"])

    def test_errors_of_callbacks(self) -> None:
        """An error in one plugin's callback is logged, and keeps neither others nor later messages from being heard."""
        with self.assertLogs(level="ERROR") as logs:
            self.say("raise")
            self.assertEqual(self.ask("!quick"), "quick")
            self.until("message !quick")
        self.assertIn("in a callback", [str(record.exc_info[1]) for record in logs.records if record.exc_info])
        self.say("talk")
        self.until("message talk")
        self.assertIn("raise", self.instance("Zsecond").heard)

    def test_threads_of_commands(self) -> None:
        """Commands run neither in the main thread nor in those of callbacks."""
        self.ask("!quick")
        self.until("message !quick")
        threads = self.tried.threads
        self.assertIsNot(threads["quick"], threads["message !quick"])
        self.assertNotIn(threads["quick"], (threading.main_thread(), threading.current_thread()))

    def test_threads_of_pollers(self) -> None:
        """Pollers don't run in the main thread. They may share threads with callbacks."""
        self.tried.start_poller(0.01, self.tried.poll)
        self.until("poll")
        self.assertNotIn(self.tried.threads["poll"], (threading.main_thread(), threading.current_thread()))

    def test_activation(self) -> None:
        """`callback_connect` follows `activate`."""
        self.ask("!plugin deactivate Tried")
        self.ask("!plugin activate Tried")
        happened = self.until("connect")
        self.assertEqual(
            [event for event in happened if not event.startswith("message")], ["activate", "connect"], happened
        )


class OneAtATimeTests(ContractTest):
    """Callbacks and filters, which run one at a time."""

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
        """A plugin hears one thing after the other, however long one takes, and before those that come after it."""
        for text in ("slow one", "about @somebody", "slow two", "quick", "the end"):
            self.say(text)
        second = self.instance("Zsecond")
        self.assertTrue(second.over.wait(5))
        heard = [text for text in self.instance().heard if not text.startswith("!")]
        self.assertEqual(heard, ["slow one", "about @somebody", "mention", "slow two", "quick", "the end"])
        expected = [(text, True) for text in heard if text != "mention"]
        self.assertEqual([pair for pair in second.heard if not pair[0].startswith("!")], expected)

    def test_filters(self) -> None:
        """A filter sees one command after the other."""
        for text in ("slow", "quick", "slow", "end"):
            self.say(f"!show {text}")
        self.assertEqual({self.hear() for _ in range(4)}, {"slow", "quick", "end"})
        self.assertEqual(self.instance().filtered, ["slow", "quick", "slow", "end"])

    def test_what_the_bot_says(self) -> None:
        """Plugins are told of it in the order in which it is said."""
        self.say("!several")
        tried = self.instance()
        self.assertTrue(tried.over.wait(5))
        self.assertEqual(tried.said[-2:], ["slow begin", "quick end"])


class SynchronousTests(ContractTest):
    """BOT_ASYNC = False."""

    plugin = THREADS
    config = {"BOT_ASYNC": False}

    def setUp(self) -> None:
        """errbot can't be stopped without a pool."""
        super().setUp()
        if not IS_ERRKLEIN:
            self.bot.thread_pool = mock.Mock()

    def test_one_after_the_other(self) -> None:
        """Commands run one after the other, in the order of what was said."""
        self.instance().go_on.set()
        for text in ("!wait 1", "!quick", "!wait 2"):
            self.say(text)
        self.assertEqual([self.hear() for _ in range(3)], ["waited 1", "quick", "waited 2"])


class AdminCommandTests(ContractTest):
    """Commands of admins while others run."""

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

    @decided("an admin command waits for all others, and nothing is received meanwhile")
    def test_nothing_waits(self) -> None:
        """An admin's command needn't wait for a long one, and other messages are still answered."""
        tried = self.instance()
        self.say("!wait")
        try:
            self.assertTrue(tried.begun.wait(5))
            self.say("!of admins")
            self.say("!quick")
            self.assertEqual({self.hear(1), self.hear(1)}, {"of admins", "quick"})
        finally:
            tried.go_on.set()


class BotMembersTests(ContractTest):
    """More of what plugins find on the bot."""

    plugin = '''
        from errbot import BotPlugin, botcmd, cmdfilter, re_botcmd

        class Tried(BotPlugin):
            @botcmd
            def show(self, msg, args):
                """Shows something: !show <it>"""

            @botcmd
            def undocumented(self, msg, args):
                return "x"

            @re_botcmd(pattern="x+")
            def matched(self, msg, match):
                return "x"

            @cmdfilter
            def filtered(self, msg, cmd, args, dry_run):
                return msg, cmd, args
        '''

    def test_filters(self) -> None:
        """`command_filters` are the filters' methods."""
        self.assertIn(self.instance().filtered, list(self.bot.command_filters))

    def test_doc(self) -> None:
        """`get_doc` is a command's documentation."""
        self.assertIn("Shows something: !show <it>", self.bot.get_doc(self.bot.all_commands["show"]))
        self.assertIn("undocumented", self.bot.get_doc(self.bot.all_commands["undocumented"]))

    def test_classes(self) -> None:
        """`get_command_classes` are the classes that have commands."""
        self.assertIn(type(self.instance()), list(self.bot.get_command_classes()))

    def test_injected_again(self) -> None:
        """Commands and filters can be taken away and given back."""
        tried = self.instance()
        self.bot.remove_commands_from(tried)
        self.bot.remove_command_filters_from(tried)
        self.assertIn("not found", self.ask("!undocumented"))
        self.assertNotIn(tried.filtered, list(self.bot.command_filters))
        self.bot.inject_commands_from(tried)
        self.bot.inject_command_filters_from(tried)
        self.assertEqual(self.ask("!undocumented"), "x")
        self.assertIn(tried.filtered, list(self.bot.command_filters))

    def test_methods(self) -> None:
        """Values are the plugins' bound methods."""
        self.assertEqual(self.bot.all_commands["matched"], self.instance().matched)
        self.assertEqual(self.bot.re_commands["matched"]._err_command_re_pattern.pattern, "x+")

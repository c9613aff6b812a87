"""Chapter 3: from a message to its reply."""

from __future__ import annotations

from typing import Any

from tests.contract.kit import ADMIN, ContractTest

PLUGIN = """
    from errbot import BotPlugin, botcmd, re_botcmd

    class Tried(BotPlugin):
        heard = ()

        @botcmd
        def show(self, msg, args):
            return f"[{args}]"

        @botcmd
        def show_more(self, msg, args):
            return f"more [{args}]"

        @botcmd
        def show_much_more(self, msg, args):
            return f"much more [{args}]"

        @botcmd(historize=False)
        def forgotten(self, msg, args):
            return "forgotten"

        @re_botcmd(pattern="some (thing|body)")
        def some(self, msg, match):
            return match.group(1)

        @re_botcmd(pattern="any(one)?", prefixed=False)
        def anyone(self, msg, match):
            return "any"

        def callback_message(self, msg):
            self.heard += (str(msg),)
    """


class PrefixTests(ContractTest):
    """What makes a message a command."""

    plugin = PLUGIN

    def test_prefix(self) -> None:
        """A command begins with the prefix, at the very beginning of the message."""
        self.assertEqual(self.ask("!show x"), "[x]")
        self.assert_silent("show x")
        self.assert_silent("  !show x")

    def test_space_after_the_prefix(self) -> None:
        """It doesn't matter."""
        self.assertEqual(self.ask("!  show x"), "[x]")

    def test_longest_match(self) -> None:
        """The longest name that the words begin with is the command; the rest are its arguments as they are."""
        self.assertEqual(self.ask("!show much more  x\n y "), "much more [x\n y]")
        self.assertEqual(self.ask("!show more or less"), "more [or less]")
        self.assertEqual(self.ask("!show mor"), "[mor]")

    def test_lone_prefix(self) -> None:
        """The prefix alone is a command that isn't found."""
        self.assertIn("not found", self.ask("!"))

    def test_unknown(self) -> None:
        """The reply shows one and two words, and what may have been meant."""
        reply = self.ask("!shwo me")
        self.assertIn('Command "shwo" / "shwo me" not found', reply)
        self.assertIn("Did you mean", reply)
        self.assertIn("!show", reply)
        self.assertIn('Command "qqqqqq" not found', self.ask("!qqqqqq"))

    def test_regular_expressions_with_prefix(self) -> None:
        """With the prefix, all that match are run: those that don't need one too."""
        self.assertEqual(sorted(self.replies("!some body, any")), ["any", "body"])

    def test_regular_expressions_without_prefix(self) -> None:
        """Without it, only those that don't need one."""
        self.assertEqual(self.replies("some body, anyone"), ["any"])


class OtherPrefixTests(ContractTest):
    """BOT_PREFIX."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "hey bot "}

    def start(self, **config: Any) -> None:
        """Nothing to echo: the test API itself says `!echo`, which needs the usual prefix."""
        super().start(**{**config, "BOT_ALT_PREFIXES": ("!",)})

    def test_prefix_with_spaces(self) -> None:
        """The prefix may have spaces."""
        self.assertEqual(self.ask("hey bot show x"), "[x]")
        self.assert_silent("hey show x")


class RepeatedPrefixTests(ContractTest):
    """The history, with another prefix."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "."}

    def start(self, **config: Any) -> None:
        """The test API itself says `!echo`."""
        super().start(**{**config, "BOT_ALT_PREFIXES": ("!",)})

    def test_twice(self) -> None:
        """Twice the prefix is the last command again, whatever the prefix is; `!!` isn't anything then."""
        for text in (".show x", ".show y", ".."):
            reply = self.ask(text)
        self.assertEqual(reply, "[y]")
        self.assertEqual(self.ask(".2"), "[x]")
        self.assertIn('Command "!" not found', self.ask("!!"))


class AlternativePrefixTests(ContractTest):
    """BOT_ALT_PREFIXES."""

    plugin = PLUGIN
    config = {
        "BOT_ALT_PREFIXES": ("Err", "Errbot", "@err"),
        "BOT_ALT_PREFIX_SEPARATORS": (":", ",", ";"),
        "BOT_ALT_PREFIX_CASEINSENSITIVE": True,
    }

    def test_alternatives(self) -> None:
        """Each works like the prefix, with a separator after it or not, in any case."""
        for said in ("Err show x", "errbot, show x", "ERRBOT: show x", "@err;show x", "Err!show x"):
            self.assertEqual(self.ask(said), "[x]", said)

    def test_word_border(self) -> None:
        """None is needed."""
        self.assertIn("not found", self.ask("Errata"))

    def test_prefix_still_works(self) -> None:
        """The usual one does too."""
        self.assertEqual(self.ask("!show x"), "[x]")


class AlternativeCaseTests(ContractTest):
    """BOT_ALT_PREFIX_CASEINSENSITIVE."""

    plugin = PLUGIN
    config = {"BOT_ALT_PREFIXES": ("Err",)}

    def test_case_counts(self) -> None:
        """Unless told otherwise, case matters."""
        self.assertEqual(self.ask("Err show x"), "[x]")
        self.assert_silent("err show x")


class OptionalPrefixTests(ContractTest):
    """BOT_PREFIX_OPTIONAL_ON_CHAT."""

    plugin = PLUGIN
    config = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}

    def test_direct_messages(self) -> None:
        """A direct message needs no prefix, and may have one."""
        self.assertEqual(self.ask("show x"), "[x]")
        self.assertEqual(self.ask("!show x"), "[x]")
        self.assertIn("not found", self.ask("what is this"))


class SuppressedTests(ContractTest):
    """SUPPRESS_CMD_NOT_FOUND."""

    plugin = PLUGIN
    config = {"SUPPRESS_CMD_NOT_FOUND": True}

    def test_silence(self) -> None:
        """Nobody is told that there is no such command."""
        self.assert_silent("!nothing")


class HistoryTests(ContractTest):
    """`!!` and `!3`."""

    plugin = PLUGIN

    def setUp(self) -> None:
        """Forget what others have said: errbot keeps one history for all bots of a process."""
        super().setUp()
        for number in range(10):
            self.ask(f"!show {number}")

    def test_last(self) -> None:
        """`!!` is the last command again."""
        self.ask("!show x")
        self.assertEqual(self.ask("!!"), "[x]")

    def test_earlier(self) -> None:
        """`!<n>` is the nth last."""
        self.ask("!show x")
        self.ask("!show y")
        self.assertEqual(self.ask("!2"), "[x]")

    def test_again(self) -> None:
        """A command that is given again moves to the end, and is there once."""
        self.ask("!show x")
        self.ask("!show y")
        self.ask("!show x")
        self.assertEqual(self.ask("!!"), "[x]")
        self.assertEqual(self.ask("!2"), "[y]")

    def test_not_historized(self) -> None:
        """Commands may ask to be forgotten."""
        self.ask("!show x")
        self.ask("!forgotten")
        self.assertEqual(self.ask("!!"), "[x]")

    def test_no_such_item(self) -> None:
        """Ten are kept. There is no reply if there is no such item, and plugins don't hear of it."""
        self.say("!50")
        self.assert_silent("nothing")
        self.assertNotIn("!50", self.instance().heard)

    def test_kept_for_plugins(self) -> None:
        """`_bot.cmd_history` has them, by person."""
        self.ask("!show x")
        self.assertEqual(list(self.bot.cmd_history[ADMIN])[-1], ("show", "x"))


class CallbackTests(ContractTest):
    """What plugins hear."""

    plugin = PLUGIN

    def test_commands_too(self) -> None:
        """`callback_message` gets all that is said, commands included."""
        self.ask("!show x")
        self.assert_silent("just talking")
        heard = self.instance().heard
        self.assertIn("!show x", heard)
        self.assertIn("just talking", heard)

    def test_not_what_was_delayed(self) -> None:
        """What was said before the bot came is no command, and plugins don't hear it."""
        from errbot.backends.base import Message

        self.bot.callback_message(Message("!show old", frm=self.bot.sender, to=self.bot.bot_identifier, delayed=True))
        self.assert_silent("just talking")
        self.assertNotIn("!show old", self.instance().heard)

    def test_not_what_the_bot_said(self) -> None:
        """Nor what comes from the bot itself."""
        from errbot.backends.base import Message

        me = self.bot.bot_identifier
        self.bot.callback_message(Message("!show me", frm=me, to=me))
        self.assert_silent("just talking")
        self.assertNotIn("!show me", self.instance().heard)


class DivertedTests(ContractTest):
    """DIVERT_TO_PRIVATE and DIVERT_TO_THREAD."""

    plugin = PLUGIN
    config = {"DIVERT_TO_PRIVATE": ("show_more",), "DIVERT_TO_THREAD": ("show_much_more",)}

    def reply_in_room(self, text: str) -> Any:
        """The message that answers what an occupant of a room said."""
        from errbot.backends.base import Message
        from errbot.backends.test import TestOccupant

        room = self.bot.query_room("#room")
        self.bot.callback_message(Message(text, frm=TestOccupant("somebody", room), to=room))
        return self.bot.outgoing_message_queue.get(timeout=5)

    def test_queue_has_texts(self) -> None:
        """What is diverted is still the reply."""
        self.assertIn("more [x]", str(self.reply_in_room("!show more x")))
        self.assertIn("much more [x]", str(self.reply_in_room("!show much more x")))


class ClashTests(ContractTest):
    """Two plugins with one command."""

    plugin = PLUGIN
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, botcmd

            class Zother(BotPlugin):
                @botcmd
                def show(self, msg, args):
                    return "the other one"
            """,
    }

    def test_renamed(self) -> None:
        """One of them keeps the name, the other is called `<plugin>-<command>`; admins are told."""
        answers = {self.ask("!show x")}
        renamed = [name for name in self.bot.all_commands if name in ("zother-show", "tried-show")]
        self.assertEqual(len(renamed), 1)
        answers.add(self.ask(f"!{renamed[0]} x"))
        self.assertEqual(answers, {"[x]", "the other one"})


class NamesTests(ContractTest):
    """What plugins find on the bot."""

    plugin = PLUGIN

    def test_mappings(self) -> None:
        """Commands by name, with and without regular expressions."""
        self.assertIn("show_more", self.bot.commands)
        self.assertNotIn("some", self.bot.commands)
        self.assertIn("some", self.bot.re_commands)
        self.assertIn("some", self.bot.all_commands)
        self.assertIn("show_more", self.bot.all_commands)
        self.assertEqual(self.bot.commands["show"](None, "x"), "[x]")
        self.assertEqual(self.bot.prefix, "!")

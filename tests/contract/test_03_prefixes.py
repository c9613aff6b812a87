"""Chapter 3: prefixes, and the command that a message contains."""

from __future__ import annotations

from typing import Any

from tests.contract.kit import ADMIN, ContractTest, decided

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
    """The prefix of commands."""

    plugin = PLUGIN

    def test_prefix(self) -> None:
        """A command begins with the prefix, at the very beginning of the message."""
        self.assertEqual(self.ask("!show x"), "[x]")
        self.assert_silent("show x")
        self.assert_silent("  !show x")

    def test_space_after_the_prefix(self) -> None:
        """Spaces after the prefix are ignored."""
        self.assertEqual(self.ask("!  show x"), "[x]")

    def test_longest_match(self) -> None:
        """The longest command name at the beginning of the text is the command; the rest is its arguments."""
        self.assertEqual(self.ask("!show much more  x\n y "), "much more [x\n y]")
        self.assertEqual(self.ask("!show more or less"), "more [or less]")
        self.assertEqual(self.ask("!show mor"), "[mor]")

    @decided("the prefix alone is an unknown command")
    def test_lone_prefix(self) -> None:
        """The prefix alone, or with punctuation only, gets no reply."""
        self.assert_silent("!")
        self.assert_silent("!?")

    def test_unknown(self) -> None:
        """The reply to an unknown command has its first word, its first two words, and suggestions."""
        reply = self.ask("!shwo me")
        self.assertIn('Command "shwo" / "shwo me" not found', reply)
        self.assertIn("Did you mean", reply)
        self.assertIn("!show", reply)
        self.assertIn('Command "qqqqqq" not found', self.ask("!qqqqqq"))

    def test_regular_expressions_with_prefix(self) -> None:
        """A text with the prefix runs all pattern commands that match, including those that need no prefix."""
        self.assertEqual(sorted(self.replies("!some body, any")), ["any", "body"])

    def test_regular_expressions_without_prefix(self) -> None:
        """A text without the prefix runs only pattern commands that need no prefix."""
        self.assertEqual(self.replies("some body, anyone"), ["any"])


class OtherPrefixTests(ContractTest):
    """BOT_PREFIX with spaces."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "hey bot "}

    def start(self, **config: Any) -> None:
        """Allow `!` as well, since the test API sends `!echo`."""
        super().start(**{**config, "BOT_ALT_PREFIXES": ("!",)})

    def test_prefix_with_spaces(self) -> None:
        """The prefix may contain spaces."""
        self.assertEqual(self.ask("hey bot show x"), "[x]")
        self.assert_silent("hey show x")


class RepeatedPrefixTests(ContractTest):
    """The history with another BOT_PREFIX."""

    plugin = PLUGIN
    config = {"BOT_PREFIX": "."}

    def start(self, **config: Any) -> None:
        """Allow `!` as well, since the test API sends `!echo`."""
        super().start(**{**config, "BOT_ALT_PREFIXES": ("!",)})

    def test_twice(self) -> None:
        """The doubled prefix repeats the last command, whatever the prefix is."""
        for text in (".show x", ".show y", ".."):
            reply = self.ask(text)
        self.assertEqual(reply, "[y]")
        self.assertEqual(self.ask(".2"), "[x]")


class AlternativePrefixTests(ContractTest):
    """BOT_ALT_PREFIXES and its related settings."""

    plugin = PLUGIN
    config = {
        "BOT_ALT_PREFIXES": ("Err", "Errbot", "@err"),
        "BOT_ALT_PREFIX_SEPARATORS": (":", ",", ";"),
        "BOT_ALT_PREFIX_CASEINSENSITIVE": True,
    }

    def test_alternatives(self) -> None:
        """An alternative prefix works in any case, with or without a separator."""
        for said in ("Err show x", "errbot, show x", "ERRBOT: show x", "@err;show x", "Err!show x"):
            self.assertEqual(self.ask(said), "[x]", said)

    def test_word_border(self) -> None:
        """An alternative prefix needs no word boundary after it."""
        self.assertIn("not found", self.ask("Errata"))

    def test_prefix_still_works(self) -> None:
        """BOT_PREFIX works as well."""
        self.assertEqual(self.ask("!show x"), "[x]")


class AlternativePrefixMatchingTests(ContractTest):
    """Details of alternative prefixes."""

    plugin = PLUGIN
    config = {"BOT_ALT_PREFIXES": ("Err", "Errbot", "@err"), "BOT_ALT_PREFIX_SEPARATORS": (":", ",", ";")}

    def test_longest(self) -> None:
        """The longest prefix that matches is removed."""
        self.assertEqual(self.ask("Errbot show x"), "[x]")

    def test_separators(self) -> None:
        """Each separator is removed once, in the order of the setting."""
        self.assertEqual(self.ask("Err:,; show x"), "[x]")
        self.assertIn("not found", self.ask("Err:: show x"))

    def test_history(self) -> None:
        """Commands with an alternative prefix can be repeated, and `!!` works with it."""
        self.ask("Err show x")
        self.assertEqual(self.ask("!!"), "[x]")
        self.assertEqual(self.ask("Err, 1"), "[x]")

    def test_regular_expressions(self) -> None:
        """An alternative prefix runs all pattern commands that match the text after it."""
        self.assertEqual(self.replies("Err: some thing"), ["thing"])

    @decided("an alternative prefix alone is an unknown command")
    def test_alone(self) -> None:
        """An alternative prefix alone gets no reply."""
        self.assert_silent("Errbot:")


class AlternativeCaseTests(ContractTest):
    """BOT_ALT_PREFIX_CASEINSENSITIVE."""

    plugin = PLUGIN
    config = {"BOT_ALT_PREFIXES": ("Err",)}

    def test_case_counts(self) -> None:
        """By default, alternative prefixes are case-sensitive."""
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


class OptionalPrefixPlacesTests(ContractTest):
    """BOT_PREFIX_OPTIONAL_ON_CHAT for patterns and in rooms."""

    plugin = PLUGIN
    config = {"BOT_PREFIX_OPTIONAL_ON_CHAT": True}

    def test_regular_expressions(self) -> None:
        """A direct message runs all pattern commands that match."""
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


class PatternPrefixTests(ContractTest):
    """Patterns and the prefix."""

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
        """The prefix is removed before patterns are applied."""
        self.assertEqual(self.ask("!begins"), "begins")
        self.assertEqual(self.ask("!bang"), "bang")

    def test_not_the_other_prefix(self) -> None:
        """If the message doesn't begin with the prefix, patterns are applied to the whole text."""
        self.assertEqual(self.ask("a !bang"), "!bang")

    def test_white_space(self) -> None:
        """White space around the text is removed; white space within it stays."""
        self.assertEqual(self.ask("! a  middle  b "), "('a  ', '  b')")
        self.assertEqual(self.ask("a  middle  b"), "('a  ', '  b')")


class FoundTests(ContractTest):
    """Lookup of command names."""

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
        """A long name is found even if there is no shorter command with the same beginning."""
        self.assertEqual(self.ask("!one two three four five"), "one_two_three_four [five]")
        self.assertEqual(self.ask("!one two three five"), "one_two [three five]")
        self.assertEqual(self.ask("!one_two three_four x"), "one_two_three_four [x]")

    def test_spaces_between(self) -> None:
        """Any white space may separate the words of a name."""
        self.assertEqual(self.ask("!one   two  x"), "one_two [x]")
        self.assertEqual(self.ask("!one\ntwo\nx"), "one_two [x]")

    @decided("the beginning of a name is an unknown command")
    def test_part_of_a_name(self) -> None:
        """The beginning of a name gets a list of the commands with it."""
        self.assertIn('"!one two", "!one two three four"', self.ask("!one"))

    def test_replaced_reply(self) -> None:
        """The reply to an unknown command comes from the bot's method `unknown_command`, which may be replaced."""
        from errbot.backends.base import Message

        message = Message("!on two", frm=self.bot.sender, to=self.bot.bot_identifier)
        said = self.bot.unknown_command(message, "on", "two")
        self.assertIn('Command "on" / "on two" not found', said)
        self.bot.unknown_command = lambda msg, cmd, args: f"no {cmd} for {msg.frm}, nor {args}"
        self.assertEqual(self.ask("!on two three"), f"no on for {ADMIN}, nor two three")

    def test_not_found_is_a_plugin(self) -> None:
        """The plugin CommandNotFoundFilter replies to unknown commands; if it is deactivated, there is no reply."""
        self.assertIn("CommandNotFoundFilter", self.bot.plugin_manager.get_all_active_plugin_names())
        self.ask("!plugin deactivate CommandNotFoundFilter")
        self.assert_silent("!on two")
        self.ask("!plugin activate CommandNotFoundFilter")
        self.assertIn("not found", self.ask("!on two"))


class SuppressedTests(ContractTest):
    """SUPPRESS_CMD_NOT_FOUND."""

    plugin = PLUGIN
    config = {"SUPPRESS_CMD_NOT_FOUND": True}

    def test_silence(self) -> None:
        """An unknown command gets no reply."""
        self.assert_silent("!nothing")

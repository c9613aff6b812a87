"""Chapter 2: what commands return, yield and raise."""

from __future__ import annotations

from tests.contract.kit import ContractTest, decided


class ReturnedTests(ContractTest):
    """What a command returns."""

    plugin = """
        from errbot import BotPlugin, CommandError, botcmd

        class Tried(BotPlugin):
            @botcmd(split_args_with=None)
            def give(self, msg, args):
                values = {"none": None, "empty": "", "zero": 0, "list": [], "dict": {}, "one": 1, "full": [1, "a"],
                          "map": {"a": 1}}
                return values[args[0]]

            @botcmd(template="greeting")
            def greet(self, msg, args):
                return {"name": args}

            @botcmd(template="greeting")
            def greet_plainly(self, msg, args):
                return "just text"

            @botcmd(template="greeting")
            def greet_many(self, msg, args):
                for name in args.split():
                    yield {"name": name}

            @botcmd(template="missing")
            def missing(self, msg, args):
                return {"name": args}

            @botcmd
            def count(self, msg, args):
                for number in (1, None, 2, "", 3):
                    yield number if number is None else str(number)
                if args:
                    raise RuntimeError("in the middle")

            @botcmd
            def refuse(self, msg, args):
                raise CommandError("I will not.")

            @botcmd
            def refuse_nicely(self, msg, args):
                raise CommandError({"name": "refused"}, template="greeting")

            @botcmd
            def fail(self, msg, args):
                raise RuntimeError("it broke")

            @botcmd
            def started(self, msg, args):
                return (x for x in "ab")
        """
    files = {"templates/greeting.md": "Hello **{{name}}**"}

    def test_nothing(self) -> None:
        """What is false isn't sent."""
        for name in ("none", "empty", "zero", "list", "dict"):
            self.assert_silent(f"!give {name}")

    def test_anything_else(self) -> None:
        """Everything else is sent as str() makes it."""
        self.assertEqual(self.ask("!give one"), "1")
        self.assertEqual(self.ask("!give full"), "[1, 'a']")
        self.assertEqual(self.ask("!give map"), "{'a': 1}")
        self.assertIn("generator object", self.ask("!started"))

    def test_template(self) -> None:
        """A mapping is what the template is rendered with; a text is sent as it is."""
        self.assertEqual(self.ask("!greet you"), "Hello you")
        self.assertEqual(self.ask("!greet plainly"), "just text")
        self.assertEqual(self.replies("!greet many a b"), ["Hello a", "Hello b"])

    def test_missing_template(self) -> None:
        """A template that isn't there is an error."""
        self.assertIn("Computer says nooo", self.ask("!missing"))

    def test_generator(self) -> None:
        """Each item that isn't false is a message; what was sent stays sent when there is an error."""
        self.assertEqual(self.replies("!count"), ["1", "2", "3"])
        *said, error = self.replies("!count x")
        self.assertEqual(said, ["1", "2", "3"])
        self.assertIn("in the middle", error)

    def test_command_error(self) -> None:
        """Its reason is the reply, through a template if it names one."""
        self.assertEqual(self.ask("!refuse"), "I will not.")
        self.assertEqual(self.ask("!refuse nicely"), "Hello refused")

    def test_error(self) -> None:
        """Any other error is told."""
        reply = self.ask("!fail")
        self.assertIn("Computer says nooo", reply)
        self.assertIn("it broke", reply)


class ReturnValueRepliesTests(ContractTest):
    """What commands return."""

    plugin = """
        from collections import OrderedDict
        from errbot import BotPlugin, CommandError, botcmd
        from errbot.backends.base import Message

        class Tried(BotPlugin):
            @botcmd
            def markdown(self, msg, args):
                return "# Title\\n\\nsome **bold** text"

            @botcmd
            def me(self, msg, args):
                return "/me waves"

            @botcmd
            def message(self, msg, args):
                return Message("a message")

            @botcmd
            def false(self, msg, args):
                return False

            @botcmd(template="valued")
            def listed(self, msg, args):
                return ["a", "b"]

            @botcmd(template="valued")
            def ordered(self, msg, args):
                return OrderedDict(value=1)

            @botcmd(template="broken")
            def broken(self, msg, args):
                return {"value": 1}

            @botcmd
            def refused_midway(self, msg, args):
                yield "before"
                raise CommandError("refused")

            @botcmd
            def numbers(self, msg, args):
                yield 1
                yield [2]

            @botcmd
            def fail(self, msg, args):
                raise KeyError("key")

            @botcmd
            def fail_silently(self, msg, args):
                raise RuntimeError
        """
    files = {"templates/valued.md": "the value is {{value}}", "templates/broken.md": "{{ value.nothing.here }}"}

    def test_markdown(self) -> None:
        """A text is Markdown."""
        said = self.ask("!markdown")
        self.assertIn("TITLE", said)
        self.assertIn("some bold text", said)

    def test_me(self) -> None:
        """`/me` is nothing special."""
        self.assertEqual(self.ask("!me"), "/me waves")

    def test_message(self) -> None:
        """A message is sent as str() makes it."""
        self.assertEqual(self.ask("!message"), "a message")

    def test_false(self) -> None:
        """Nothing is sent."""
        self.assert_silent("!false")

    def test_template_of_other_things(self) -> None:
        """A template is for mappings, of whatever class; a list is a text."""
        self.assertEqual(self.ask("!listed"), "['a', 'b']")
        self.assertEqual(self.ask("!ordered"), "the value is 1")

    def test_broken_template(self) -> None:
        """It is an error."""
        self.assertIn("Computer says nooo", self.ask("!broken"))

    def test_refused_midway(self) -> None:
        """What was yielded before stays said."""
        self.assertEqual(self.replies("!refused midway"), ["before", "refused"])

    def test_items_that_are_no_texts(self) -> None:
        """They are sent as str() makes them."""
        self.assertEqual(self.replies("!numbers"), ["1", "[2]"])

    def test_error(self) -> None:
        """The reply has the error's text after a line break."""
        said = self.ask("!fail")
        self.assertTrue(said.startswith("Computer says nooo"), said)
        self.assertIn(":\n", said)
        self.assertIn("'key'", said)
        self.assertIn("Computer says nooo", self.ask("!fail silently"))

    @decided("the text of the exception goes to whoever gave the command")
    def test_error_for_others(self) -> None:
        """Who isn't an administrator gets the same beginning, and nothing of the error's text."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        said = self.ask("!fail")
        self.assertTrue(said.startswith("Computer says nooo"), said)
        self.assertNotIn("'key'", said)

    def test_log(self) -> None:
        """An error is in the log with its traceback; that a command refuses isn't an error."""
        with self.assertLogs(level="ERROR") as logs:
            self.replies("!refused midway")
            self.replies("!fail")
        raised = [record.exc_info[1] for record in logs.records if record.exc_info]
        self.assertEqual([repr(error) for error in raised], ["KeyError('key')"])
        self.assertEqual([record for record in logs.records if "refused" in record.getMessage()], [])


class AsyncTests(ContractTest):
    """Commands that are `async def`."""

    plugin = """
        from errbot import BotPlugin, arg_botcmd, botcmd, re_botcmd

        class Tried(BotPlugin):
            @botcmd
            async def later(self, msg, args):
                return f"later {args}"

            @botcmd
            async def items(self, msg, args):
                for letter in args:
                    yield letter

            @arg_botcmd("value", type=int)
            async def argued(self, msg, value):
                return str(value + 1)

            @re_botcmd(pattern="match me")
            async def matched(self, msg, match):
                return match.group()
        """

    @decided("says <coroutine …>")
    def test_coroutines(self) -> None:
        """They are awaited, whatever the decorator."""
        self.assertEqual(self.ask("!later on"), "later on")
        self.assertEqual(self.ask("!argued 1"), "2")
        self.assertEqual(self.ask("!match me"), "match me")

    @decided("says <async_generator …>")
    def test_generators(self) -> None:
        """Each item is a message."""
        self.say("!items ab")
        self.assertEqual([self.hear(), self.hear()], ["a", "b"])

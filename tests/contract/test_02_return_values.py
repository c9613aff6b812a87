"""Chapter 2: values that commands return and yield, and exceptions that they raise."""

from __future__ import annotations

from tests.contract.kit import ContractTest, decided


class ReturnedTests(ContractTest):
    """Return values of commands."""

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
        """A false value sends no reply."""
        for name in ("none", "empty", "zero", "list", "dict"):
            self.assert_silent(f"!give {name}")

    def test_anything_else(self) -> None:
        """Any other value is sent as its `str()`."""
        self.assertEqual(self.ask("!give one"), "1")
        self.assertEqual(self.ask("!give full"), "[1, 'a']")
        self.assertEqual(self.ask("!give map"), "{'a': 1}")
        self.assertIn("generator object", self.ask("!started"))

    def test_template(self) -> None:
        """A mapping is rendered by the command's template; a string is sent as it is."""
        self.assertEqual(self.ask("!greet you"), "Hello you")
        self.assertEqual(self.ask("!greet plainly"), "just text")
        self.assertEqual(self.replies("!greet many a b"), ["Hello a", "Hello b"])

    def test_missing_template(self) -> None:
        """A missing template is reported as an error."""
        self.assertIn("Computer says nooo", self.ask("!missing"))

    def test_generator(self) -> None:
        """Each true item is one message, and messages before an exception are sent."""
        self.assertEqual(self.replies("!count"), ["1", "2", "3"])
        *said, error = self.replies("!count x")
        self.assertEqual(said, ["1", "2", "3"])
        self.assertIn("in the middle", error)

    def test_command_error(self) -> None:
        """The reason of a CommandError is the reply, rendered by its template if it has one."""
        self.assertEqual(self.ask("!refuse"), "I will not.")
        self.assertEqual(self.ask("!refuse nicely"), "Hello refused")

    def test_error(self) -> None:
        """Any other exception is reported with its text."""
        reply = self.ask("!fail")
        self.assertIn("Computer says nooo", reply)
        self.assertIn("it broke", reply)


class ReturnValueRepliesTests(ContractTest):
    """Further return values of commands."""

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
        """A returned string is Markdown."""
        said = self.ask("!markdown")
        self.assertIn("TITLE", said)
        self.assertIn("some bold text", said)

    def test_me(self) -> None:
        """`/me` has no special meaning."""
        self.assertEqual(self.ask("!me"), "/me waves")

    def test_message(self) -> None:
        """A returned Message is sent as its `str()`."""
        self.assertEqual(self.ask("!message"), "a message")

    def test_false(self) -> None:
        """False sends no reply."""
        self.assert_silent("!false")

    def test_template_of_other_things(self) -> None:
        """A template is used for any mapping class; a list is sent as text."""
        self.assertEqual(self.ask("!listed"), "['a', 'b']")
        self.assertEqual(self.ask("!ordered"), "the value is 1")

    def test_broken_template(self) -> None:
        """A template that can't be rendered is reported as an error."""
        self.assertIn("Computer says nooo", self.ask("!broken"))

    def test_refused_midway(self) -> None:
        """Items that were yielded before a CommandError are sent."""
        self.assertEqual(self.replies("!refused midway"), ["before", "refused"])

    def test_items_that_are_no_texts(self) -> None:
        """Yielded items that aren't strings are sent as their `str()`."""
        self.assertEqual(self.replies("!numbers"), ["1", "[2]"])

    def test_error(self) -> None:
        """The reply to an exception has its text after a line break."""
        said = self.ask("!fail")
        self.assertTrue(said.startswith("Computer says nooo"), said)
        self.assertIn(":\n", said)
        self.assertIn("'key'", said)
        self.assertIn("Computer says nooo", self.ask("!fail silently"))

    @decided("everybody gets the exception's text")
    def test_error_for_others(self) -> None:
        """For senders other than administrators, the reply doesn't contain the exception's text."""
        self.bot.sender = self.bot.build_identifier("somebody@host")
        said = self.ask("!fail")
        self.assertTrue(said.startswith("Computer says nooo"), said)
        self.assertNotIn("'key'", said)

    def test_log(self) -> None:
        """An exception is logged with its traceback; a CommandError is not."""
        with self.assertLogs(level="ERROR") as logs:
            self.replies("!refused midway")
            self.replies("!fail")
        raised = [record.exc_info[1] for record in logs.records if record.exc_info]
        self.assertEqual([repr(error) for error in raised], ["KeyError('key')"])
        self.assertEqual([record for record in logs.records if "refused" in record.getMessage()], [])


class AsyncTests(ContractTest):
    """Commands declared with `async def`."""

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

    @decided("the reply is <coroutine …>")
    def test_coroutines(self) -> None:
        """Coroutines are awaited, with every decorator."""
        self.assertEqual(self.ask("!later on"), "later on")
        self.assertEqual(self.ask("!argued 1"), "2")
        self.assertEqual(self.ask("!match me"), "match me")

    @decided("the reply is <async_generator …>")
    def test_generators(self) -> None:
        """Each item of an asynchronous generator is one message."""
        self.say("!items ab")
        self.assertEqual([self.hear(), self.hear()], ["a", "b"])

"""Chapter 2: `@cmdfilter`."""

from __future__ import annotations

from tests.contract.kit import ContractTest


class CmdfilterTests(ContractTest):
    """Command filters declared with `cmdfilter`."""

    plugin = """
        from errbot import BotPlugin, botcmd, cmdfilter, re_botcmd

        class Tried(BotPlugin):
            @botcmd(split_args_with=None)
            def tell(self, msg, args):
                return "/".join(args)

            @botcmd
            def body(self, msg, args):
                return msg.body

            @botcmd
            def stop_here(self, msg, args):
                return "not stopped"

            @re_botcmd(pattern="(some)thing", prefixed=False)
            def something(self, msg, match):
                return "something " + match.group(1)

            @cmdfilter
            def change(self, msg, cmd, args, dry_run):
                self["seen"] = (cmd, args, dry_run)
                if cmd == "stop_here":
                    return None, None, None
                if cmd == "tell" and args == "secret":
                    self.send(msg.frm, "blocked")
                    return None, cmd, args
                if cmd == "tell" and args == "break":
                    raise RuntimeError("broken filter")
                if cmd == "body" and args in ("nothing", "pair"):
                    return None if args == "nothing" else (msg, cmd)
                if cmd == "body" and args == "other":
                    other = msg.clone()
                    other.body = "another message"
                    return other, cmd, args
                if cmd == "tell":
                    args += " changed"
                return msg, cmd, args

            @cmdfilter(catch_unprocessed=True)
            def unprocessed(self, msg, cmd, args, dry_run, emptycmd=False):
                if emptycmd:
                    return f"caught {msg}" if "fish" in str(msg) else None
                return msg, cmd, args
        """

    def test_arguments_are_changed(self) -> None:
        """A filter gets the arguments before they are split, and may change them."""
        self.assertEqual(self.ask("!tell a b"), "a/b/changed")
        self.assertEqual(self.instance()["seen"], ("tell", "a b", False))

    def test_blocked(self) -> None:
        """If a filter returns None as the message, the command isn't run."""
        self.assert_silent("!stop here")
        self.assertEqual(self.replies("!tell secret"), ["blocked"])

    def test_error_blocks(self) -> None:
        """If a filter raises an exception, or doesn't return three values, the command isn't run."""
        for text in ("!tell break", "!body nothing", "!body pair"):
            self.assert_silent(text)
        self.assertEqual(self.ask("!body x"), "!body x")

    def test_message_is_changed(self) -> None:
        """The command gets the message that the filter returns."""
        self.assertEqual(self.ask("!body other"), "another message")

    def test_regular_expressions(self) -> None:
        """For a pattern command, a filter gets the whole text as arguments."""
        self.assertEqual(self.ask("is there something?"), "something some")
        self.assertEqual(self.instance()["seen"], ("something", "is there something?", False))

    def test_unprocessed(self) -> None:
        """A filter with `catch_unprocessed=True` is called for an unknown command, and its result is the reply."""
        said = self.replies("!go fish now")
        self.assertIn("caught !go fish now", said)
        self.assertNotIn("caught", "".join(self.replies("!nothing at all")))


class FilterChainTests(ContractTest):
    """Several filters of one plugin."""

    plugin = """
        import threading
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            seen = ()

            @botcmd
            def first(self, msg, args):
                return f"first {args}"

            @botcmd
            def second(self, msg, args):
                return f"second {args}"

            @botcmd(split_args_with=None, historize=False)
            def words(self, msg, args):
                return repr(args)

            @cmdfilter
            def a_filter(self, msg, cmd, args, dry_run):
                self.seen += (("a", cmd, args, dry_run),)
                if args == "swap":
                    return msg, "second", "swapped"
                if cmd == "second" and dry_run:
                    return None, None, None
                return msg, cmd, args

            @cmdfilter(catch_unprocessed=True)
            def b_filter(self, msg, cmd, args, dry_run, emptycmd=False):
                self.seen += (("b", cmd, args, dry_run, emptycmd),)
                if emptycmd:
                    return "b caught it"
                return msg, cmd, args

            @cmdfilter(catch_unprocessed=True)
            def c_filter(self, msg, cmd, args, dry_run, emptycmd=False):
                if emptycmd:
                    return "c caught it"
                return msg, cmd, args
        """

    def test_order(self) -> None:
        """All filters are called, one after the other."""
        self.ask("!words x y")
        self.assertEqual(self.instance().seen[-2:], (("a", "words", "x y", False), ("b", "words", "x y", False, False)))

    def test_unprocessed(self) -> None:
        """For an unknown command, each filter with `catch_unprocessed=True` replies, and gets None as the command."""
        said = self.replies("!nobody knows this")
        self.assertIn("b caught it", said)
        self.assertIn("c caught it", said)
        self.assertLess(said.index("b caught it"), said.index("c caught it"))
        caught = [entry for entry in self.instance().seen if entry[-1] is True]
        self.assertEqual([(entry[1], entry[3]) for entry in caught], [(None, False)])

    def test_not_without_prefix(self) -> None:
        """For a message without the prefix, such filters aren't called."""
        self.assert_silent("nobody knows this")

    def test_no_dry_run_in_help(self) -> None:
        """Without HIDE_RESTRICTED_COMMANDS, `!help` calls no filter."""
        self.assertIn("second", self.ask("!help Tried"))
        self.assertEqual([entry for entry in self.instance().seen if entry[3]], [])

    def test_another_command(self) -> None:
        """A filter may replace the command by another one."""
        self.assertEqual(self.ask("!first swap"), "second swapped")


class FiltersOfPluginsTests(ContractTest):
    """Filters of several plugins."""

    plugin = """
        from errbot import BotPlugin, botcmd, cmdfilter

        class Tried(BotPlugin):
            @botcmd
            def show(self, msg, args):
                return args

            @cmdfilter
            def filtered(self, msg, cmd, args, dry_run):
                return msg, cmd, f"{args} Tried" if cmd == "show" else args
        """
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, cmdfilter

            class Zother(BotPlugin):
                @cmdfilter
                def filtered(self, msg, cmd, args, dry_run):
                    return msg, cmd, f"{args} Zother" if cmd == "show" else args
            """,
    }

    def test_order(self) -> None:
        """Filters are called in the order in which their plugins were activated."""
        for last, first in (("Zother", "Tried"), ("Tried", "Zother")):
            for name in (last, first):
                self.replies(f"!plugin deactivate {name}")
            for name in (first, last):
                self.replies(f"!plugin activate {name}")
            self.assertEqual(self.ask("!show x"), f"x {first} {last}")


class DryRunTests(ContractTest):
    """Calls of filters with HIDE_RESTRICTED_COMMANDS."""

    plugin = FilterChainTests.plugin
    config = {"HIDE_RESTRICTED_COMMANDS": True}

    def test_help(self) -> None:
        """`!help` calls filters with `dry_run=True` and without arguments, and leaves out the commands that they block."""
        shown = self.ask("!help")
        self.assertIn("!first", shown)
        self.assertNotIn("!second", shown)
        asked = {entry[1:4] for entry in self.instance().seen if entry[3]}
        self.assertIn(("first", None, True), asked)
        self.assertIn(("second", None, True), asked)

    def test_apropos(self) -> None:
        """`!apropos` also leaves out the commands that filters block."""
        self.assertIn("first", self.ask("!apropos first"))
        self.assertNotIn("!second", self.ask("!apropos second"))

    def test_still_runs(self) -> None:
        """A command that is left out of the help can be run if the filter allows the call."""
        self.assertEqual(self.ask("!second x"), "second x")

"""Tests for the declaration and the registry of commands."""

from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import CommandDeclaration, CommandRegistry, botcmd


class Greeter:
    """Stands for a plugin."""

    @botcmd
    def hello_world(self, msg: object, args: str) -> str:
        """Say hello."""
        return "hello"

    @botcmd(name="bye", split_args_with=None, admin_only=True, hidden=True)
    def leave(self, msg: object, args: list[str]) -> str:
        """Say good-bye."""
        return "bye"


class BotcmdTests(SynchronousTestCase):
    """What the decorator says about a method."""

    def test_bare(self) -> None:
        """The command is named as the method, and open to all."""
        declared = CommandDeclaration.of(Greeter().hello_world)
        self.assertEqual(declared, CommandDeclaration("hello_world"))

    def test_with_arguments(self) -> None:
        """Each argument arrives in the declaration."""
        declared = CommandDeclaration.of(Greeter().leave)
        self.assertEqual(declared, CommandDeclaration("bye", split_args_with=None, admin_only=True, hidden=True))

    def test_undecorated_methods_are_no_commands(self) -> None:
        """A method without the decorator declares nothing."""
        self.assertIsNone(CommandDeclaration.of(str.upper))

    def test_splitting(self) -> None:
        """Arguments are split by separator, white space, callable or parser, or not at all."""

        class Parser:
            def parse_args(self, args: str) -> object:
                return {"parsed": args}

        def split(by: object, args: str) -> object:
            return CommandDeclaration("x", split_args_with=by).split(args)

        self.assertEqual(split("", " a b"), " a b")
        self.assertEqual(split(None, "a  b"), ["a", "b"])
        self.assertEqual(split(" ", ""), [""])
        self.assertEqual(split(len, "abc"), 3)
        self.assertEqual(split(Parser(), "abc"), {"parsed": "abc"})


class CommandRegistryTests(SynchronousTestCase):
    """Commands by name."""

    def test_added_commands_are_found_and_removed_ones_are_not(self) -> None:
        """A plugin's commands come and go together."""
        registry = CommandRegistry()
        greeter = Greeter()
        self.assertEqual(registry.add("Greeter", [greeter.hello_world, greeter.leave]), [])
        self.assertEqual([command.name for command in registry], ["bye", "hello_world"])
        self.assertEqual(registry.most_words, 2)
        registry.remove("Greeter")
        self.assertNotIn("bye", registry)

    def test_a_name_that_is_taken_is_changed(self) -> None:
        """The second plugin's command gets the plugin's name in front, and somebody is told."""
        registry = CommandRegistry()
        registry.add("Greeter", [Greeter().leave])
        (clash,) = registry.add("Other", [Greeter().leave])
        self.assertIn("clashes with Greeter.bye so it has been renamed other-bye", clash)
        self.assertIn("other-bye", registry)
        registry.remove("Greeter")
        self.assertIn("other-bye", registry)

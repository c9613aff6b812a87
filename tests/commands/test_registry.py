"""Tests for the registries of commands and filters."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.commands import CommandRegistry, botcmd, cmdfilter, re_botcmd
from errklein.commands._registry import FilterRegistry


def made(*names: str, **options: Any) -> Any:
    """A stand-in for a plugin, with commands of these names."""

    class Made:
        pass

    for name in names:

        def method(self: Any, msg: object, args: str) -> str:
            return "said"

        method.__name__ = name
        setattr(Made, name, botcmd(name=name, **options)(method))
    return Made()


class CommandRegistryTests(SynchronousTestCase):
    """The registry of commands."""

    def setUp(self) -> None:
        """Register a plugin with two commands."""
        self.registry = CommandRegistry()
        self.greeter = made("hello_world", "bye")
        self.handlers = [self.greeter.hello_world, self.greeter.bye]
        self.assertEqual(self.registry.add("Greeter", self.handlers), [])

    def names(self) -> list[str]:
        """Return the names of all commands."""
        return [command.name for command in self.registry]

    def test_a_new_name_that_is_taken_too(self) -> None:
        """A renamed command never takes another command's name: the plugin's name is prepended once more."""
        self.registry.add("Third", [getattr(made("other-bye"), "other-bye")])
        (clash,) = self.registry.add("Other", [made("bye").bye])
        self.assertIn("Other.bye clashes with Greeter.bye so it has been renamed other-other-bye", clash)
        holder = self.registry.get("other-bye")
        assert holder is not None
        self.assertEqual(holder.owner, "Third")

    def test_two_of_a_name_in_one_plugin(self) -> None:
        """Two commands with the same name in one plugin are renamed too; adding a command twice changes nothing."""
        (clash,) = self.registry.add("Greeter", [made("bye").bye])
        self.assertIn("renamed greeter-bye", clash)
        self.assertEqual(self.registry.add("Greeter", self.handlers), [])
        self.assertEqual(self.names(), ["bye", "greeter-bye", "hello_world"])

    def test_aliases(self) -> None:
        """An alias finds the command, with spaces or underscores, and the command keeps its name."""
        deploy = made("deploy", aliases=("d", "ship it"))
        self.assertEqual(self.registry.add("Deploy", [deploy.deploy]), [])
        for name in ("d", "ship_it", "deploy"):
            command = self.registry.get(name)
            assert command is not None
            self.assertEqual(command.name, "deploy")
        self.assertNotIn("d", self.names())
        self.registry.remove("Deploy")
        self.assertNotIn("d", self.registry)

    def test_aliases_that_are_taken(self) -> None:
        """A name precedes an alias, and an earlier alias a later one; a sentence reports the ignored alias."""
        (taken,) = self.registry.add("Other", [made("other", aliases=("bye", "o")).other])
        self.assertIn("The alias bye of Other.other is ignored: Greeter.bye has that name", taken)
        (later,) = self.registry.add("Third", [made("third", aliases=("o",)).third])
        self.assertIn("Other.other has that name", later)
        self.registry.add("Fourth", [made("o").o])
        command = self.registry.get("o")
        assert command is not None
        self.assertEqual(command.owner, "Fourth")

    def test_the_lower_place_has_the_name(self) -> None:
        """A plugin with a lower place that is added later gets the name, and the other command is renamed."""
        registry = CommandRegistry()
        late, early = made("deploy"), made("deploy")
        self.assertEqual(registry.add("Late", [late.deploy], rank=2), [])
        (clash,) = registry.add("Early", [early.deploy], rank=1)
        self.assertEqual(clash, "Late.deploy clashes with Early.deploy so it has been renamed late-deploy")
        self.assertEqual(late.deploy._err_command_name, "late-deploy")
        self.assertEqual(
            {name: command.owner for name, command in registry.named.items()},
            {"deploy": "Early", "late-deploy": "Late"},
        )

    def test_the_lower_place_has_the_alias(self) -> None:
        """An alias belongs to the command with the lower place, and a sentence reports the one that lost it."""
        registry = CommandRegistry()
        registry.add("Late", [made("late", aliases=("d",)).late], rank=2)
        (clash,) = registry.add("Early", [made("early", aliases=("d",)).early], rank=1)
        self.assertEqual(clash, "The alias d of Late.late is ignored: Early.early has that name")
        command = registry.get("d")
        assert command is not None
        self.assertEqual(command.owner, "Early")

    @given(st.permutations(range(4)), st.permutations(range(4)))
    def test_arrival_does_not_matter(self, one: list[int], other: list[int]) -> None:
        """The names of commands that clash don't depend on the order in which plugins are added."""
        self.assertEqual(self.arrived(one), self.arrived(other))

    def arrived(self, order: list[int]) -> tuple[dict[str, str], list[str]]:
        """Return the names, and the order of patterns, after adding the plugins in this order."""
        registry = CommandRegistry()
        for number in order:
            names = ["deploy", "p1-deploy" if number == 3 else f"own{number}"]
            plugin = made(*names, aliases=("d",))

            class Listener:
                @re_botcmd(pattern="x")
                def zed(self, msg: object, match: re.Match[str]) -> None: ...

            handlers = [getattr(plugin, name) for name in names]
            registry.add(f"P{number}", [*handlers, Listener().zed], rank=number)
        owners = {name: command.owner for name, command in registry.named.items()}
        alias = registry.get("d")
        assert alias is not None
        return {**owners, "d": alias.owner}, [command.owner for command in registry.by_pattern]


class FilterRegistryTests(SynchronousTestCase):
    """The registry of filters."""

    def test_order_and_removal(self) -> None:
        """Filters are ordered by their plugins' places, and removed with them."""

        class Watcher:
            @cmdfilter
            def one(self, *args: object) -> None: ...

            @cmdfilter(catch_unprocessed=True)
            def two(self, *args: object) -> None: ...

            def no_filter(self) -> None: ...

        first, second = Watcher(), Watcher()
        registry = FilterRegistry()
        registry.add("Second", [second.two], rank=0)
        registry.add("First", [first.one, first.no_filter, first.two], rank=1)
        self.assertEqual([one.handler for one in registry.all], [second.two, first.one, first.two])
        self.assertEqual([one.handler for one in registry.unprocessed], [second.two, first.two])
        registry.remove("Second")
        self.assertEqual([one.owner for one in registry.all], ["First", "First"])
        registry.add("Zeroth", [second.one], rank=-1)
        self.assertEqual([one.owner for one in registry.all], ["Zeroth", "First", "First"])

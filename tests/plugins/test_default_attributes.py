"""Tests for attributes of BotPlugin that a plugin may define otherwise."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins._base import DefaultMethod, DefaultProperty


class Base:
    """Has a default method and a default property, as BotPlugin has."""

    created = 0

    @DefaultMethod
    def mount(self, path: str) -> str:
        """Mount a path."""
        return f"mounted {path}"

    @partial(DefaultProperty, library="treq.client.HTTPClient")
    def http(self) -> str:
        """A client."""
        self.created += 1
        return f"client {self.created}"


class Mixin:
    """Another base class, with attributes of the same names."""

    mount = "of the mixin"

    @property
    def http(self) -> str:
        return f"property of {type(self).__name__}"


class DefaultTests(SynchronousTestCase):
    """A plugin without attributes of these names."""

    def test_method(self) -> None:
        """The method is called with the instance, also through a subclass and through `super()`."""

        class Plugin(Base):
            def other(self) -> Any:
                return super().mount("/b")

        self.assertEqual(Plugin().mount("/a"), "mounted /a")
        self.assertEqual(Plugin().other(), "mounted /b")
        self.assertEqual(Plugin.mount(Plugin(), "/c"), "mounted /c")

    def test_property(self) -> None:
        """The property has one value for each instance."""
        one, other = Base(), Base()
        self.assertEqual([one.http, one.http, other.http], ["client 1"] * 3)
        self.assertEqual((one.created, other.created), (1, 1))

    def test_documentation(self) -> None:
        """The attributes of the class have their docstrings, so that they can be documented."""
        self.assertEqual(Base.mount.__doc__, "Mount a path.")
        self.assertEqual(Base.http.__doc__, "A client.")


class OwnTests(SynchronousTestCase):
    """A plugin with attributes of these names."""

    def test_assigned(self) -> None:
        """An attribute of the instance takes precedence, also when it is assigned after the first use, until it is deleted."""
        plugin: Any = Base()
        self.assertEqual(plugin.http, "client 1")
        plugin.http, plugin.mount = "own", 5
        self.assertEqual((plugin.http, plugin.mount), ("own", 5))
        del plugin.http, plugin.mount
        self.assertEqual((plugin.http, plugin.mount("/a")), ("client 2", "mounted /a"))

    def test_defined(self) -> None:
        """Attributes and methods of the plugin's class take precedence."""

        class Plugin(Base):
            http = None  # type: ignore[assignment]

            def mount(self) -> str:  # type: ignore[override]
                return "own"

        self.assertIsNone(Plugin().http)
        self.assertEqual(Plugin().mount(), "own")

    def test_mixins(self) -> None:
        """Attributes of another base class take precedence, whether it is before or after BotPlugin."""

        class Before(Mixin, Base):  # type: ignore[misc]
            pass

        class After(Base, Mixin):  # type: ignore[misc]
            pass

        for cls in (Before, After):
            plugin: Any = cls()
            self.assertEqual(plugin.http, f"property of {cls.__name__}")
            self.assertEqual((plugin.mount, cls.mount), ("of the mixin", "of the mixin"))
            plugin.mount = "assigned"
            self.assertEqual(plugin.mount, "assigned")

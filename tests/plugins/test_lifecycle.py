"""Tests for the order in which plugins are activated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.plugins.lifecycle import activation_order, circle
from errklein.plugins.plug_file import PlugFile
from errklein.plugins.plugin import Plugin

NAMES = st.sampled_from("ABCDE")


def plugins_of(depends_on: Mapping[str, Sequence[str]]) -> dict[str, Plugin]:
    """Return plugins of these names with the names that each depends on."""
    return {
        name: Plugin(PlugFile(name, name.lower(), Path(f"{name}.plug"), depends_on=tuple(needed)))
        for name, needed in depends_on.items()
    }


class DependencyTests(SynchronousTestCase):
    """`DependsOn` of several plugins."""

    def test_order(self) -> None:
        """A plugin follows its dependencies; unknown names are ignored."""
        plugins = plugins_of({"A": ["B", "Nowhere"], "B": ["C"], "C": [], "D": []})
        self.assertEqual(activation_order(plugins, ["A"]), ["C", "B", "A"])

    def test_circle(self) -> None:
        """The error shows the path from the plugin to itself; a plugin that only leads to a circle has no error."""
        plugins = plugins_of({"A": ["B"], "B": ["C"], "C": ["A"], "D": ["A"]})
        self.assertIn("B depends on itself: B → C → A → B (DependsOn in B.plug)", circle(plugins, plugins["B"]))
        self.assertEqual(circle(plugins, plugins["D"]), "")

    @given(st.dictionaries(NAMES, st.lists(NAMES, max_size=3)))
    def test_any_dependencies(self, depends_on: dict[str, list[str]]) -> None:
        """Each plugin occurs once and, without circles, after its dependencies."""
        plugins = plugins_of(depends_on)
        order = activation_order(plugins, plugins)
        self.assertEqual(sorted(order), sorted(plugins))
        if not any(circle(plugins, plugin) for plugin in plugins.values()):
            for name, needed in depends_on.items():
                for other in set(needed) & plugins.keys():
                    self.assertLess(order.index(other), order.index(name))

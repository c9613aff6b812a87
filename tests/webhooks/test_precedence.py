"""Tests for the precedence of webhooks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.declaration import RoutePrecedence

RULES = ("/a", "/<name>", "/b/<int:number>")


def hook(owner: str, rule: str, *methods: str) -> Hook:
    """Return a hook whose handler is never called."""
    return Hook(owner, f"{rule} {'/'.join(methods)}", HookDeclaration(rule, methods), lambda payload: None)


def changes() -> st.SearchStrategy[list[tuple[str, list[tuple[str, tuple[str, ...]]]]]]:
    """Plugins with the rules and methods that they have from now on; none when they are deactivated."""
    methods = st.lists(st.sampled_from(("POST", "PUT", "GET")), min_size=1, unique=True).map(tuple)
    declared = st.lists(st.tuples(st.sampled_from(RULES), methods), unique=True, max_size=3)
    return st.lists(st.tuples(st.sampled_from("ABC"), declared), max_size=12)


class PrecedenceTests(SynchronousTestCase):
    """The hook that gets the requests for a URL and method."""

    @given(changes())
    def test_the_plugin_activated_first(self, changed: list[tuple[str, list[tuple[str, tuple[str, ...]]]]]) -> None:
        """Each URL and method belongs to the plugin that was activated first, and to one hook only."""
        precedence = RoutePrecedence()
        active: dict[str, list[Hook]] = {}
        for owner, declared in changed:
            hooks = [hook(owner, rule, *methods) for rule, methods in declared]
            # A reload is simulated as deactivation and activation.
            precedence.replace(owner, ())
            active.pop(owner, None)
            if hooks:
                precedence.replace(owner, hooks)
                active[owner] = hooks
        expected: dict[tuple[str, str], Hook] = {}
        for hooks in active.values():
            for one in hooks:
                methods = one.declaration.methods
                for method in (*methods, *(["HEAD"] if "GET" in methods else [])):
                    expected.setdefault((one.declaration.rule, method), one)
        found = {
            (info.rule, method): info.hook
            for info in map(precedence.info, precedence.hooks())
            for method in info.methods
        }
        self.assertEqual(found, expected)
        for info in map(precedence.info, precedence.hooks()):
            lost = set(info.hook.declaration.methods) - set(info.methods)
            self.assertEqual(info.shadowed_by is not None, bool(lost) or self.lost_head(info.hook, expected))

    def lost_head(self, one: Hook, expected: dict[tuple[str, str], Hook]) -> bool:
        """Return whether another hook gets the HEAD requests that belong to the hook's GET."""
        return "GET" in one.declaration.methods and expected[one.declaration.rule, "HEAD"] is not one

    def test_names_of_variables_do_not_matter(self) -> None:
        """Rules that differ only in the names of their variables are the same URL; other converters make another one."""
        precedence = RoutePrecedence()
        first, second, third = hook("A", "/<x>", "POST"), hook("B", "/<y>", "POST"), hook("B", "/<int:y>", "POST")
        precedence.replace("A", [first])
        precedence.replace("B", [second, third])
        self.assertEqual(precedence.info(second).shadowed_by, first)
        self.assertIsNone(precedence.info(third).shadowed_by)

    def test_place(self) -> None:
        """A plugin that is activated again at its old place gets its URLs back."""
        precedence = RoutePrecedence()
        first, second = hook("A", "/a", "POST"), hook("B", "/a", "POST")
        precedence.replace("A", [first], 0)
        precedence.replace("B", [second], 1)
        precedence.replace("A", ())
        self.assertEqual(precedence.info(second).methods, ("POST",))
        changed = precedence.replace("A", [first], 0)
        self.assertEqual(changed, {"A:" + first.name, "B:" + second.name})
        self.assertEqual((precedence.info(first).methods, precedence.info(second).methods), (("POST",), ()))

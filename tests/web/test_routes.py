"""Tests for the route table."""

from __future__ import annotations

import gc
import re
import time
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.web._routes import NoRoute, Routes
from errklein.webhooks import Hook, HookDeclaration, webhook
from errklein.webhooks.option_values import HookError
from errklein.webhooks.options import configured, hook_options
from tests import takes_long
from tests.web.kit import WebCase


def hook(owner: str, name: str, rule: str, *methods: str) -> Hook:
    """Return a hook whose handler is never called."""
    return Hook(owner, name, HookDeclaration(rule, methods or ("POST", "GET")), lambda payload: None)


class RoutesCase(SynchronousTestCase):
    """A route table, and its reports."""

    def setUp(self) -> None:
        """An empty table."""
        self.told: list[tuple[str, str]] = []
        self.routes = Routes(lambda *_: None, lambda hook, by: self.told.append((str(hook), str(by))))

    def found(self, path: str, method: str = "POST") -> str:
        """Return the hook for a path; "404", or the allowed methods, if there is none."""
        try:
            match = self.routes.match(path.encode(), path, method.encode())
        except NoRoute as nowhere:
            return ",".join(sorted(nowhere.allowed)) or "404"
        return str(match.route.hook)


class RoutesTests(RoutesCase):
    """Routes that change with their plugin."""

    def test_remembered(self) -> None:
        """A match without variables is cached until the routes change."""
        self.routes.replace("A", [hook("A", "a", "/a"), hook("A", "b", "/b/<x>")])
        self.assertNotIn((b"/a", b"POST"), self.routes.cached)
        self.found("/a")
        self.found("/b/1")
        self.assertEqual(self.routes.cached[b"/a", b"POST"], self.routes.match(b"/a", "/a", b"POST"))
        self.assertNotIn((b"/b/1", b"POST"), self.routes.cached)
        self.routes.remove("A")
        self.assertNotIn((b"/a", b"POST"), self.routes.cached)

    def test_removal(self) -> None:
        """A removed plugin's URLs get 404, and rules that it hid match again."""
        self.routes.replace("A", [hook("A", "a", "/x/y")])
        self.routes.replace("B", [hook("B", "b", "/x/<name>")])
        self.assertEqual(self.found("/x/y"), "A:a")
        self.routes.remove("A")
        self.assertEqual(self.found("/x/y"), "B:b")
        self.routes.remove("B")
        self.assertEqual(self.found("/x/y"), "404")
        self.assertEqual(list(self.routes.hooks()), [])

    def test_reload_changes_rules_and_verbs(self) -> None:
        """A reload replaces all of a plugin's routes in one step."""
        self.routes.replace("A", [hook("A", "a", "/a"), hook("A", "b", "/b"), hook("A", "c", "/c")])
        self.routes.replace("A", [hook("A", "a", "/a", "PUT"), hook("A", "b", "/bb"), hook("A", "d", "/d")])
        found = [self.found(path, method) for path, method in (("/a", "PUT"), ("/a", "POST"), ("/bb", "GET"))]
        self.assertEqual(found, ["A:a", "PUT", "A:b"])
        self.assertEqual([self.found(path) for path in ("/b", "/c", "/d")], ["404", "404", "A:d"])

    def test_bad_rules(self) -> None:
        """An invalid rule is an error that names the hook, and changes nothing."""
        self.routes.replace("A", [hook("A", "a", "/a")])
        for rule in ("/<", "/<nothing:x>", "/<x>/<x>", "/<int(:x>"):
            error = self.assertRaises(HookError, self.routes.replace, "A", [hook("A", "b", "/b"), hook("A", "c", rule)])
            self.assertIn("A:c", str(error))
            self.assertNotIn("\n", str(error))
            self.assertEqual(self.routes.refused([hook("A", "b", "/b"), hook("A", "c", rule)]), [str(error)])
        self.assertEqual(self.found("/a"), "A:a")
        self.assertEqual(self.found("/b"), "404")

    def test_configured(self) -> None:
        """A plugin's hooks are routed as the operator has configured them; contradictory options change nothing."""
        configure = partial(
            configured,
            find_source=find_source,
            options=hook_options({"A:a": {"methods": "PUT"}, "A:c": {"attempts": 2}}),
        )
        routes = Routes(lambda *_: None, lambda *_: None, partial(configure, default_methods=("POST",)))
        routes.replace("A", [hook("A", "a", "/a"), hook("A", "b", "/b")])
        self.assertEqual(
            [(str(info.hook), info.methods) for info in routes.hooks()], [("A:a", ("PUT",)), ("A:b", ("POST",))]
        )
        self.assertRaises(HookError, routes.replace, "A", [hook("A", "c", "/c")])
        self.assertEqual([str(info.hook) for info in routes.hooks()], ["A:a", "A:b"])

    def test_reasons_of_bad_rules(self) -> None:
        """The error names the converter that was meant, and lists all; or it shows how a variable is written."""
        for rule, reason in (
            ("/<integer:x>", "unknown converter 'integer'; did you mean 'int'? Converters: any, default, float, int, "),
            ("/<nothing:x>", "unknown converter 'nothing'. Converters: any, default, float, int, path, string, uuid"),
            ("/<int:x", "each variable must be <name> or <converter:name>, such as <int:number>"),
            ("/<x>/<x>", "the variable 'x' occurs twice"),
        ):
            error = str(self.assertRaises(HookError, self.routes.replace, "A", [hook("A", "c", rule)]))
            place, _, rest = error.partition("; ")
            self.assertRegex(place, rf"^A:c: invalid rule '{re.escape(rule)}' in /.*\.py, line \d+$")
            self.assertTrue(rest.startswith(reason), rest)

    def test_shadowed_hooks_are_listed(self) -> None:
        """Shadowed hooks are listed with their remaining methods."""
        self.routes.replace("A", [hook("A", "a", "/s", "POST")])
        self.routes.replace("B", [hook("B", "b", "/s"), hook("B", "c", "/c")])
        infos = {str(info.hook): info for info in self.routes.hooks()}
        self.assertEqual(infos["A:a"].methods, ("POST",))
        self.assertIsNone(infos["A:a"].shadowed_by)
        self.assertEqual((infos["B:b"].methods, str(infos["B:b"].shadowed_by)), (("GET", "HEAD"), "A:a"))
        self.assertEqual(self.told, [("B:b", "A:a")])

    def test_a_reload_keeps_the_place(self) -> None:
        """A reloaded plugin keeps its URLs, and a conflict isn't reported again."""
        self.routes.replace("A", [hook("A", "a", "/s")])
        self.routes.replace("B", [hook("B", "b", "/s")])
        self.routes.replace("A", [hook("A", "a", "/s")])
        self.assertEqual(self.found("/s"), "A:a")
        self.routes.replace("B", [hook("B", "b", "/s")])
        self.assertEqual(self.told, [("B:b", "A:a")])
        self.routes.replace("A", [hook("A", "a", "/t")])
        self.assertEqual(self.found("/s"), "B:b")

    def test_the_lower_place_answers(self) -> None:
        """A plugin with a lower place takes over the URL, and the conflict is reported."""
        self.routes.replace("B", [hook("B", "b", "/s"), hook("B", "c", "/c")], rank=2)
        self.assertEqual(self.found("/s"), "B:b")
        self.routes.replace("A", [hook("A", "a", "/s")], rank=1)
        self.assertEqual((self.found("/s"), self.found("/c")), ("A:a", "B:c"))
        self.assertEqual(self.told, [("B:b", "A:a")])
        self.routes.remove("A")
        self.assertEqual(self.found("/s"), "B:b")

    def test_a_new_route_takes_none_away(self) -> None:
        """A new URL of a reloaded plugin isn't taken from another plugin."""
        self.routes.replace("A", [hook("A", "a", "/a")])
        self.routes.replace("B", [hook("B", "b", "/s")])
        self.routes.replace("A", [hook("A", "z", "/s")])
        self.routes.replace("C", [hook("C", "c", "/s")])
        self.assertEqual(self.found("/s"), "B:b")
        self.assertEqual(self.told, [("A:z", "B:b"), ("C:c", "B:b")])

    @given(st.permutations(range(4)))
    def test_arrival_does_not_matter(self, order: list[int]) -> None:
        """The plugin with the lowest place has the URL, whatever the order of arrival."""
        self.setUp()
        for number in order:
            hooks = [hook(f"P{number}", "a", "/s"), hook(f"P{number}", "b", f"/{number // 2}")]
            self.routes.replace(f"P{number}", hooks, rank=number)
        self.assertEqual([self.found(path) for path in ("/s", "/0", "/1")], ["P0:a", "P0:b", "P2:b"])

    def test_one_plugin_claims_a_url_twice(self) -> None:
        """Of two hooks of one plugin, the first by name has the URL."""
        self.routes.replace("A", [hook("A", "a", "/s"), hook("A", "b", "/s")])
        self.assertEqual(self.found("/s"), "A:a")
        self.assertEqual(self.told, [("A:b", "A:a")])

    def test_urls(self) -> None:
        """The path of a hook is built from values for its variables."""
        self.routes.replace("A", [hook("A", "a", "/a/<int:n>")])
        self.assertEqual(self.routes.url_for("A", "a", {"n": 3, "q": "x y"}), "/a/3?q=x+y")
        self.assertEqual(self.routes.url_for("B", "A:a", {"n": 3}), "/a/3")
        self.assertRaises(LookupError, self.routes.url_for, "A", "b", {})

    def test_holding(self) -> None:
        """A hold ends with `replace`, `remove` or `release`."""
        for end in (
            lambda: self.routes.release("A"),
            lambda: self.routes.remove("A"),
            lambda: self.routes.replace("A", [hook("A", "a", "/a")]),
        ):
            self.routes.hold("A")
            waiting = self.routes.when_released("A")
            self.assertIn("A", self.routes.held)
            self.assertNoResult(waiting)
            end()
            self.successResultOf(waiting)
            self.assertNotIn("A", self.routes.held)

    @given(st.lists(st.tuples(st.sampled_from("ABC"), st.sets(st.sampled_from("xyz"))), max_size=12))
    def test_any_history(self, history: list[tuple[str, set[str]]]) -> None:
        """After any changes, each URL belongs to the active hook that claimed it first."""
        self.setUp()
        queues: dict[str, list[str]] = {url: [] for url in "xyz"}
        for owner, urls in history:
            self.routes.replace(owner, [hook(owner, url, f"/{url}") for url in sorted(urls)])
            for url, queue in queues.items():
                if url in urls and owner not in queue:
                    queue.append(owner)
                elif url not in urls and owner in queue:
                    queue.remove(owner)
        for url, queue in queues.items():
            self.assertEqual(self.found(f"/{url}"), f"{queue[0]}:{url}" if queue else "404")


class LargeTableTests(RoutesCase):
    """Tables with many plugins."""

    def setUp(self) -> None:
        """A hundred plugins with three routes each."""
        super().setUp()
        for number in range(100):
            self.routes.replace(f"P{number}", self.hooks_of(number))

    def hooks_of(self, number: int) -> list[Hook]:
        """Return the hooks of a plugin."""
        return [hook(f"P{number}", name, f"/p{number}/{name}/<x>") for name in "abc"]

    def test_removal_of_most(self) -> None:
        """Removed plugins get 404, and others keep their URLs."""
        for number in range(60):
            self.routes.remove(f"P{number}")
        self.assertEqual([self.found(f"/p{number}/a/1") for number in (0, 59, 60)], ["404", "404", "P60:a"])

    def test_removed_rules_are_used_again(self) -> None:
        """A plugin that is removed and activated again, or reloaded, doesn't make the table larger."""
        rules = len(list(self.routes.app.url_map.iter_rules()))
        for _ in range(3):
            self.routes.replace("P50", self.hooks_of(50)[:1])
            self.assertEqual((self.found("/p50/a/1"), self.found("/p50/b/1")), ("P50:a", "404"))
            self.routes.remove("P50")
            self.routes.replace("P50", self.hooks_of(50))
            self.assertEqual(self.found("/p50/b/1"), "P50:b")
        self.assertEqual(len(list(self.routes.app.url_map.iter_rules())), rules)

    def test_removed_rule_hides_no_other(self) -> None:
        """The rule of a removed plugin doesn't get the requests of a less specific rule, nor its OPTIONS or HEAD."""
        self.routes.replace("Any", [hook("Any", "any", "/<path:rest>", "PUT")])
        self.assertEqual(self.found("/p50/a/1", "PUT"), "Any:any")
        self.assertEqual(self.found("/p50/a/1", "POST"), "P50:a")
        self.routes.remove("P50")
        self.assertEqual(self.found("/p50/a/1", "PUT"), "Any:any")
        self.assertEqual([self.found("/p50/a/1", method) for method in ("POST", "HEAD")], ["PUT", "PUT"])


class ConflictTests(WebCase):
    """Plugins whose routes have the same URL or name."""

    def test_first_of_two_plugins_keeps_route(self) -> None:
        """The first active plugin keeps the URL, and the second takes over when it is deactivated."""

        class Plugin:
            def __init__(self, name: str) -> None:
                self.name = name

            @webhook("/shared/<x>")
            async def shared(self, payload: Any, x: str) -> str:
                return self.name

        class Other(Plugin):
            @webhook("/shared/<y>/", methods=("POST", "PUT"))
            async def other(self, payload: Any, y: str) -> str:
                return f"{self.name} {y}"

            shared = None  # type: ignore[assignment]

        self.serve(Plugin("first"), "First")
        self.serve(Other("second"), "Second")
        self.assertEqual(self.events.shadowed, [("Second:other", "First:shared")])
        self.assertEqual(self.ask("POST", "/shared/a").text, "first")
        self.assertEqual(self.ask("PUT", "/shared/a").text, "second a")
        self.assertEqual(self.ask("GET", "/shared/a").text, "first")
        self.web.routes.remove("First")
        self.assertEqual(self.ask("POST", "/shared/a").text, "second a")
        self.assertEqual(self.ask("GET", "/shared/a").status, 405)

    def test_equal_method_names_do_not_clash(self) -> None:
        """Equal names of methods in different plugins don't conflict."""

        class Plugin:
            @webhook("/one")
            async def hook(self, payload: Any) -> str:
                return "one"

        class Other:
            @webhook("/two")
            async def hook(self, payload: Any) -> str:
                return "two"

        self.serve(Plugin())
        self.serve(Other())
        self.assertEqual(self.ask("POST", "/one").text, "one")
        self.assertEqual(self.ask("POST", "/two").text, "two")
        self.assertEqual(self.events.shadowed, [])


class ActivationTests(WebCase):
    """Many plugins that are activated one after another."""

    def test_activation_of_300_plugins(self) -> None:
        """300 plugins are activated within 2 s, without a step of more than 50 ms."""
        takes_long()

        class Other:
            def __init__(self) -> None:
                async def hello(payload: Any) -> str:
                    return "hello"

                self.hello = webhook(hello)

        self.serve(Other())
        # What the tests have loaded is much more than a bot has, and must not be counted as garbage is collected.
        gc.collect()
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        longest = total = 0.0
        for number in range(300):
            begun = time.thread_time()
            hooks = [hook(f"P{number}", name, f"/p{number}/{name}/<x>") for name in "abc"]
            self.web.routes.replace(f"P{number}", hooks)
            self.assertEqual(self.successResultOf(self.start("POST", "/hello")).text, "hello")
            taken = time.thread_time() - begun
            longest = max(longest, taken)
            total += taken
        self.assertLess(longest, 0.05)
        self.assertLess(total, 2)

"""Chapter 5: routing of requests to webhooks."""

from __future__ import annotations

import json

from tests.contract.kit import decided
from tests.contract.webhooks import WebhookTest


class MatchingTests(WebhookTest):
    """Rules and methods."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Mixin:
            @webhook
            def inherited(self, payload):
                return "inherited"

        class Tried(Mixin, BotPlugin):
            @webhook
            def plain(self, payload):
                return "plain"

            @webhook(raw=True)
            def unnamed(self, request):
                return "unnamed"

            @webhook("/slash/")
            def slash(self, payload):
                return "slash"

            @webhook("/users/<name>/<int:number>")
            def user(self, payload, name, number):
                return f"{name} {number + 1}"

            @webhook("/files/<path:where>")
            def where(self, payload, where):
                return where

            @webhook("/kinds/<any(a,b):kind>")
            def kind(self, payload, kind):
                return kind

            @webhook("/only", methods=("PUT", "DELETE"))
            def only(self, payload):
                return "only"

            @webhook("/small", methods=["patch"])
            def small(self, payload):
                return "small"

            @webhook("/<first>/any")
            def any_first(self, payload, first):
                return f"any {first}"

            @webhook("/fixed/any")
            def fixed(self, payload):
                return "fixed"
        """

    def test_rules(self) -> None:
        """The default rule is the method's name; variables in a rule are keyword arguments after the payload."""
        self.assertEqual(self.post("/plain"), "plain")
        self.assertEqual(self.post("/unnamed"), "unnamed")
        self.assertEqual(self.post("/inherited"), "inherited")
        self.assertEqual(self.post("/users/me/41"), "me 42")
        self.assertEqual(self.post("/files/a/b/c"), "a/b/c")
        self.assertEqual(self.post("/kinds/b"), "b")

    def test_precise_rules_first(self) -> None:
        """A rule without variables takes precedence over one with variables."""
        self.assertEqual((self.post("/fixed/any"), self.post("/other/any")), ("fixed", "any other"))

    def test_no_match(self) -> None:
        """A path that matches no rule gets the response 404."""
        for path in ("/nothing", "/users/me/x", "/kinds/c", "/Plain"):
            self.assertEqual(self.send("POST", path).status_code, 404, path)

    def test_slash_at_the_end(self) -> None:
        """A trailing slash is ignored, without a redirect."""
        for path in ("/plain", "/plain/", "/slash", "/slash/", "/users/me/1/"):
            self.assertEqual(self.send("POST", path).status_code, 200, path)

    def test_verbs(self) -> None:
        """POST and GET are the default methods, HEAD and OPTIONS are implied, and others get 405 with Allow."""
        self.assertEqual(self.send("GET", "/plain").text, "plain")
        self.assertEqual(self.send("HEAD", "/plain").status_code, 200)
        refused = self.send("PUT", "/plain")
        self.assertEqual(refused.status_code, 405)
        self.assertLessEqual({"GET", "POST"}, set(refused.headers["Allow"].replace(" ", "").split(",")))
        self.assertEqual(self.send("PUT", "/only").text, "only")
        self.assertEqual(self.send("GET", "/only").status_code, 405)
        for path, allowed in (("/plain", {"GET", "HEAD", "OPTIONS", "POST"}), ("/only", {"PUT", "DELETE", "OPTIONS"})):
            options = self.send("OPTIONS", path)
            self.assertEqual((options.status_code, options.text), (200, ""))
            self.assertEqual(set(options.headers["Allow"].replace(" ", "").split(",")), allowed)
        self.assertEqual(self.send("HEAD", "/only").status_code, 405)
        self.assertEqual((self.send("PATCH", "/small").text, self.send("POST", "/small").status_code), ("small", 405))


class ConvertersTests(WebhookTest):
    """Variables in rules."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook("/uuid/<uuid:value>")
            def uuids(self, payload, value):
                return repr(value)

            @webhook("/float/<float:value>")
            def floats(self, payload, value):
                return repr(value)

            @webhook("/string/<string(length=2):value>")
            def strings(self, payload, value):
                return repr(value)

            @webhook("/path/<path:value>")
            def paths(self, payload, value):
                return repr(value)

            @webhook("/a/<value>/b")
            def between(self, payload, value):
                return repr(value)

            @webhook("/raw/<int:value>", raw=True)
            def with_raw(self, request, value):
                return repr((request.method, value))

            @webhook("/form/<int:value>", form_param="k")
            def with_form(self, payload, value):
                return repr((payload, value))

            short = webhook("/short")(lambda self, payload: "from a lambda")

            @webhook("/twice/one")
            def twice(self, payload):
                return "one"

            @webhook("/twice/two")
            def twice(self, payload):
                return "two"

            @webhook("/")
            def root(self, payload):
                return "root"
        """

    def test_converted(self) -> None:
        """Values are converted; a path whose value can't be converted gets 404."""
        self.assertEqual(
            self.post("/uuid/12345678-1234-5678-1234-567812345678"), "UUID('12345678-1234-5678-1234-567812345678')"
        )
        self.assertEqual(self.post("/float/1.5"), "1.5")
        self.assertEqual(self.post("/raw/007"), "('POST', 7)")
        self.assertEqual(self.post("/string/ab"), "'ab'")
        for path in ("/uuid/x", "/float/1", "/string/abc", "/path/", "/raw/-1"):
            self.assertEqual(self.send("POST", path).status_code, 404, path)

    def test_escapes(self) -> None:
        """Percent-encoded characters are decoded in values."""
        self.assertEqual(self.post("/a/x%20y/b"), "'x y'")
        self.assertEqual(self.post("/a/%C3%A4/b"), "'ä'")

    def test_slash_at_the_end_of_a_path(self) -> None:
        """A `path` value keeps its trailing slash."""
        self.assertEqual(self.post("/path/a/b/"), "'a/b/'")

    def test_beside_the_payload(self) -> None:
        """Values come after the payload, also with `raw` and `form_param`."""
        self.assertEqual(self.post("/raw/5"), "('POST', 5)")
        self.assertEqual(self.post("/form/5", {"k": "v"}), "('v', 5)")

    def test_methods(self) -> None:
        """Lambdas can be webhooks; of two methods with the same name, the last one counts."""
        self.assertEqual(self.post("/short"), "from a lambda")
        self.assertEqual(self.post("/twice/two"), "two")
        self.assertEqual(self.send("POST", "/twice/one").status_code, 404)

    def test_root(self) -> None:
        """`/` is a valid rule."""
        self.assertEqual(self.send("GET", "/").text, "root")

    def test_static(self) -> None:
        """There is no route for static files."""
        for path in ("/static/x", "/static/"):
            self.assertEqual(self.send("GET", path).status_code, 404)

    @decided("the response redirects to the merged path on the host in the request")
    def test_doubled_slashes(self) -> None:
        """A path with doubled slashes gets the response 404."""
        for path in ("/short//", "/a//b", "/path/a//b"):
            self.assertEqual(self.send("POST", path).status_code, 404, path)

    @decided("the escaped slash counts as a separator")
    def test_escaped_slash(self) -> None:
        """A path with an escaped slash gets the response 400."""
        self.assertEqual(self.send("POST", "/a/x%2Fy/b").status_code, 400)


class ClashTests(WebhookTest):
    """Webhooks of several plugins."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook("/shared")
            def shared(self, payload):
                return "tried"

            @webhook("/tried")
            def hook(self, payload):
                return "tried"
        """
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, webhook

            class Zother(BotPlugin):
                @webhook("/shared")
                def a_shared(self, payload):
                    return "other"

                @webhook("/zother")
                def hook(self, payload):
                    return "other"
            """,
    }

    @decided("the second plugin with a method of the same name can't be activated")
    def test_methods_of_one_name(self) -> None:
        """Methods of the same name in two plugins are separate routes."""
        self.assertEqual((self.post("/tried"), self.post("/zother")), ("tried", "other"))

    @decided("the last plugin gets the URL, with the methods of the first one")
    def test_one_url(self) -> None:
        """If two plugins have the same URL, the first one keeps it; when it is deactivated, the second one takes
        over.
        """
        keeper = self.post("/shared")
        self.assertIn(keeper, ("tried", "other"))
        self.ask("!plugin deactivate " + {"tried": "Tried", "other": "Zother"}[keeper])
        self.assertEqual({keeper, self.post("/shared")}, {"tried", "other"})


class SharedRuleTests(WebhookTest):
    """Two plugins with the same URL."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook("/shared", methods=("POST",))
            def shared(self, payload):
                return "tried"
        """
    files = {
        "other.plug": "[Core]\nName = Zother\nModule = other\n",
        "other.py": """
            from errbot import BotPlugin, webhook

            class Zother(BotPlugin):
                @webhook("/shared", methods=("POST",))
                def z_shared(self, payload):
                    return "other"

                @webhook("/own")
                def own(self, payload):
                    return "own"

                @webhook("/shared", methods=("PUT",))
                def z_put(self, payload):
                    return "put"
            """,
    }

    @decided("the last plugin gets the URL without a message")
    def test_told(self) -> None:
        """Administrators get one message with both plugins and the URL; the second plugin's other webhooks work."""
        self.assertEqual(self.post("/own"), "own")
        # The message is sent at the activation, so the plugin is activated again.
        loser = {"tried": "Zother", "other": "Tried"}[self.post("/shared")]
        self.ask(f"!plugin deactivate {loser}")
        told = [text for text in self.replies(f"!plugin activate {loser}") if "/shared" in text]
        self.assertEqual(len(told), 1, told)
        self.assertIn("Tried", told[0])
        self.assertIn("Zother", told[0])

    @decided("the methods of the first plugin count")
    def test_other_verbs(self) -> None:
        """The same URL with different methods isn't a conflict."""
        self.assertEqual(self.send("PUT", "/shared").text, "put")
        self.assertIn(self.post("/shared"), ("tried", "other"))
        allowed = self.send("OPTIONS", "/shared").headers["Allow"].replace(" ", "").split(",")
        self.assertEqual(set(allowed), {"POST", "PUT", "OPTIONS"})


class EchoTests(WebhookTest):
    """The webhook `/echo` of the core plugin Webserver."""

    def test_echo(self) -> None:
        """`/echo` returns the decoded payload as Python writes it."""
        body = json.dumps(["foo", {"bar": ["baz", None, 1.0, 2]}]).encode()
        self.assertEqual(self.post("/echo", body, "application/json"), "['foo', {'bar': ['baz', None, 1.0, 2]}]")

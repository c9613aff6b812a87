"""Chapter 5: webhooks, from the declaration to the answer."""

from __future__ import annotations

import json
import socket
import unittest
from typing import Any

import requests

from tests import needs_network
from tests.contract.kit import ContractTest, decided


class WebhookTest(ContractTest):
    """A test with a web server on a port of its own."""

    def setUp(self) -> None:
        """Configure the web server, and wait until it takes connections."""
        needs_network()
        super().setUp()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        configuration = {"HOST": "127.0.0.1", "PORT": self.port, "SSL": None}
        self.assertIn("Plugin configuration done.", self.ask(f"!plugin config Webserver {configuration!r}"))
        self.session = requests.Session()
        self.session.trust_env = False
        until_it_listens = requests.adapters.Retry(30, backoff_factor=0.01, backoff_max=0.1)
        self.session.mount("http://", requests.adapters.HTTPAdapter(max_retries=until_it_listens))
        self.addCleanup(self.session.close)

    def send(self, verb: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request."""
        arguments.setdefault("timeout", 10)
        return self.session.request(verb, f"http://127.0.0.1:{self.port}{path}", allow_redirects=False, **arguments)

    def post(self, path: str, data: Any = None, content_type: str | None = None) -> str:
        """What is answered to that body."""
        headers = {"Content-Type": content_type} if content_type else {}
        return self.send("POST", path, data=data, headers=headers).text


class MatchingTests(WebhookTest):
    """Rules and verbs."""

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
        """The default is the method's name; a rule may have variables, which are arguments after the payload."""
        self.assertEqual(self.post("/plain"), "plain")
        self.assertEqual(self.post("/unnamed"), "unnamed")
        self.assertEqual(self.post("/inherited"), "inherited")
        self.assertEqual(self.post("/users/me/41"), "me 42")
        self.assertEqual(self.post("/files/a/b/c"), "a/b/c")
        self.assertEqual(self.post("/kinds/b"), "b")

    def test_precise_rules_first(self) -> None:
        """A rule without variables comes before one that has some."""
        self.assertEqual((self.post("/fixed/any"), self.post("/other/any")), ("fixed", "any other"))

    def test_no_match(self) -> None:
        """404."""
        for path in ("/nothing", "/users/me/x", "/kinds/c", "/Plain"):
            self.assertEqual(self.send("POST", path).status_code, 404, path)

    def test_slash_at_the_end(self) -> None:
        """With and without one it is the same; nobody is redirected."""
        for path in ("/plain", "/plain/", "/slash", "/slash/", "/users/me/1/"):
            self.assertEqual(self.send("POST", path).status_code, 200, path)

    def test_verbs(self) -> None:
        """POST and GET unless others are named; HEAD with GET; OPTIONS always; else 405 with what is allowed."""
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


class PayloadTests(WebhookTest):
    """What the handler gets."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            def seen(self, payload):
                return repr(payload)

            @webhook(form_param="payload")
            def param(self, payload):
                return repr(payload)

            @webhook(raw=True)
            def whole(self, request):
                return repr((type(request).__name__, request.method, request.path, request.get_data(),
                             request.headers.get("X-Test"), request.args.get("q"), request.is_json))

            @webhook(raw=True)
            def form(self, request):
                return repr(sorted(request.form.items()) + sorted(request.values.items()))

            @webhook(raw=True)
            def parsed(self, request):
                return repr((request.json, request.get_json(), request.cookies.get("c"), request.remote_addr))
        """

    def test_json(self) -> None:
        """A body that is JSON is decoded, whatever its type says."""
        for content_type in ("application/json", "text/plain", "application/octet-stream", None):
            self.assertEqual(self.post("/seen", b'{"a": 1}', content_type), "{'a': 1}")
        self.assertEqual(self.post("/seen", b" [1] "), "[1]")
        self.assertEqual(self.post("/seen", b'"s"'), "'s'")
        self.assertEqual(self.post("/seen", b"NaN"), "nan")
        for text, value in ((b"-1", "-1"), (b"true", "True"), (b'"\\u00e4"', "'ä'"), (b'{"a": 1, "a": 2}', "{'a': 2}")):
            self.assertEqual(self.post("/seen", text), value)

    def test_text(self) -> None:
        """Anything else is text."""
        self.assertEqual(self.post("/seen", b"a=1&b=2", "text/plain"), "'a=1&b=2'")
        self.assertEqual(self.post("/seen", b"{bad", "text/plain"), "'{bad'")
        self.assertEqual(self.post("/seen", " ä\n".encode()), r"' ä\n'")

    def test_nothing(self) -> None:
        """Without a body it is an empty text; the query doesn't count."""
        self.assertEqual(self.post("/seen"), "''")
        self.assertEqual(self.send("GET", "/seen?a=1").text, "''")

    @decided("JSON whose value is false arrives as text")
    def test_false_json(self) -> None:
        """Values that are false are values."""
        for text, value in (("{}", "{}"), ("[]", "[]"), ("0", "0"), ("false", "False"), ("null", "None")):
            self.assertEqual(self.post("/seen", text.encode(), "application/json"), value)

    @decided("a form without form_param arrives as ''")
    def test_form(self) -> None:
        """A form is a dict of its fields."""
        self.assertEqual(self.post("/seen", {"a": "1"}), "{'a': '1'}")

    @decided("malformed JSON arrives as text")
    def test_malformed_json(self) -> None:
        """What says that it is JSON, and isn't, is refused."""
        self.assertEqual(
            self.send("POST", "/seen", data=b"{bad", headers={"Content-Type": "application/json"}).status_code, 400
        )

    @decided("text that isn't UTF-8 is answered with 500")
    def test_wrong_charset(self) -> None:
        """Text that isn't in its charset is the sender's mistake."""
        self.assertEqual(
            self.send("POST", "/seen", data=b"\xff\xfe", headers={"Content-Type": "text/plain"}).status_code, 400
        )

    def test_form_param(self) -> None:
        """One field of a form, decoded if it is JSON."""
        self.assertEqual(self.post("/param", {"payload": '{"a": 1}'}), "{'a': 1}")
        self.assertEqual(self.post("/param", {"payload": "text"}), "'text'")
        self.assertEqual(self.post("/param", {"payload": ""}), "''")
        for text, value in (("0", "0"), ("{}", "{}"), ("null", "None"), ("false", "False"), ('""', "''")):
            self.assertEqual(self.post("/param", {"payload": text}), value)
        answer = self.send("POST", "/param", files={"payload": (None, '{"b": 2}')})
        self.assertEqual(answer.text, "{'b': 2}")

    @decided("a missing form_param is answered with 500")
    def test_missing_form_param(self) -> None:
        """It is the sender's mistake."""
        self.assertEqual(self.send("POST", "/param", data={"other": "x"}).status_code, 400)
        self.assertEqual(self.send("GET", "/param?payload=x").status_code, 400)

    def test_raw(self) -> None:
        """The request as Flask has it, behind a proxy."""
        seen = self.send("POST", "/whole?q=1", data=b"body", headers={"X-Test": "yes"}).text
        self.assertEqual(seen, repr(("LocalProxy", "POST", "/whole", b"body", "yes", "1", False)))

    def test_raw_form(self) -> None:
        """Forms are parsed."""
        self.assertEqual(self.post("/form", {"a": "1"}), repr([("a", "1"), ("a", "1")]))

    def test_raw_json(self) -> None:
        """So is JSON, and cookies."""
        answer = self.send("POST", "/parsed", json={"a": 1}, cookies={"c": "d"})
        self.assertEqual(answer.text, repr(({"a": 1}, {"a": 1}, "d", "127.0.0.1")))
        for body, kind, status in ((b"{bad", "application/json", 400), (b"[1]", "text/plain", 415)):
            answer = self.send("POST", "/parsed", data=body, headers={"Content-Type": kind})
            self.assertEqual(answer.status_code, status, kind)


class AnswerTests(WebhookTest):
    """What the handler returns."""

    plugin = """
        from errbot import BotPlugin, webhook
        from flask import Response, abort, after_this_request, jsonify, make_response, redirect, request
        from werkzeug.exceptions import Forbidden

        def application(environ, start_response):
            start_response("202 Accepted", [("X-Path", environ["PATH_INFO"])])
            return [b"answer"]

        class Tried(BotPlugin):
            @webhook("/value/<name>")
            def value(self, payload, name):
                return {"none": None, "empty": "", "zero": 0, "list": [], "dict": {}}[name]

            @webhook("/given/<name>")
            def given(self, payload, name):
                return {
                    "text": "<b>text</b>", "bytes": b"bytes", "mapping": {"a": 1}, "sequence": [1, 2],
                    "status": ("made", 201), "headers": ("x", {"X-A": "b"}), "all": ("y", 202, {"X-A": "c"}),
                    "nothing": ("", 204), "cookies": ("x", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]), "text_status": ("x", "202 Fine"), "mapping_status": ({"b": 2, "a": "ä"}, 201),
                    "typed": ("{}", 200, {"Content-Type": "application/json"}), "iterator": iter(["a", "b"]),
                    "response": (Response("r", 201), 203, {"X-B": "2"}), "error": Forbidden("no"), "wsgi": application,
                }[name]

            @webhook("/made/<name>")
            def made(self, payload, name):
                if name == "response":
                    return Response("teapot", status=418, mimetype="text/plain")
                if name == "json":
                    return jsonify(a=1)
                if name == "redirect":
                    return redirect("/elsewhere")
                response = make_response("made", 203)
                response.headers["X-Made"] = "yes"
                return response

            @webhook
            def streamed(self, payload):
                for part in ("a", "b"):
                    yield part

            @webhook
            def forbidden(self, payload):
                abort(403, "not for you")

            @webhook
            def own_answer(self, payload):
                abort(make_response(jsonify(a=1), 422))

            @webhook
            def afterwards(self, payload):
                @after_this_request
                def add(response):
                    response.headers["X-After"] = request.path
                    return response
                return "done"

            @webhook("/wrong/<name>")
            def wrong(self, payload, name):
                if name == "raised":
                    raise RuntimeError("secret details")
                return {"number": 5, "true": True, "float": 1.5, "set": {1}, "none": (None, 204), "one": ("a",),
                        "four": ("a", 200, {}, 1), "object": {"a": object()}, "nan": [float("nan")]}[name]
        """

    def test_nothing(self) -> None:
        """What is false is an empty page."""
        for name in ("none", "empty", "zero", "list", "dict"):
            answer = self.send("POST", f"/value/{name}")
            self.assertEqual((answer.status_code, answer.text), (200, ""), name)
            self.assertEqual(answer.headers["Content-Type"].replace(" ", "").lower(), "text/html;charset=utf-8")

    def test_values(self) -> None:
        """Texts and bytes are pages, dicts and lists JSON, tuples have a status and headers."""
        text = self.send("POST", "/given/text")
        self.assertEqual((text.text, text.headers["Content-Type"].split(";")[0]), ("<b>text</b>", "text/html"))
        given = self.send("POST", "/given/bytes")
        self.assertEqual((given.content, given.headers["Content-Type"].split(";")[0]), (b"bytes", "text/html"))
        for name, value in (("mapping", {"a": 1}), ("sequence", [1, 2])):
            answer = self.send("POST", f"/given/{name}")
            self.assertEqual((answer.json(), answer.headers["Content-Type"]), (value, "application/json"))
        status = self.send("POST", "/given/status")
        self.assertEqual((status.status_code, status.text), (201, "made"))
        self.assertEqual(self.send("POST", "/given/headers").headers["X-A"], "b")
        everything = self.send("POST", "/given/all")
        self.assertEqual((everything.status_code, everything.text, everything.headers["X-A"]), (202, "y", "c"))

    def test_more_values(self) -> None:
        """No content, a status with its text, a type, an iterator, an error, a WSGI application."""
        for name, status, content in (
            ("nothing", 204, b""),
            ("text_status", 202, b"x"),
            ("mapping_status", 201, b'{"a":"\\u00e4","b":2}\n'),
            ("typed", 200, b"{}"),
            ("iterator", 200, b"ab"),
            ("response", 203, b"r"),
            ("wsgi", 202, b"answer"),
        ):
            answer = self.send("POST", f"/given/{name}")
            self.assertEqual((answer.status_code, answer.content), (status, content), name)
        self.assertEqual(self.send("POST", "/given/error").status_code, 403)
        self.assertEqual(self.send("POST", "/given/typed").headers["Content-Type"], "application/json")
        self.assertEqual(self.send("POST", "/given/response").headers["X-B"], "2")
        self.assertEqual(self.send("POST", "/given/wsgi").headers["X-Path"], "/given/wsgi")
        self.assertEqual(self.send("POST", "/given/cookies").cookies.get_dict(), {"a": "1", "b": "2"})

    def test_made_with_flask(self) -> None:
        """What Flask's functions make."""
        response = self.send("POST", "/made/response")
        self.assertEqual((response.status_code, response.text), (418, "teapot"))
        self.assertEqual(self.send("POST", "/made/json").json(), {"a": 1})
        elsewhere = self.send("POST", "/made/redirect")
        self.assertEqual((elsewhere.status_code, elsewhere.headers["Location"]), (302, "/elsewhere"))
        made = self.send("POST", "/made/other")
        self.assertEqual((made.status_code, made.headers["X-Made"]), (203, "yes"))

    def test_streamed(self) -> None:
        """A generator's items are the body."""
        self.assertEqual(self.post("/streamed"), "ab")

    def test_aborted(self) -> None:
        """`abort` ends the handler with that status, or with that answer."""
        answer = self.send("POST", "/forbidden")
        self.assertEqual(answer.status_code, 403)
        self.assertIn("not for you", answer.text)
        answer = self.send("POST", "/own_answer")
        self.assertEqual((answer.status_code, answer.json()), (422, {"a": 1}))

    def test_afterwards(self) -> None:
        """`after_this_request` changes the answer; `request` is the one that is being handled."""
        self.assertEqual(self.send("POST", "/afterwards").headers["X-After"], "/afterwards")

    def test_errors(self) -> None:
        """500, without any detail; so for what can't be an answer."""
        for name in ("raised", "number", "true", "float", "set", "none", "one", "four", "object"):
            answer = self.send("POST", f"/wrong/{name}")
            self.assertEqual(answer.status_code, 500, name)
            self.assertNotIn("secret details", answer.text)

    @decided("NaN is sent")
    def test_no_json(self) -> None:
        """What JSON has no word for isn't sent."""
        self.assertEqual(self.send("POST", "/wrong/nan").status_code, 500)


class AsyncTests(WebhookTest):
    """Handlers that are `async def`."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            async def later(self, payload):
                return "later"
        """

    @decided("a coroutine is answered with 500")
    def test_awaited(self) -> None:
        """They are awaited."""
        self.assertEqual(self.post("/later"), "later")


class LifeTests(WebhookTest):
    """Routes and their plugin's life."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            def first(self, payload):
                return "one"

            @webhook
            def second(self, payload):
                return "one"
        """

    @decided("a deactivated plugin keeps answering")
    def test_deactivated(self) -> None:
        """A plugin that isn't active has no routes; when it is again they are back."""
        self.assertEqual(self.post("/first"), "one")
        self.ask("!plugin deactivate Tried")
        self.assertEqual(self.send("POST", "/first").status_code, 404)
        self.ask("!plugin activate Tried")
        self.assertEqual(self.post("/first"), "one")

    @decided("a reload refreshes one hook only")
    def test_reloaded(self) -> None:
        """After a reload every hook runs the new code."""
        self.assertEqual((self.post("/first"), self.post("/second")), ("one", "one"))
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace('"one"', '"two"'))
        self.ask("!plugin reload Tried")
        self.assertEqual((self.post("/first"), self.post("/second")), ("two", "two"))


class ClashTests(WebhookTest):
    """Several plugins with webhooks."""

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

    @decided("the second plugin whose method has the same name can't be activated")
    def test_methods_of_one_name(self) -> None:
        """They are different routes."""
        self.assertEqual((self.post("/tried"), self.post("/zother")), ("tried", "other"))

    @decided("the last one gets it, with the verbs of the first one")
    def test_one_url(self) -> None:
        """The first one keeps it, and when it goes the other has it."""
        keeper = self.post("/shared")
        self.assertIn(keeper, ("tried", "other"))
        self.ask("!plugin deactivate " + {"tried": "Tried", "other": "Zother"}[keeper])
        self.assertEqual({keeper, self.post("/shared")}, {"tried", "other"})


class DeclarationTests(unittest.TestCase):
    """`webhook`."""

    def test_bare(self) -> None:
        """Without arguments the rule is the function's name, for POST and GET."""
        from errbot import webhook

        @webhook
        def name(self: object, payload: object) -> None:
            """A hook."""

        self.assertEqual(name._err_webhook_uri_rule, "/name")
        self.assertEqual(sorted(name._err_webhook_methods), ["GET", "POST"])

    def test_root(self) -> None:
        """`/` stays."""
        from errbot import webhook

        @webhook("/")
        def root(self: object, payload: object) -> None:
            """A hook."""

        self.assertEqual(root._err_webhook_uri_rule, "/")

    @decided("form_param with raw is noticed when a request comes")
    def test_contradiction(self) -> None:
        """`form_param` with `raw` is an error at once."""
        from errbot import webhook

        with self.assertRaisesRegex((TypeError, ValueError), "both"):

            @webhook(form_param="payload", raw=True)
            def both(self: object, payload: object) -> None:
                """A hook."""


class EchoTests(WebhookTest):
    """The web server's own hook."""

    def test_echo(self) -> None:
        """`/echo` returns what it decoded, as Python writes it."""
        body = json.dumps(["foo", {"bar": ["baz", None, 1.0, 2]}]).encode()
        self.assertEqual(self.post("/echo", body, "application/json"), "['foo', {'bar': ['baz', None, 1.0, 2]}]")

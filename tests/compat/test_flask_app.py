"""`errbot.core_plugins.flask_app`, with and without an installed Flask."""

from __future__ import annotations

import sys
import threading
from importlib import metadata
from types import ModuleType
from typing import Any

from werkzeug.routing import IntegerConverter

from errklein import BotPlugin, compat, webhook
from errklein.compat import flask_app as module
from errklein.compat._running_bots import running_bots
from errklein.compat.flask_app import WebView, reset_app, route, try_decode_json
from errklein.testing import PluginTestCase
from errklein.web import facade


class Hooks(BotPlugin):
    """A plugin with a webhook."""

    @webhook
    def ping(self, payload):
        return f"pong {payload}"

    @webhook(methods="GET")
    def rules(self, payload):
        return [rule.rule for rule in facade.current_app.url_map.iter_rules()]


# The installed distributions are searched, since other tests replace the module by errklein's own.
NO_FLASK = None if list(metadata.Distribution.discover(name="flask")) else "Flask isn't installed"


class FlaskAppTests(PluginTestCase):
    """If Flask is installed, the application is a Flask."""

    skip = NO_FLASK

    plugins = (Hooks,)

    def setUp(self) -> None:
        super().setUp()
        self.app: Any = self.make_app()
        self.request = self.request_of_views()
        self.addCleanup(running_bots.clear)

    def make_app(self) -> Any:
        return module._real_app()()

    def request_of_views(self) -> Any:
        import flask

        return flask.request

    def test_flask_class(self) -> None:
        """The application is an instance of Flask's class."""
        import flask

        self.assertIsInstance(self.app, flask.Flask)

    def test_a_late_route(self) -> None:
        """A view that is added after the first request is served at once, with the request context."""
        self.assertEqual(self.get("/ping").text, "pong ")

        @self.app.route("/events/<kind>", methods=["GET", "POST"])
        def events(kind: str) -> Any:
            return {"kind": kind, "method": self.request.method, "token": self.request.headers.get("X-Token")}

        answer = self.post("/events/push", headers={"X-Token": "t"})
        self.assertEqual(answer.json(), {"kind": "push", "method": "POST", "token": "t"})
        self.app.add_url_rule("/more", view_func=lambda: ("made", 201), endpoint="more")
        self.assertEqual(self.get("/more").status, 201)
        self.assertEqual(self.post("/more").status, 405)
        self.assertIn("events", self.app.view_functions)

    def test_an_early_route(self) -> None:
        """A view that is added before the bot starts is served by it."""
        self.app.add_url_rule("/early", "early", lambda: "early bird")
        other = type(self.bot)()
        self.addCleanup(other.stop)
        other.start()
        self.assertEqual(self.successResultOf(other.get("/early")).text, "early bird")

    def test_bodies(self) -> None:
        """Views can read the body as bytes, JSON or form."""
        self.app.add_url_rule("/raw", "raw", lambda: self.request.get_data(), methods=["POST"])
        self.app.add_url_rule("/json", "json", lambda: {"n": self.request.json["n"] + 1}, methods=["POST"])
        self.app.add_url_rule("/form", "form", lambda: self.request.form["a"], methods=["POST"])
        self.assertEqual(self.post("/raw", data=b"bytes").text, "bytes")
        self.assertEqual(self.post("/json", json={"n": 1}).json(), {"n": 2})
        self.assertEqual(self.post("/form", data={"a": "b"}).text, "b")

    def test_before_after_and_errors(self) -> None:
        """`before_request`, `after_request` and error handlers work; other errors lead to 500 and a warning."""

        @self.app.before_request
        def before() -> Any:
            return ("not you", 403) if self.request.args.get("who") == "mallory" else None

        @self.app.after_request
        def after(response: Any) -> Any:
            response.headers["X-After"] = "yes"
            return response

        @self.app.errorhandler(KeyError)
        def missing(error: KeyError) -> Any:
            return f"no {error.args[0]}", 400

        @self.app.route("/view")
        def view() -> Any:
            if "key" in self.request.args:
                raise KeyError("key")
            if "bug" in self.request.args:
                raise ZeroDivisionError
            return "fine"

        answer = self.get("/view")
        self.assertEqual((answer.text, answer.header("X-After")), ("fine", "yes"))
        self.assertEqual(self.get("/view?who=mallory").status, 403)
        self.assertEqual((self.get("/view?key=1").status, self.get("/view?key=1").text), (400, "no key"))
        self.assertEqual(self.get("/view?bug=1").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("flask_app:view", self.bot.sent_to("@admin")[-1])

    def test_as_wsgi(self) -> None:
        """As a WSGI application in a thread, it returns the responses of all routes."""
        self.app.add_url_rule("/echo", "echo", lambda: self.request.get_data(), methods=["POST"])
        answers: list[Any] = []

        def ask() -> None:
            client = self.app.test_client()
            answers.append(client.post("/echo", data=b"body").get_data())
            answers.append(client.get("/ping").get_data())
            answers.append(client.get("/nowhere").status_code)

        # The reactor of these tests runs calls from threads synchronously.
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(10)
        self.assertEqual(answers, [b"body", b"pong ", 404])
        self.assertRaises(RuntimeError, self.app.test_client().get, "/ping")

    def test_bad_rules(self) -> None:
        """An invalid rule raises an error when it is added."""
        self.assertRaises(LookupError, self.app.add_url_rule, "/<bad:x>", "x", lambda x: x)

    def test_converters_of_its_own(self) -> None:
        """A rule with a converter that only the application's map has is refused, and later rules are not."""
        self.app.url_map.converters["even"] = IntegerConverter
        self.assertRaises(LookupError, self.app.add_url_rule, "/<even:x>", "x", lambda x: x)
        self.app.add_url_rule("/later", "later", lambda: "later")
        self.assertEqual(self.get("/later").text, "later")

    def listed(self) -> list[tuple[str, str, list[str]]]:
        """Return rule, endpoint and methods of each rule, without unrelated ones."""
        rules = self.app.url_map.iter_rules()
        return [
            (rule.rule, rule.endpoint, sorted(rule.methods)) for rule in rules if rule.rule not in ("/echo", "/rules")
        ]

    def test_url_map(self) -> None:
        """`url_map` lists the rules of the application and of active plugins, with their methods."""
        self.app.add_url_rule("/own/<int:n>", "own", lambda n: str(n), methods=["PUT"])
        ping = ("/ping", "ping_POST_GET", ["GET", "HEAD", "OPTIONS", "POST"])
        own = ("/own/<int:n>", "own", ["OPTIONS", "PUT"])
        self.assertEqual(self.listed(), [own, ping])
        self.assertIn("'/ping' (", repr(self.app.url_map))
        (rule,) = self.app.url_map.iter_rules("ping_POST_GET")
        self.assertEqual((rule.rule, rule.arguments), ("/ping", set()))
        self.assertRaises(KeyError, self.app.url_map.iter_rules, "nothing")
        self.successResultOf(self.bot.bot.plugin_manager.deactivate("Hooks"))
        self.assertEqual(self.listed(), [own])
        self.successResultOf(self.bot.bot.plugin_manager.activate("Hooks"))
        self.assertEqual(self.listed(), [own, ping])
        self.assertEqual(self.successResultOf(self.bot.request("PUT", "/own/3")).text, "3")

    def test_url_map_matches_its_own(self) -> None:
        """A variable rule of the application and a plugin's webhook don't shadow each other."""
        self.app.add_url_rule("/<name>", "any", lambda name: f"any {name}")
        self.assertEqual(self.get("/ping").text, "pong ")
        self.assertEqual(self.get("/pong").text, "any pong")

    def test_current_app(self) -> None:
        """In a plugin's handler, `current_app.url_map` lists the same rules."""
        self.app.add_url_rule("/own", "own", lambda: "own")
        self.assertEqual(sorted(self.get("/rules").json()), ["/echo", "/own", "/ping", "/rules"])

    def test_reset(self) -> None:
        """After `reset_app` no route of the application is served."""
        self.app.add_url_rule("/gone", "gone", lambda: "here")
        self.assertEqual(self.get("/gone").text, "here")
        reset_app()
        self.assertEqual(self.get("/gone").status, 404)
        self.assertEqual(self.get("/ping").status, 200)


class PlainAppTests(PluginTestCase):
    """If Flask isn't installed, the application is errklein's own class, without routes."""

    plugins = (Hooks,)

    def setUp(self) -> None:
        super().setUp()
        self.app: Any = module.PlainApp()

    def test_class(self) -> None:
        """The application is an instance of the class that plugins import."""
        from errklein.compat.flask import Flask

        self.assertIsInstance(self.app, Flask)

    def test_routes(self) -> None:
        """The error of methods that only Flask has names the extra that installs it."""
        for call in (
            lambda: self.app.route("/a"),
            lambda: self.app.add_url_rule("/a", "a", lambda: "a"),
            lambda: self.app.errorhandler(404),
        ):
            error = self.assertRaises(ImportError, call)
            self.assertIn("require Flask, which the extra errklein[errbot] installs", str(error))

    def test_url_map(self) -> None:
        """`url_map` lists the rules of active plugins."""
        self.assertIn("/ping", [rule.rule for rule in self.app.url_map.iter_rules()])
        self.assertEqual(sorted(self.get("/rules").json()), ["/echo", "/ping", "/rules"])

    def test_as_wsgi(self) -> None:
        """As a WSGI application in a thread, it returns the responses of all webhooks."""
        answers: list[Any] = []

        def ask() -> None:
            client = self.app.test_client()
            answers.append(client.get("/ping").get_data())
            answers.append(client.get("/nowhere").status_code)

        # The reactor of these tests runs calls from threads synchronously.
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(10)
        self.assertEqual(answers, [b"pong ", 404])
        self.assertRaises(RuntimeError, self.app.test_client().get, "/ping")


class ChoiceTests(PluginTestCase):
    """The choice between both classes."""

    skip = NO_FLASK

    def test_by_what_is_installed(self) -> None:
        """If Flask is installed, the application is a Flask, else errklein's own class."""
        import flask

        # Flask looks up the file of the module with the application's name, which errklein's modules don't have.
        compat.install()
        self.patch(sys, "modules", {**sys.modules, "errbot.core_plugins": ModuleType("errbot.core_plugins")})
        self.patch(module, "flask_app", None)
        self.assertIsInstance(module.__getattr__("flask_app"), flask.Flask)
        from errklein.compat import flask as plain

        self.patch(sys, "modules", {**sys.modules, "flask": plain})
        self.assertIsInstance(module.__getattr__("flask_app"), module.PlainApp)


class ObjectTests(PluginTestCase):
    """Webhooks of objects that aren't plugins."""

    def test_route(self) -> None:
        """`route` serves the object's webhooks, and replaces them at the next call."""

        class Thing:
            @webhook("/thing/<int:n>")
            def thing(self, payload: Any, n: int) -> str:
                return f"{payload} {n}"

        self.addCleanup(running_bots.clear)
        route(Thing())
        self.assertEqual(self.post("/thing/3", json=[1]).text, "[1] 3")
        route(Thing())
        self.assertEqual(self.post("/thing/4", json=[1]).text, "[1] 4")

    def test_web_view(self) -> None:
        """A WebView calls its function with the payload or the request."""
        self.addCleanup(running_bots.clear)
        views = {
            "v": WebView(lambda payload: f"{payload!r}", None, False),
            "f": WebView.as_view("f", lambda payload: f"{payload!r}", "p", False),
            "r": WebView(lambda request: request.method, None, True),
        }
        for name, view in views.items():
            running_bots.add("views", name, f"/{name}", ("POST",), lambda _, view=view: view())
        self.assertEqual(self.post("/v", json={"a": 1}).text, "{'a': 1}")
        self.assertEqual(self.post("/f", data={"p": "[2]"}).text, "[2]")
        self.assertEqual(self.post("/r").text, "POST")
        self.assertRaises(ValueError, WebView, len, "p", True)

    def test_try_decode_json(self) -> None:
        """`try_decode_json` returns the value, or None for an invalid body."""
        for body, value in ((b'{"a": 1}', {"a": 1}), (b"{}", {}), (b"bad", None), (b"", None)):
            self.assertEqual(try_decode_json(type("R", (), {"data": body})()), value)

"""Chapter 5: `request` and Flask's application."""

from __future__ import annotations

from importlib.metadata import distributions

from tests.contract.kit import ContractTest
from tests.contract.webhooks import WebhookTest


class RequestTests(WebhookTest):
    """The request of a handler with `raw=True`."""

    plugin = """
        from errbot import BotPlugin, webhook
        import flask

        class Tried(BotPlugin):
            @webhook(raw=True)
            def seen(self, request):
                return repr((request.data, request.content_type, dict(request.args), request.path,
                             request.environ["REQUEST_METHOD"], request.remote_addr, request.is_json))

            @webhook(raw=True)
            def same(self, request):
                return repr((request == flask.request, request.headers.get("x-lower"), request.headers["X-Lower"]))

            @webhook(raw=True)
            def files(self, request):
                given = request.files["f"]
                return repr((given.filename, given.read(), request.form["a"], request.values["q"]))

            @webhook(raw=True)
            def wrong_json(self, request):
                return repr(request.get_json(silent=True))

            @webhook(raw=True)
            def nothing(self, request):
                return None
        """

    def test_attributes(self) -> None:
        """The request has Flask's attributes for body, media type, query, path and sender."""
        answer = self.send("POST", "/seen?q=1", data=b"{}", headers={"Content-Type": "application/json"})
        self.assertEqual(answer.text, repr((b"{}", "application/json", {"q": "1"}, "/seen", "POST", "127.0.0.1", True)))

    def test_same_as_flask_s(self) -> None:
        """The request is equal to `flask.request`, and header names are case-insensitive."""
        answer = self.send("POST", "/same", headers={"X-LOWER": "a"})
        self.assertEqual(answer.text, repr((True, "a", "a")))

    def test_files(self) -> None:
        """`request.files`, `request.form` and `request.values` have uploaded files, fields and the query."""
        answer = self.send("POST", "/files?q=1", data={"a": "b"}, files={"f": ("n.txt", b"content")})
        self.assertEqual(answer.text, repr(("n.txt", b"content", "b", "1")))

    def test_nothing(self) -> None:
        """A result of None is an empty response; `get_json(silent=True)` returns None for invalid JSON."""
        self.assertEqual(self.send("POST", "/nothing").text, "")
        self.assertEqual(self.post("/wrong_json", b"{bad", "application/json"), "None")


class ObjectTests(WebhookTest):
    """`webroute`."""

    plugin = """
        from errbot import BotPlugin, webhook, webroute

        class Thing:
            @webhook("/thing/<name>")
            def thing(self, payload, name):
                return f"thing {name} {payload}"

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                webroute(Thing())
        """

    def test_object(self) -> None:
        """`webroute` serves the webhooks of any object."""
        self.assertEqual(self.post("/thing/x", b"[1]"), "thing x [1]")


class FlaskAppTests(WebhookTest):
    """`errbot.core_plugins.flask_app` as a Flask."""

    skip = None if any(distributions(name="flask")) else "Flask isn't installed"

    plugin = """
        from errbot import BotPlugin
        from errbot.core_plugins import flask_app
        from flask import request

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                flask_app.add_url_rule("/added/<name>", "added", lambda name: f"added {name} {request.method}",
                                       methods=["POST"])

                @flask_app.route("/decorated")
                def decorated():
                    return {"decorated": request.args.get("q")}
        """

    def test_added(self) -> None:
        """The web server serves routes that are added with `add_url_rule` or `route`."""
        self.assertEqual(self.post("/added/x"), "added x POST")
        self.assertEqual(self.send("GET", "/decorated?q=1").json(), {"decorated": "1"})
        self.assertEqual(self.send("GET", "/added/x").status_code, 405)

    def test_reset(self) -> None:
        """`reset_app` removes the added routes."""
        from errbot import core_plugins
        from errbot.core_plugins.wsview import reset_app

        core_plugins.flask_app.add_url_rule("/more", "more", lambda: "more")
        self.assertEqual(core_plugins.flask_app.test_client().get("/more").status_code, 200)
        reset_app()
        self.assertEqual(core_plugins.flask_app.test_client().get("/more").status_code, 404)

    def test_flask(self) -> None:
        """If Flask is installed, `flask_app` is a Flask, and its test client gets the server's responses."""
        import flask
        from errbot.core_plugins import flask_app

        self.assertIsInstance(flask_app, flask.Flask)
        self.assertEqual(flask_app.test_client().post("/added/y").get_data(as_text=True), "added y POST")


class ForgottenTests(ContractTest):
    """`flask_app` and several bots, one after the other."""

    skip = FlaskAppTests.skip

    plugin = FlaskAppTests.plugin

    def test_another_bot(self) -> None:
        """The added routes are removed when a test's bot stops, so that the next one can add them again."""
        from errbot import core_plugins

        core_plugins.flask_app.add_url_rule("/more", "more", lambda: "more")
        self.testbot.stop()
        # The bot can't be stopped twice.
        del self._cleanups[-1]
        self.start()
        self.assertTrue(self.instance().is_activated)
        self.assertEqual(core_plugins.flask_app.test_client().get("/more").status_code, 404)

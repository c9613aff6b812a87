"""Chapter 5, continued: corners of webhooks."""

from __future__ import annotations

import threading
from typing import Any

from tests.contract.kit import ContractTest, decided
from tests.contract.test_05_webhooks import WebhookTest


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
        """Values are converted as the rule says, and what can't be is nowhere."""
        self.assertEqual(
            self.post("/uuid/12345678-1234-5678-1234-567812345678"), "UUID('12345678-1234-5678-1234-567812345678')"
        )
        self.assertEqual(self.post("/float/1.5"), "1.5")
        self.assertEqual(self.post("/raw/007"), "('POST', 7)")
        self.assertEqual(self.post("/string/ab"), "'ab'")
        for path in ("/uuid/x", "/float/1", "/string/abc", "/path/", "/raw/-1"):
            self.assertEqual(self.send("POST", path).status_code, 404, path)

    def test_escapes(self) -> None:
        """Escaped characters are themselves in a value."""
        self.assertEqual(self.post("/a/x%20y/b"), "'x y'")
        self.assertEqual(self.post("/a/%C3%A4/b"), "'ä'")

    def test_slash_at_the_end_of_a_path(self) -> None:
        """A path keeps it."""
        self.assertEqual(self.post("/path/a/b/"), "'a/b/'")

    def test_beside_the_payload(self) -> None:
        """Whatever the payload is, values come after it."""
        self.assertEqual(self.post("/raw/5"), "('POST', 5)")
        self.assertEqual(self.post("/form/5", {"k": "v"}), "('v', 5)")

    def test_methods(self) -> None:
        """Lambdas count; of two methods of one name there is the last."""
        self.assertEqual(self.post("/short"), "from a lambda")
        self.assertEqual(self.post("/twice/two"), "two")
        self.assertEqual(self.send("POST", "/twice/one").status_code, 404)

    def test_root(self) -> None:
        """`/` is a rule like any other."""
        self.assertEqual(self.send("GET", "/").text, "root")

    def test_static(self) -> None:
        """There are no static files."""
        for path in ("/static/x", "/static/"):
            self.assertEqual(self.send("GET", path).status_code, 404)

    @decided("redirects to a merged path, on the host that the client names")
    def test_doubled_slashes(self) -> None:
        """They lead nowhere."""
        for path in ("/short//", "/a//b", "/path/a//b"):
            self.assertEqual(self.send("POST", path).status_code, 404, path)

    @decided("takes it for a separator")
    def test_escaped_slash(self) -> None:
        """An escaped slash is refused."""
        self.assertEqual(self.send("POST", "/a/x%2Fy/b").status_code, 400)


class MendedDeclarationsTests(WebhookTest):
    """Declarations that errbot refuses when the plugin is activated."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook("missing", methods="POST")
            def missing(self, payload):
                return "mended"
        """

    @decided("the plugin can't be activated")
    def test_mended(self) -> None:
        """A rule gets its slash, and one verb may be given as a text."""
        self.assertEqual(self.post("/missing"), "mended")
        self.assertEqual(self.send("GET", "/missing").status_code, 405)


class RequestTests(WebhookTest):
    """The raw request."""

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
        """What handlers read."""
        answer = self.send("POST", "/seen?q=1", data=b"{}", headers={"Content-Type": "application/json"})
        self.assertEqual(answer.text, repr((b"{}", "application/json", {"q": "1"}, "/seen", "POST", "127.0.0.1", True)))

    def test_same_as_flask_s(self) -> None:
        """It is `flask.request`; names of headers may be in any case."""
        answer = self.send("POST", "/same", headers={"X-LOWER": "a"})
        self.assertEqual(answer.text, repr((True, "a", "a")))

    def test_files(self) -> None:
        """Uploaded files, and fields and the query besides."""
        answer = self.send("POST", "/files?q=1", data={"a": "b"}, files={"f": ("n.txt", b"content")})
        self.assertEqual(answer.text, repr(("n.txt", b"content", "b", "1")))

    def test_nothing(self) -> None:
        """What is returned is treated as that of any handler; JSON that isn't there is None if it is asked for so."""
        self.assertEqual(self.send("POST", "/nothing").text, "")
        self.assertEqual(self.post("/wrong_json", b"{bad", "application/json"), "None")


class BodiesTests(WebhookTest):
    """Bodies, by their media types."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            def seen(self, payload):
                return repr(payload)

            @webhook(form_param="k")
            def param(self, payload):
                return repr(payload)
        """

    def test_empty(self) -> None:
        """An empty body is an empty text, whatever it says that it is."""
        self.assertEqual(self.post("/seen", b"", "application/json"), "''")
        self.assertEqual(self.post("/seen", b"", "text/plain"), "''")

    def test_form_param(self) -> None:
        """The query doesn't count, other fields don't either; what isn't JSON is text."""
        answer = self.send("POST", "/param?k=query", data={"k": "field", "other": "x"})
        self.assertEqual(answer.text, "'field'")
        self.assertEqual(self.post("/param", {"k": "[1, {bad"}), "'[1, {bad'")
        self.assertEqual(self.post("/param", {"k": "5"}), "5")

    @decided("it arrives as ''")
    def test_multipart(self) -> None:
        """Multipart forms are dicts of their fields."""
        answer = self.send("POST", "/seen", files={"a": (None, "1"), "b": (None, "2")})
        self.assertEqual(answer.text, "{'a': '1', 'b': '2'}")

    @decided("the charset is passed over")
    def test_charset(self) -> None:
        """A body is read in the charset that is declared."""
        self.assertEqual(self.post("/seen", "ä".encode("latin-1"), "text/plain; charset=latin-1"), "'ä'")

    @decided("the charset is passed over")
    def test_unknown_charset(self) -> None:
        """A charset that isn't known is refused."""
        answer = self.send("POST", "/seen", data=b"x", headers={"Content-Type": "text/plain; charset=nothing"})
        self.assertEqual(answer.status_code, 415)

    @decided("it arrives as text")
    def test_other_json(self) -> None:
        """All that says it is JSON has to be; the answer says where it isn't, as a problem (RFC 9457)."""
        for kind in ("application/json", "application/vnd.x+json"):
            answer = self.send("POST", "/seen", data=b'{"a":\n oh}', headers={"Content-Type": kind})
            self.assertEqual((answer.status_code, answer.headers["Content-Type"]), (400, "application/problem+json"))
            self.assertIn("line 2", answer.json()["detail"])

    @decided("it is answered with 500")
    def test_missing_field_is_named(self) -> None:
        """Who leaves a field out is told which."""
        answer = self.send("POST", "/param", data={"other": "x"})
        self.assertEqual(answer.status_code, 400)
        self.assertIn("k", answer.text)


class ErrorPagesTests(WebhookTest):
    """What an error looks like."""

    plugin = """
        from errbot import BotPlugin, webhook
        from flask import abort, current_app, g, send_file
        from werkzeug.exceptions import HTTPException, ImATeapot
        import io

        class Tried(BotPlugin):
            @webhook
            def refuse(self, payload):
                abort(403, "not for you")

            @webhook
            def teapot(self, payload):
                raise ImATeapot("short and stout")

            @webhook
            def fails(self, payload):
                raise RuntimeError("secret details")

            @webhook
            def context(self, payload):
                g.mine = "kept"
                return f"{g.mine} {bool(current_app.name)}"

            @webhook
            def sent(self, payload):
                return send_file(io.BytesIO(b"content"), mimetype="text/x-mine", download_name="n.txt")
        """

    def test_aborted(self) -> None:
        """What a handler aborts with looks as in Flask, whoever asks."""
        for headers in ({}, {"Accept": "application/json"}):
            answer = self.send("POST", "/refuse", headers=headers)
            self.assertEqual((answer.status_code, answer.headers["Content-Type"].split(";")[0]), (403, "text/html"))
            self.assertIn("not for you", answer.text)

    def test_raised(self) -> None:
        """Errors of HTTP may be raised too."""
        answer = self.send("POST", "/teapot")
        self.assertEqual(answer.status_code, 418)
        self.assertIn("short and stout", answer.text)

    def test_context(self) -> None:
        """`g` and `current_app` are there."""
        self.assertEqual(self.post("/context"), "kept True")

    def test_send_file(self) -> None:
        """Files can be sent."""
        answer = self.send("POST", "/sent")
        self.assertEqual((answer.text, answer.headers["Content-Type"].split(";")[0]), ("content", "text/x-mine"))

    def test_html(self) -> None:
        """For people they are HTML."""
        for verb, path in (("GET", "/nowhere"), ("PUT", "/fails"), ("GET", "/fails")):
            answer = self.send(verb, path, headers={"Accept": "text/html"})
            self.assertTrue(answer.headers["Content-Type"].startswith("text/html"), answer.headers)

    @decided("a page has no request's id")
    def test_html_names_the_request(self) -> None:
        """There is the request's id on it."""
        for verb, path in (("GET", "/nowhere"), ("PUT", "/fails"), ("GET", "/fails")):
            answer = self.send(verb, path, headers={"Accept": "text/html"})
            self.assertIn(answer.headers["X-Request-Id"], answer.text)

    def test_log(self) -> None:
        """What a handler raises is in the log, with its traceback."""
        with self.assertLogs(level="ERROR") as logs:
            self.assertEqual(self.send("POST", "/fails").status_code, 500)
        self.assertIn("secret details", [str(record.exc_info[1]) for record in logs.records if record.exc_info])

    @decided("they are HTML for everybody")
    def test_problems(self) -> None:
        """For programs they are problems (RFC 9457), with the request's id."""
        for verb, path, status in (("GET", "/nowhere", 404), ("PUT", "/fails", 405), ("GET", "/fails", 500)):
            answer = self.send(verb, path, headers={"Accept": "application/json"})
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
            self.assertEqual((answer.status_code, answer.json()["status"]), (status, status))
            self.assertTrue(answer.json()["request_id"])
            self.assertNotIn("secret", answer.text)

    @decided("nobody is told")
    def test_admins_are_told(self) -> None:
        """Administrators get one line about a hook that fails, not one for each request."""
        self.post("/fails")
        self.post("/fails")
        told = [text for text in self.until_quiet() if "fails" in text]
        self.assertEqual(len(told), 1, told)
        self.assertIn("Tried", told[0])


class LimitsTests(WebhookTest):
    """Size and time."""

    plugin = """
        import threading
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.go_on = threading.Event()
                self.over = threading.Event()

            @webhook
            def seen(self, payload):
                return str(len(payload))

            @webhook
            def waits(self, payload):
                self.go_on.wait(5)
                self.over.set()
                return "too late"
        """
    config = {"WEBHOOK_MAX_BODY": 1000, "WEBHOOK_TIMEOUT": 0.02}

    @decided("there is no limit")
    def test_size(self) -> None:
        """What is larger than the limit is refused."""
        self.assertEqual(self.post("/seen", b"x" * 1000, "text/plain"), "1000")
        answer = self.send("POST", "/seen", data=b"x" * 1001, headers={"Content-Type": "text/plain"})
        self.assertEqual(answer.status_code, 413)

    @decided("there is no limit")
    def test_time(self) -> None:
        """Who waits too long is told so, and the handler runs to its end."""
        tried = self.instance()
        try:
            self.assertEqual(self.send("POST", "/waits", timeout=0.5).status_code, 504)
        finally:
            tried.go_on.set()
        self.assertTrue(tried.over.wait(5))


class RoutedTests(WebhookTest):
    """When routes come and go."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            def later(self, payload):
                return "one"

            def callback_connect(self):
                self.connected = True
        """

    @decided("it is never routed")
    def test_new_hook(self) -> None:
        """A hook that a reload adds is answered, one that it removes isn't."""
        self.assertEqual(self.post("/later"), "one")
        path = self.directory / "tried.py"
        path.write_text(path.read_text().replace("def later", "def added"))
        self.ask("!plugin reload Tried")
        self.assertEqual(self.post("/added"), "one")
        self.assertEqual(self.send("POST", "/later").status_code, 404)

    @decided("a deactivated plugin's hooks answer with the dead instance")
    def test_instance(self) -> None:
        """After a reload the new instance answers."""
        self.ask("!plugin deactivate Tried")
        self.assertEqual(self.send("POST", "/later").status_code, 404)
        self.ask("!plugin reload Tried")
        self.ask("!plugin activate Tried")
        self.assertEqual(self.post("/later"), "one")


class BrokenActivationTests(ContractTest):
    """A plugin that can't be activated."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            def activate(self):
                raise RuntimeError("not today")

            @webhook
            def hook(self, payload):
                return "never"
        """

    def test_not_routed(self) -> None:
        """Hooks are routed when `activate` has succeeded, else there are none."""
        self.drain()
        from errbot.core_plugins import flask_app

        self.assertEqual(flask_app.test_client().post("/hook").status_code, 404)
        self.assertEqual(flask_app.test_client().post("/echo", data=b"1").status_code, 200)


class ForgetfulTests(ContractTest):
    """A plugin that doesn't call the `activate` that it overrides."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            connects = 0

            def activate(self):
                self.begun = True

            def callback_connect(self):
                self.connects += 1

            @webhook
            def hook(self, payload):
                return f"{self.begun} {self.is_activated} {self.connects}"
        """

    def answer(self) -> tuple[int, str]:
        """What its webhook answers."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/hook")
        return answer.status_code, answer.get_data(as_text=True)

    def test_routed(self) -> None:
        """It counts as inactive, but its hooks are answered, and it has been told that there is a connection."""
        self.assertEqual(self.answer(), (200, "True False 1"))

    def test_reloaded(self) -> None:
        """So it is after a reload."""
        self.ask("!plugin reload Tried")
        self.drain()
        status, text = self.answer()
        # An instance that is kept has been told before.
        self.assertEqual((status, text.rpartition(" ")[0]), (200, "True False"))

    @decided("a deactivated plugin keeps answering")
    def test_deactivated(self) -> None:
        """Deactivated, it answers nothing any more."""
        self.assertIn("already deactivated", self.ask("!plugin deactivate Tried"))
        self.assertEqual(self.answer()[0], 404)


class SharedTests(WebhookTest):
    """Two plugins with one URL."""

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

    @decided("the last one gets the URL without a word")
    def test_told(self) -> None:
        """Administrators are told once, with both plugins and the URL; other hooks of the second one work."""
        self.assertEqual(self.post("/own"), "own")
        # The message comes with the activation, so there has to be another one.
        loser = {"tried": "Zother", "other": "Tried"}[self.post("/shared")]
        self.ask(f"!plugin deactivate {loser}")
        told = [text for text in self.replies(f"!plugin activate {loser}") if "/shared" in text]
        self.assertEqual(len(told), 1, told)
        self.assertIn("Tried", told[0])
        self.assertIn("Zother", told[0])

    @decided("the verbs of the first one count")
    def test_other_verbs(self) -> None:
        """With other verbs it is no clash: each has its own."""
        self.assertEqual(self.send("PUT", "/shared").text, "put")
        self.assertIn(self.post("/shared"), ("tried", "other"))
        allowed = self.send("OPTIONS", "/shared").headers["Allow"].replace(" ", "").split(",")
        self.assertEqual(set(allowed), {"POST", "PUT", "OPTIONS"})


class FlaskAppTests(WebhookTest):
    """`errbot.core_plugins.flask_app`, and `webroute`."""

    plugin = """
        from errbot import BotPlugin, webhook, webroute
        from errbot.core_plugins import flask_app
        from flask import request

        class Thing:
            @webhook("/thing/<name>")
            def thing(self, payload, name):
                return f"thing {name} {payload}"

        class Tried(BotPlugin):
            def activate(self):
                super().activate()
                flask_app.add_url_rule("/added/<name>", "added", lambda name: f"added {name} {request.method}",
                                       methods=["POST"])

                @flask_app.route("/decorated")
                def decorated():
                    return {"decorated": request.args.get("q")}

                webroute(Thing())
        """

    def test_added(self) -> None:
        """Whoever adds rules has them answered by the web server."""
        self.assertEqual(self.post("/added/x"), "added x POST")
        self.assertEqual(self.send("GET", "/decorated?q=1").json(), {"decorated": "1"})
        self.assertEqual(self.send("GET", "/added/x").status_code, 405)

    def test_reset(self) -> None:
        """`reset_app` forgets what was added."""
        from errbot import core_plugins
        from errbot.core_plugins.wsview import reset_app

        core_plugins.flask_app.add_url_rule("/more", "more", lambda: "more")
        self.assertEqual(core_plugins.flask_app.test_client().get("/more").status_code, 200)
        reset_app()
        self.assertEqual(core_plugins.flask_app.test_client().get("/more").status_code, 404)

    def test_object(self) -> None:
        """`webroute` has the hooks of any object answered."""
        self.assertEqual(self.post("/thing/x", b"[1]"), "thing x [1]")

    def test_flask(self) -> None:
        """It is a Flask where there is one, and its client gets what the server answers."""
        import flask
        from errbot.core_plugins import flask_app

        self.assertIsInstance(flask_app, flask.Flask)
        self.assertEqual(flask_app.test_client().post("/added/y").get_data(as_text=True), "added y POST")


class WithoutServerTests(ContractTest):
    """While the web server isn't configured."""

    plugin = """
        from errbot import BotPlugin, botcmd, webhook
        from errbot.core_plugins import flask_app

        class Tried(BotPlugin):
            def callback_connect(self):
                self.answer = flask_app.test_client().post("/hook", data=b"[2]").get_data()

            @webhook
            def hook(self, payload):
                return repr(payload)

            @webhook("/of/<name>", methods=("GET", "PUT"))
            def variable(self, payload, name):
                return name

            @botcmd
            def routes(self, msg, args):
                rules = [rule for rule in flask_app.url_map.iter_rules() if rule.rule in ("/hook", "/of/<name>")]
                return "; ".join(sorted(f"{rule.rule} {rule.endpoint} {sorted(rule.methods)}" for rule in rules))
        """

    def test_listed(self) -> None:
        """A plugin that lists the rules of `flask_app.url_map` finds the hooks of plugins."""
        self.assertEqual(
            self.ask("!routes"),
            "/hook hook_POST_GET ['GET', 'HEAD', 'OPTIONS', 'POST']; "
            "/of/<name> variable_GET_PUT ['GET', 'HEAD', 'OPTIONS', 'PUT']",
        )

    @decided("they stay")
    def test_listed_while_active(self) -> None:
        """Rules go with their plugin."""
        from errbot.core_plugins import flask_app

        self.assertIn("/hook", [rule.rule for rule in flask_app.url_map.iter_rules()])
        self.replies("!plugin deactivate Tried")
        self.assertNotIn("/hook", [rule.rule for rule in flask_app.url_map.iter_rules()])

    def test_before_the_connection(self) -> None:
        """They are when `callback_connect` is called."""
        self.assertEqual(self.instance().answer, b"[2]")

    def test_routed(self) -> None:
        """Hooks are routed all the same, whether anything listens or not."""
        from errbot.core_plugins import flask_app

        answer = flask_app.test_client().post("/hook", data=b"[1]")
        self.assertEqual((answer.status_code, answer.get_data()), (200, b"[1]"))


class ParallelTests(WebhookTest):
    """Requests at the same time."""

    plugin = """
        import threading
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            def __init__(self, bot, name):
                super().__init__(bot, name)
                self.both = threading.Barrier(2)

            @webhook
            def meet(self, payload):
                self.both.wait(5)
                return threading.current_thread().name
        """

    def test_side_by_side(self) -> None:
        """Plain hooks are answered side by side, in threads of their own."""
        names: list[Any] = []
        other = threading.Thread(target=lambda: names.append(self.send("POST", "/meet").text))
        other.start()
        names.append(self.send("POST", "/meet").text)
        other.join(10)
        self.assertEqual(len(set(names)), 2, names)
        self.assertNotIn(threading.main_thread().name, names)


class ForgottenTests(ContractTest):
    """The application, from one bot to the next."""

    plugin = FlaskAppTests.plugin

    def test_another_bot(self) -> None:
        """What was added is forgotten when a test's bot stops, so that the next one may add it."""
        from errbot import core_plugins

        core_plugins.flask_app.add_url_rule("/more", "more", lambda: "more")
        self.testbot.stop()
        # It can't be stopped twice.
        del self._cleanups[-1]
        self.start()
        self.assertTrue(self.instance().is_activated)
        self.assertEqual(core_plugins.flask_app.test_client().get("/more").status_code, 404)

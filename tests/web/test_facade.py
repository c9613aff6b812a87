"""Tests for the names that handlers import from flask."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from errklein.compat import flask
from errklein.running import on_reactor
from errklein.running.context import request_id
from errklein.webhooks import webhook
from errklein.webhooks.payload import MAX_FIELDS, MAX_KEYS, MAX_STRAYS
from tests import takes_long
from tests.web.kit import WebCase, request

FORM = "application/x-www-form-urlencoded"


class RawTests(WebCase):
    """The request of raw handlers."""

    def show(self, expression: Any, *args: Any, path: str = "/raw/3", **kwargs: Any) -> str:
        """Return the value of an expression of the raw request."""

        class Plugin:
            @webhook("/raw/<int:n>", methods=("GET", "POST"), raw=True)
            async def raw(self, request: Any, n: int) -> str:
                return repr(expression(request))

            @webhook("/threaded/<int:n>", raw=True)
            def threaded(self, request: Any, n: int) -> str:
                return repr(expression(request))

        self.serve(Plugin())
        texts = {
            self.ask(*args[:1], each, *args[1:], **kwargs).text for each in (path, path.replace("raw", "threaded"))
        }
        self.assertEqual(len(texts), 1, texts)
        return texts.pop()

    def test_environ(self) -> None:
        """The environment is one object, and a change of it is seen in the headers."""

        def change(request: Any) -> Any:
            request.environ["HTTP_X_COLOUR"] = "green"
            return request.headers["X-Colour"], request.environ is request.environ, request.environ["PATH_INFO"][-2:]

        self.assertEqual(self.show(change, "POST"), "('green', True, '/3')")

    def test_unknown_attribute(self) -> None:
        """An attribute that no request has is an AttributeError with its name."""

        def ask(request: Any) -> Any:
            try:
                return request.colour
            except AttributeError as error:
                return hasattr(request, "colour"), str(error)

        self.assertEqual(self.show(ask, "POST"), repr((False, "'Request' object has no attribute 'colour'")))

    def test_json(self) -> None:
        """JSON is available by all of its names."""
        got = self.show(
            lambda r: (r.json, r.get_json(), r.is_json, r.data, r.get_data(as_text=True), r.mimetype),
            "POST",
            b'{"a": 1}',
            "application/json; charset=utf-8",
        )
        data = '{"a": 1}'
        self.assertEqual(got, repr(({"a": 1}, {"a": 1}, True, data.encode(), data, "application/json")))

    def test_form_and_query(self) -> None:
        """Fields of forms and queries are available separately and together."""
        got = self.show(
            lambda r: (r.form["a"], r.form.getlist("a"), r.args.get("q"), r.values["q"], r.query_string),
            "POST",
            b"a=1&a=2",
            FORM,
            path="/raw/3?q=x%20y",
        )
        self.assertEqual(got, repr(("1", ["1", "2"], "x y", "x y", b"q=x%20y")))

    def test_odd_forms(self) -> None:
        """Invalid bytes in a form stay escaped; a body that isn't text is not a form."""
        for body, fields in (
            (b"a=%ff%41&b=100%", {"a": "%FFA", "b": "100%"}),
            (b"a=%C3%A9+\xc3\xa9", {"a": "é é"}),
            (b"a=1&b=\xff", {}),
        ):
            self.assertEqual(self.show(lambda r: r.form.to_dict(), "POST", body, FORM), repr(fields))

    def test_too_much(self) -> None:
        """A body that takes too long to parse is rejected with the reason, on the reactor and in threads."""
        takes_long()

        class Plugin:
            @webhook(raw=True)
            async def raw(self, request: Any) -> str:
                return repr((request.values, request.get_json(silent=True)))

            @webhook(raw=True)
            def threaded(self, request: Any) -> str:
                return repr((request.values, request.get_json(silent=True)))

        self.serve(Plugin())
        keys = b"{" + b'"k":1,' * MAX_KEYS + b'"k":1}'
        json = "application/json"
        for path in ("/raw", "/threaded"):
            for body, kind, reason in (
                (b"a=1&" * MAX_FIELDS, FORM, "fields"),
                (b"%" * 10 * MAX_STRAYS, FORM, "invalid escapes"),
                (b"%ff" * 10 * MAX_STRAYS, FORM, "bytes"),
                (b"[" + b"[]," * 1_000_000 + b"1]", json, "values"),
                (keys, json, "keys"),
                (b"--b\r\n" + b"X: y\r\n" * 50_000, "multipart/form-data; boundary=b", "headers"),
            ):
                response = self.ask("POST", path, body, kind)
                self.assertEqual(response.status, 413)
                self.assertIn(reason, response.text)
            self.assertIn("None", self.ask("POST", path, b"[" * 100_000, json).text)

    def test_parsed_in_a_thread(self) -> None:
        """A large body is parsed once, in a thread, before a raw handler runs on the reactor, which gets all of it."""
        threads: list[str] = []

        def noted(*_: object) -> None:
            threads.append(threading.current_thread().name)

        module = sys.modules["errklein.webhooks.payload"]
        for name in ("read_json", "parse_urlencoded", "check_multipart"):
            real = getattr(module, name)
            self.patch(module, name, lambda *args, real=real, **kwargs: (noted(), real(*args, **kwargs))[1])

        def parsed(r: Any) -> Any:
            sizes = len(r.get_data()), r.form.to_dict(), len(r.values.to_dict()), list(r.files)
            return *sizes, r.get_json(silent=True), r.get_json(force=True, silent=True), r.is_json

        class Plugin:
            @webhook(raw=True)
            async def parsed(self, request: Any) -> str:
                return repr(parsed(request))

            @webhook(raw=True)
            async def strict(self, request: Any) -> str:
                return repr(request.get_json(force=True))

        self.serve(Plugin())
        text = "x" * 100_000
        file = f'--b\r\nContent-Disposition: form-data; name="f"; filename="g"\r\n\r\n{text}\r\n--b--\r\n'
        for body, kind, shown in (
            (f'["{text}"]', "application/json", (100_004, {}, 0, [], [text], [text], True)),
            (f'["{text}"]', "text/plain", (100_004, {}, 0, [], None, [text], False)),
            (f'["{text}"', "application/json", (100_003, {}, 0, [], None, None, True)),
            (f"a={text}", FORM, (100_002, {"a": text}, 1, [], None, None, False)),
            (file, "multipart/form-data; boundary=b", (len(file), {}, 0, ["f"], None, None, False)),
        ):
            self.assertEqual(self.ask("POST", "/parsed", body.encode(), kind).text, repr(shown))
            response = self.ask("POST", "/strict", body.encode(), kind)
            self.assertEqual(response.status, 200 if shown[5] else 400)
        self.assertEqual({name.startswith("errklein decoding") for name in threads}, {True})
        # For each request, once as JSON, and the forms once as that.
        self.assertEqual(len(threads), 14)

    def test_deep_json(self) -> None:
        """JSON that is nested too deeply is rejected, as invalid JSON is."""

        class Plugin:
            @webhook(raw=True)
            async def raw(self, request: Any) -> Any:
                return request.get_json()

        self.serve(Plugin())
        response = self.ask("POST", "/raw", b"[" * 100_000 + b"]" * 100_000, "application/json")
        self.assertEqual(response.status, 400)
        self.assertIn("deep", response.text)

    def test_other_json(self) -> None:
        """JSON in UTF-16 or UTF-32, and large JSON, is decoded."""
        takes_long()
        text = '{"a": "é"}'
        for body in (text.encode("utf-16"), text.encode("utf-8-sig")):
            self.assertEqual(self.show(lambda r: r.get_json(), "POST", body, "application/json"), repr({"a": "é"}))
        large = b"[" + b'{"a":1},' * 200_000 + b"1]"
        self.assertEqual(self.show(lambda r: len(r.get_json()), "POST", large, "application/json"), "200001")

    def test_files(self) -> None:
        """Uploaded files are available."""
        body = (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="../../x"\r\n\r\ncontent\r\n'
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 600_000 + b"\r\n--b--\r\n"
        )
        got = self.show(
            lambda r: (r.files["f"].read(), len(r.form["a"])), "POST", body, "multipart/form-data; boundary=b"
        )
        self.assertEqual(got, repr((b"content", 600_000)))

    def test_unnamed_parts(self) -> None:
        """A raw handler that reads a form with a part without a name responds with 400; others read the body as it is."""

        class Plugin:
            @webhook(raw=True)
            async def form(self, request: Any) -> str:
                return str(request.form)

            @webhook(raw=True)
            async def data(self, request: Any) -> bytes:
                return bytes(request.get_data())

        self.serve(Plugin())
        for parameter in (b"x=y", b'filename="x"'):
            body = b"--b\r\nContent-Disposition: form-data; " + parameter + b"\r\n\r\n1\r\n--b--\r\n"
            response = self.ask("POST", "/form", body, "multipart/form-data; boundary=b")
            self.assertEqual(response.status, 400)
            self.assertIn("no name", response.text)
            self.assertEqual(self.ask("POST", "/data", body, "multipart/form-data; boundary=b").body, body)

    def test_what_else_is_known(self) -> None:
        """The request has method, path, headers, cookies, client, rule and limits."""

        class Plugin:
            @webhook("/raw/<int:n>", raw=True, methods=("GET",))
            async def raw(self, r: Any, n: int) -> list[Any]:
                return [
                    r.method, r.path, r.url, r.host, r.remote_addr, r.scheme, r.headers.get("x-a"), dict(r.cookies),
                    r.headers.get("X-Forwarded-For"), r.endpoint, r.url_rule.rule, r.view_args,
                    r.max_content_length, r.user_agent.string, r.environ["REQUEST_METHOD"], r.content_length,
                ]  # fmt: skip

        self.serve(Plugin())
        response = self.ask(
            "GET",
            "/raw/3?x=y",
            headers=[
                ("X-A", "1"),
                ("X-A", "2"),
                ("Cookie", "a=b"),
                ("Cookie", "c=d"),
                ("Host", "example.org:81"),
                ("X_Forwarded_For", "6.6.6.6"),
                ("User-Agent", "curl"),
            ],
        )
        self.assertEqual(
            response.json(),
            [
                "GET", "/raw/3", "http://example.org:81/raw/3?x=y", "example.org:81", "127.0.0.1", "http", "1,2",
                {"a": "b", "c": "d"}, None, "raw_GET", "/raw/<int:n>", {"n": 3}, 25 * 1024 * 1024, "curl", "GET", 0,
            ],
        )  # fmt: skip

    def test_after_the_client_has_gone(self) -> None:
        """A callback may use the request of a raw handler after the client has disconnected."""
        got: list[Any] = []
        waiting: Deferred[None] = Deferred()

        class Plugin:
            @webhook(raw=True)
            @on_reactor
            def raw(self, request: Any) -> Any:
                return waiting.addCallback(lambda _: got.append((request.get_json(), request.remote_addr)))

        self.serve(Plugin())
        connection = self.connect()
        connection.send(request("POST", "/raw", b'{"a": 1}', "Content-Type: application/json"))
        connection.channel.connectionLost()
        waiting.callback(None)
        self.assertEqual([body for body, _ in got], [{"a": 1}])


class ContextTests(WebCase):
    """`request`, `g` and `current_app` in the code that handles a request."""

    def test_everywhere(self) -> None:
        """Threads, coroutines, generators and callbacks get their own request, also of two at the same time."""
        gates: list[Deferred[None]] = []

        class Plugin:
            @webhook("/blocking/<n>")
            def blocking(self, payload: Any, n: str) -> str:
                return f"{flask.request.path} {request_id.get()}"

            @webhook("/coroutine/<n>")
            async def coroutine(self, payload: Any, n: str) -> str:
                flask.g.n = n
                gate: Deferred[None] = Deferred()
                gates.append(gate)
                await gate
                assert flask.g.n == n
                return f"{flask.request.path} {request_id.get()}"

            @webhook("/items/<n>")
            def items(self, payload: Any, n: str) -> Iterator[str]:
                yield flask.request.path
                yield f" {request_id.get()}"

        self.serve(Plugin())
        first, second = self.start("POST", "/coroutine/1"), self.start("POST", "/coroutine/2")
        gates[1].callback(None)
        gates[0].callback(None)
        for path, response in (
            ("/coroutine/1", self.successResultOf(first)),
            ("/coroutine/2", self.successResultOf(second)),
            ("/blocking/3", self.ask("POST", "/blocking/3")),
            ("/items/4", self.ask("POST", "/items/4")),
        ):
            self.assertEqual(response.text, f"{path} {response.header('X-Request-Id')}")
        self.assertFalse(flask.has_request_context())
        self.assertEqual(request_id.get(), "-")

    def test_outside(self) -> None:
        """Outside of a request, each use is an error that explains it."""
        error = self.assertRaises(RuntimeError, lambda: flask.request.path)
        self.assertIn("flask.request", str(error))
        self.assertRaises(RuntimeError, flask.after_this_request, print)
        self.assertRaises(RuntimeError, lambda: flask.current_app.config)
        self.assertFalse(flask.request)

    def test_own_threads(self) -> None:
        """A thread of the plugin gets the request with `copy_current_request_context`."""
        seen: list[str] = []

        class Plugin:
            @webhook
            def hook(self, payload: Any) -> str:
                @flask.copy_current_request_context
                def work() -> None:
                    seen.append(flask.request.path)

                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
                return "OK"

        self.serve(Plugin())
        self.ask("POST", "/hook")
        self.assertEqual(seen, ["/hook"])


class ResponseFunctionTests(WebCase):
    """Functions that create or change responses."""

    def answer_of(self, handle: Any, method: str = "POST", headers: Any = ()) -> Any:
        """Return the response of a handler that calls the function, in a thread and on the reactor."""

        class Plugin:
            @webhook
            def blocking(self, payload: Any) -> Any:
                return handle()

            @webhook
            async def coroutine(self, payload: Any) -> Any:
                return handle()

        self.serve(Plugin())
        first, second = (self.ask(method, path, headers=headers) for path in ("/blocking", "/coroutine"))
        varying = {"Date", "X-Request-Id"}
        self.assertEqual(
            (first.status, [pair for pair in first.headers if pair[0] not in varying], first.body),
            (second.status, [pair for pair in second.headers if pair[0] not in varying], second.body),
        )
        return second

    def test_after_this_request(self) -> None:
        """`after_this_request` changes or replaces the response, of every kind."""

        def handle(value: Any, change: Any) -> Any:
            def run() -> Any:
                flask.after_this_request(change)
                if isinstance(value, BaseException):
                    raise value
                return value

            return self.answer_of(run)

        def add_header(response: Any) -> None:
            response.headers["X-Powered-By"] = "Errbot"

        for value in ("OK", None, {"a": 1}, b"x", ("x", 201)):
            self.assertEqual(handle(value, add_header).header("X-Powered-By"), "Errbot", value)
        self.assertEqual(handle("OK", lambda response: flask.Response("other", 202)).status, 202)

        def aborts() -> Any:
            flask.after_this_request(add_header)
            flask.abort(403)

        response = self.answer_of(aborts)
        self.assertEqual((response.status, response.header("X-Powered-By")), (403, "Errbot"))

    def test_abort(self) -> None:
        """`abort` responds as in Flask."""
        response = self.answer_of(lambda: flask.abort(403, "Forbidden"))
        self.assertEqual(response.status, 403)
        self.assertEqual(response.header("Content-Type"), "text/html; charset=utf-8")
        self.assertIn("<title>403 Forbidden</title>", response.text)
        self.assertEqual(self.answer_of(lambda: flask.abort(flask.Response("mine", 418))).text, "mine")
        self.assertEqual(self.events.failed, [])

    def test_responses(self) -> None:
        """`jsonify`, `make_response`, `redirect` and cookies create responses as in Flask."""
        self.assertEqual(self.answer_of(lambda: flask.jsonify(b=1, a=[])).body, b'{"a":[],"b":1}\n')
        self.assertEqual(self.answer_of(lambda: flask.jsonify([])).body, b"[]\n")
        self.assertEqual(self.answer_of(lambda: (flask.jsonify(1, 2), 201)).body, b"[1,2]\n")
        redirected = self.answer_of(lambda: flask.redirect("/elsewhere"))
        self.assertEqual((redirected.status, redirected.header("Location")), (302, "/elsewhere"))

        def cookie() -> Any:
            response = flask.make_response("OK", 201)
            response.set_cookie("a", "b", httponly=True)
            return response

        made = self.answer_of(cookie)
        self.assertEqual((made.status, made.header("Set-Cookie")), (201, "a=b; HttpOnly; Path=/"))

    def test_streams(self) -> None:
        """Responses with a generator are streamed, and closed at the end."""
        closed: list[int] = []

        def stream() -> Any:
            def items() -> Iterator[str]:
                yield flask.request.path[:1]
                yield "b"

            response = flask.Response(flask.stream_with_context(items()), mimetype="text/plain")
            response.call_on_close(lambda: closed.append(1))
            return response

        response = self.answer_of(stream)
        self.assertEqual((response.body, response.header("Transfer-Encoding")), (b"/b", "chunked"))
        while len(closed) < 2:
            self.assertTrue(self.clock.turn())

    def test_files(self) -> None:
        """`send_file` sends a file completely or in part, and rejects paths outside of the directory."""
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory.absolute() / "data.txt"
        path.write_text("0123456789")
        whole = self.answer_of(lambda: flask.send_file(path), "GET")
        self.assertEqual((whole.body, whole.header("Content-Length")), (b"0123456789", "10"))
        self.assertTrue(str(whole.header("Content-Type")).startswith("text/plain"))
        self.assertIsNone(whole.header("Transfer-Encoding"))
        part = self.answer_of(lambda: flask.send_file(path, conditional=True), "GET", {"Range": "bytes=2-4"})
        self.assertEqual((part.status, part.body), (206, b"234"))
        memory = self.answer_of(lambda: flask.send_file(io.BytesIO(b"xyz"), "image/png"), "GET")
        self.assertEqual((memory.body, memory.header("Content-Type")), (b"xyz", "image/png"))
        out = self.answer_of(lambda: flask.send_from_directory(path.parent, "../setup.py"), "GET")
        self.assertEqual(out.status, 404)
        self.assertEqual(self.answer_of(lambda: flask.send_file(path), "HEAD").header("Content-Length"), "10")

    def test_urls(self) -> None:
        """`url_for` finds webhooks by the names of methods."""
        self.assertEqual(self.answer_of(lambda: flask.url_for("coroutine", a=1)).text, "/coroutine?a=1")
        self.assertEqual(self.answer_of(lambda: flask.url_for("Plugin:blocking")).text, "/blocking")
        external = self.answer_of(lambda: flask.url_for("blocking_POST_GET", _external=True, _anchor="x"))
        self.assertEqual(external.text, "http://localhost/blocking#x")

        def nothing() -> str:
            try:
                return flask.url_for("nothing")
            except LookupError as error:
                return str(error)

        self.assertIn("no webhook is named 'nothing'", self.answer_of(nothing).text)

    def test_application(self) -> None:
        """`current_app` has the attributes that handlers use."""

        def ask() -> Any:
            app = flask.current_app
            return [app.config.get("TESTING"), app.debug, app.json.dumps({"a": 1}), app.logger.name]

        self.assertEqual(self.answer_of(ask).json(), [False, False, '{"a": 1}', "errklein.web"])


class ModuleTests(SynchronousTestCase):
    """The module `flask`."""

    def test_names(self) -> None:
        """The module has all of its names."""
        for name in flask.__all__:
            self.assertTrue(hasattr(flask, name), name)
        self.assertEqual(str(flask.escape("<")), "&lt;")

    def test_no_application_of_its_own(self) -> None:
        """Routing with Flask is an error that names the alternative."""
        error = self.assertRaises(RuntimeError, flask.Flask("x").route, "/")
        self.assertIn("@webhook", str(error))

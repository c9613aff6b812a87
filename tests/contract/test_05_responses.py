"""Chapter 5: responses of webhooks."""

from __future__ import annotations

import threading
from typing import Any

from tests.contract.kit import decided
from tests.contract.webhooks import WebhookTest


class ResponseTests(WebhookTest):
    """Return values of handlers."""

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
        """A false value is an empty response with the status 200."""
        for name in ("none", "empty", "zero", "list", "dict"):
            answer = self.send("POST", f"/value/{name}")
            self.assertEqual((answer.status_code, answer.text), (200, ""), name)
            self.assertEqual(answer.headers["Content-Type"].replace(" ", "").lower(), "text/html;charset=utf-8")

    def test_values(self) -> None:
        """Strings and bytes are HTML, dicts and lists JSON, and tuples add a status and headers."""
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
        """A handler may also return headers, an iterator, a Response, an HTTPException or a WSGI application."""
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
        """`Response`, `jsonify`, `redirect` and `make_response` work as in Flask."""
        response = self.send("POST", "/made/response")
        self.assertEqual((response.status_code, response.text), (418, "teapot"))
        self.assertEqual(self.send("POST", "/made/json").json(), {"a": 1})
        elsewhere = self.send("POST", "/made/redirect")
        self.assertEqual((elsewhere.status_code, elsewhere.headers["Location"]), (302, "/elsewhere"))
        made = self.send("POST", "/made/other")
        self.assertEqual((made.status_code, made.headers["X-Made"]), (203, "yes"))

    def test_streamed(self) -> None:
        """The items of a generator are the body."""
        self.assertEqual(self.post("/streamed"), "ab")

    def test_aborted(self) -> None:
        """`abort` ends the handler with a status or with a response."""
        answer = self.send("POST", "/forbidden")
        self.assertEqual(answer.status_code, 403)
        self.assertIn("not for you", answer.text)
        answer = self.send("POST", "/own_answer")
        self.assertEqual((answer.status_code, answer.json()), (422, {"a": 1}))

    def test_afterwards(self) -> None:
        """`after_this_request` changes the response, and `request` is the current request."""
        self.assertEqual(self.send("POST", "/afterwards").headers["X-After"], "/afterwards")

    def test_errors(self) -> None:
        """An exception or an invalid return value leads to 500 without details."""
        for name in ("raised", "number", "true", "float", "set", "none", "one", "four", "object"):
            answer = self.send("POST", f"/wrong/{name}")
            self.assertEqual(answer.status_code, 500, name)
            self.assertNotIn("secret details", answer.text)

    @decided("NaN is sent")
    def test_no_json(self) -> None:
        """A value that JSON can't represent leads to 500."""
        self.assertEqual(self.send("POST", "/wrong/nan").status_code, 500)


class AsyncTests(WebhookTest):
    """Handlers declared with `async def`."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook
            async def later(self, payload):
                return "later"
        """

    @decided("a coroutine gets 500")
    def test_awaited(self) -> None:
        """The handler is awaited."""
        self.assertEqual(self.post("/later"), "later")


class ErrorPagesTests(WebhookTest):
    """Error responses."""

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
        """The response to `abort` is HTML as in Flask, whatever the sender accepts."""
        for headers in ({}, {"Accept": "application/json"}):
            answer = self.send("POST", "/refuse", headers=headers)
            self.assertEqual((answer.status_code, answer.headers["Content-Type"].split(";")[0]), (403, "text/html"))
            self.assertIn("not for you", answer.text)

    def test_raised(self) -> None:
        """A handler may raise an HTTPException."""
        answer = self.send("POST", "/teapot")
        self.assertEqual(answer.status_code, 418)
        self.assertIn("short and stout", answer.text)

    def test_context(self) -> None:
        """`g` and `current_app` are available."""
        self.assertEqual(self.post("/context"), "kept True")

    def test_send_file(self) -> None:
        """`send_file` sends a file."""
        answer = self.send("POST", "/sent")
        self.assertEqual((answer.text, answer.headers["Content-Type"].split(";")[0]), ("content", "text/x-mine"))

    def test_html(self) -> None:
        """Error pages are HTML for senders who accept it."""
        for verb, path in (("GET", "/nowhere"), ("PUT", "/fails"), ("GET", "/fails")):
            answer = self.send(verb, path, headers={"Accept": "text/html"})
            self.assertTrue(answer.headers["Content-Type"].startswith("text/html"), answer.headers)

    @decided("error pages have no request id")
    def test_html_names_the_request(self) -> None:
        """An error page contains the request id."""
        for verb, path in (("GET", "/nowhere"), ("PUT", "/fails"), ("GET", "/fails")):
            answer = self.send(verb, path, headers={"Accept": "text/html"})
            self.assertIn(answer.headers["X-Request-Id"], answer.text)

    def test_log(self) -> None:
        """An exception in a handler is logged with its traceback."""
        with self.assertLogs(level="ERROR") as logs:
            self.assertEqual(self.send("POST", "/fails").status_code, 500)
        self.assertIn("secret details", [str(record.exc_info[1]) for record in logs.records if record.exc_info])

    @decided("errors are always HTML")
    def test_problems(self) -> None:
        """For senders who accept JSON, errors are problems (RFC 9457) with the request id."""
        for verb, path, status in (("GET", "/nowhere", 404), ("PUT", "/fails", 405), ("GET", "/fails", 500)):
            answer = self.send(verb, path, headers={"Accept": "application/json"})
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
            self.assertEqual((answer.status_code, answer.json()["status"]), (status, status))
            self.assertTrue(answer.json()["request_id"])
            self.assertNotIn("secret", answer.text)

    @decided("administrators get no message")
    def test_admins_are_told(self) -> None:
        """Administrators get one message about a failing webhook, not one for each request."""
        self.post("/fails")
        self.post("/fails")
        told = [text for text in self.until_quiet() if "fails" in text]
        self.assertEqual(len(told), 1, told)
        self.assertIn("Tried", told[0])


class ParallelTests(WebhookTest):
    """Concurrent requests."""

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
        """Plain handlers run concurrently, each in its own thread."""
        names: list[Any] = []
        other = threading.Thread(target=lambda: names.append(self.send("POST", "/meet").text))
        other.start()
        names.append(self.send("POST", "/meet").text)
        other.join(10)
        self.assertEqual(len(set(names)), 2, names)
        self.assertNotIn(threading.main_thread().name, names)

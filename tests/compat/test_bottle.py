"""Webhooks that were written when errbot's requests were bottle's."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from errklein.compat.bottle_app import Bottle, bottle_app, rule_of
from errklein.compat.flask_routes import flask_routes
from errklein.testing import PluginTestCase, TestBot

SOURCE = """
    import bottle
    from bottle import HTTPResponse, abort, redirect, request, response, static_file
    from errbot import BotPlugin, webhook

    class Old(BotPlugin):
        @webhook(raw=True)
        def fields(self, req):
            return {
                "forms": [req.forms.get("a"), req.forms.a, req.forms.missing, req.forms.getall("a")],
                "query": [req.query.q, req.query.get("n", type=int), req.GET.get("none", "default")],
                "params": sorted(req.params.keys()),
                "header": [req.get_header("X-Token"), req.get_header("X-None", "no"), req.headers["X-Token"]],
                "cookie": [req.get_cookie("c"), req.get_cookie("d", "no")],
                "body": len(req.body.read()),
                "same": [request.forms.a, request.method, bottle.request.path, request.query_string],
            }

        @webhook(raw=True)
        def json(self, req):
            return {"json": request.json, "flask": req.get_json(silent=True)}

        @webhook("/args/<int:n>", raw=True)
        def args(self, req, n):
            return {"args": request.url_args, "auth": request.auth, "ajax": request.is_ajax, "host": request.urlparts.netloc}

        @webhook(raw=True)
        def answer(self, req):
            response.status = 202
            response.headers["X-One"] = "1"
            response.set_header("X-Two", 2)
            response.add_header("X-Many", "a")
            response.add_header("X-Many", "b")
            response.content_type = "text/plain; charset=utf-8"
            response.set_cookie("k", "v", path="/", httponly=True, max_age=5)
            return "taken"

        @webhook
        def phrase(self, payload):
            response.status = "418 Short and stout"
            return {"payload": payload}

        @webhook(raw=True)
        def aborts(self, req):
            response.headers["X-One"] = "1"
            abort(403, "not <you>")

        @webhook(raw=True)
        def raises(self, req):
            response.status = 202
            raise HTTPResponse({"a": 1}, 201, X_Made="yes")

        @webhook(raw=True)
        def returns(self, req):
            return HTTPResponse("gone", status="410 Gone away")

        @webhook(raw=True)
        def moves(self, req):
            response.set_cookie("k", "v")
            redirect("/elsewhere?x=1")

        @webhook("/file/<path:name>", raw=True)
        def file(self, req, name):
            return static_file(name, root=ROOT, download="other.txt" if req.query.d else False)

        @webhook
        def signs(self, payload):
            response.set_cookie("k", "v", secret="s")
"""


class BottleTests(SynchronousTestCase):
    """A plugin that imports bottle."""

    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "hello.txt").write_text("hello")
        (directory / "old.plug").write_text("[Core]\nName = Old\nModule = old\n")
        (directory / "old.py").write_text(f"ROOT = {str(directory)!r}\n{dedent(SOURCE)}")
        self.bot = TestBot(plugin_dirs=[directory])
        self.addCleanup(self.bot.stop)
        self.bot.start()

    def get(self, url: str, **request):
        return self.successResultOf(self.bot.get(url, **request))

    def post(self, url: str, **request):
        return self.successResultOf(self.bot.post(url, **request))

    def test_the_request(self) -> None:
        """Fields, query, headers, cookies and body are where bottle has them, in the handler's own request and the
        module's."""
        answer = self.post(
            "/fields?q=why&n=3",
            data=b"a=1&a=2",
            headers={
                "X-Token": "t",
                "Cookie": "c=cookie",
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        self.assertEqual(
            answer.json(),
            {
                "forms": ["2", "2", "", ["1", "2"]],
                "query": ["why", 3, "default"],
                "params": ["a", "n", "q"],
                "header": ["t", "no", "t"],
                "cookie": ["cookie", "no"],
                "body": 7,
                "same": ["2", "POST", "/fields", "q=why&n=3"],
            },
        )

    def test_json(self) -> None:
        """JSON is decoded if it is sent as JSON; else there is none, and what is broken is 400."""
        self.assertEqual(self.post("/json", json={"a": 1}).json(), {"json": {"a": 1}, "flask": {"a": 1}})
        self.assertEqual(self.post("/json", data=b'{"a": 1}').json()["json"], None)
        broken = self.post("/json", data=b"{", headers={"Content-Type": "application/json"})
        self.assertEqual((broken.status, "Invalid JSON" in broken.text), (400, True))

    def test_captures_and_the_like(self) -> None:
        """Captures, credentials and the URL's parts."""
        headers = {"Authorization": "Basic dTpw", "X-Requested-With": "XMLHttpRequest", "Host": "example.org"}
        self.assertEqual(
            self.get("/args/4", headers=headers).json(),
            {"args": {"n": 4}, "auth": ["u", "p"], "ajax": True, "host": "example.org"},
        )

    def test_the_answer(self) -> None:
        """What is set on `response` holds for what the handler returns."""
        answer = self.get("/answer")
        self.assertEqual((answer.status, answer.text), (202, "taken"))
        self.assertEqual((answer.header("X-One"), answer.header("X-Two")), ("1", "2"))
        self.assertEqual([value for name, value in answer.headers if name == "X-Many"], ["a", "b"])
        self.assertEqual(answer.header("Content-Type"), "text/plain; charset=utf-8")
        cookie = answer.header("Set-Cookie") or ""
        self.assertTrue(cookie.startswith("k=v; ") and cookie.endswith("Max-Age=5; HttpOnly; Path=/"), cookie)
        phrase = self.post("/phrase", json=[1])
        self.assertEqual((phrase.status, phrase.json()), (418, {"payload": [1]}))

    def test_abort(self) -> None:
        """`abort` answers with a page that shows the text, escaped, and nothing that was set before."""
        answer = self.get("/aborts")
        self.assertEqual((answer.status, answer.header("X-One")), (403, None))
        self.assertIn("not &lt;you&gt;", answer.text)

    def test_http_response(self) -> None:
        """An HTTPResponse is an answer, raised or returned."""
        raised = self.get("/raises")
        self.assertEqual((raised.status, raised.json(), raised.header("X-Made")), (201, {"a": 1}, "yes"))
        returned = self.get("/returns")
        self.assertEqual((returned.status, returned.text), (410, "gone"))

    def test_redirect(self) -> None:
        """A redirection is absolute, and asks for GET."""
        answer = self.get("/moves", headers={"Host": "example.org"})
        self.assertEqual((answer.status, answer.header("Location")), (303, "http://example.org/elsewhere?x=1"))
        self.assertEqual(answer.header("Set-Cookie"), "k=v; Path=/")

    def test_files(self) -> None:
        """A file below the root is sent, nothing else."""
        self.assertEqual(self.get("/file/hello.txt").text, "hello")
        self.assertIn("other.txt", self.get("/file/hello.txt?d=1").header("Content-Disposition") or "")
        self.assertEqual(self.get("/file/none.txt").status, 404)
        self.assertIn(self.get("/file/../../etc/passwd").status, (400, 404))

    def test_signed_cookies(self) -> None:
        """Signed cookies aren't offered; whoever wants one finds out."""
        self.assertEqual(self.get("/signs").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(NotImplementedError)), 1)

    def test_outside_of_requests(self) -> None:
        """Without a request it says so."""
        from errklein.compat import bottle

        error = self.assertRaises(RuntimeError, lambda: bottle.request.forms)
        self.assertIn("bottle.request.forms", str(error))
        self.assertRaises(RuntimeError, bottle.run)


class AppTests(PluginTestCase):
    """bottle's applications."""

    def test_routes(self) -> None:
        """Functions are put on the server, by decorators or callbacks."""
        self.addCleanup(flask_routes.clear)
        bottle_app.route("/old/:name", callback=lambda name: f"old {name}", name="old")
        app = Bottle()

        @app.post("/new/<n:int>")
        def new(n: int) -> str:
            return f"new {n + 1}"

        @app.route
        def named() -> str:
            return "by name"

        self.assertEqual(self.get("/old/one").text, "old one")
        self.assertEqual(self.post("/new/3").text, "new 4")
        self.assertEqual(self.get("/new/3").status, 405)
        self.assertEqual(self.get("/named").text, "by name")

    def test_rules(self) -> None:
        """Both of bottle's ways to write variables."""
        for path, rule in (
            ("/a", "/a"),
            ("/a/:b/c", "/a/<b>/c"),
            ("/a/:b#[0-9]+#", "/a/<b>"),
            ("/<a>/<b:int>/<c:path>/<d:re:[a-z]+>", "/<a>/<int:b>/<path:c>/<d>"),
        ):
            self.assertEqual(rule_of(path), rule)

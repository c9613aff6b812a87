"""Each sentence and each example of errbot's chapter on webhooks, by HTTP."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from twisted.internet.defer import Deferred

from tests.processes import environment, free_port
from tests.real_bot import FIXTURES, RealBotCase, post, request

FORM = "application/x-www-form-urlencoded"
PASTED = (FIXTURES / "webhook_test_github.txt").read_text().rstrip("\n")


class ConfigurationTests(RealBotCase):
    """“You must configure the Webserver plugin before this functionality can be used.”"""

    fixtures = ("simple",)

    async def test_nothing_listens_before(self) -> None:
        """Without a configuration nothing listens, and the plugin's commands are unknown."""
        self.assertEqual(self.bot.web.listeners.open_now, [])
        self.assertIn('"webstatus" not found', await self.command("!webstatus"))

    async def test_template_can_be_pasted(self) -> None:
        """“!plugin config Webserver” displays a template that can be edited and sent back."""
        shown = await self.command("!plugin config Webserver")
        pasted = shown[shown.index("!plugin config Webserver {") : shown.rindex("}") + 1]
        template = ast.literal_eval(pasted.removeprefix("!plugin config Webserver "))
        self.assertEqual((template["HOST"], template["PORT"], template["SSL"]["port"]), ("0.0.0.0", 3141, 3142))
        port = free_port()
        pasted = pasted.replace("3141", str(port)).replace("0.0.0.0", "127.0.0.1")
        self.assertEqual(await self.command(pasted), "Plugin configuration done.")
        self.assertEqual((await post(port, "/test/")).text, "OK")

    async def test_errbots_own_template(self) -> None:
        """A configuration written for errbot, without ENDPOINTS or SSL, is accepted."""
        port = await self.configure()
        self.assertEqual((await post(port, "/test/")).status, 200)


class SimpleTests(RealBotCase):
    """14.1, the first example: a bare @webhook."""

    fixtures = ("simple",)

    async def test_default_rule(self) -> None:
        """A bare @webhook handles POST requests to /<name>/, and its return value is the body."""
        port = await self.configure()
        for path in ("/test/", "/test"):
            answer = await post(port, path)
            self.assertEqual((answer.status, answer.text), (200, "OK"))
        self.assertEqual((await post(port, "/nowhere")).status, 404)


class RuleTests(RealBotCase):
    """14.1, the second example: a rule with variables."""

    fixtures = ("uri_rule",)

    async def test_captures(self) -> None:
        """The variables of the rule are the method's arguments."""
        port = await self.configure()
        answer = await post(port, "/example/gbin/jump/")
        self.assertEqual((answer.status, answer.text), (200, "User gbin is performing jump"))
        self.assertEqual((await post(port, f"/example/{quote('Zoë')}/x")).text, "User Zoë is performing x")
        self.assertEqual((await post(port, "/example/gbin/")).status, 404)


class AnswersTests(RealBotCase):
    """Sentences of the chapter without an example."""

    fixtures = ("answers",)

    async def setUp(self) -> None:
        """Configure the web server."""
        await super().setUp()
        self.port = await self.configure()

    async def test_none_is_an_empty_200(self) -> None:
        """“If you return None, an empty 200 response will be sent.”"""
        answer = await post(self.port, "/nothing")
        self.assertEqual((answer.status, answer.body, answer.headers["Content-Length"]), (200, b"", "0"))

    async def test_syntax_of_routes(self) -> None:
        """Converters and methods can be given."""
        self.assertEqual((await request(self.port, "GET", "/item/41/a/b")).text, "42 a/b")
        self.assertEqual((await request(self.port, "GET", "/item/x/a")).status, 404)
        refused = await post(self.port, "/item/41/a")
        self.assertEqual(refused.status, 405)
        self.assertIn("GET", refused.headers["Allow"])

    async def test_json_is_decoded(self) -> None:
        """A body with the type application/json is decoded."""
        for value in ({"a": [1, None, "ä"]}, [], {}, 0, "text", None):
            answer = await post(self.port, "/received", json.dumps(value), "application/json")
            self.assertEqual(json.loads(answer.body), {"kind": type(value).__name__, "value": value})
        text = await post(self.port, "/received", "hello", "text/plain")
        self.assertEqual(json.loads(text.body), {"kind": "str", "value": "hello"})

    async def test_broken_json(self) -> None:
        """A malformed body with the type application/json gets 400 with the position."""
        answer = await post(self.port, "/received", '{"a": }', "application/json")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.headers.get_content_type(), "application/problem+json")
        self.assertIn("column 7", answer.text)

    async def test_form_param(self) -> None:
        """The method gets the decoded value of the field; without it the response names the field."""
        answer = await post(self.port, "/form/", "payload=%7B%22a%22%3A1%7D&other=2", FORM)
        self.assertEqual(json.loads(answer.body), {"kind": "dict", "value": {"a": 1}})
        answer = await post(self.port, "/form/", "payload=hello", FORM)
        self.assertEqual(json.loads(answer.body), {"kind": "str", "value": "hello"})
        missing = await post(self.port, "/form/", "other=2", FORM)
        self.assertEqual(missing.status, 400)
        self.assertIn("payload", missing.text)

    async def test_raw_request(self) -> None:
        """The method gets “all the details about the actual request”, which is `flask.request`."""
        headers = {"X-Number": "7", "Content-Type": "text/plain"}
        answer = await request(self.port, "PUT", "/everything", "x", headers)
        self.assertEqual(answer.status, 405)
        answer = await request(self.port, "POST", "/everything?q=1&q2=%C3%A4", "b\u00f6dy", headers)
        self.assertEqual(
            json.loads(answer.body),
            {"kind": "LocalProxy", "method": "POST", "query": {"q": "1", "q2": "ä"}, "data": "b\u00f6dy", "same": True},
        )

    async def test_cookie_and_status(self) -> None:
        """Cookies and status codes can be set on Flask's response."""
        answer = await post(self.port, "/cookie")
        self.assertEqual((answer.status, answer.text), (201, "made"))
        self.assertIn("seen=yes", answer.headers["Set-Cookie"])

    async def test_plugins_get_our_flask(self) -> None:
        """A plugin's `import flask` returns errklein's, with or without an installed Flask; other code gets the real
        one.
        """
        self.assertEqual((await post(self.port, "/whose_flask")).text, "errklein.compat.flask")
        script = (
            "import errklein.compat; errklein.compat.install(); import flask, errbot;"
            "print(flask.__name__ != 'flask', type(errbot).__name__ == 'FacadeModule')"
        )
        # A separate process, since other tests may have imported the packages.
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment()
        )
        expected = [str(not _is_installed(name)) for name in ("flask", "errbot")]
        self.assertEqual(done.stdout.split(), expected)

    async def test_real_flask_beside_plugins(self) -> None:
        """If Flask is installed, applications of other libraries work beside plugins that use errklein's."""
        if not _is_installed("flask"):
            self.assertRaises(PackageNotFoundError, version, "flask")
            return
        import flask

        application = flask.Flask("other")
        application.add_url_rule("/", view_func=lambda: flask.jsonify(by=flask.__name__, host=flask.request.host))
        served = application.test_client().get("/").get_json()
        self.assertEqual(served, {"by": "flask", "host": "localhost"})
        self.assertEqual((await post(self.port, "/whose_flask")).text, "errklein.compat.flask")


class GithubTests(RealBotCase):
    """14.3 and 14.6: a form that leads to messages in rooms."""

    fixtures = ("github", "simple")

    async def test_commit_is_told_in_each_room(self) -> None:
        """GitHub's webhook leads to one message in each room of CHATROOM_PRESENCE."""
        port = await self.configure()
        body = "payload=" + quote(json.dumps({"repository": {"name": "errklein"}}))
        answer = await post(port, "/github/", body, FORM)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(self._told(), [("#ops", "Commit on errklein!"), ("#dev", "Commit on errklein!")])

    async def test_webhook_test(self) -> None:
        """“!webhook test /test” tests a webhook without an HTTP request."""
        await self.configure()
        report = await self.command("!webhook test /test")
        for part in ("Test Report", "URL: /test", "Detected your post as: text/plain", "Status code: 200", "OK"):
            self.assertIn(part, report)

    async def test_long_example_as_it_stands(self) -> None:
        """The chapter's long command, copied unchanged, reports the commit."""
        await self.configure()
        *told, report = await self.say(PASTED, replies=3)
        self.assertEqual(told, ["Commit on test!"] * 2)
        self.assertEqual(self._told(), [("#ops", "Commit on test!"), ("#dev", "Commit on test!")])
        self.assertIn(f"Detected your post as: {FORM}", report)
        self.assertIn("Status code: 200", report)

    async def test_webstatus(self) -> None:
        """“You can get a list of all the endpoints with the !webstatus command.”"""
        port = await self.configure()
        status = await self.command("!webstatus", frm="@anybody")
        for part in ("/echo", "/github", "/test", f"tcp:{port}:interface=127.0.0.1"):
            self.assertIn(part, status)

    def _told(self) -> list[tuple[str, str]]:
        return [(str(sent.message.to), sent.text) for sent in self.backend.sent if str(sent.message.to).startswith("#")]


class RawTests(RealBotCase):
    """14.4: the raw request."""

    fixtures = ("raw",)

    async def test_user_agent(self) -> None:
        """The request's headers can be read."""
        port = await self.configure()
        self.assertEqual((await post(port, "/test/", User_Agent="curl/8")).text, "Your user-agent is curl/8")
        self.assertEqual((await post(port, "/test")).text, "Your user-agent is Unknown")


class HeaderTests(RealBotCase):
    """14.5, the first example: `after_this_request`."""

    fixtures = ("header",)

    async def test_custom_header(self) -> None:
        """`after_this_request` changes the response."""
        answer = await post(await self.configure(), "/example/")
        self.assertEqual((answer.status, answer.text, answer.headers["X-Powered-By"]), (200, "OK", "Errbot"))


class ForbiddenTests(RealBotCase):
    """14.5, the second example: `abort`."""

    fixtures = ("forbidden",)

    async def test_abort(self) -> None:
        """`abort` sends its status and description."""
        answer = await post(await self.configure(), "/example/")
        self.assertEqual(answer.status, 403)
        self.assertIn("Forbidden", answer.text)


class CertificateTests(RealBotCase):
    """“There is a !generate certificate command to generate a self-signed certificate.”"""

    fixtures = ("simple",)

    async def test_https(self) -> None:
        """With the configuration that !generate certificate recommends, HTTPS works with the new certificate."""
        port = await self.configure()
        *_, recommended = await self.say("!generate certificate", replies=4)
        configuration = ast.literal_eval(recommended.strip())
        tls_port = configuration["SSL"]["port"] = free_port()
        done = await self.command(f"!plugin config Webserver {configuration!r}")
        self.assertEqual(done, "Plugin configuration done.")
        certificate = Path(configuration["SSL"]["certificate"])
        answer = await request(tls_port, "POST", "/test/", certificate=certificate)
        self.assertEqual((answer.status, answer.text), (200, "OK"))
        # HTTPS replaces HTTP, as in errbot.
        refused = Deferred.fromCoroutine(request(port, "POST", "/test/"))
        await self.assertFailure(refused, ConnectionRefusedError)


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True

"""Tests for the webhook client."""

from __future__ import annotations

from typing import Any

from errklein import BotPlugin, webhook
from errklein.testing import PluginTestCase


class Mirror(BotPlugin):
    """Returns the details of each request."""

    @webhook("/mirror", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], raw=True)
    def mirror(self, request: Any) -> Any:
        seen = {
            "method": request.method,
            "type": request.mimetype,
            "args": dict(request.args),
            "form": dict(request.form),
            "body": request.get_data(as_text=True),
            "cookies": dict(request.cookies),
            "header": request.headers.get("X-Test"),
        }
        return seen, {"X-Method": request.method}


class WebhookClientTests(PluginTestCase):
    """The requests that the arguments create."""

    plugins = (Mirror,)

    def seen(self, method: str, url: str = "/mirror", **request: Any) -> dict[str, Any]:
        """Return the details of the request that the plugin got."""
        seen: dict[str, Any] = self.successResultOf(self.bot.request(method, url, **request)).json()
        return seen

    def test_one_request(self) -> None:
        """A method or header with line ends is an error, so that it can't add a second request."""
        for request in (
            {"method": "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"},
            {"method": ""},
            {"method": "GET", "headers": {"X": "1\r\nY: 2"}},
        ):
            self.assertRaises(ValueError, self.bot.bot.web.request, url="/mirror", **request)

    def test_json(self) -> None:
        """`json` is sent as JSON, even if it is None."""
        self.assertEqual(self.seen("POST", json={"a": [1]})["body"], '{"a": [1]}')
        self.assertEqual(self.seen("POST", json=None)["body"], "null")
        self.assertEqual(self.seen("POST", json={})["type"], "application/json")

    def test_form(self) -> None:
        """`data` is sent as a form if it is a mapping."""
        seen = self.seen("POST", data={"payload": "a&b=ü"})
        self.assertEqual(seen["form"], {"payload": "a&b=ü"})
        self.assertEqual(seen["type"], "application/x-www-form-urlencoded")

    def test_other_data(self) -> None:
        """Text and bytes are sent as they are, without a media type."""
        for data in ("grüße", "grüße".encode()):
            seen = self.seen("PUT", data=data)
            self.assertEqual((seen["body"], seen["type"], seen["method"]), ("grüße", "", "PUT"))

    def test_json_and_data(self) -> None:
        """`json` and `data` together are an error."""
        self.assertRaises(TypeError, self.bot.post, "/mirror", json=1, data="x")

    def test_query(self) -> None:
        """`params` are added to the query of the URL."""
        self.assertEqual(self.seen("GET", "/mirror?a=1", params={"b": "2 &"})["args"], {"a": "1", "b": "2 &"})
        self.assertEqual(self.seen("GET", "/mirror", params={"b": "2"})["args"], {"b": "2"})

    def test_headers_and_cookies(self) -> None:
        """Given headers replace those that would be added."""
        seen = self.seen("POST", json=1, headers={"content-type": "text/x", "X-Test": "yes"}, cookies={"id": "7"})
        self.assertEqual((seen["type"], seen["header"], seen["cookies"]), ("text/x", "yes", {"id": "7"}))

    def test_answer(self) -> None:
        """A response has status, reason, headers, and the body as bytes, text and JSON."""
        answer = self.get("/mirror")
        self.assertEqual((answer.status, answer.reason), (200, "OK"))
        self.assertEqual(answer.header("content-TYPE"), "application/json")
        self.assertIsNone(answer.header("X-Nothing"))
        self.assertEqual(answer.body.decode(), answer.text)
        self.assertEqual(answer.json()["method"], "GET")

    def test_each_method_has_a_call(self) -> None:
        """The client, the bot and the test case have a method for each HTTP method."""
        client = self.bot._client
        for method in ("get", "head", "post", "put", "patch", "delete", "options"):
            for response in (
                self.successResultOf(getattr(client, method)("/mirror", headers={"X-Test": method})),
                self.successResultOf(getattr(self.bot, method)("/mirror", headers={"X-Test": method})),
                getattr(self, method)("/mirror", headers={"X-Test": method}),
            ):
                self.assertEqual(response.header("X-Method"), method.upper())
                body = "" if method == "head" else method
                self.assertEqual(response.text and response.json()["header"], body)

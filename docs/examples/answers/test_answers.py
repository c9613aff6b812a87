import json
from pathlib import Path

from errklein.testing import PluginTestCase

FORM = "application/x-www-form-urlencoded"


class AnswersTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def got(self, body, content_type="", url="/got"):
        """What the handler gets for a body."""
        return self.post(url, data=body, headers={"Content-Type": content_type} if content_type else {})

    def test_payloads(self):
        """The guide's table of payloads."""
        for body, content_type, payload in (
            ('{"a": 1}', "application/json", {"a": 1}),
            ('{"a": 1}', "text/plain", {"a": 1}),
            ("[]", "application/json", []),
            ("not JSON", "text/plain", "not JSON"),
            ("a=1&b=&a=2", FORM, {"a": "1", "b": ""}),
            ("", "application/json", ""),
        ):
            self.assertEqual(self.got(body, content_type).text, repr(payload), body)

    def test_refused_payloads(self):
        """The rows of the table that end in a refusal."""
        for body, content_type, status in (
            ("{", "application/json", 400),
            ("{", "application/vnd.x+json; charset=utf-8", 400),
            (b"\xff", "text/plain", 400),
            ("x", "text/plain; charset=klingon", 415),
        ):
            self.assertEqual(self.got(body, content_type).status, status, body)
        self.assertEqual(self.got("{", "text/plain").text, repr("{"))

    def test_form_param(self):
        """A field is decoded if it is JSON, and has to be there."""
        self.assertEqual(self.post("/field", data={"payload": '{"a": 1}'}).text, "{'a': 1}")
        self.assertEqual(self.post("/field", data={"payload": "text"}).text, "'text'")
        self.assertEqual(self.post("/field", data={"other": "1"}).status, 400)
        self.assertEqual(self.post("/field", json={"payload": 1}).status, 400)

    def test_answers(self):
        """Status, headers, cookies, JSON and streams arrive."""
        self.assertEqual(self.get("/users/12/").json(), {"number": 12, "name": "nobody"})
        self.assertEqual(self.get("/users/twelve").status, 404)
        answer = self.post("/created")
        self.assertEqual((answer.status, answer.text, answer.header("Location")), (201, "made\n", "/users/7"))
        self.assertEqual(self.get("/created").status, 405)
        self.assertEqual(self.get("/refused").status, 403)
        self.assertEqual(self.get("/refused", headers={"X-Token": "letmein"}).json(), {"welcome": True})
        answer = self.get("/counted", cookies={"visits": "2"})
        self.assertEqual((answer.text, answer.header("Set-Cookie")), ("visit 3", "visits=3; Path=/"))
        self.assertEqual(self.get("/elsewhere").header("Location"), "https://example.com/")
        self.assertEqual(self.get("/lines").text, "one\ntwo\n")

    def test_exact(self):
        """A raw handler sees the request; its limit is its own."""
        seen = {"bytes": 3, "verb": "POST", "query": "x"}
        self.assertEqual(json.loads(self.post("/exact?q=x", data="abc").text), seen)
        self.assertEqual(self.post("/exact", data="a" * 101).status, 413)

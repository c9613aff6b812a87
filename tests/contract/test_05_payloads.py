"""Chapter 5: the payload of a webhook."""

from __future__ import annotations

from tests.contract.kit import decided
from tests.contract.webhooks import WebhookTest


class PayloadTests(WebhookTest):
    """The payload that the handler gets."""

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
        """A JSON body is decoded, whatever its media type."""
        for content_type in ("application/json", "text/plain", "application/octet-stream", None):
            self.assertEqual(self.post("/seen", b'{"a": 1}', content_type), "{'a': 1}")
        self.assertEqual(self.post("/seen", b" [1] "), "[1]")
        self.assertEqual(self.post("/seen", b'"s"'), "'s'")
        self.assertEqual(self.post("/seen", b"NaN"), "nan")
        for text, value in ((b"-1", "-1"), (b"true", "True"), (b'"\\u00e4"', "'ä'"), (b'{"a": 1, "a": 2}', "{'a': 2}")):
            self.assertEqual(self.post("/seen", text), value)

    def test_text(self) -> None:
        """Any other body is a string."""
        self.assertEqual(self.post("/seen", b"a=1&b=2", "text/plain"), "'a=1&b=2'")
        self.assertEqual(self.post("/seen", b"{bad", "text/plain"), "'{bad'")
        self.assertEqual(self.post("/seen", " ä\n".encode()), r"' ä\n'")

    def test_nothing(self) -> None:
        """Without a body the payload is an empty string; the query is ignored."""
        self.assertEqual(self.post("/seen"), "''")
        self.assertEqual(self.send("GET", "/seen?a=1").text, "''")

    @decided("false JSON values arrive as text")
    def test_false_json(self) -> None:
        """False JSON values, such as `{}` and `null`, are decoded as well."""
        for text, value in (("{}", "{}"), ("[]", "[]"), ("0", "0"), ("false", "False"), ("null", "None")):
            self.assertEqual(self.post("/seen", text.encode(), "application/json"), value)

    @decided("the payload of a form without form_param is ''")
    def test_form(self) -> None:
        """A form is a dict of its fields."""
        self.assertEqual(self.post("/seen", {"a": "1"}), "{'a': '1'}")

    @decided("malformed JSON arrives as text")
    def test_malformed_json(self) -> None:
        """Malformed JSON with a JSON media type gets the response 400."""
        self.assertEqual(
            self.send("POST", "/seen", data=b"{bad", headers={"Content-Type": "application/json"}).status_code, 400
        )

    @decided("text that isn't UTF-8 gets 500")
    def test_wrong_charset(self) -> None:
        """A text that isn't valid in its charset gets the response 400."""
        self.assertEqual(
            self.send("POST", "/seen", data=b"\xff\xfe", headers={"Content-Type": "text/plain"}).status_code, 400
        )

    def test_form_param(self) -> None:
        """With `form_param` the payload is the value of that field, decoded if it is JSON."""
        self.assertEqual(self.post("/param", {"payload": '{"a": 1}'}), "{'a': 1}")
        self.assertEqual(self.post("/param", {"payload": "text"}), "'text'")
        self.assertEqual(self.post("/param", {"payload": ""}), "''")
        for text, value in (("0", "0"), ("{}", "{}"), ("null", "None"), ("false", "False"), ('""', "''")):
            self.assertEqual(self.post("/param", {"payload": text}), value)
        answer = self.send("POST", "/param", files={"payload": (None, '{"b": 2}')})
        self.assertEqual(answer.text, "{'b': 2}")

    @decided("a missing form_param gets 500")
    def test_missing_form_param(self) -> None:
        """A request without the field gets the response 400."""
        self.assertEqual(self.send("POST", "/param", data={"other": "x"}).status_code, 400)
        self.assertEqual(self.send("GET", "/param?payload=x").status_code, 400)

    def test_raw(self) -> None:
        """With `raw=True` the handler gets Flask's request as a LocalProxy."""
        seen = self.send("POST", "/whole?q=1", data=b"body", headers={"X-Test": "yes"}).text
        self.assertEqual(seen, repr(("LocalProxy", "POST", "/whole", b"body", "yes", "1", False)))

    def test_raw_form(self) -> None:
        """`request.form` and `request.values` have the form's fields."""
        self.assertEqual(self.post("/form", {"a": "1"}), repr([("a", "1"), ("a", "1")]))

    def test_raw_json(self) -> None:
        """`request.json` and `request.cookies` are parsed; invalid JSON gets 400, another media type 415."""
        answer = self.send("POST", "/parsed", json={"a": 1}, cookies={"c": "d"})
        self.assertEqual(answer.text, repr(({"a": 1}, {"a": 1}, "d", "127.0.0.1")))
        for body, kind, status in ((b"{bad", "application/json", 400), (b"[1]", "text/plain", 415)):
            answer = self.send("POST", "/parsed", data=body, headers={"Content-Type": kind})
            self.assertEqual(answer.status_code, status, kind)


class BodiesTests(WebhookTest):
    """Bodies by media type."""

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
        """An empty body is an empty string, whatever its media type."""
        self.assertEqual(self.post("/seen", b"", "application/json"), "''")
        self.assertEqual(self.post("/seen", b"", "text/plain"), "''")

    def test_form_param(self) -> None:
        """With `form_param`, the query and other fields are ignored, and a value that isn't JSON is a string."""
        answer = self.send("POST", "/param?k=query", data={"k": "field", "other": "x"})
        self.assertEqual(answer.text, "'field'")
        self.assertEqual(self.post("/param", {"k": "[1, {bad"}), "'[1, {bad'")
        self.assertEqual(self.post("/param", {"k": "5"}), "5")

    @decided("the payload is ''")
    def test_multipart(self) -> None:
        """A multipart form is a dict of its fields."""
        answer = self.send("POST", "/seen", files={"a": (None, "1"), "b": (None, "2")})
        self.assertEqual(answer.text, "{'a': '1', 'b': '2'}")

    @decided("the charset is ignored")
    def test_charset(self) -> None:
        """A body is decoded by its declared charset."""
        self.assertEqual(self.post("/seen", "ä".encode("latin-1"), "text/plain; charset=latin-1"), "'ä'")

    @decided("the charset is ignored")
    def test_unknown_charset(self) -> None:
        """An unknown charset gets the response 415."""
        answer = self.send("POST", "/seen", data=b"x", headers={"Content-Type": "text/plain; charset=nothing"})
        self.assertEqual(answer.status_code, 415)

    @decided("the payload is text")
    def test_other_json(self) -> None:
        """For a JSON media type, malformed JSON gets 400 as a problem (RFC 9457) with the position of the error."""
        for kind in ("application/json", "application/vnd.x+json"):
            answer = self.send("POST", "/seen", data=b'{"a":\n oh}', headers={"Content-Type": kind})
            self.assertEqual((answer.status_code, answer.headers["Content-Type"]), (400, "application/problem+json"))
            self.assertIn("line 2", answer.json()["detail"])

    @decided("the response is 500")
    def test_missing_field_is_named(self) -> None:
        """The response to a missing field names the field."""
        answer = self.send("POST", "/param", data={"other": "x"})
        self.assertEqual(answer.status_code, 400)
        self.assertIn("k", answer.text)


class LimitsTests(WebhookTest):
    """Limits for the size of a request and the time of a handler."""

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
        """A body larger than WEBHOOK_MAX_BODY gets the response 413."""
        self.assertEqual(self.post("/seen", b"x" * 1000, "text/plain"), "1000")
        answer = self.send("POST", "/seen", data=b"x" * 1001, headers={"Content-Type": "text/plain"})
        self.assertEqual(answer.status_code, 413)

    @decided("there is no limit")
    def test_time(self) -> None:
        """After WEBHOOK_TIMEOUT the sender gets 504, and the handler still runs to its end."""
        tried = self.instance()
        try:
            self.assertEqual(self.send("POST", "/waits", timeout=0.5).status_code, 504)
        finally:
            tried.go_on.set()
        self.assertTrue(tried.over.wait(30))

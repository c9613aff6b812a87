"""Bodies that aren't what they say, one test for each row of the table of faults."""

from __future__ import annotations

import tempfile
import threading
from typing import Any

from errklein.web import WebSettings
from errklein.web import request as web_request
from errklein.webhooks import webhook
from tests.web.kit import WebCase, request, status_of

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Echo:
    """A plugin that says what it got."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    @webhook
    async def quick(self, payload: Any) -> str:
        self.got.append(payload)
        return repr(payload)

    @webhook
    def blocking(self, payload: Any) -> str:
        self.got.append(payload)
        return threading.current_thread().name

    @webhook(form_param="payload")
    async def form(self, payload: Any) -> str:
        return repr(payload)

    @webhook(max_body=100)
    async def small(self, payload: Any) -> str:
        return "OK"

    @webhook(raw=True)
    async def raw(self, request: Any) -> str:
        return f"{request.method} {request.get_data()!r} {request.content_type}"


class BodyFaultTests(WebCase):
    """Each bad body gets its answer, and no plugin sees it."""

    settings = WebSettings(max_body=100_000)

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.plugin = Echo()
        self.serve(self.plugin)

    def refused(self, status: int, body: bytes, content_type: str = JSON, path: str = "/quick") -> str:
        """Assert that the body is refused, by both kinds of handlers; returns the sentence for the sender."""
        paths = ("/quick", "/blocking") if path == "/quick" else (path,)
        detail = ""
        for each in paths:
            response = self.ask("POST", each, body, content_type, {"Accept": JSON})
            self.assertEqual(response.status, status, response.text)
            self.assertEqual(response.header("Content-Type"), "application/problem+json")
            problem = response.json()
            self.assertEqual(problem["status"], status)
            self.assertEqual(problem["request_id"], response.header("X-Request-Id"))
            detail = problem["detail"]
        self.assertEqual(self.plugin.got, [])
        self.assertEqual(self.events.failed, [])
        return detail

    def test_invalid_json_gets_400(self) -> None:
        """400 with the position, as problem+json, and the plugin isn't called."""
        self.assertIn("line 1, column 6 (character 5)", self.refused(400, b'{"a":'))

    def test_empty_body_is_the_empty_string(self) -> None:
        """An empty body stays the empty string, as in errbot."""
        for path in ("/quick", "/blocking"):
            self.assertEqual(self.ask("POST", path, b"", JSON).status, 200)
        self.assertEqual(self.plugin.got, ["", ""])

    def test_declared_charset_decodes_json(self) -> None:
        """JSON is decoded by its declared charset, and one that is unknown is refused with 415."""
        response = self.ask("POST", "/quick", '{"a": "é"}'.encode("latin-1"), f"{JSON}; charset=iso-8859-1")
        self.assertEqual(response.text, "{'a': 'é'}")
        self.plugin.got.clear()
        self.assertIn("klingon", self.refused(415, b"{}", f"{JSON}; charset=klingon"))

    def test_invalid_utf8_gets_400(self) -> None:
        """400."""
        self.assertIn("utf-8", self.refused(400, b'{"a": "\xff"}'))

    def test_byte_order_mark_is_accepted(self) -> None:
        """A byte order mark is accepted, and so is UTF-16, if it is declared."""
        self.assertEqual(self.ask("POST", "/quick", b"\xef\xbb\xbf[1]", JSON).text, "[1]")
        self.assertEqual(self.ask("POST", "/quick", "[2]".encode("utf-16"), f"{JSON}; charset=utf-16").text, "[2]")
        self.plugin.got.clear()
        self.refused(400, "[3]".encode("utf-16"))

    def test_deep_nesting_gets_400(self) -> None:
        """400, and no RecursionError anywhere."""
        self.assertIn("deep", self.refused(400, b"[" * 40_000 + b"]" * 40_000))

    def test_declared_length_over_limit_gets_413(self) -> None:
        """413 from the headers alone; the connection is closed, and what comes is not read."""
        connection = self.connect()
        head = b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n"
        response = connection.send(head)
        self.assertEqual(status_of(response), 413)
        self.assertIn(b"Connection: close", response)
        self.assertTrue(connection.closed)
        self.assertEqual(connection.send(b"x" * 1000), b"")
        self.assertEqual(self.plugin.got, [])

    def test_body_limit_of_one_route(self) -> None:
        """A route's own limit holds for it alone."""
        self.assertEqual(self.ask("POST", "/small", b"1" * 101).status, 413)
        self.assertEqual(self.ask("POST", "/small", b"1" * 100).status, 200)
        self.assertEqual(self.ask("POST", "/quick", b"1" * 101).status, 200)

    def test_chunked_body_over_limit_gets_413(self) -> None:
        """413 as soon as the count passes, and the connection is closed."""
        connection = self.connect()
        head = b"POST /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(connection.send(head + b"c350\r\n" + b"x" * 50_000 + b"\r\n"), b"")
        self.assertEqual(connection.send(b"c350\r\n" + b"x" * 50_000 + b"\r\n"), b"")
        self.assertEqual(status_of(connection.send(b"1\r\nx\r\n")), 413)
        self.assertTrue(connection.closed)
        self.assertEqual(self.plugin.got, [])

    def test_full_disk_for_bodies_gets_503(self) -> None:
        """503, also where the disk is full that large bodies wait on."""
        self.patch(web_request, "_KEPT_IN_MEMORY", 10)
        self.patch(tempfile, "tempdir", "/does/not/exist")
        connection = self.connect()
        response = connection.send(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b"x" * 20)
        self.assertEqual(status_of(response), 503)
        self.assertTrue(connection.closed)
        self.assertEqual(self.plugin.got, [])

    def test_chunked_body_within_limit(self) -> None:
        """A body in chunks arrives whole, also at a raw handler."""
        connection = self.connect()
        head = b"POST /raw HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        response = connection.send(head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n")
        self.assertEqual(status_of(response), 200)
        self.assertIn(b"POST b'abcde' None", response)

    def test_large_json_is_parsed_in_a_thread(self) -> None:
        """JSON over 64 kB for a handler on the reactor is parsed in the webhook pool."""
        body = b"[" + b"1," * 40_000 + b"1]"
        response = self.start("POST", "/quick", body, JSON)
        self.assertNoResult(response)
        self.assertEqual(self.response_to(response).status, 200)
        self.assertEqual(len(self.plugin.got[0]), 40_001)

    def test_compressed_body_gets_415(self) -> None:
        """A compressed body is refused with 415."""
        response = self.ask("POST", "/quick", b"\x1f\x8b", JSON, {"Content-Encoding": "gzip"})
        self.assertEqual(response.status, 415)

    def test_truncated_body_reaches_no_handler(self) -> None:
        """When the client hangs up in the middle of a body no plugin is called, and nothing is logged."""
        connection = self.connect()
        connection.send(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        connection.channel.connectionLost()
        self.assertEqual(self.plugin.got, [])

    def test_missing_form_param_gets_400(self) -> None:
        """400 that names the field."""
        self.assertIn("'payload'", self.refused(400, b"other=1", FORM, "/form"))
        self.assertIn("'payload'", self.refused(400, b'{"payload": 1}', JSON, "/form"))

    def test_too_many_form_fields_get_400(self) -> None:
        """400."""
        self.refused(400, b"&".join(b"f%d=" % number for number in range(1001)), FORM)

    def test_malformed_multipart_gets_400(self) -> None:
        """400, without a boundary and cut off."""
        self.refused(400, b"--b\r\n", "multipart/form-data")
        self.refused(
            400, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1', "multipart/form-data; boundary=b"
        )

    def test_unknown_content_type_is_json_or_text(self) -> None:
        """JSON is decoded without any; text is text."""
        self.assertEqual(self.ask("POST", "/quick", b'{"a": 1}').text, "{'a': 1}")
        self.assertEqual(self.ask("POST", "/quick", b'{"a": 1}', "text/plain").text, "{'a': 1}")
        self.assertEqual(self.ask("POST", "/quick", b"hello", "nonsense").text, "'hello'")

    def test_odd_bytes_in_content_type(self) -> None:
        """Bytes that once broke Twisted's parser get an answer, and the next request on a connection is served."""
        for byte in b"\x0b\x0c\x1c\x1d\x1e\x85":
            connection = self.connect()
            head = b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: application/%cjson\r\n\r\n{}"
            status = status_of(connection.send(head % byte))
            self.assertEqual(status, 200 if byte == 0x85 else 400)
        connection = self.connect()
        self.assertEqual(status_of(connection.send(request("POST", "/quick", b"{}"))), 200)

    def test_get_with_body(self) -> None:
        """It is read, and is the payload; the next request on the connection is not disturbed."""
        connection = self.connect()
        responses = connection.send(request("GET", "/quick", b"[1]") + request("GET", "/quick"))
        self.assertEqual(responses.count(b"HTTP/1.1 200 OK"), 2)
        self.assertEqual(self.plugin.got, [[1], ""])

    def test_post_without_length_has_empty_body(self) -> None:
        """It has an empty body."""
        connection = self.connect()
        self.assertEqual(status_of(connection.send(b"POST /quick HTTP/1.1\r\nHost: x\r\n\r\n")), 200)
        self.assertEqual(self.plugin.got, [""])

"""Deliveries for use elsewhere: as a command, as a file of a test, and their bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as _reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from errklein.console import _pages
from errklein.text.masking import masker
from errklein.verify import verification
from errklein.webhooks.deliveries import DeliveryState, StoredDelivery, StoredRequest
from errklein.webhooks.exported import read_request
from tests import needs_network

reactor: Any = _reactor
HEADERS = ((b"host", b"bot"), (b"content-type", b"application/json"), (b"x-event", b'it\'s $HOME `id` "q" \\'))
SECRET = "correct-horse-battery"


def request(body: bytes | None = b"{}", target: str = "/order", headers: Any = HEADERS) -> StoredRequest:
    """Return a request as the journal has it."""
    return StoredRequest("POST", target, headers, body)


class Received(Resource):
    """Keeps the requests that arrive."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.requests: list[tuple[bytes, bytes, dict[bytes, bytes], bytes]] = []

    def render_POST(self, received: Any) -> bytes:
        """Keep the request."""
        headers = {name.lower(): values[0] for name, values in received.requestHeaders.getAllRawHeaders()}
        self.requests.append((received.method, received.uri, headers, received.content.read()))
        return b""


class CommandTests(TestCase):
    """Commands that are run by a shell."""

    async def run_command(self, stored: StoredRequest, check: Any = None, **variables: str) -> tuple[str, int, Any]:
        """Run the command, and return its errors, its status, and the request that has arrived."""
        needs_network()
        found = Received()
        port = reactor.listenTCP(0, Site(found), interface="127.0.0.1")  # type: ignore[no-untyped-call]
        self.addCleanup(port.stopListening)
        directory = Path(self.mktemp())
        directory.mkdir()
        directory.joinpath("body").write_bytes(stored.body or b"")
        command = _pages.curl(stored, f"http://127.0.0.1:{port.getHost().port}", check, "body")
        _, errors, status = await getProcessOutputAndValue(
            "/bin/sh", ["-c", command], {"PATH": "/usr/bin:/bin", **variables}, str(directory)
        )
        return errors.decode(), status, found.requests[0] if found.requests else None

    async def test_same_request(self) -> None:
        """The command sends what was received, whatever the shell and curl would make of it."""
        for body in (
            b"{}",
            b"@/etc/passwd",
            b"it's $HOME `id` !x \\\n'\n",
            "naïve".encode(),
            b"",
            b"\x00\xff",
            b"a\r\nb",
        ):
            stored = request(body, "/order/../[1]{a,b}?q='$(id)'&x=%20")
            errors, status, (method, uri, headers, content) = await self.run_command(stored)
            self.assertEqual((status, method, uri, content), (0, b"POST", stored.target.encode(), body), errors)
            self.assertEqual((headers[b"content-type"], headers[b"x-event"]), (HEADERS[1][1], HEADERS[2][1]))

    async def test_headers_that_curl_would_change(self) -> None:
        """A request without a type has none, and a header without a value is sent."""
        _, status, (_, _, headers, _) = await self.run_command(request(b"x", headers=((b"x-empty", b""),)))
        self.assertEqual((status, headers[b"x-empty"], b"content-type" in headers), (0, b"", False))

    async def test_secrets(self) -> None:
        """Secrets are variables. Without one of them, nothing is sent."""
        check = verification("github", secret="env:TEST_SHOWN_SECRET")
        stored = request(b'{"password": "hunter22"}', "/order?token=***", headers=((b"x-api-key", b"k3y-of-shop"),))
        errors, status, found = await self.run_command(stored, check, SECRET="t", BODY="b", HEADER_X_API_KEY="k")
        self.assertIn("HEADER_X_HUB_SIGNATURE_256", errors)
        self.assertEqual((status == 0, found), (False, None))
        _, status, (_, uri, headers, content) = await self.run_command(
            stored, check, SECRET="t", BODY="b", HEADER_X_API_KEY="k", HEADER_X_HUB_SIGNATURE_256="s"
        )
        self.assertEqual((status, uri, content), (0, b"/order?token=t", b'{"password": "b"}'))
        self.assertEqual((headers[b"x-api-key"], headers[b"x-hub-signature-256"]), (b"k", b"s"))


class MaskedTests(SynchronousTestCase):
    """No text has a secret."""

    def setUp(self) -> None:
        """Let a secret be known."""
        masker.learn(self, "test", [SECRET])

    @given(st.integers(0, 60), st.sampled_from([b"", b"\xff\x00", "ä".encode()]))
    def test_no_secret(self, before: int, ending: bytes) -> None:
        """A known secret is nowhere, also where a long body is cut, and in one that isn't text."""
        body = b"x" * (_pages.MOST - before) + SECRET.encode() + ending
        headers = (
            (b"x-" + SECRET.encode(), b"1"),
            (b"x-note", f"a {SECRET}".encode()),
            (b"authorization", b"Bearer abc"),
        )
        stored = request(body, f"/order/{SECRET}", headers)
        delivery = StoredDelivery(7, "Shop:order", DeliveryState.DEAD, 0.0, key=SECRET, request=stored)
        texts = [
            _pages.body(stored),
            _pages.exported(delivery),
            _pages.curl(stored, "http://bot", None, "body").encode(),
        ]
        self.assertNotIn(SECRET.encode(), b"".join(texts))
        self.assertNotIn("abc", str(_pages.headers(stored)))
        self.assertTrue(_pages.body(stored).endswith(ending))

    @given(st.binary(max_size=200))
    def test_other_bytes_stay(self, body: bytes) -> None:
        """A body without secrets is unchanged, whatever its bytes are."""
        self.assertEqual(_pages.body(request(body)), masker(body.decode()).encode() if _is_text(body) else body)


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


class ExportTests(SynchronousTestCase):
    """Files of tests."""

    def test_read(self) -> None:
        """The file is one that tests read. A request without a body stays one."""
        for body in (b"{}", b"\xff", b""):
            delivery = StoredDelivery(7, "Shop:order", DeliveryState.DEAD, 0.0, request=request(body))
            self.assertEqual(read_request(_pages.exported(delivery)).body, body)
        for stored in (request(None), None):
            values = json.loads(
                _pages.exported(StoredDelivery(7, "Shop:order", DeliveryState.DEAD, 0.0, request=stored))
            )
            self.assertNotIn("body", values.get("request", {}))

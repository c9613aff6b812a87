"""Tests for the paths of requests, and for the memory of their bodies."""

from __future__ import annotations

import math
from typing import Any

from errklein.web.request import IN_MEMORY, BodyMemory, HTTPRequest
from errklein.webhooks import webhook
from tests.web.kit import WebCase, request, status_of


class Paths:
    """A plugin with routes for odd paths."""

    @webhook("/files/<path:name>")
    async def file(self, payload: Any, name: str) -> str:
        return f"file {name}"

    @webhook("/admin/x")
    async def admin(self, payload: Any) -> str:
        return "admin"

    @webhook("/item/<name>")
    async def item(self, payload: Any, name: str) -> str:
        return f"item {name}"

    @webhook
    async def hello(self, payload: Any) -> str:
        return "hello"


class PathTests(WebCase):
    """Paths with escapes, dot segments and slashes."""

    def setUp(self) -> None:
        """A server with a plugin."""
        super().setUp()
        self.serve(Paths())

    def status_for(self, path: str) -> int:
        """Return the status of the response for a path."""
        return status_of(self.connect().send(request("GET", path)))

    def test_dot_segments_get_404(self) -> None:
        """Dot segments, escaped or not, get 404 and reach no handler."""
        for path in ("/files/../../etc/passwd", "/../x", "/files/%2e%2e/x", "/%2e%2e%2fetc", "/files/%2e%2e%2fx", "/."):
            self.assertEqual(self.status_for(path), 404, path)

    def test_escaped_slash_gets_400(self) -> None:
        """An escaped slash gets 400, and isn't a separator."""
        for path in ("/admin%2fx", "/admin%2Fx", "/item/a%2fb"):
            self.assertEqual(self.status_for(path), 400, path)
        self.assertEqual(self.status_for("/admin/x"), 200)

    def test_invalid_escapes_get_400(self) -> None:
        """NUL, line ends, broken escapes and invalid UTF-8 get 400, on known and unknown paths."""
        for path in ("/item/a%00", "/item/%0d%0aX", "/item/%zz", "/item/%", "/item/%ff", "/item/\xff", "/no/%7f"):
            self.assertEqual(self.status_for(path), 400, path)
        self.assertIn(b"item \xc3\xa9", self.connect().send(request("GET", "/item/%C3%A9")))

    def test_trailing_and_doubled_slashes(self) -> None:
        """A trailing slash is optional, without a redirect; doubled slashes get 404."""
        for path in ("/hello", "/hello/", "/item/a", "/item/a/"):
            self.assertEqual(self.status_for(path), 200, path)
        for path in ("/hello//", "//hello", "/item//a", "/files/a//b"):
            self.assertEqual(self.status_for(path), 404, path)


class BodyMemoryTests(WebCase):
    """Bodies are in memory while there is room, otherwise in files."""

    def memory(self, limit: float) -> BodyMemory:
        """Let the bodies of later requests share memory of this size."""
        self.web.site.bodies = BodyMemory(limit, self.pool, self.web.site.limits)
        return self.web.site.bodies

    def body(self, *parts: bytes) -> HTTPRequest:
        """Return a request of whose body these parts have arrived, and one byte is missing."""
        connection = self.connect()
        connection.send(request("POST", "/", b"x" * (sum(map(len, parts)) + 1)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        for part in parts:
            connection.send(part)
        received: HTTPRequest = connection.channel._request
        received.content.seek(0)
        self.assertEqual(received.content.read(), b"".join(parts))
        return received

    def test_in_memory(self) -> None:
        """Bodies are in memory up to the limit; the memory of ended requests is free again."""
        memory = self.memory(100)
        first = self.body(b"x" * 40, b"y" * 40)
        self.assertFalse(first.on_disk)
        self.assertTrue(self.body(b"x" * 20, b"y", b"z").on_disk)
        self.assertTrue(memory.take(20))
        self.assertFalse(memory.take(1))
        first.drop_body()
        self.assertTrue(memory.take(80))
        memory.give_back(100)
        self.assertFalse(self.body(b"x" * 100).on_disk)

    def test_large(self) -> None:
        """A body above 1 MiB goes to a file, and takes no memory."""
        memory = self.memory(2 * IN_MEMORY)
        self.assertTrue(self.body(b"x" * IN_MEMORY, b"x").on_disk)
        self.assertTrue(memory.take(2 * IN_MEMORY))

    def test_no_memory_and_no_limit(self) -> None:
        """With a limit of 0, every body goes to a file; without a limit, each of at most 1 MiB stays in memory."""
        self.memory(0)
        self.assertTrue(self.body(b"x").on_disk)
        unlimited = self.memory(math.inf)
        self.assertTrue(unlimited.take(10**15))
        self.assertFalse(self.body(b"x" * IN_MEMORY).on_disk)

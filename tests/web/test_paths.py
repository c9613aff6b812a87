"""Tests for the paths of requests."""

from __future__ import annotations

from typing import Any

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

"""Tests for the counts of responses and handlers."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from errklein import BotPlugin, webhook
from errklein.testing import PluginTestCase
from errklein.web import BOUNDS, ResponseCounts
from tests.web.kit import WebCase, status_of


class Counted(BotPlugin):
    """A plugin with webhooks that end in all ways."""

    gate: Deferred[str]

    @webhook
    def good(self, payload: object) -> str:
        return "good"

    @webhook
    def bad(self, payload: object) -> tuple[str, int]:
        return "bad", 418

    @webhook
    async def broken(self, payload: object) -> str:
        raise RuntimeError("broken")

    @webhook(timeout=3)
    async def slow(self, payload: object) -> str:
        self.gate = Deferred()
        return await self.gate

    @webhook
    def stream(self, payload: object) -> Iterator[str]:
        yield "begin"
        raise RuntimeError("broken")

    @webhook(ack="now")
    async def later(self, payload: object) -> str:
        return await succeed("done")


class CountedRequestTests(PluginTestCase):
    """Requests to a bot in memory."""

    plugins = (Counted,)

    def counts(self) -> ResponseCounts:
        """Return the counts of the web server."""
        return self.bot.bot.web.counts

    def test_responses(self) -> None:
        """Responses are counted by route and status; those to unknown paths and invalid requests have no route."""
        for path in ("good", "bad", "good", "nowhere"):
            self.post(f"/{path}")
        expected = {("Counted:good", 200): 2, ("Counted:bad", 418): 1, ("other", 404): 1}
        self.assertEqual(self.counts().responses, expected)

    def test_handlers(self) -> None:
        """Handlers are counted by outcome when they end, a late one once, with the class of its duration."""
        self.post("/good")
        self.post("/bad")
        self.post("/broken")
        self.flushLoggedErrors(RuntimeError)
        late = self.bot.post("/slow")
        self.bot.advance(4)
        self.assertEqual(self.successResultOf(late).status, 504)
        self.assertNotIn(("Counted:slow", "overdue"), self.counts().handlers)
        self.bot.plugin("Counted").gate.callback("late")
        found = {key: durations.counts for key, durations in self.counts().handlers.items()}
        quick, of_four_seconds = [1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]
        expected = {
            ("Counted:good", "succeeded"): quick,
            ("Counted:bad", "rejected"): quick,
            ("Counted:broken", "failed"): quick,
            ("Counted:slow", "overdue"): of_four_seconds,
        }
        self.assertEqual(found, expected)
        self.assertEqual(self.counts().handlers["Counted:slow", "overdue"].total, 4.0)

    def test_recorded_webhook(self) -> None:
        """A recorded webhook has a response, and later a handler."""
        self.post("/later")
        self.bot.advance(1)
        self.assertEqual(self.counts().responses, {("Counted:later", 202): 1})
        self.assertEqual(list(self.counts().handlers), [("Counted:later", "succeeded")])

    def test_stream_that_fails(self) -> None:
        """A stream whose handler fails is counted once."""
        self.failureResultOf(self.bot.post("/stream"))
        self.flushLoggedErrors(RuntimeError)
        counts = {key: sum(durations.counts) for key, durations in self.counts().handlers.items()}
        self.assertEqual(sum(counts.values()), 1, counts)

    def test_mount(self) -> None:
        """A mount is counted by its path."""
        self.bot.bot.web.routes.replace_mounts("Pages", {"/pages": Resource()})
        self.assertEqual(self.get("/pages/x").status, 404)
        self.assertEqual(self.counts().responses, {("Pages:/pages", 404): 1})


class InvalidRequestTests(WebCase):
    """Bytes that aren't a request."""

    def test_invalid_request(self) -> None:
        """The response to an invalid request has no route."""
        self.assertEqual(status_of(self.connect().send(b"nonsense\r\n\r\n")), 400)
        self.assertEqual(self.web.counts.responses, {("other", 400): 1})


class ClassTests(SynchronousTestCase):
    """The classes of durations, and their number."""

    def test_bounds(self) -> None:
        """A duration counts in the first class whose bound isn't below it."""
        counts = ResponseCounts()
        for seconds in (0.0, BOUNDS[0], BOUNDS[1], BOUNDS[-1] + 1):
            counts.add_handler("A:b", 200, seconds)
        self.assertEqual(counts.handlers["A:b", "succeeded"].counts, [2, 1, 0, 0, 0, 0, 1])

    def test_many_routes(self) -> None:
        """After 2,000 routes, further ones are counted together."""
        counts = ResponseCounts()
        for number in range(2100):
            counts.add_response(f"A:{number}", 200)
            counts.add_handler(f"A:{number}", 200, 0.1)
        counts.add_response("A:1", 200)
        self.assertEqual((counts.responses["other", 200], counts.responses["A:1", 200]), (100, 2))
        self.assertEqual(sum(counts.handlers["other", "succeeded"].counts), 100)

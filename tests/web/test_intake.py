"""The pipeline of webhooks: verification, limits, deduplication, the journal, and later attempts."""

from __future__ import annotations

import hmac
import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from time import time as now
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail
from twisted.logger import formatEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data
from werkzeug.exceptions import NotFound

from errklein.journal import DeliveryQueue, RetryPolicy
from errklein.ports.journal import JournalError
from errklein.ports.outbox import OutboxFull, RoomUnavailable
from errklein.running import ThreadWaits, register_reactor_thread
from errklein.running.context import handled_network
from errklein.verify import Received, Refused, Verification, addresses, github, slack, standard_webhooks
from errklein.web import BotParts, ClientResponse, WebSettings
from errklein.webhooks import Hook, HookDeclaration, webhook
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome, StoredDelivery
from errklein.webhooks.option_values import Rate
from errklein.webhooks.options import hook_options
from tests.journal.inline import memory_journal
from tests.web.kit import WebCase, hooks_of, request

SECRET = "correct horse"
SIGNED = "env:TEST_INTAKE_SECRET"


def signed(body: bytes, id: str = "1", secret: str = SECRET) -> Mapping[str, str]:
    """Return the headers that GitHub would send with the body."""
    digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": id}


class Receiver:
    """A plugin with webhooks of each kind, whose handlers return or raise `result`."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.networks: list[str] = []
        self.result: Any = "OK"

    async def handle(self, payload: Any) -> Any:
        self.got.append(payload)
        self.networks.append(handled_network.get())
        if isinstance(self.result, Exception):
            raise self.result
        return await self.result if isinstance(self.result, Deferred) else self.result

    @webhook
    async def plain(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(verify=github(secret=SIGNED))
    async def verified(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(verify=github(secret="env:TEST_INTAKE_MISSING"))
    async def unusable(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(verify=standard_webhooks(secret=SIGNED))
    async def undecodable(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(verify=slack(secret=SIGNED))
    async def slack(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(verify=addresses(allowed=["127.0.0.0/8"]))
    async def local(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(verify=addresses(allowed=["192.0.2.0/24"]))
    async def remote(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(ack="now", verify=github(secret=SIGNED), dedupe="id")
    async def durable(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(verify=github(secret=SIGNED), dedupe="id")
    async def once(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(ack="now", dedupe="header:X-Event")
    async def by_header(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(rate="2/s")
    async def limited(self, payload: Any) -> Any:
        return await self.handle(payload)

    @webhook(ack="now", raw=True)
    async def raw(self, request: Any) -> Any:
        delivery = request.delivery
        once = await delivery.once("mail")
        self.got.append(
            (request.method, request.full_path, request.get_json(), request.remote_addr, delivery.attempt, once)
        )
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class IntakeCase(WebCase):
    """A web server with a journal and a queue in memory."""

    def setUp(self) -> None:
        """Start the server, the queue, and a plugin."""
        super().setUp()
        os.environ["TEST_INTAKE_SECRET"] = SECRET
        self.addCleanup(os.environ.pop, "TEST_INTAKE_SECRET")
        register_reactor_thread(self.clock)
        self.journal = memory_journal(self.clock.seconds)
        self.dead: list[int] = []
        self.queue = DeliveryQueue(
            self.clock,
            self.journal,
            self.web.run,
            lambda route: RetryPolicy(attempts=3, first=10.0, longest=60.0),
            lambda delivery, outcome: self.dead.append(delivery.id),
            now=self.clock.seconds,
            chance=lambda: 1.0,
        )
        self.queue.start()
        self.plugin = Receiver()
        self.serve(self.plugin)
        self.clock.advance(0)

    def bot_parts(self) -> BotParts:
        """Return the parts of a bot that records requests."""
        return BotParts(self.events, self.journal, self.queue, ThreadWaits(self.clock))

    def post(self, path: str, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> ClientResponse:
        """Send JSON, and return the response."""
        return self.successResultOf(self.start("POST", path, body, "application/json", headers or {}))

    def deliveries(self, **query: Any) -> Sequence[StoredDelivery]:
        """Return the deliveries in the journal, oldest first."""
        return self.successResultOf(self.journal.find(DeliveryQuery(**query)))[::-1]

    def states(self) -> list[str]:
        """Return the states of all deliveries, oldest first."""
        return [str(delivery.state) for delivery in self.deliveries()]


class VerificationTests(IntakeCase):
    """Requests whose source is verified."""

    def test_signed(self) -> None:
        """A request with the right signature reaches the handler."""
        response = self.post("/verified", b'{"a": 1}', signed(b'{"a": 1}'))
        self.assertEqual((response.status, response.text, self.plugin.got), (200, "OK", [{"a": 1}]))

    def test_forged(self) -> None:
        """Any other request gets 401. The response doesn't contain the signature that was expected."""
        for headers in ({}, signed(b"{} "), signed(b"{}", secret="wrong"), {"X-Hub-Signature-256": "\xff"}):
            response = self.post("/verified", b"{}", headers)
            self.assertEqual(response.status, 401)
            self.assertNotIn(signed(b"{}")["X-Hub-Signature-256"].removeprefix("sha256="), response.text)
        self.assertEqual(self.plugin.got, [])

    def test_missing_secret(self) -> None:
        """Without its secret a webhook responds with 503, administrators are notified, and other webhooks work."""
        self.assertEqual(self.post("/unusable", b"{}", signed(b"{}")).status, 503)
        [(hook, reason)] = self.events.unusable
        self.assertEqual(hook, "Receiver:unusable")
        self.assertIn("env:TEST_INTAKE_MISSING", reason)
        self.assertEqual(self.post("/plain").status, 200)

    def test_unusable_secret(self) -> None:
        """A secret in an invalid encoding is no fault of the source: 503, and a notice."""
        headers = {"webhook-id": "1", "webhook-timestamp": str(int(now())), "webhook-signature": "v1,AAAA"}
        self.assertEqual([self.post("/undecodable", b"{}", headers).status for _ in range(2)], [503, 503])
        self.assertEqual([hook for hook, _ in self.events.unusable], ["Receiver:unusable", "Receiver:undecodable"])

    def test_test_requests(self) -> None:
        """`!webhook test` needs no signature, and its delivery is marked."""
        response = self.successResultOf(self.web.request("POST", "/verified", {}, b"x", origin="test"))
        self.assertEqual((response.status, self.plugin.got), (200, ["x"]))
        self.assertEqual([delivery.origin for delivery in self.deliveries()], ["test"])

    def test_large_body(self) -> None:
        """A large body is verified too, in a thread."""
        body = b'["%b"]' % (b"x" * 300_000)
        self.assertEqual(self.ask("POST", "/verified", body, "application/json", signed(body + b" ")).status, 401)
        self.assertEqual(self.ask("POST", "/verified", body, "application/json", signed(body)).status, 200)
        self.assertEqual(len(self.plugin.got[0][0]), 300_000)

    def test_challenge(self) -> None:
        """Slack gets the response to its challenge, and the handler isn't called."""
        body = b'{"type": "url_verification", "challenge": "3eZbrw1aB"}'
        stamp = str(int(now()))
        digest = hmac.new(SECRET.encode(), f"v0:{stamp}:".encode() + body, "sha256").hexdigest()
        headers = {"X-Slack-Signature": f"v0={digest}", "X-Slack-Request-Timestamp": stamp}
        response = self.post("/slack", body, headers)
        self.assertEqual((response.status, response.text, self.plugin.got), (200, "3eZbrw1aB", []))

    def test_addresses(self) -> None:
        """A webhook for some addresses refuses the others."""
        self.assertEqual([self.post("/local").status, self.post("/remote").status], [200, 401])


class RefusedTests(IntakeCase):
    """What operators learn of refused requests."""

    settings = WebSettings(client_rate=Rate.of("4/s"), max_body=1000)

    def refused(self) -> Mapping[tuple[str, str], int]:
        """Return the number of refused requests by webhook and kind of reason."""
        return {(name.removeprefix("Receiver:"), kind): n for (name, kind), n in self.web.counts.refused.items()}

    def test_kinds(self) -> None:
        """Refused requests are counted by webhook and kind of reason, and reported with the reason and the client."""
        self.post("/verified", b"{}", signed(b"{}", secret="wrong"))
        self.post("/verified")
        self.post("/remote")
        self.post("/slack", b"{}", {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "1"})
        self.post("/limited")
        kinds = {
            ("verified", "signature"): 1,
            ("verified", "malformed"): 1,
            ("remote", "address"): 1,
            ("slack", "time"): 1,
        }
        self.assertEqual(self.refused(), kinds)
        match = "the source could not be verified: the signature or token doesn't match"
        self.assertEqual(self.events.refused[0], ("Receiver:verified", "signature", match, "127.0.0.1"))
        self.assertEqual([kind for _, kind, _, _ in self.events.refused], ["signature", "malformed", "address", "time"])

    def test_limits(self) -> None:
        """Requests beyond a rate or a size are counted as such."""
        self.assertEqual([self.post("/verified").status for _ in range(5)], [401] * 4 + [429])
        self.connect().send(b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        self.assertEqual(self.refused(), {("verified", "malformed"): 4, ("verified", "rate"): 1, ("plain", "size"): 1})

    def test_faults_of_the_bot(self) -> None:
        """Requests for a webhook without its secret are counted. The notice about the secret is the only one."""
        self.post("/unusable", b"{}", signed(b"{}"))
        self.assertEqual((self.refused(), self.events.refused), ({("unusable", "unavailable"): 1}, []))

    def test_reasons_of_plugins(self) -> None:
        """A kind of reason that a plugin's own verification invents is counted as a signature's, so their number is limited."""

        def check(received: Received, secrets: Sequence[bytes]) -> None:
            raise Refused("no luck", received.url)

        class Custom:
            @webhook(verify=Verification("custom", check))
            async def custom(self, payload: Any) -> None: ...

        self.serve(Custom())
        self.post("/custom?1")
        self.post("/custom?2")
        self.assertEqual(self.refused(), {("Custom:custom", "signature"): 2})

    def test_forged_body_without_an_id(self) -> None:
        """A refused request whose id the plugin's own verification can't read, as it may be forged, gets 401."""

        def check(received: Received, secrets: Sequence[bytes]) -> None:
            raise Refused("no luck")

        class Custom:
            @webhook(verify=Verification("custom", check, delivery_id=lambda received: json.loads(received.body)["id"]))
            async def custom(self, payload: Any) -> None: ...

        self.serve(Custom())
        self.assertEqual([self.post("/custom", body).status for body in (b"{", b"[]", b"{}")], [401] * 3)
        self.assertEqual(self.states(), ["refused"] * 3)

    def test_unknown_paths_are_not_counted(self) -> None:
        """Refused requests for paths without a webhook aren't counted."""
        self.post("/wp-login.php")
        self.assertEqual((self.refused(), self.events.refused), ({}, []))

    def test_log(self) -> None:
        """The log has one line a minute for each webhook and kind of reason, whatever sources write."""
        lines: list[str] = []
        globalLogPublisher.addObserver(observer := lambda event: lines.append(formatEvent(event)))
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for number in range(4):
            self.post("/verified", b"{}", signed(b"{}", secret=f"wrong {number}"))
        refused = [line for line in lines if "was refused" in line]
        self.assertEqual(len(refused), 1)
        self.assertIn("A request for Receiver:verified from 127.0.0.1 was refused: the source could not", refused[0])


class LimitTests(IntakeCase):
    """Limits of rates."""

    settings = WebSettings(client_rate=Rate.of("2/s"))

    def test_route(self) -> None:
        """Requests beyond the rate of a webhook get 429, until time has passed."""
        statuses = [self.post("/limited").status for _ in range(3)]
        refused = self.post("/limited")
        self.assertEqual((statuses, refused.status, refused.header("Retry-After")), ([200, 200, 429], 429, "1"))
        self.clock.advance(1)
        self.assertEqual(self.post("/limited").status, 200)

    def test_forgers(self) -> None:
        """A client that sends forged requests is limited, and verified requests don't count."""
        good = signed(b"{}")
        self.assertEqual([self.post("/verified", b"{}", good).status for _ in range(5)], [200] * 5)
        self.assertEqual([self.post("/verified").status for _ in range(4)], [401, 401, 429, 429])


class LogTests(IntakeCase):
    """The log of deliveries to plugins without options."""

    def test_done(self) -> None:
        """A delivery is logged with its request and its status."""
        self.post("/plain?x=1", b'{"a": 1}')
        [delivery] = self.deliveries()
        self.assertEqual(
            (delivery.state, delivery.webhook, delivery.ack), (DeliveryState.DONE, "Receiver:plain", "after")
        )
        assert delivery.outcome is not None
        self.assertEqual(delivery.outcome.status, 200)
        whole = self.successResultOf(self.journal.get(delivery.id))
        assert whole is not None and whole.request is not None
        self.assertEqual((whole.request.target, whole.request.body), ("/plain?x=1", b'{"a": 1}'))

    def test_ids_have_the_order_of_receipt(self) -> None:
        """Later requests have higher ids and later times, also if their handlers end earlier, as lists by time expect."""
        self.plugin.result = slow = Deferred()
        self.start("POST", "/plain", b"1", "application/json")
        self.pass_time(10)
        self.plugin.result = "OK"
        self.post("/plain", b"2")
        slow.callback("OK")
        first, second = self.deliveries()
        self.assertLessEqual(first.received_at, second.received_at)
        requests = [self.successResultOf(self.journal.get(one.id)) for one in (first, second)]
        self.assertEqual([one and one.request and one.request.body for one in requests], [b"1", b"2"])

    def test_failed(self) -> None:
        """A delivery whose handler raises is logged with the reason, and can be replayed."""
        self.plugin.result = ValueError("no such room")
        self.post("/plain", b'{"a": 1}')
        self.flushLoggedErrors(ValueError)
        [delivery] = self.deliveries(states=[DeliveryState.FAILED])
        assert delivery.outcome is not None
        self.assertEqual((delivery.outcome.status, delivery.outcome.reason), (500, "ValueError: no such room"))
        self.plugin.result = "OK"
        self.successResultOf(self.journal.replay([delivery.id]))
        self.queue.look()
        self.clock.advance(0)
        self.assertEqual(self.plugin.got, [{"a": 1}, {"a": 1}])
        [delivery] = self.deliveries()
        self.assertEqual((delivery.state, delivery.origin, delivery.attempt), (DeliveryState.DONE, "replay", 2))

    def test_traceback(self) -> None:
        """The traceback of a handler's exception is stored, with masked secrets, and an attempt without one has none."""
        self.plugin.result = ValueError("https://ann:5ecre7@host/ has failed")
        self.post("/raw")
        self.clock.advance(1)
        self.plugin.result = "OK"
        self.pass_time(30)
        self.flushLoggedErrors(ValueError)
        [first] = [self.successResultOf(self.journal.get(one.id)) for one in self.deliveries()]
        assert first is not None and first.outcome is not None
        self.assertEqual((first.state, first.outcome.traceback), (DeliveryState.DONE, ""))
        [text] = [one.outcome.traceback for one in first.attempts]
        self.assertIn("in raw\n", text)
        self.assertIn("ValueError: https://", text)
        self.assertNotIn("5ecre7", text)

    def test_status_of_the_response(self) -> None:
        """It is stored what the source was sent, also if the outcome came later; a test has no source."""
        self.plugin.result = ValueError("no such room")
        body = signed(b"{}", "72d3162e")
        for path, headers in (("/plain", {}), ("/verified", {}), ("/durable", body), ("/durable", body)):
            self.post(path, b"{}", headers)
        self.plugin.result = "OK"
        for _ in range(2):
            self.post("/once", b"{}", body)
        self.successResultOf(self.web.request("POST", "/plain", {}, b"x", origin="test"))
        self.clock.advance(1)
        self.flushLoggedErrors(ValueError)
        self.assertEqual([one.answered for one in self.deliveries()], [500, 401, 202, 202, 200, 200, 0])

    def test_refused(self) -> None:
        """A refused request is logged with the reason, without its body."""
        self.post("/verified", b'{"a": 1}')
        [delivery] = self.deliveries(states=[DeliveryState.REFUSED])
        whole = self.successResultOf(self.journal.get(delivery.id))
        assert whole is not None and whole.outcome is not None and whole.request is not None
        self.assertEqual((whole.outcome.status, whole.request.body), (401, None))

    def test_ids_of_sources(self) -> None:
        """The source's id of a delivery is stored, also without deduplication, and of refused requests, for which it is to repeat."""
        self.post("/verified", b"{}", signed(b"{}", "72d3162e"))
        self.post("/verified", b"{}", signed(b"{}", "72d3162e"))
        self.post("/verified", b"{}", signed(b"{}", "a0c1", "forged"))
        self.post("/unusable", b"{}", signed(b"{}", "a0c2"))
        self.post("/slack", b'{"event_id": "Ev1"}')
        self.post("/plain", b"{}", {"X-GitHub-Delivery": "unknown"})
        self.assertEqual(
            [(delivery.state, delivery.key) for delivery in self.deliveries()],
            [
                (DeliveryState.DONE, "72d3162e"),
                (DeliveryState.DONE, "72d3162e"),
                (DeliveryState.REFUSED, "a0c1"),
                (DeliveryState.REFUSED, "a0c2"),
                (DeliveryState.REFUSED, "Ev1"),
                (DeliveryState.DONE, ""),
            ],
        )

    def test_full_share_of_strangers(self) -> None:
        """When what waits of unverified webhooks has filled their share, sources get 503 with Retry-After. Others get 202."""
        self.patch(self.journal._writer, "_unverified_bytes", 15_000)
        for hook in ("by_header", "durable"):
            self.queue.set_paused(f"Receiver:{hook}", True)
        body = b'"' + b"x" * 9_000 + b'"'
        statuses = [self.post("/by_header", body, {"X-Event": str(number)}).status for number in range(2)]
        refused = self.post("/by_header", body, {"X-Event": "3"})
        self.assertEqual((statuses, refused.status, refused.header("Retry-After")), ([202, 202], 503, "10"))
        self.assertEqual(self.post("/durable", body, signed(body)).status, 202)
        self.queue.set_paused("Receiver:by_header", False)
        self.pass_time(1)
        self.journal.maintain()
        self.assertEqual(self.post("/by_header", body, {"X-Event": "4"}).status, 202)

    def test_too_large(self) -> None:
        """A body that is too large is refused, and logged."""
        connection = self.connect()
        connection.send(b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        [delivery] = self.deliveries(states=[DeliveryState.REFUSED])
        assert delivery.outcome is not None
        self.assertEqual((delivery.webhook, delivery.outcome.status), ("Receiver:plain", 413))

    def test_overdue(self) -> None:
        """A handler that exceeds the time limit is logged when its client has got 504."""
        self.plugin.result = Deferred()
        waiting = self.start("POST", "/plain")
        self.pass_time(61)
        self.assertEqual(self.successResultOf(waiting).status, 504)
        self.assertEqual(self.states(), ["failed"])
        self.plugin.result.callback("late")
        self.assertEqual(self.states(), ["failed"])

    def test_overdue_is_not_replayed_before_it_has_ended(self) -> None:
        """A replay waits for the handler that exceeded the time limit, so that none runs twice at the same time."""
        self.plugin.result = first = Deferred()
        self.start("POST", "/plain")
        self.pass_time(61)
        self.successResultOf(self.journal.replay([1]))
        self.queue.look()
        self.pass_time(60)
        self.assertEqual((len(self.plugin.got), self.states()), (1, ["retry"]))
        self.plugin.result = "OK"
        first.callback("late")
        self.pass_time(11)
        self.assertEqual((len(self.plugin.got), self.states()), (2, ["done"]))


class AcknowledgedTests(IntakeCase):
    """Webhooks with `ack="now"`."""

    def test_response_before_the_handler(self) -> None:
        """The source gets 202 before the handler runs."""
        response = self.post("/durable", b'{"a": 1}', signed(b'{"a": 1}'))
        self.assertEqual((response.status, response.body, self.plugin.got), (202, b"", []))
        self.clock.advance(0)
        self.assertEqual((self.plugin.got, self.states()), ([{"a": 1}], ["done"]))

    def test_other_requests_dont_wait_for_it(self) -> None:
        """While blocking handlers of recorded deliveries occupy all of their threads, those of other requests run."""
        ready = threading.Event()

        class Slow:
            @webhook(ack="now")
            def later(self, payload: Any) -> None:
                ready.wait(10)

            @webhook
            def at_once(self, payload: Any) -> str:
                return "OK"

        self.serve(Slow())
        try:
            for _ in range(2):
                self.post("/later")
            self.assertEqual((self.ask("POST", "/at_once").status, self.states()[0]), (200, "running"))
        finally:
            ready.set()

    def test_context_variables(self) -> None:
        """A handler sees no context variables of the code that has caused its delivery to run."""
        self.post("/durable", b"{}", signed(b"{}"))
        context = copy_context()
        context.run(handled_network.set, "irc")
        context.run(self.clock.advance, 0)
        self.assertEqual((self.plugin.got, self.plugin.networks), ([{}], [""]))

    def test_repeated_id(self) -> None:
        """A repeated id gets 202, and runs once."""
        for _ in range(3):
            self.assertEqual(self.post("/durable", b"{}", signed(b"{}")).status, 202)
            self.clock.advance(0)
        self.assertEqual((self.plugin.got, self.states()), ([{}], ["done", "duplicate", "duplicate"]))

    def test_same_header_runs_once(self) -> None:
        """Requests with the same values of a header run once, also of one that occurs twice; those without it always run."""
        for event in (["1"], ["1", "2"], ["1"], ["1", "2"], [], []):
            headers = [("X-Event", value) for value in event]
            sent = self.start("POST", "/by_header", b"{}", "application/json", headers)
            self.assertEqual(self.successResultOf(sent).status, 202)
            self.clock.advance(0)
        self.assertEqual(self.states(), ["done", "done", "duplicate", "duplicate", "done", "done"])

    def test_retries(self) -> None:
        """A handler that raises, or responds with 5xx, is called again; after the last attempt the delivery is dead."""
        self.plugin.result = ("busy", 503)
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(0)
        self.assertEqual((len(self.plugin.got), self.states()), (1, ["retry"]))
        self.clock.advance(10)
        self.plugin.result = ValueError("no")
        self.pass_time(60)
        self.flushLoggedErrors(ValueError)
        self.assertEqual((len(self.plugin.got), self.states(), self.dead), (3, ["dead"], [1]))

    def test_rejected(self) -> None:
        """A status 4xx isn't retried."""
        self.plugin.result = ("unknown event", 422)
        self.post("/durable", b"{}", signed(b"{}"))
        self.pass_time(60)
        self.assertEqual((len(self.plugin.got), self.states()), (1, ["dead"]))

    def test_resources(self) -> None:
        """The response of a Twisted resource decides, also one that is written in parts, or by a producer."""

        class Report(Resource):
            isLeaf = True

            def render_POST(self, request: Any) -> int:
                request.setResponseCode(201)
                request.registerProducer(self, True)
                request.write(b"part")
                request.unregisterProducer()
                request.finish()
                return NOT_DONE_YET

        self.plugin.result = Report()
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(0)
        [delivery] = self.deliveries()
        self.assertEqual((delivery.state, delivery.outcome and delivery.outcome.status), (DeliveryState.DONE, 201))

    def test_reason_of_a_rejection(self) -> None:
        """The text of `abort` is the reason of the delivery."""
        self.plugin.result = NotFound("no such repository")
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(0)
        [delivery] = self.deliveries()
        self.assertEqual(
            (str(delivery.state), delivery.outcome and delivery.outcome[:2]), ("dead", (404, "no such repository"))
        )

    def test_dead_id_runs_again(self) -> None:
        """The id of a dead delivery is accepted again."""
        self.plugin.result = ("no", 400)
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(0)
        self.plugin.result = "OK"
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(0)
        self.assertEqual(self.states(), ["dead", "done"])

    def test_request_is_rebuilt(self) -> None:
        """In each attempt a raw handler gets the request as it was received."""
        self.plugin.result = ValueError("no")
        self.post("/raw?b=2", b'{"a": 1}')
        self.clock.advance(0)
        self.plugin.result = "OK"
        self.pass_time(11)
        self.flushLoggedErrors(ValueError)
        first = ("POST", "/raw?b=2", {"a": 1}, "127.0.0.1")
        self.assertEqual(self.plugin.got, [(*first, 1, True), (*first, 2, False)])

    def test_overdue(self) -> None:
        """A timeout is a failure when the handler has ended, so that it never runs twice at the same time."""
        self.plugin.result = hanging = Deferred()
        self.post("/durable", b"{}", signed(b"{}"))
        self.pass_time(300)
        self.assertEqual((len(self.plugin.got), self.states()), (1, ["running"]))
        hanging.callback("OK")
        self.clock.advance(0)
        self.assertEqual(self.states(), ["retry"])

    def test_inactive_plugin(self) -> None:
        """A delivery waits while its plugin is inactive, and runs when it is activated; no attempt is counted before."""
        self.post("/durable", b"{}", signed(b"{}"))
        self.web.routes.remove("Receiver")
        self.pass_time(605)
        self.serve(self.plugin)
        self.clock.advance(0)
        [delivery] = self.deliveries()
        self.assertEqual((delivery.state, delivery.attempt, len(self.plugin.got)), (DeliveryState.DONE, 1, 1))

    def test_deactivated_while_it_waits(self) -> None:
        """A delivery whose plugin is deactivated before its handler begins waits for the plugin, and runs once."""
        for kept in (False, True):
            self.web.routes.hold("Receiver")
            self.post("/durable", b"{}", signed(b"{}", id=str(kept)))
            self.clock.advance(0)
            self.assertEqual(self.states()[-1], "running")
            if not kept:
                self.web.routes.remove("Receiver")
            self.serve(self.plugin)
            self.assertEqual(self.states()[-1], "retry")
            self.pass_time(11)
        self.assertEqual((self.states(), [one.attempt for one in self.deliveries()]), (["done", "done"], [1, 1]))
        self.assertEqual(self.plugin.got, [{}, {}])

    def test_not_accepted_any_more(self) -> None:
        """A delivery that its webhook doesn't accept after a change is given up, so that others don't wait for it."""
        self.plugin.result = ValueError("later")
        self.post("/durable", b'["long"]', signed(b'["long"]'))
        self.clock.advance(0)

        class Strict(Receiver):
            @webhook(ack="now", verify=github(secret=SIGNED), max_body=4)
            async def durable(self, payload: Any) -> Any:
                return await self.handle(payload)

        self.web.routes.replace("Receiver", hooks_of(other := Strict(), "Receiver"))
        self.pass_time(120)
        self.post("/durable", b"[]", signed(b"[]", id="2"))
        self.pass_time(1)
        self.assertEqual((self.states(), self.dead, other.got), (["dead", "done"], [1], [[]]))
        self.flushLoggedErrors(ValueError)

    def test_mounts_get_none(self) -> None:
        """A delivery of an inactive plugin isn't passed to what another plugin has mounted above its path."""
        self.plugin.result = ValueError("later")
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(0)
        self.web.routes.replace("Other", (), mounts={"/": Data(b"mounted", "text/plain")})
        self.web.routes.remove("Receiver")
        self.pass_time(120)
        self.assertEqual((self.states(), self.dead), (["retry"], []))
        self.flushLoggedErrors(ValueError)

    def test_journal_error(self) -> None:
        """A request that can't be recorded gets 503, and doesn't run. Others do, and the log has one warning."""
        warnings: list[str] = []
        globalLogPublisher.addObserver(observer := lambda event: warnings.append(formatEvent(event)))
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.patch(self.journal, "record", lambda *args, **kwargs: fail(JournalError("the disk is full")))
        for _ in range(3):
            response = self.post("/durable", b"{}", signed(b"{}"))
            self.clock.advance(0)
            self.assertEqual((response.status, response.header("Retry-After"), self.plugin.got), (503, "10", []))
        self.assertEqual(self.post("/plain").status, 200)
        self.assertEqual(
            [line for line in warnings if "disk" in line], ["Webhooks can't be recorded, and get 503: the disk is full"]
        )

    def test_no_ids(self) -> None:
        """While the database is absent for so long that there are no ids, all requests for webhooks get 503."""

        def next_id() -> int:
            raise JournalError("the database is absent")

        self.patch(self.web.services.recording, "next_id", next_id)
        for path, headers in (("/durable", signed(b"{}")), ("/durable", {}), ("/plain", {})):
            response = self.post(path, b"{}", headers)
            self.assertEqual((response.status, response.header("Retry-After"), self.plugin.got), (503, "10", []))
        self.assertEqual(self.states(), [])

    def test_disk_that_hangs(self) -> None:
        """A client doesn't wait longer for the disk than for a handler. What is recorded later runs, since it may have got 202."""
        record, writing = self.journal.record, Deferred[None]()
        self.patch(
            self.journal,
            "record",
            lambda *args, **kwargs: writing.addCallback(lambda _: record(*args, **kwargs)),
        )
        waiting = self.start("POST", "/durable", b"{}", "application/json", signed(b"{}"))
        self.pass_time(61)
        self.assertEqual(self.successResultOf(waiting).status, 503)
        writing.callback(None)
        self.clock.advance(0)
        self.assertEqual((self.plugin.got, self.states()), ([{}], ["done"]))
        self.successResultOf(self.web.when_idle())

    def test_paused(self) -> None:
        """While any webhook is paused, requests are recorded and get 202; they run when it is resumed."""
        self.successResultOf(self.queue.set_paused("Receiver:plain", True))
        self.clock.advance(0)
        self.assertEqual(self.post("/plain").status, 202)
        self.pass_time(600)
        self.assertEqual((self.plugin.got, self.states()), ([], ["received"]))
        self.successResultOf(self.queue.set_paused("Receiver:plain", False))
        self.clock.advance(0)
        self.assertEqual((self.plugin.got, self.states()), ([{}], ["done"]))
        self.assertEqual(self.post("/plain").status, 200)


class SlowStore:
    """A store of messages that is written when the test says so."""

    def __init__(self) -> None:
        self.unwritten = False
        self.written: Deferred[None] = Deferred()

    def flush(self) -> Deferred[None]:
        return self.written


class SentMessagesTests(IntakeCase):
    """Webhooks whose handlers send messages."""

    def bot_parts(self) -> BotParts:
        """Return the parts with a slow store of messages."""
        self.store = self.journal.outbox = SlowStore()  # type: ignore[assignment]
        return super().bot_parts()

    def test_response_waits_for_sent_messages(self) -> None:
        """The source gets its response when the messages of the handler are on disk, so that a crash loses none."""
        self.store.unwritten = True
        response = self.start("POST", "/limited", b"{}", "application/json", {})
        self.clock.advance(0)
        self.assertEqual(self.plugin.got, [{}])
        self.assertNoResult(response)
        self.store.written.callback(None)
        self.assertEqual(self.successResultOf(response).status, 200)

    def test_response_without_messages_does_not_wait(self) -> None:
        """A handler that has sent nothing waits for nothing."""
        self.assertEqual(self.post("/limited").status, 200)

    def test_failed_handler_does_not_wait(self) -> None:
        """A source that has to repeat its request learns it at once."""
        self.store.unwritten = True
        self.plugin.result = RuntimeError("no")
        self.assertEqual(self.post("/limited").status, 500)
        self.flushLoggedErrors()

    def test_full_outbox_gets_503(self) -> None:
        """If a message has no room in the outbox, the source is asked to repeat the request later."""
        self.plugin.result = OutboxFull("9 messages to #secret are waiting")
        response = self.post("/limited")
        self.assertEqual((response.status, response.header("Retry-After")), (503, "30"))
        self.assertNotIn("#secret", response.text)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_message_that_waits_for_its_room(self) -> None:
        """A handler that doesn't catch RoomUnavailable has succeeded, since the message is sent later."""
        self.plugin.result = RoomUnavailable("the bot is not in #secret")
        response = self.post("/limited")
        self.assertEqual((response.status, response.text), (200, ""))
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(100)
        self.assertEqual((self.states(), len(self.plugin.got)), (["done", "done"], 2))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_recorded_webhook_with_full_outbox(self) -> None:
        """A recorded webhook whose message has no room in the outbox runs again later."""
        self.plugin.result = OutboxFull("9 messages to #secret are waiting")
        self.post("/durable", b"{}", signed(b"{}"))
        self.clock.advance(0)
        self.assertEqual(self.states(), ["retry"])
        self.plugin.result = "OK"
        self.clock.advance(100)
        self.assertEqual((self.states(), len(self.plugin.got)), (["done"], 2))

    def test_recorded_webhook_does_not_wait(self) -> None:
        """A recorded webhook ends at once, since its end is written with the messages; so a slow disk doesn't repeat it."""
        self.post("/durable", b"{}", signed(b"{}"))
        self.store.unwritten = True
        self.clock.advance(0)
        self.assertEqual((self.states(), len(self.plugin.got)), (["done"], 1))

    def test_disk_that_hangs_with_messages(self) -> None:
        """If the disk hangs, the source gets 504 at the deadline, and nothing else afterwards."""
        self.store.unwritten = True
        response = self.start("POST", "/limited", b"{}", "application/json", {})
        for _ in range(70):
            self.clock.advance(1)
        self.assertEqual(self.successResultOf(response).status, 504)
        self.store.written.callback(None)


class LargeBodyTests(IntakeCase):
    """Webhooks with `ack="now"`, and memory for one large body at a time."""

    settings = WebSettings(body_memory=32_000_000)

    def test_running_handlers_delay_no_response(self) -> None:
        """A request is acknowledged while the handler of an earlier one runs, and keeps the memory of its body."""
        self.plugin.result = running = Deferred()
        for number in range(2):
            body = b'"%d%b"' % (number, b"x" * 2_000_000)
            sent = self.start("POST", "/durable", body, "application/json", signed(body, id=str(number)))
            self.assertEqual(self.response_to(sent).status, 202)
            while not self.plugin.got:
                self.clock.advance(0)
                self.assertTrue(self.clock.turn() or self.plugin.got)
        self.assertEqual(len(self.plugin.got), 1)
        running.callback("OK")


class DeduplicatedTests(IntakeCase):
    """Webhooks with `ack="after"` whose repeated requests are recognised."""

    def test_repeated_while_running(self) -> None:
        """While the first request runs, a repeated one gets 409 with Retry-After, also after 504."""
        self.plugin.result = running = Deferred()
        waiting = self.start("POST", "/once", b"{}", "application/json", signed(b"{}"))
        repeated = self.post("/once", b"{}", signed(b"{}"))
        self.assertEqual((repeated.status, repeated.header("Retry-After")), (409, "10"))
        self.pass_time(61)
        self.assertEqual(self.successResultOf(waiting).status, 504)
        self.assertEqual(self.post("/once", b"{}", signed(b"{}")).status, 409)
        running.callback("OK")
        self.assertEqual(len(self.plugin.got), 1)

    def test_repeated_when_done(self) -> None:
        """When the first request is done, a repeated one gets its status."""
        self.plugin.result = ("made", 201)
        for _ in range(2):
            self.assertEqual(self.post("/once", b"{}", signed(b"{}")).status, 201)
        self.assertEqual(len(self.plugin.got), 1)

    def test_repeated_when_failed(self) -> None:
        """When the first request has failed, a repeated one runs."""
        self.plugin.result = ValueError("no")
        self.assertEqual(self.post("/once", b"{}", signed(b"{}")).status, 500)
        self.flushLoggedErrors(ValueError)
        self.plugin.result = "OK"
        self.assertEqual(self.post("/once", b"{}", signed(b"{}")).status, 200)
        self.assertEqual(len(self.plugin.got), 2)

    def test_outcome_is_stored_after_an_error(self) -> None:
        """If the outcome can't be stored at first, a repeated request still gets its status when it is."""
        finish, errors = self.journal.finish, [JournalError("the disk is full")]
        self.patch(self.journal, "finish", lambda *ended: fail(errors.pop()) if errors else finish(*ended))
        self.assertEqual(self.post("/once", b"{}", signed(b"{}")).status, 200)
        self.assertEqual(self.post("/once", b"{}", signed(b"{}")).status, 409)
        self.pass_time(2)
        self.assertEqual(self.post("/once", b"{}", signed(b"{}")).status, 200)
        self.assertEqual(len(self.plugin.got), 1)

    def test_repeated_after_a_lost_answer(self) -> None:
        """If a request was recorded, but the answer of the database was lost, its handler isn't called. A later request runs."""
        record, lost = self.journal.record, [JournalError("the connection has ended")]

        def record_once(*args: Any, **options: Any) -> Deferred[Any]:
            recorded = record(*args, **options)
            return fail(lost.pop()) if lost else recorded

        self.patch(self.journal, "record", record_once)
        statuses = [self.post("/once", b"{}", signed(b"{}")).status for _ in range(4)]
        self.assertEqual((statuses, len(self.plugin.got)), ([503, 409, 200, 200], 1))
        self.assertEqual(self.deliveries()[0].outcome, Outcome(503, "the request could not be recorded"))


class ReloadTests(IntakeCase):
    """Requests that arrive while their plugin is reloaded."""

    def replace(self, plugin: object) -> None:
        """Activate another version of the plugin."""
        self.web.routes.replace("Receiver", hooks_of(plugin, "Receiver"))

    def test_waits_before_its_key_is_claimed(self) -> None:
        """A request waits for the new plugin. If there is none, the source may repeat it."""
        self.web.routes.hold("Receiver")
        waiting = self.start("POST", "/once", b"{}", "application/json", signed(b"{}"))
        self.assertNoResult(waiting)
        self.web.routes.remove("Receiver")
        self.assertEqual((self.successResultOf(waiting).status, self.states()), (404, []))
        self.web.routes.hold("Receiver")
        self.replace(other := Receiver())
        self.assertEqual((self.post("/once", b"{}", signed(b"{}")).status, other.got), (200, [{}]))

    def test_is_verified_as_the_new_plugin_requires(self) -> None:
        """A request that was accepted without verification doesn't reach a webhook that verifies sources."""

        class Open:
            @webhook("/changed", dedupe="header:X-Event")
            async def changed(self, payload: Any) -> str:
                return "open"

        class Verified(Receiver):
            @webhook("/changed", verify=github(secret=SIGNED), dedupe="header:X-Event")
            async def changed(self, payload: Any) -> Any:
                return await self.handle(payload)

        self.replace(Open())
        on_disk: Deferred[None] = Deferred()
        record = self.journal.record
        self.patch(self.journal, "record", lambda *one, **more: on_disk.addCallback(lambda _: record(*one, **more)))
        forged = self.start("POST", "/changed", b"{}", "application/json", {"X-Event": "1"})
        self.replace(other := Verified())
        on_disk.callback(None)
        refused = self.successResultOf(forged)
        self.assertEqual((refused.status, refused.header("Retry-After"), other.got), (503, "10", []))
        self.patch(self.journal, "record", record)
        self.assertEqual(self.post("/changed", b"{}", {**signed(b"{}"), "X-Event": "1"}).status, 200)


class InactiveTests(IntakeCase):
    """Requests for verified webhooks of an inactive plugin."""

    settings = WebSettings(webhooks=hook_options({"Receiver:durable": {"rate": "3/s", "max_body": 1000}}))

    def setUp(self) -> None:
        """Deactivate the plugin."""
        super().setUp()
        hooks = [replace(hook, handler=self.never, active=False) for hook in hooks_of(self.plugin)]
        self.web.routes.stand_by(hook for hook in hooks if hook.declaration.verify is not None)
        self.web.routes.remove("Receiver")

    async def never(self, payload: Any) -> None:
        """Fail, since the handler of an inactive plugin isn't called."""
        self.fail("was called")

    def activate(self) -> None:
        """Activate the plugin, and run what waits for it."""
        self.serve(self.plugin)
        self.clock.advance(0)

    def test_acknowledged(self) -> None:
        """A webhook with `ack="now"` responds with 202, and its handler runs once the plugin is active."""
        response = self.post("/durable", b'{"a": 1}', signed(b'{"a": 1}'))
        self.assertEqual((response.status, response.header("X-Delivery-Id")), (202, "1"))
        self.pass_time(200)
        self.assertEqual(self.plugin.got, [])
        self.activate()
        [delivery] = self.deliveries()
        self.assertEqual((self.plugin.got, delivery.state, delivery.attempt), ([{"a": 1}], DeliveryState.DONE, 1))
        self.assertEqual(self.post("/durable", b"2", signed(b"2", id="2")).status, 202)
        self.clock.advance(0)
        self.assertEqual(self.plugin.got, [{"a": 1}, 2])

    def test_not_acknowledged(self) -> None:
        """Another webhook responds with 503, so that the source may repeat the request."""
        response = self.post("/verified", b"{}", signed(b"{}"))
        self.assertEqual((response.status, response.header("Retry-After")), (503, "60"))
        self.assertEqual((self.states(), self.plugin.got), (["refused"], []))

    def test_forged_while_inactive(self) -> None:
        """Forged requests are refused as usual, and never run."""
        for path in ("/durable", "/verified"):
            for headers in ({}, signed(b"{} "), signed(b"{}", secret="wrong")):
                self.assertEqual(self.post(path, b"{}", headers).status, 401)
        self.assertEqual(self.states(), ["refused"] * 6)
        self.activate()
        self.assertEqual((self.states(), self.plugin.got), (["refused"] * 6, []))

    def test_without_verification(self) -> None:
        """Webhooks of the plugin that anybody may use get 404."""
        hook = Hook("Receiver", "plain", HookDeclaration("/plain", ack="now"), self.never, active=False)
        self.web.routes.stand_by([hook])
        self.assertEqual(self.post("/plain").status, 404)
        self.assertEqual(self.post("/durable", b"{}", signed(b"{}")).status, 404)

    def test_repeated(self) -> None:
        """A request that is repeated runs once, whether it is repeated before or after the activation."""
        for _ in range(2):
            self.assertEqual(self.post("/durable", b"{}", signed(b"{}")).status, 202)
        self.activate()
        self.assertEqual(self.post("/durable", b"{}", signed(b"{}")).status, 202)
        self.clock.advance(0)
        self.assertEqual((self.plugin.got, self.states()), ([{}], ["done", "duplicate", "duplicate"]))

    def test_limits(self) -> None:
        """The limits of size and rate apply."""
        self.assertEqual(self.post("/durable", b"x" * 1001, signed(b"x" * 1001)).status, 413)
        statuses = [self.post("/durable", b"{}", signed(b"{}", id=str(number))).status for number in range(4)]
        self.assertEqual(statuses, [202, 202, 202, 429])

    def test_missing_secret_while_inactive(self) -> None:
        """Without its secret, a webhook responds with 503, and administrators are notified when the first request arrives."""
        self.events.unusable.clear()
        self.assertEqual([self.post("/unusable", b"{}", signed(b"{}")).status for _ in range(2)], [503, 503])
        self.assertEqual([hook for hook, _ in self.events.unusable], ["Receiver:unusable"])

    def test_methods(self) -> None:
        """Other methods get 405, as those of an active plugin do, and other paths 404."""
        self.web.routes.stand_by(
            [Hook("A", "b", HookDeclaration("/b", ("POST",), verify=github(secret=SIGNED)), self.never, active=False)]
        )
        self.assertEqual([self.ask("GET", "/b").status, self.post("/c").status], [405, 404])

    def test_other_webhook_of_the_url(self) -> None:
        """Another plugin that declares the URL gets the requests, as usual."""

        class Other:
            @webhook("/durable")
            async def other(self, payload: Any) -> str:
                return "other"

        self.serve(Other())
        self.assertEqual(self.post("/durable").text, "other")

    def test_mount(self) -> None:
        """A mount above the URL doesn't get the requests."""
        self.web.routes.replace("Other", (), mounts={"/": Data(b"mounted", "text/plain")})
        self.assertEqual(self.post("/durable", b"{}", signed(b"{}")).status, 202)

    def test_test_requests(self) -> None:
        """`!webhook test` gets 404, since the handler can't be called."""
        response = self.successResultOf(self.web.request("POST", "/durable", {}, b"x", origin="test"))
        self.assertEqual(response.status, 404)

    def test_activation_while_a_body_arrives(self) -> None:
        """A request whose body arrives during the activation is handled by the plugin."""
        connection = self.connect()
        lines = [f"{name}: {value}" for name, value in signed(b"{}").items()]
        whole = request("POST", "/verified", b"{}", *lines)
        self.assertEqual(connection.send(whole[:-1]), b"")
        self.activate()
        self.assertIn(b"200 OK", connection.send(whole[-1:]))

    def test_deactivation_while_a_request_is_verified(self) -> None:
        """A request whose plugin is deactivated while a thread verifies it is verified again, and isn't handled."""
        self.activate()
        body = b'["%b"]' % (b"x" * 300_000)
        waiting = self.start("POST", "/verified", body, "application/json", signed(body))
        self.web.routes.remove("Receiver")
        self.assertEqual(self.response_to(waiting).status, 503)
        self.assertEqual(self.plugin.got, [])

    def test_deactivation_while_a_request_waits(self) -> None:
        """A verified request that waits for a reload is verified again, and recorded if the plugin is inactive afterwards."""
        self.activate()
        self.web.routes.hold("Receiver")
        waiting = self.start("POST", "/once", b"{}", "application/json", signed(b"{}"))
        self.web.routes.remove("Receiver")
        self.assertEqual(self.successResultOf(waiting).status, 503)
        self.assertEqual(self.plugin.got, [])

    def test_stock_site(self) -> None:
        """Another Twisted site responds in the same way."""
        client = StubTreq(self.web.app.resource())
        for body, status in ((b"{}", 202), (b"[]", 401)):
            waiting = client.post("http://127.0.0.1/durable", data=body, headers=signed(b"{}"))
            client.flush()
            self.assertEqual(self.successResultOf(waiting).code, status)
        self.activate()
        self.assertEqual(self.states(), ["done", "refused"])

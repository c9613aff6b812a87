"""Tests for `/metrics`: the values, the formats, and that they contain no secrets."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.test.requesthelper import DummyRequest

from errklein import BotPlugin, __version__, botcmd, webhook
from errklein.ports.outbox import OutboxStatus
from errklein.status import StatusServer
from errklein.verify import github, url_token
from errklein.webhooks import Hook, HookDeclaration
from tests.status.kit import StatusCase
from tests.status.test_readiness import Waiting

SECRET = "n0b0dy-kn0ws"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Hooks(BotPlugin):
    """A plugin with a webhook, one that verifies its source, and one that is recorded."""

    @botcmd
    def fail(self, msg: object, args: str) -> str:
        raise RuntimeError("fail")

    @webhook
    def plain(self, payload: object) -> str:
        return "ok"

    @webhook(verify=github(secret="env:TEST_STATUS_SECRET"))
    def signed(self, payload: object) -> str:
        return "ok"

    @webhook(ack="now", attempts=1)
    async def later(self, payload: object) -> str:
        raise RuntimeError("later")


class Broken(BotPlugin):
    """A plugin that can't be activated again."""

    def deactivate(self) -> None:
        super().deactivate()
        self.is_broken = True

    def activate(self) -> None:
        if getattr(self, "is_broken", False):
            raise RuntimeError("broken")
        super().activate()


class MetricsCase(StatusCase):
    """A bot in memory with webhooks."""

    plugins = (Hooks, Broken)

    def setUp(self) -> None:
        """Start the bot, with the secret of the webhook in the environment."""
        os.environ["TEST_STATUS_SECRET"] = SECRET
        self.addCleanup(os.environ.pop, "TEST_STATUS_SECRET")
        super().setUp()


class MetricsTests(MetricsCase):
    """The metrics of a bot in memory."""

    def samples(self) -> dict[tuple[str, ...], float]:
        """Return the values of /metrics by the name and the sorted values of the labels."""
        status, body = self.get("/metrics")
        self.assertEqual(status, 200)
        families = text_string_to_metric_families(body.decode())
        return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}

    def test_webhooks(self) -> None:
        """Responses are counted by route and status, and handlers by route, outcome and duration."""
        self.successResultOf(self.bot.post("/plain"))
        self.successResultOf(self.bot.post("/plain"))
        self.successResultOf(self.bot.post("/signed"))
        self.successResultOf(self.bot.post(f"/unknown/{SECRET}"))
        found = self.samples()
        self.assertEqual(found["errklein_http_responses_total", "200", "Hooks:plain"], 2)
        self.assertEqual(found["errklein_http_responses_total", "401", "Hooks:signed"], 1)
        self.assertEqual(found["errklein_http_responses_total", "404", "other"], 1)
        for bound in ("0.01", "0.25", "30.0", "+Inf"):
            self.assertEqual(found["errklein_handler_seconds_bucket", bound, "Hooks:plain", "succeeded"], 2)
        self.assertEqual(found["errklein_handler_seconds_count", "Hooks:plain", "succeeded"], 2)
        self.assertEqual(found["errklein_handler_seconds_sum", "Hooks:plain", "succeeded"], 0)
        self.assertNotIn(("errklein_handler_seconds_count", "Hooks:signed", "rejected"), found)
        self.assertEqual(found["errklein_requests_refused_total", "Hooks:signed", "malformed"], 1)

    def test_counters_begin_with_0(self) -> None:
        """The counters of errors are there before a webhook's first request, so that the first errors are an increase."""
        found = self.samples()
        for outcome in ("failed", "overdue"):
            self.assertEqual(found["errklein_handler_seconds_count", "Hooks:plain", outcome], 0)
        for status in ("500", "503"):
            self.assertEqual(found["errklein_http_responses_total", status, "Hooks:plain"], 0)
        for reason in ("signature", "malformed", "time", "address", "payload", "rate", "size", "slow", "unavailable"):
            self.assertEqual(found["errklein_requests_refused_total", "Hooks:signed", reason], 0)
        self.assertEqual(found["errklein_dead_deliveries", "Hooks:later"], 0)
        self.assertNotIn(("errklein_journal_oldest_timestamp_seconds",), found)

    def test_thousands_of_webhooks(self) -> None:
        """The page stays small with thousands of webhooks of rooms, and plugins' webhooks keep their series."""

        async def handle(event: object) -> None: ...

        for number in range(1_000):
            declaration = HookDeclaration(f"/hooks/w{number}", ("POST",), verify=url_token(digests=("",)), ack="now")
            self.bot.bot.web.routes.put(Hook("", f"w{number}", declaration, handle))
        found = self.samples()
        self.assertLess(len(found), 10_000)
        self.assertEqual(found["errklein_requests_refused_total", "Hooks:signed", "signature"], 0)
        self.assertEqual(found["errklein_requests_refused_total", "signature", "w0"], 0)

    def test_certificates(self) -> None:
        """Each certificate that an endpoint serves has the time of its expiry."""
        expiry = datetime(2027, 3, 1, tzinfo=UTC)
        certificates = [("tls:443", "a.pem", expiry), ("tls:443", "b.pem", expiry + timedelta(1))]
        self.patch(self.bot.bot.web.listeners, "expiries", lambda: certificates)
        found = self.samples()
        name = "errklein_certificate_expiry_timestamp_seconds"
        times = [found[name, file, "tls:443"] for file in ("a.pem", "b.pem")]
        self.assertEqual(times, [expiry.timestamp(), expiry.timestamp() + 86400])

    def test_paused(self) -> None:
        """Each paused webhook has a series."""
        self.bot.command("!webhook pause Hooks:plain")
        found = self.samples()
        self.assertEqual(found["errklein_webhook_paused", "Hooks:plain"], 1)
        self.assertNotIn(("errklein_webhook_paused", "Hooks:later"), found)

    def test_no_secrets(self) -> None:
        """Neither secrets of webhooks nor anything that clients send is in the metrics."""
        self.successResultOf(self.bot.post(f"/plain?token={SECRET}", headers={"Authorization": SECRET}))
        self.successResultOf(self.bot.post(f"/{SECRET}"))
        self.assertNotIn(SECRET.encode(), self.get("/metrics")[1])

    def test_deliveries(self) -> None:
        """Recorded deliveries are counted by state, with the age of the oldest."""
        self.bot.advance(60)
        self.successResultOf(self.bot.post("/later"))
        self.bot.advance(3)
        self.flushLoggedErrors(RuntimeError)
        found = self.samples()
        self.assertEqual([found["errklein_deliveries", state] for state in ("waiting", "running", "dead")], [0, 0, 1])
        self.assertEqual(found["errklein_deliveries_oldest_age_seconds",], 0)
        self.assertEqual(found["errklein_dead_deliveries", "Hooks:later"], 1)
        self.assertEqual(round(self.bot.bot.now() - found["errklein_journal_oldest_timestamp_seconds",]), 3)

    def test_networks(self) -> None:
        """Each network has its connection, its reconnects, its messages and its outbox."""
        events, backend = self.bot.bot.events, self.bot.bot.backend
        self.bot.say("hello")
        events.backend_disconnected(backend, "gone")
        self.assertEqual(self.samples()["errklein_network_connected", "test"], 0)
        events.backend_connected(backend)
        self.patch(self.bot.bot, "backends", {"test": Waiting(self.bot.bot.now() - 7)})
        found = self.samples()
        self.assertEqual(found["errklein_network_connected", "test"], 1)
        self.assertEqual(found["errklein_network_reconnects_total", "test"], 1)
        self.assertEqual(found["errklein_messages_received_total", "test"], 1)
        outbox = [found[f"errklein_outbox_{name}", "test"] for name in ("messages", "parts", "characters")]
        self.assertEqual(outbox, list(OutboxStatus(2, 2, 20, 0)[:3]))
        self.assertEqual(found["errklein_messages_sent_total", "test"], 5)
        self.assertEqual(round(found["errklein_outbox_oldest_age_seconds", "test"]), 7)
        self.patch(self.bot.bot, "backends", {"test": Waiting(self.bot.bot.now() + 7)})
        events.backend_disconnected(backend, "gone")
        found = self.samples()
        self.assertEqual(found["errklein_network_connected", "test"], 0)
        self.assertEqual(found["errklein_outbox_oldest_age_seconds", "test"], 0)

    def test_plugins_pools_and_build(self) -> None:
        """Plugins have their state, pools their sizes; the build and the process are described."""
        self.bot.command("!plugin deactivate Broken")
        self.bot.command("!plugin activate Broken")
        self.flushLoggedErrors(RuntimeError)
        found = self.samples()
        self.assertEqual(found["errklein_plugin_state", "Hooks", "active"], 1)
        self.assertEqual(found["errklein_plugin_state", "Broken", "broken"], 1)
        self.assertGreater(found["errklein_pool_size", "commands"], 0)
        self.assertEqual(
            (found["errklein_pool_running", "webhooks"], found["errklein_pool_waiting", "webhooks"]), (0, 0)
        )
        self.assertIn(__version__, next(key for key in found if key[0] == "errklein_build_info"))
        self.assertGreater(found["process_resident_memory_bytes",], 1_000_000)
        free = shutil.disk_usage(self.bot.bot.bot_config.BOT_DATA_DIR).free
        # Others write to the disk meanwhile.
        self.assertAlmostEqual(found["errklein_data_free_bytes",] / free, 1, places=1)

    def test_commands(self) -> None:
        """Commands are counted by outcome."""
        self.bot.command("!uptime")
        self.bot.command("!uptime")
        self.bot.command("!plugin config Nobody")
        self.bot.command("!fail")
        self.flushLoggedErrors(RuntimeError)
        found = self.samples()
        outcomes = [found["errklein_commands_total", name] for name in ("succeeded", "rejected", "failed")]
        self.assertEqual(outcomes, [2, 1, 1])

    def test_reactor_lag(self) -> None:
        """A scrape has the longest lag since the previous one."""
        self.bot.bot.web.lag.record(0.75)
        self.bot.bot.web.lag.record(0.25)
        found = [self.samples()["errklein_reactor_lag_seconds",] for _ in range(2)]
        self.assertEqual(found, [0.75, 0.25])

    def test_readiness(self) -> None:
        """Each part of /ready is a metric."""
        self.bot.bot.events.backend_disconnected(self.bot.bot.backend, "gone")
        found = self.samples()
        self.assertEqual((found["errklein_ready", "networks"], found["errklein_ready", "journal"]), (0, 1))

    def test_formats(self) -> None:
        """A client gets OpenMetrics if it asks for it, else Prometheus' text format."""
        response = self.successResultOf(self.client.get("http://status/metrics", headers={"Accept": OPENMETRICS}))
        (kind,) = response.headers.getRawHeaders("Content-Type")
        self.assertTrue(kind.startswith(OPENMETRICS), kind)
        families = list(parse_openmetrics(self.successResultOf(response.text())))
        self.assertIn("errklein_http_responses", [family.name for family in families])
        response = self.successResultOf(self.client.get("http://status/metrics"))
        kind = response.headers.getRawHeaders("Content-Type")
        self.assertEqual(kind, ["text/plain; version=0.0.4; charset=utf-8"])

    def test_invalid_accept_header(self) -> None:
        """A client with an invalid Accept header gets one of the formats."""
        headers = {"Accept": "application/openmetrics-text; version=abc"}
        response = self.successResultOf(self.client.get("http://status/metrics", headers=headers))
        self.assertEqual(response.code, 200)
        self.assertIn("errklein_http_responses", self.successResultOf(response.text()))

    def test_starting(self) -> None:
        """Before the bot exists, there are no metrics."""
        self.successResultOf(self.server.close())
        server = StatusServer(self.bot.bot.reactor, "tcp:1")
        self.client = StubTreq(server.resource)
        self.assertEqual(self.get("/metrics"), (503, b"the bot is starting\n"))

    def test_client_disconnects(self) -> None:
        """A client that disconnects before its metrics are ready is no error."""
        job: Deferred[Any] = Deferred()
        pool = SimpleNamespace(run=lambda prepare: job, stop=lambda: None)
        server = StatusServer(self.bot.bot.reactor, "tcp:1", make_pool=lambda *_, **options: pool)
        server.watch(self.bot.bot)
        self.addCleanup(server.close)
        request = DummyRequest([])
        server.resource.getChildWithDefault(b"metrics", request).render(request)
        request.processingFailed(Failure(ConnectionDone()))
        job.callback(("text/plain", b"late"))
        self.assertEqual((request.written, request.finished), ([], 0))

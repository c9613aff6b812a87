"""Tests for `!delivery …` and `!webhook show`, `pause` and `resume`."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, webhook
from errklein.bot._operations import RunningState
from errklein.commands.operations import Actor
from errklein.journal import DeliveryQueue, RetryPolicy
from errklein.journal.operations import WebhookOperations
from errklein.networks.outbox import Outbox
from errklein.ports.journal import JournalError
from errklein.ports.outbox import OutboxExpired
from errklein.testing import PluginTestCase, TestBot
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome, Postponed, StoredDelivery, StoredRequest
from tests.journal.inline import memory_journal
from tests.networks.outbox.test_outbox import Network, ThreadClock

RECEIVED_AT = datetime(2026, 11, 28, 18, 56, 6).timestamp()
TIME, LATER = (datetime(2026, 11, 28, 18, minute, 6).astimezone().isoformat() for minute in (56, 57))
BODY = b'{"action": "opened"}'
HEADERS = [(b"x-github-event", b"issues"), (b"user-agent", b"*hook* `x`")]
REQUEST = StoredRequest("POST", "/github?a=1", HEADERS, BODY, "198.51.100.7")


class Github(BotPlugin):
    """Has a webhook."""

    @webhook("/github", ack="now")
    def notification(self, payload: Any) -> str:
        return "noted"


class Builds(BotPlugin):
    """Has two webhooks."""

    @webhook(ack="now")
    def build(self, payload: Any) -> str:
        return "noted"

    @webhook
    def status(self, payload: Any) -> str:
        return "noted"


class Steps(BotPlugin):
    """Has a webhook whose deliveries run in order."""

    @webhook(ack="now", ordered=True)
    def step(self, payload: Any) -> None: ...


class DeliveriesCase(PluginTestCase):
    """A test with a journal in memory."""

    plugins = (Github, Builds, Steps)

    def setUp(self) -> None:
        """Replace the bot's journal, and its queue, which isn't started."""
        super().setUp()
        bot, self.journal = self.bot.bot, memory_journal(lambda: RECEIVED_AT)

        def run(delivery: StoredDelivery) -> Deferred[Outcome | Postponed]:
            raise AssertionError("the queue wasn't started")

        self.queue = DeliveryQueue(
            self.bot.reactor, self.journal, run, lambda webhook: RetryPolicy(), lambda delivery, outcome: None
        )
        self.addCleanup(self.queue.close)
        bot.journal, bot.delivery_queue = self.journal, self.queue
        operations = WebhookOperations(self.journal, self.journal.outbox.find, self.queue, RunningState(bot))
        # Core plugins keep the host.
        object.__setattr__(bot.core_host, "webhooks", operations)

    def add(
        self, state: DeliveryState = DeliveryState.FAILED, reason: str = "ValueError: *bad*", **fields: Any
    ) -> StoredDelivery:
        """Store a finished delivery, and return it."""
        status = {DeliveryState.DONE: 200, DeliveryState.REFUSED: 401}.get(state, 500)
        number = self.journal.next_id()
        delivery = StoredDelivery(
            number, "Github:notification", state, RECEIVED_AT, outcome=Outcome(status, reason, 0.2), request=REQUEST
        )
        self.journal.log(delivery._replace(**fields))
        return delivery

    def states(self) -> list[str]:
        """Return the states of all deliveries, oldest first."""
        found = self.successResultOf(self.journal.find(DeliveryQuery(limit=1000)))
        return [str(delivery.state) for delivery in reversed(found)]


class ListTests(DeliveriesCase):
    """`!delivery list`."""

    def test_lines(self) -> None:
        """Each delivery is one line, the latest first."""
        self.add()
        self.add(DeliveryState.DONE, "", webhook="Builds:build")
        self.assertEqual(
            self.command("!delivery list"),
            f"2 done {TIME} Builds:build 200 after 0.2 s\n"
            f"1 failed {TIME} Github:notification 500 after 0.2 s: ValueError: *bad*",
        )

    def test_filters(self) -> None:
        """A plugin, a webhook, its path, states and times select deliveries."""
        self.add()
        self.add(DeliveryState.DONE, webhook="Builds:build")
        self.add(DeliveryState.REFUSED)
        for words, ids in (
            ("Github", "31"),
            ("Github:notification failed", "1"),
            ("/github refused", "3"),
            ("done refused", "32"),
            ("until 2026-11-28T18:56", ""),
            ("limit 4 since 2026-11-28", "321"),
            ("before 3", "21"),
        ):
            reply = self.command(f"!delivery list {words}")
            self.assertEqual("".join(line[0] for line in reply.splitlines()) if ids else "", ids, reply)
        self.assertEqual(self.command("!delivery list dead"), "No delivery matches.")

    def test_groups(self) -> None:
        """Grouped, the reasons of many deliveries fit in a few lines, with the ids that the source must send again."""
        for number in range(40):
            self.add(DeliveryState.REFUSED, "the signature doesn't match", key=f"72d3162e-cc78-11e3-81ab-{number}")
        lines = self.command("!delivery list refused grouped").splitlines()
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[0].startswith("40 refused Github:notification, "))
        self.assertTrue(lines[0].endswith(", 401: the signature doesn't match"))
        self.assertTrue(lines[1].endswith("72d3162e-cc78-11e3-81ab-39"), lines[1])

    def test_unknown_webhook(self) -> None:
        """An unknown webhook is an error with a suggestion. One of an inactive plugin is known from its deliveries."""
        self.add(webhook="Gone:hook")
        self.assertTrue(self.command("!delivery list Gone").startswith("1 failed"))
        self.assertIn("unknown webhook 'Gome'; did you mean 'Gone'?", self.command("!delivery list Gome"))
        self.assertIn("unknown webhook 'Githup:x'; did you mean 'Github'?", self.command("!delivery replay Githup:x"))

    def test_pages(self) -> None:
        """A full page ends with the command for the next one."""
        for _ in range(5):
            self.add()
        self.assertTrue(
            self.command("!delivery list failed limit 2").endswith("!delivery list failed limit 2 before 4")
        )
        reply = self.command("!delivery list failed before 4 limit 2")
        self.assertTrue(reply.endswith("!delivery list failed limit 2 before 2"), reply)

    def test_large_pages(self) -> None:
        """A reply has at most a hundred deliveries."""
        for _ in range(101):
            self.add()
        lines = self.command("!delivery list limit 1000").splitlines()
        self.assertEqual((len(lines), lines[-1]), (101, "Older ones: !delivery list limit 1000 before 2"))

    def test_errors(self) -> None:
        """Unknown words and a journal that can't be read are errors with a reason."""
        self.assertIn("unknown word 'faild'; did you mean 'failed'?", self.command("!delivery list faild"))
        self.assertEqual(self.command("!delivery list 'a"), "No closing quotation.")

        def find(query: DeliveryQuery) -> Deferred[Any]:
            return fail(JournalError("journal.db: the disk is full"))

        self.patch(self.journal, "find", find)
        self.assertEqual(self.command("!delivery list"), "journal.db: the disk is full.")

    def test_others(self) -> None:
        """Only administrators list deliveries; where a rule admits others, they don't see texts of exceptions."""
        self.add()
        self.assertIn("requires bot-admin", self.command("!delivery list", frm="@bob"))
        self.bot.config.ACCESS_CONTROLS = {"delivery_*": {"allowusers": ("*",), "allowmuc": True}}
        for reply in (self.command("!delivery list", frm="@bob"), *self.bot.say("!delivery list", room="#ops")):
            self.assertTrue(reply.endswith("Github:notification 500 after 0.2 s"), reply)

    def test_texts_from_outside(self) -> None:
        """A reason is shown literally, on one line, shortened, without secrets."""
        self.add(reason=f"**b** | https://me:pw@host\n# {'x' * 1000}")
        reply = self.command("!delivery list")
        self.assertIn("**b** | https://•••@host # xxx", reply)
        self.assertLess(len(reply), 320)

    def test_direction(self) -> None:
        """Characters that change the direction of a line are escaped."""
        self.add(reason="\u202egnitser \u2066", request=REQUEST._replace(headers=[(b"x-a", b"\x9b2J")]))
        self.assertIn("\\u202egnitser \\u2066", self.command("!delivery list"))
        self.assertIn("x-a: \\x9b2J", self.command("!delivery show 1"))


class ShowTests(DeliveriesCase):
    """`!delivery show`."""

    def test_parts(self) -> None:
        """The reply has the attempts, the request, its headers and its body."""
        self.add(request_id="abc-7", attempt=2)
        self.assertEqual(
            self.command("!delivery show 1"),
            f"1 failed {TIME} Github:notification 500 after 0.2 s: ValueError: *bad*\n"
            "request abc-7, ack after, attempt 2\n"
            "POST /github?a=1 from 198.51.100.7\n"
            "x-github-event: issues\n"
            "user-agent: *hook* `x`\n"
            "Body (20 bytes):\n"
            ' {"action": "opened"}',
        )

    def test_attempts(self) -> None:
        """Earlier attempts and the time of the next one are shown."""
        delivery = self.add()._replace(id=7, state=DeliveryState.RECEIVED, ack="now")
        self.journal.record(delivery)
        for reason, due in (("first", 0), ("second", 60)):
            self.journal.lease(delivery.webhook, 1, 60)
            self.journal.retry_at(7, RECEIVED_AT + due, Outcome(500, reason, 1.5))
        reply = self.command("!delivery show 7")
        self.assertIn(f"attempt 2, next attempt {LATER}\n", reply)
        self.assertIn(f"\nattempt 1 {TIME} 500 after 1.5 s: first\n", reply)

    def test_bodies(self) -> None:
        """A long body is shortened; one that isn't text or isn't stored is described."""
        for body, shown in (
            (b"x" * 5000, f"Body (5000 bytes):\n{'x' * 2000}…"),
            (b"\xff\x00", "The body has 2 bytes, which aren't text in UTF-8."),
            (b"```\n# no *end*", "Body (14 bytes):\n```\n# no *end*"),
            (None, "The body is not stored."),
        ):
            number = self.add(request=REQUEST._replace(body=body)).id
            self.assertTrue(self.command(f"!delivery show {number}").replace("\n ", "\n").endswith(shown), shown)

    def test_unknown_ids(self) -> None:
        """An unknown id, and a word that is none, are errors."""
        self.assertEqual(self.command("!delivery show 99"), "There is no delivery 99.")
        self.assertEqual(self.command("!delivery show *x*"), "Name the id of a delivery; *x* is none.")
        self.assertEqual(self.command("!delivery show"), "Name the id of a delivery.")

    def test_action_is_missing(self) -> None:
        """Without an action, the reply names the command, or the actions."""
        self.add()
        self.assertEqual(self.command("!delivery 1"), "The command is !delivery show 1.")
        for words in ("", " x"):
            reply = self.command(f"!delivery{words}")
            self.assertEqual(reply, "Name an action: !delivery list, !delivery show ID, !delivery replay ID.")


class WebhookShowTests(DeliveriesCase):
    """`!webhook show`."""

    config = {
        "PUBLIC_URL": "https://bot.example.net",
        "WEBHOOKS": {"Builds:build": {"methods": ["POST"], "attempts": 9}},
    }

    def test_no_request(self) -> None:
        """The URL, methods and options are shown, and that no request has arrived."""
        self.assertEqual(
            self.command("!webhook show Builds:build").splitlines(),
            [
                'https://bot.example.net/build -> Builds:build [POST], not verified, ack="now"',
                "Options: attempts=9",
                "Builds:build: active, no request is recorded",
                "Responses since the start of the bot: 0",
            ],
        )

    def test_requests(self) -> None:
        """The last request, the last refused one, and the numbers of a day are shown, and whether the webhook is paused."""
        self.patch(self.bot.bot, "now", lambda: RECEIVED_AT + 60)
        self.add(received_at=RECEIVED_AT - 90_000)
        self.add(DeliveryState.REFUSED, "*no*", key="a")
        self.add(DeliveryState.DONE, "")
        self.add(attempt=1)
        self.command("!webhook pause /github")
        first, state, last, refused, *numbers = self.command("!webhook show /github").splitlines()
        self.assertEqual(
            first,
            'https://bot.example.net/github -> Github:notification [GET, HEAD, POST], not verified, ack="now", paused',
        )
        self.assertEqual(state, "Github:notification: paused: requests are accepted and wait for `webhook resume`")
        self.assertRegex(
            last,
            rf"^- delivery 4 of Github:notification: accepted {re.escape(TIME)}, failed .*500 after 0.2 s: ValueError: \*bad\*",
        )
        self.assertRegex(
            refused,
            rf"^- delivery 2 of Github:notification: refused {re.escape(TIME)} \(401: \*no\*; from 198.51.100.7\)",
        )
        expected = ["In 24 hours: 2 accepted, 1 refused, 1 failed", "Responses since the start of the bot: 0"]
        self.assertEqual(numbers, expected)
        self.bot.config.ACCESS_CONTROLS = {"webhook_show": {"allowusers": ("*",)}}
        self.assertNotIn("ValueError", self.command("!webhook show Github", frm="@bob"))

    def test_requests_that_are_not_recorded(self) -> None:
        """Responses are counted also of a webhook whose requests are never recorded, and of those above WEBHOOK_LOG_RATE."""
        self.successResultOf(self.bot.post("/echo"))
        self.assertTrue(self.command("!webhook show /echo").endswith("Responses since the start of the bot: 1"))
        self.patch(self.bot.bot, "now", lambda: RECEIVED_AT)
        self.journal.count("Builds:status")
        shown = self.command("!webhook show Builds:status")
        self.assertIn("\nIn 24 hours: 1 accepted\n", shown)

    def test_all_of_a_plugin(self) -> None:
        """The name of a plugin shows each of its webhooks, also those of one that is inactive."""
        self.assertEqual(self.command("!webhook show Builds").count("no request is recorded"), 2)
        self.add(webhook="Gone:hook")
        self.assertIn(
            "Gone:hook: not active (there is no plugin Gone); delivery 1 of Gone:hook: ",
            self.command("!webhook show Gone"),
        )

    def test_unknown(self) -> None:
        """An unknown webhook is an error with a suggestion, and so is a missing name."""
        self.assertIn("did you mean 'Github:notification'?", self.command("!webhook show Github:notifications"))
        self.assertEqual(
            self.command("!webhook show"),
            "Name a webhook, as Plugin:method, a plugin, or a webhook of a room, as in webhook list.",
        )


class MessageTests(DeliveriesCase):
    """`!message list` and `drop`."""

    def test_flood(self) -> None:
        """A room for which messages wait is listed, and what waits for it is dropped."""
        self.assertEqual(self.command("!message list"), "No message waits.")
        outbox = Outbox[str](ThreadClock(), "text", Network(), now=lambda: RECEIVED_AT)
        self.patch(self.bot.backend, "outbox", outbox)
        lost: Any = [outbox.perform("#ops", "too much") for _ in range(2)]
        self.assertEqual(self.command("!message list"), f"test #ops: 2, the oldest of {TIME}")
        self.assertEqual(self.command("!message drop test #ops"), "Dropped 2 messages.")
        self.assertEqual(self.command("!message list test"), "No message waits.")
        for one in lost:
            self.failureResultOf(one, OutboxExpired)

    def test_unknown_network(self) -> None:
        """An unknown network is an error that names those of the bot."""
        self.assertEqual(self.command("!message list libera"), "there is no network 'libera'; the bot has test.")


class ReplayTests(DeliveriesCase):
    """`!delivery replay`."""

    def test_ids(self) -> None:
        """Deliveries run once more by their ids; the reply names those that can't."""
        self.add()
        self.add(DeliveryState.DONE)
        self.add(request=None)
        reply = self.command("!delivery replay 1 2 3 99")
        self.assertTrue(reply.startswith("Replaying 2 deliveries. Others can't be replayed"), reply)
        self.assertTrue(reply.endswith(": 3, 99"), reply)
        self.assertEqual(self.states(), ["received", "received", "failed"])

    def test_rate(self) -> None:
        """With a rate, deliveries begin one after the other: within two hours, and not those of a webhook that runs in order."""
        for _ in range(3):
            self.add()
        self.assertEqual(self.command("!delivery replay failed rate 1/min"), "Replaying 3 deliveries.")
        found = self.successResultOf(self.journal.find(DeliveryQuery()))
        self.assertEqual([one.due_at - found[-1].due_at for one in found], [120.0, 60.0, 0.0])
        for _ in range(4):
            self.add()
        self.assertIn("over two hours at this rate", self.command("!delivery replay failed rate 1/h"))
        self.add(webhook="Steps:step")
        self.assertIn("Steps:step run in order", self.command("!delivery replay 8 rate 1/s"))

    def test_dry_run(self) -> None:
        """What would run is known before, without a change and without a note."""
        self.add()
        self.add(request=None)
        notes: list[object] = []
        by = Actor("alice", note=lambda *note: notes.append(note))
        webhooks = self.bot.bot.core_host.webhooks
        found = self.successResultOf(Deferred.fromCoroutine(webhooks.replay(by, ["failed"], dry=True)))
        self.assertEqual(([one.id for one in found.begun], found.others, notes), ([1], [2], []))
        self.assertEqual(self.states(), ["failed", "failed"])

    def test_ranges(self) -> None:
        """A webhook, states and times select deliveries, by default failed and dead ones."""
        for state in (DeliveryState.FAILED, DeliveryState.DONE, DeliveryState.DEAD):
            self.add(state)
        self.assertEqual(self.command("!delivery replay Github until 2026-11-28"), "Replaying 0 deliveries.")
        self.assertEqual(self.command("!delivery replay Github since 2026-11-28 limit 1"), "Replaying 1 delivery.")
        self.assertEqual(self.states(), ["failed", "done", "received"])
        self.assertEqual(self.command("!delivery replay /github done"), "Replaying 1 delivery.")
        self.assertEqual(self.states(), ["failed", "received", "received"])

    def test_superseded(self) -> None:
        """What the source has repeated meanwhile is skipped and named; with `force` it runs. Who replays what is logged."""
        self.add(DeliveryState.DEAD, key="k")
        self.add(DeliveryState.DONE, key="k")
        self.add()
        self.assertIn("1 dead", self.command("!delivery list dead"))
        self.assertIn("source-id k (superseded by 2)", self.command("!delivery list dead"))
        with capturedLogs() as events:
            reply = self.command("!delivery replay Github")
        self.assertEqual(reply, "Replaying 1 delivery. The source has repeated 1 as 2; add force to replay it, too.")
        self.assertIn("@admin replays the deliveries 3", [formatEvent(event) for event in events])
        self.assertTrue(
            self.command("!delivery replay 1").startswith("Replaying 0 deliveries. The source has repeated")
        )
        self.assertEqual(self.command("!delivery replay 1 force"), "Replaying 1 delivery.")
        self.assertEqual(self.states(), ["received", "done", "received"])

    def test_nothing(self) -> None:
        """Without words, nothing is replayed."""
        self.add()
        self.assertIn("name ids", self.command("!delivery replay"))
        self.assertEqual(self.states(), ["failed"])


class PauseTests(DeliveriesCase):
    """`!webhook pause` and `!webhook resume`."""

    def paused(self) -> list[str]:
        """Return the paused webhooks that the journal keeps."""
        return list(self.successResultOf(self.journal.paused()))

    def test_pause(self) -> None:
        """The path of a webhook, or its plugin, pauses and resumes it; without a webhook, the paused ones are listed."""
        for name in ("Github", "/github", "Github:notification"):
            self.assertEqual(self.command(f"!webhook pause {name}"), "Paused Github:notification.")
            self.assertEqual(self.paused(), ["Github:notification"])
            self.assertEqual(self.command(f"!webhook resume {name}"), "Resumed Github:notification.")
            self.assertEqual(self.paused(), [])
        self.assertEqual(self.command("!webhook pause"), "Paused: none.")

    def test_status(self) -> None:
        """`!webstatus` shows which webhooks are paused."""
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.command("!webhook pause Github")
        self.queue.start()
        self.bot.advance(0)
        self.assertRegex(
            self.command("!webstatus"), r"/github -> Github:notification \[.*\], not verified, ack=.now., paused\n"
        )
        self.command("!webhook resume Github")
        self.bot.advance(0)
        self.assertNotIn("paused", self.command("!webstatus"))

    def test_plugin(self) -> None:
        """A plugin's name pauses all of its webhooks."""
        self.assertEqual(self.command("!webhook pause Builds"), "Paused Builds:build, Builds:status.")

    def test_inactive_plugins(self) -> None:
        """A webhook of an inactive plugin can be paused."""
        self.assertEqual(self.command("!webhook pause Gone:hook"), "Paused Gone:hook.")
        self.assertEqual(self.paused(), ["Gone:hook"])

    def test_errors(self) -> None:
        """An unknown webhook is an error, and so is a missing one."""
        self.assertIn("unknown webhook '/gitub'; did you mean", self.command("!webhook pause /gitub"))
        self.assertIn("Name a webhook", self.command("!webhook resume"))


class PausedFromTheStart(BotPlugin):
    """Records whether its webhook is paused when it is activated, from when on requests arrive."""

    paused: Collection[str] = ()

    def activate(self) -> None:
        """Look at the paused webhooks."""
        super().activate()
        self.paused = self._bot.delivery_queue.paused

    @webhook
    async def hook(self, payload: Any) -> None:
        """Is never called."""


class StartTests(SynchronousTestCase):
    """A pause that an earlier process has stored."""

    def test_is_known_before_plugins_are_active(self) -> None:
        """No request runs before the bot knows that its webhook is paused."""
        bot = TestBot(plugins=[PausedFromTheStart])
        bot.bot.journal.pause("PausedFromTheStart:hook", True)
        bot.start()
        self.addCleanup(bot.stop)
        self.assertEqual(bot.plugin("PausedFromTheStart").paused, {"PausedFromTheStart:hook"})
        self.assertEqual(self.successResultOf(bot.post("/hook")).status, 202)


class Broken(BotPlugin):
    """Has webhooks that fail until `works` is true."""

    works = False

    @webhook
    def after(self, payload: Any) -> str:
        if not self.works:
            raise ValueError("unknown action")
        return str(payload["number"])

    @webhook(ack="now", attempts=1)
    async def now(self, payload: Any) -> str:
        return self.after(payload)


class BusyTests(PluginTestCase):
    """A webhook with more deliveries than WEBHOOK_LOG_RATE."""

    plugins = (Broken,)
    config = {"WEBHOOK_LOG_RATE": "3/s", "WEBHOOKS": {"Broken:now": {"rate": "7/s"}}}

    def test_successful_ones_are_counted(self) -> None:
        """Above the rate of its webhook, a successful delivery isn't recorded, but counted in lists."""
        self.bot.advance(1000)
        self.bot.plugin("Broken").works = True
        for number in range(5):
            self.post("/after", json={"number": number})
        self.bot.advance(1)
        shown = self.command("!delivery list")
        self.assertEqual([line[:6] for line in shown.splitlines()], ["3 done", "2 done", "1 done", "and 2 "])
        self.assertTrue(shown.endswith("\nand 2 not recorded: successful ones above WEBHOOK_LOG_RATE"), shown)
        self.assertIn("and 2 not recorded", self.command("!delivery list Broken:after since 10min limit 1000"))
        self.assertNotIn("not recorded", self.command("!delivery list Broken:now"))
        self.assertEqual(self.command("!delivery list failed"), "No delivery matches.")
        self.bot.advance(1)
        self.post("/after", json={"number": 5})
        self.bot.advance(1)
        self.assertTrue(self.command("!delivery list").startswith("6 done"))

    def test_others_are_recorded(self) -> None:
        """Failed and refused deliveries and those with `ack="now"` are recorded at any rate."""
        for _ in range(5):
            self.post("/after", json={"number": 7})
        self.bot.plugin("Broken").works = True
        for _ in range(8):
            self.post("/now", json={"number": 7})
        self.bot.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 5)
        shown = self.command("!delivery list limit 30")
        counts = [shown.count(f" {state} ") for state in ("failed", "done", "refused", "not recorded")]
        self.assertEqual(counts, [5, 7, 1, 0], shown)


class ReplayedTests(PluginTestCase):
    """Deliveries that the bot has received itself."""

    plugins = (Broken,)

    def test_failed_deliveries_run_again(self) -> None:
        """A failed delivery is found by its time, and runs again after the plugin was repaired."""
        self.bot.advance(1000)
        for hook in ("after", "now"):
            self.post(f"/{hook}", json={"number": 7})
        self.bot.advance(1)
        self.flushLoggedErrors(ValueError)
        self.assertIn("The delivery 2 of Broken:now is dead after 1 attempt: 500", str(self.bot.sent_to("@admin")))
        self.bot.advance(60)
        self.assertEqual(self.command("!delivery list since 1m"), "No delivery matches.")
        self.assertRegex(
            self.command("!delivery list since 2m"),
            r"^2 dead .* Broken:now 500 after 0\.0 s: ValueError: unknown action\n"
            r"1 failed .* Broken:after 500 after 0\.0 s: ValueError: unknown action$",
        )
        self.bot.plugin("Broken").works = True
        self.assertEqual(self.command("!delivery replay Broken since 2m"), "Replaying 2 deliveries.")
        self.bot.advance(1)
        self.assertRegex(
            self.command("!delivery list"),
            r"^2 done .* Broken:now \(replay\) 200 after 0\.0 s\n1 done .* Broken:after \(replay\) 200 after 0\.0 s$",
        )

    def test_request_right_after_a_pause(self) -> None:
        """A request in the same instant as the reply to `!webhook pause` waits, and runs after `!webhook resume`."""
        self.bot.plugin("Broken").works = True
        self.command("!webhook pause Broken:after")
        self.assertEqual(self.post("/after", json={"number": 7}).status, 202)
        self.command("!webhook resume Broken:after")
        self.assertEqual(self.post("/after", json={"number": 8}).text, "8")

    def test_activated_plugin(self) -> None:
        """A delivery of an inactive plugin runs as soon as the plugin is active again."""
        self.post("/now", json={"number": 7})
        self.bot.advance(1)
        self.flushLoggedErrors(ValueError)
        self.command("!plugin deactivate Broken")
        self.command("!delivery replay 1")
        self.bot.advance(1)
        self.assertIn("1 retry", self.command("!delivery list"))
        self.bot.plugin("Broken").works = True
        self.command("!plugin activate Broken")
        self.bot.advance(1)
        self.assertIn("1 done", self.command("!delivery list"))

"""The pages of deliveries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from errklein import BotPlugin, webhook
from errklein.text.masking import masker
from errklein.verify import github
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery, StoredRequest
from tests.console.kit import Browser, ConsoleCase
from tests.console.test_live import LiveCase

SECRET, HOSTILE = "correct-horse-battery", "<script>alert('x')</script>\""


class Shop(BotPlugin):
    """Fails while `broken`."""

    broken = True

    @webhook("/order", ack="now", attempts=1, dedupe="header:X-Id")
    def order(self, payload: Any) -> None:
        if self.broken:
            raise ValueError(f"no stock of {payload['id']}, {HOSTILE} {SECRET}")
        self.send(self.build_identifier("#shop"), "sold")

    @webhook("/bill", ack="now", verify=github(secret="env:TEST_PAGES_SECRET"), dedupe="id")
    def bill(self, payload: Any) -> None:
        pass


class PagesCase(ConsoleCase):
    """A shop whose deliveries fail, and an administrator's browser."""

    plugins = (Shop,)

    def setUp(self) -> None:
        """Enter the console."""
        os.environ["TEST_PAGES_SECRET"] = SECRET
        self.addCleanup(os.environ.pop, "TEST_PAGES_SECRET")
        masker.learn(self, "test", [SECRET])
        super().setUp()
        self.addCleanup(setattr, Shop, "broken", True)
        self.visitor = self.enter()

    def receive(self, *ids: str, path: str = "/order", **request: Any) -> None:
        """Let requests arrive, with these ids at the source."""
        for one in ids:
            headers = {"X-Id": one, "X-GitHub-Delivery": one, **request.pop("headers", {})}
            self.successResultOf(self.bot.post(path, json={"id": one}, headers=headers, **request))
        self.bot.advance(1)
        self.flushLoggedErrors(ValueError)

    def ids(self) -> list[int]:
        """Return the ids of the deliveries in the table of the page."""
        return [int(one) for one in re.findall(r'<tr role="row" id="d(\d+)"', self.visitor.text)]

    def open(self, label: str) -> str:
        """Follow the link with that text on the page."""
        for to, text in re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>([^<]*)</a>', self.visitor.text):
            if label in unescape(text):
                return self.visitor.get(unescape(to))
        raise AssertionError(f"no link {label}: {self.visitor.text}")


class ListTests(PagesCase):
    """Lists of deliveries."""

    def test_filters(self) -> None:
        """Deliveries are selected by webhook, state, status, reason, time and id. The form keeps what was chosen."""
        self.receive("1", "2")
        Shop.broken = False
        self.receive("3")
        self.receive("4", path="/bill")
        for query, number in (
            ("", 4),
            ("webhook=Shop:order", 3),
            ("state=dead", 2),
            ("state=dead&state=done", 3),
            ("status=500", 2),
            ("answered=202", 3),
            ("answered=401", 1),
            ("reason=stock+of+2", 1),
            ("since=1h", 4),
            ("until=1h", 0),
            ("source-id=3", 1),
            ("words=dead+limit+1", 1),
            ("state=dead&text=", 2),
        ):
            self.visitor.get(f"/deliveries?{query}")
            self.assertEqual(len(self.ids()), number, query)
        page = self.visitor.get("/deliveries?state=dead&webhook=Shop&reason=stock")
        self.assertIn('value="dead" checked>', page)
        self.assertNotIn('value="done" checked>', page)
        self.assertIn('name="webhook" value="Shop"', page)
        self.assertIn("No delivery matches", self.visitor.get("/deliveries?until=1h"))

    def test_pages(self) -> None:
        """A page has 50 deliveries, and a link to older ones, which keeps the filter."""
        self.receive(*map(str, range(53)))
        self.visitor.get("/deliveries?state=dead&webhook=Shop:order")
        first = self.ids()
        self.assertEqual(len(first), 50)
        self.open("Older")
        self.assertEqual(len(self.ids()), 3)
        self.assertLess(max(self.ids()), min(first))
        self.assertIn('value="dead" checked>', self.visitor.text)

    def test_search(self) -> None:
        """One field finds a delivery by its id, that of the request, and that at the source."""
        self.receive("order-1", "order-2")
        self.visitor.get("/deliveries")
        last = self.ids()[0]
        request_id = re.findall(r"\w+-\d{6}", self.visitor.get(f"/deliveries/{last}"))[0]
        for text in (str(last), request_id, "order-2"):
            self.visitor.get(f"/deliveries?text={text}")
            self.assertEqual(self.ids(), [last], text)
        self.assertIn("No delivery matches", self.visitor.get(f"/deliveries?text={quote(HOSTILE)}"))
        self.visitor.get(f"/deliveries?text=order-2&before={'9' * 5000}")
        self.assertEqual(self.visitor.status, 200)

    def test_invalid_words(self) -> None:
        """An invalid filter is answered with the reason, not with another list."""
        for query, reason in (
            ("since=soon", "invalid time"),
            ("webhook=Nobody:x", "unknown webhook"),
            ("answered=x", "answered"),
            ("words='", "unknown"),
        ):
            page = self.visitor.get(f"/deliveries?{query}")
            self.assertEqual((self.visitor.status, reason in page), (400, True), page)
        self.visitor.get("/failures?since=soon")
        self.assertEqual(self.visitor.status, 400)


class FailuresTests(PagesCase):
    """Groups of failures."""

    def test_group(self) -> None:
        """A group has its first, last and number. A replay runs those that the source hasn't sent again, or all."""
        self.receive("1", "2", "3")
        self.receive("3")  # a delivery that was given up is repeated, and fails again
        page = self.visitor.get("/failures")
        self.assertEqual(page.count('<th scope="row"'), 1)
        self.open("no stock")
        self.assertIn("4, of which the source has already sent 1 again", self.visitor.text)
        self.assertIn("3 deliveries would run.", self.visitor.text)
        self.assertIn("Dry run", self.open("include them"))
        self.assertIn("4 deliveries would run.", self.visitor.text)
        self.open("leave them out")
        Shop.broken = False
        self.assertIn("Replaying 3 deliveries.", self.visitor.press("Replay 3"))
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#shop"), ["sold"] * 3)
        self.visitor.get("/failures")
        self.open("no stock")
        self.assertIn("0 deliveries would run.", self.visitor.text)

    def test_rate(self) -> None:
        """With a rate, the deliveries run one after the other, and the page of one that waits says so."""
        self.receive("1", "2", "3")
        self.visitor.get("/failures")
        self.open("no stock")
        Shop.broken = False
        self.assertIn('<option value="rate 1/s">', self.visitor.text)
        [token] = set(re.findall(r'name="form_token" value="([^"]+)"', self.visitor.text))
        [words] = re.findall(r'name="words" value="([^"]+)"', self.visitor.text)
        fields: dict[str, Any] = {"form_token": token, "back": "/failures", "words": [words, "rate 1/s"]}
        self.assertIn("Replaying 3 deliveries.", self.visitor.post("/do/webhooks.replay", fields))
        self.assertIn("it is replayed at a rate", self.visitor.get(f"/deliveries/{words.partition(' ')[0]}"))
        self.bot.advance(1.5)
        self.assertEqual(len(self.bot.sent_to("#shop")), 2)
        self.bot.advance(1)
        self.assertEqual(len(self.bot.sent_to("#shop")), 3)

    def test_seen_is_replayed(self) -> None:
        """A replay runs what the page has shown, not what has failed since; and not what the source has sent since."""
        self.receive("1", "2")
        self.visitor.get("/failures")
        self.open("no stock")
        self.receive("2", "3")
        Shop.broken = False
        done = self.visitor.press("Replay 2")
        self.assertIn("Replaying 1 delivery. The source has sent 1 again, which are not replayed.", done)
        self.bot.advance(1)
        self.assertEqual(self.bot.sent_to("#shop"), ["sold"])

    def test_refused(self) -> None:
        """Refused requests have a reason, and the ids that the source must send again. They can't be replayed."""
        self.receive("1", "2", path="/bill")
        self.visitor.get("/failures")
        page = self.open("401")
        self.assertIn("The source must send 2 again", page)
        for one in ("1", "2"):
            self.assertIn(f"<code>{one}</code>", page)
        self.assertNotIn("Replay", page)

    def test_large_group(self) -> None:
        """Of a large group, the latest 1,000 are replayed at once, and the page says so."""
        journal, request = self.bot.bot.journal, StoredRequest("POST", "/order", (), b"{}")
        for _ in range(1002):
            ended = Outcome(500, "no stock")
            journal.log(
                StoredDelivery(
                    journal.next_id(),
                    "Shop:order",
                    DeliveryState.FAILED,
                    0.0,
                    attempt=1,
                    outcome=ended,
                    request=request,
                )
            )
        self.bot.advance(1)
        self.visitor.get("/failures?since=1970-01-01")
        self.assertIn("1,000 deliveries would run, of the latest 1,000 of 1002.", self.open("no stock"))
        self.assertIn("<button>Replay 1000</button>", self.visitor.text)

    def test_gone(self) -> None:
        """The group of deliveries that have run is empty, and the page says so."""
        self.assertIn("None has failed by this cause", self.visitor.get("/failures/0123456789abcdef?since=1d"))
        self.assertEqual(self.visitor.status, 200)

    def test_webhook(self) -> None:
        """Groups of one webhook are shown alone."""
        self.receive("1")
        self.receive("1", path="/bill")
        self.assertEqual(self.visitor.get("/failures").count('<th scope="row"'), 2)
        self.assertEqual(self.visitor.get("/failures?since=1h&webhook=Shop:bill").count('<th scope="row"'), 1)


class DeliveryTests(PagesCase):
    """One delivery."""

    def deliver(self, **request: Any) -> str:
        """Let a delivery fail, and return its page."""
        self.receive("1", **request)
        self.visitor.get("/deliveries")
        return self.visitor.get(f"/deliveries/{self.ids()[0]}")

    def test_replay(self) -> None:
        """Both attempts of a replayed delivery are shown with times and the traceback, and the message that it has caused."""
        page = self.deliver()
        self.assertIn("builtins.ValueError: no stock", page)
        self.assertIn("202, sent before the handler ran", page)
        Shop.broken = False
        self.assertIn("Replaying 1 delivery.", self.visitor.press("Replay"))
        self.bot.advance(1)
        page = self.visitor.get(self.visitor.path)
        self.assertEqual(re.findall(r'id="(a\d)"', page), ["a1", "a2"])
        self.assertEqual(page.count("<summary>Traceback"), 1)
        self.assertRegex(page, r"message to #shop on \w+: sent")
        self.assertIn('<span class="state good">done</span>', page)

    def test_sent_again(self) -> None:
        """Of a delivery that the source has sent again, the page names the later one. It is replayed only on purpose."""
        self.deliver()
        self.receive("1")
        page = self.visitor.get(self.visitor.path)
        self.assertIn("sent again by the source as", page)
        Shop.broken = False
        number = self.visitor.path.partition("?")[0].rpartition("/")[2]
        self.assertIn("Replaying 0 deliveries. The source has sent 1 again", self.visitor.press("Replay"))
        self.assertIn("Replaying 1 delivery.", self.visitor.press("Replay", words=f"{number} force"))

    def test_no_secret(self) -> None:
        """No page of a delivery has a secret: not of headers, address, body, reason or traceback."""
        headers = {"Authorization": f"Bearer {SECRET}x", "X-Api-Key": "k3y-of-shop", "X-Note": f"say {SECRET}"}
        self.deliver(headers=headers, path=f"/order?token=t0ken-of-shop&q={SECRET}")
        one = self.visitor.path
        for path in (one, f"{one}/body", f"{one}/export", "/deliveries", "/failures"):
            page = self.visitor.get(path)
            self.assertEqual(self.visitor.status, 200, path)
            for secret in (SECRET, "k3y-of-shop", "t0ken-of-shop"):
                self.assertNotIn(secret, page, path)

    def test_escaped(self) -> None:
        """Text from outside is no HTML, on each page."""
        self.deliver(headers={"X-Id": HOSTILE, "X-Note": HOSTILE}, path=f"/order?q={quote(HOSTILE)}")
        one = self.visitor.path
        self.visitor.get("/failures")
        for page in (
            self.visitor.get(one),
            self.visitor.get("/deliveries"),
            self.visitor.get("/failures"),
            self.open("no"),
        ):
            self.assertIn("alert(", page)
            self.assertNotIn("<script>alert", page)
        for field in ("webhook", "since", "text", "words"):
            self.assertNotIn("<script>alert", self.visitor.get(f"/deliveries?{field}={quote(HOSTILE)}"))

    def test_body_and_file(self) -> None:
        """The body and the export are files, which no browser shows as a page."""
        self.deliver()
        number = self.visitor.path.rpartition("/")[2]
        self.assertEqual(self.visitor.get(f"/deliveries/{number}/body"), '{"id": "1"}')
        self.assertEqual(
            self.visitor.headers.getRawHeaders("content-disposition"),
            [f'attachment; filename="delivery-{number}-body"'],
        )
        self.assertEqual(self.visitor.headers.getRawHeaders("content-type"), ["application/octet-stream"])
        for path in (
            f"/deliveries/{'9' * 30}",
            "/deliveries/99",
            "/deliveries/99/body",
            "/deliveries/99/export",
            "/deliveries/99/other",
        ):
            self.visitor.get(path)
            self.assertEqual(self.visitor.status, 404, path)
        Browser(self).get(f"/deliveries/{number}/body")

    def test_exported_test(self) -> None:
        """The test of the page fails as the delivery did, if it is put beside the plugin with the file."""
        page = self.deliver()
        number = self.visitor.path.rpartition("/")[2]
        directory = Path(self.mktemp())
        directory.mkdir()
        [test] = re.findall(r'aria-label="Test">(.*?)</pre>', page, re.DOTALL)
        directory.joinpath("test_delivery.py").write_text(unescape(test))
        directory.joinpath(f"delivery-{number}.json").write_text(self.visitor.get(f"/deliveries/{number}/export"))
        directory.joinpath("shop.plug").write_text("[Core]\nName = Shop\nModule = shop\n")
        directory.joinpath("shop.py").write_text(
            "from errklein import BotPlugin, webhook\n\n\nclass Shop(BotPlugin):\n"
            '    @webhook("/order", ack="now")\n    def order(self, payload):\n        assert payload == {"id": "1"}\n'
        )
        run = [sys.executable, "-m", "twisted.trial", "--temp-directory", "trial", "test_delivery"]
        ended = subprocess.run(run, cwd=directory, capture_output=True, text=True, check=False)
        self.assertIn("PASSED (successes=1)", ended.stdout, ended.stderr)


class FollowedTests(LiveCase):
    """The pages while they are open."""

    plugins = (Shop,)

    def test_pages(self) -> None:
        """Each page shows what happens after it was loaded; a form isn't among it."""
        headers = {"X-Id": "1"}
        self.successResultOf(self.bot.post("/order", json={"id": "1"}, headers=headers))
        self.pass_by(1)
        self.visitor.get("/failures")
        [group] = re.findall(r"/failures/\w+[^\"]*", self.visitor.text)
        paths = ("/deliveries", "/deliveries?text=1", "/failures", unescape(group), "/deliveries/1")
        streams = [self.follow(path) for path in paths]
        for path, stream in zip(paths, streams, strict=True):
            [event] = stream.take()
            self.assertIn("no stock of 1", event, path)
            self.assertNotIn("<form", event, path)
        self.successResultOf(self.bot.post("/order", json={"id": "1"}, headers=headers))
        self.pass_by(5)
        self.flushLoggedErrors(ValueError)
        for path, stream, text in zip(
            paths,
            streams,
            ('id="d2"', "sent again as", ">2</td>", "already sent 1 again", "the source as"),
            strict=True,
        ):
            self.assertIn(text, stream.take()[-1], path)


class RulesTests(PagesCase):
    """A person who may do some things only."""

    config = {"ACCESS_CONTROLS": {"why": {"denyusers": ("*",)}, "delivery_replay": {"denyusers": ("*",)}}}

    def test_left_out(self) -> None:
        """The pages leave out what the person may not ask or do."""
        self.receive("1")
        self.visitor.get("/failures")
        self.assertNotIn("Dry run", self.open("no stock"))
        page = self.visitor.get("/deliveries/1")
        self.assertEqual((self.visitor.status, "Replay" in page, "What has become" in page), (200, False, False))

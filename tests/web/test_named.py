"""Webhooks of rooms in the web server: their addresses, in which there may be a token, and their responses."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.web.server import Site

from errklein.sources import find_source
from errklein.testing import PluginTestCase
from errklein.verify import ImmediateResponse, Received, Verification, digest_of, github, url_token
from errklein.web import WebSettings
from errklein.webhooks import Hook, HookDeclaration, webhook
from errklein.webhooks.option_values import Rate
from errklein.webhooks.options import RoomWebhook
from errklein.webhooks.source import Event, Source
from tests.web.kit import request, status_of
from tests.web.test_intake import SIGNED, IntakeCase, signed

TOKEN = "ekt" + "a2" * 13
OTHER = "ekt" + "b3" * 13


def refuse(status: int, detail: str) -> ImmediateResponse:
    """Return an error in the source's own form."""
    return ImmediateResponse(404 if status == 401 else status, ((b"Content-Type", b"text/plain"),), b"refused")


def name_of(received: Received, payload: Any) -> str:
    """Return the name of the event in the payload."""
    return str(payload.get("event", ""))


SOURCE = Source(
    "tool",
    "Tool",
    lines=lambda event, payload: ["{text}"],
    verification=url_token,
    event=name_of,
    response=ImmediateResponse(200, ((b"Content-Type", b"text/plain"),), b"ok"),
    refusal=refuse,
    suffixes=("slack",),
)


class Room:
    """The handler of a webhook of a room, with the events that it has got."""

    def __init__(self) -> None:
        self.got: list[Event] = []

    async def handle(self, event: Event) -> None:
        """Note an event."""
        self.got.append(event)


class NamedCase(IntakeCase):
    """A test with a webhook of a room, whose source demands its own responses."""

    def setUp(self) -> None:
        """Add the webhook, and collect the log as it is before secrets are masked."""
        super().setUp()
        self.room = Room()
        self.put("tool", TOKEN)
        self.lines: list[str] = []
        observer = lambda event: self.lines.append(formatEvent(event) or "")  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def put(self, name: str, token: str = "", since: float = 0.0, **options: Any) -> None:
        """Add a webhook of a room, which was made at that time."""
        digests = [digest_of(token.encode())] if token else []
        options = {"verify": url_token(digests=digests), "source": SOURCE, **options}
        declaration = HookDeclaration(f"/hooks/{name}", ("POST",), ack="now", methods_given=True, **options)
        self.web.routes.put(Hook("", name, declaration, self.room.handle, since=since), digests)

    def statuses(self, *paths: str) -> list[int]:
        """Return the statuses of requests to the paths."""
        return [self.post(path, b'{"text": "hello"}').status for path in paths]

    def targets(self) -> set[str]:
        """Return the addresses that are recorded."""
        found = [self.successResultOf(self.journal.get(delivery.id)) for delivery in self.deliveries()]
        return {one.request.target for one in found if one is not None and one.request is not None}

    def texts(self) -> Sequence[str]:
        """Return the text of the events that have reached the room."""
        self.clock.advance(0)
        return [str(event.text()) for event in self.room.got]


class AddressTests(NamedCase):
    """The addresses at which a webhook of a room answers."""

    def test_with_its_name(self) -> None:
        """The name and the token are one form of the address."""
        response = self.post(f"/hooks/tool/{TOKEN}", b'{"text": "hello"}')
        self.assertEqual((response.status, response.text), (200, "ok"))
        self.assertEqual(response.header("Content-Type"), "text/plain")
        self.assertEqual(self.texts(), ["hello"])

    def test_other_forms(self) -> None:
        """The token alone, a slash at the end, and what tools append."""
        forms = [TOKEN, f"{TOKEN}/", f"{TOKEN}/slack", f"tool/{TOKEN}/", f"tool/{TOKEN}/slack"]
        self.assertEqual(self.statuses(*(f"/hooks/{form}" for form in forms)), [200] * 5)
        self.assertEqual(self.texts(), ["hello"] * 5)

    def test_signed(self) -> None:
        """A webhook that verifies a signature has no token, but may have a suffix."""
        self.put("code", verify=github(secret=SIGNED))
        sent = [self.post(path, b"{}", signed(b"{}")).status for path in ("/hooks/code", "/hooks/code/slack")]
        self.assertEqual(sent, [200, 200])
        self.assertEqual(self.post("/hooks/code", b"{}", signed(b"{}", secret="wrong")).status, 404)

    def test_token_by_reference(self) -> None:
        """A token that the configuration names is enough, too."""
        os.environ["TEST_NAMED_TOKEN"] = "a token of the operator"
        self.addCleanup(os.environ.pop, "TEST_NAMED_TOKEN")
        self.put("file", verify=url_token("env:TEST_NAMED_TOKEN"))
        escaped = "a%20token%20of%20the%20operator"
        self.assertEqual(self.statuses(f"/hooks/{escaped}", f"/hooks/file/{escaped}"), [200, 200])

    def test_signing_secret_is_no_address(self) -> None:
        """The secret of a signature isn't a token, and no address."""
        self.put("code", verify=github(secret=SIGNED))
        self.assertEqual(self.post("/hooks/correct%20horse", b"{}", signed(b"{}")).text, "no_service")

    def test_wrong_token(self) -> None:
        """Errors have the form that the source demands."""
        for path in ("/hooks/tool", f"/hooks/tool/{OTHER}", "/hooks/tool/slack"):
            response = self.post(path)
            self.assertEqual((response.status, response.text), (404, "refused"))
        self.assertEqual(self.texts(), [])

    def test_replaced(self) -> None:
        """A webhook that gets another token isn't found by the one before."""
        self.put("tool", OTHER)
        self.assertEqual(self.statuses(f"/hooks/{OTHER}", f"/hooks/{TOKEN}"), [200, 404])

    def test_removed(self) -> None:
        """A removed webhook is not found any more."""
        self.web.routes.drop("tool")
        self.assertEqual(self.statuses(f"/hooks/{TOKEN}", f"/hooks/tool/{TOKEN}"), [404, 404])

    def test_unknown(self) -> None:
        """Below the prefix, tools learn in their own words that there is nothing."""
        for path in ("/hooks/", f"/hooks/{OTHER}", f"/hooks/tool/{TOKEN}/x", f"/hooks//tool/{TOKEN}"):
            response = self.post(path)
            self.assertEqual((response.status, response.text), (404, "no_service"), path)
        self.assertIn("<html", self.ask("GET", "/hooks/x", headers={"Accept": "text/html"}).text)
        self.assertIn("there is no webhook at /hook", self.post("/hook").text)

    def test_other_methods(self) -> None:
        """A webhook of a room takes POST only, and says so."""
        response = self.ask("GET", f"/hooks/tool/{TOKEN}")
        self.assertEqual((response.status, response.header("Allow")), (405, "OPTIONS, POST"))
        self.assertEqual(self.ask("OPTIONS", "/hooks/tool").status, 200)

    def test_plugin_goes_first(self) -> None:
        """A plugin's own route takes precedence."""

        class Taken:
            @webhook("/hooks/tool/<token>", methods=["POST"])
            async def taken(self, payload: Any, token: str) -> str:
                return "the plugin's"

        self.serve(Taken())
        self.assertEqual(self.post(f"/hooks/tool/{TOKEN}").text, "the plugin's")
        self.assertEqual(self.post(f"/hooks/{TOKEN}").text, "ok")

    def test_test_requests(self) -> None:
        """`!webhook test tool` needs no token."""
        response = self.successResultOf(self.web.request("POST", "/hooks/tool", {}, b'{"text": "x"}', origin="test"))
        self.assertEqual((response.status, self.texts()), (200, ["x"]))

    def test_replay(self) -> None:
        """A recorded request is found by its name, so the token isn't needed."""
        self.post(f"/hooks/{TOKEN}", b'{"text": "hello"}')
        self.assertEqual(self.texts(), ["hello"])
        [delivery] = self.deliveries()
        self.successResultOf(self.journal.replay([delivery.id]))
        self.queue.look()
        self.clock.advance(1)
        self.assertEqual(self.texts(), ["hello", "hello"])


class OtherSiteTests(NamedCase):
    """Webhooks of rooms on a stock site of Twisted."""

    def test_requests(self) -> None:
        """Every form of the address works below another site, too."""
        client = StubTreq(self.web.app.resource())

        def ask(method: str, path: str, body: bytes = b'{"text": "hello"}') -> tuple[int, str]:
            headers = {"Content-Type": "application/json"}
            response = self.successResultOf(client.request(method, f"http://a{path}", data=body, headers=headers))
            return response.code, self.successResultOf(response.text())

        self.assertEqual(ask("POST", f"/hooks/{TOKEN}"), (200, "ok"))
        self.assertEqual(ask("POST", f"/hooks/tool/{TOKEN}/slack"), (200, "ok"))
        self.assertEqual(ask("POST", f"/hooks/tool/{OTHER}"), (404, "refused"))
        self.assertEqual(ask("POST", f"/hooks/{OTHER}"), (404, "no_service"))
        self.assertEqual(ask("GET", f"/hooks/tool/{TOKEN}")[0], 405)
        self.assertEqual(self.texts(), ["hello", "hello"])
        self.assertEqual(self.targets(), {"/hooks/tool", "/hooks/tool/slack"})

    def test_access_log(self) -> None:
        """The other site's access log has no token, either."""
        logged: list[bytes] = []

        def line(timestamp: str, logged_request: Any) -> str:
            logged.append(logged_request.uri)
            return ""

        site = Site(self.web.app.resource(), logFormatter=line, logPath=os.devnull, reactor=self.clock)
        site.startFactory()
        self.addCleanup(site.stopFactory)
        malformed = (f"/hooks//{TOKEN}", f"/hooks/tool%2f{TOKEN}", f"/hooks/{TOKEN}%00")
        for path in (f"/hooks/{TOKEN}", f"/hooks/tool/{TOKEN}?x=1", f"/hooks/{OTHER}", *malformed):
            channel, transport = site.buildProtocol(None), StringTransport()
            channel.makeConnection(transport)
            channel.dataReceived(request("POST", path, b'{"text": "hello"}'))
        self.assertEqual(logged, [b"/hooks/tool", b"/hooks/tool?x=1", *[b"/hooks/***"] * 4])


class RefusalTests(NamedCase):
    """Errors in the form of the source, wherever they arise."""

    settings = WebSettings(max_body=1000)

    def refused(self, body: bytes = b"{}") -> tuple[int, str]:
        """Return the status and the text of the response to a request."""
        response = self.post(f"/hooks/tool/{TOKEN}", body)
        return response.status, response.text

    def test_invalid_body(self) -> None:
        """What can't be parsed is refused, and not acknowledged."""
        self.assertEqual(self.refused(b"{"), (400, "refused"))
        self.assertEqual(self.states(), ["refused"])

    def test_large_body(self) -> None:
        """A body that is too large is refused in the form of the source, also by its declared length."""
        self.assertEqual(self.refused(b"x" * 1001), (413, "refused"))
        head = f"POST /hooks/{TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"
        self.assertIn(b"413", received := self.connect().send(head.encode()))
        self.assertTrue(received.endswith(b"refused"))

    def test_rate(self) -> None:
        """Too many requests are refused in the form of the source."""
        self.put("tool", TOKEN, rate=Rate.of("1/min"))
        self.assertEqual([self.refused()[0], self.refused()], [200, (429, "refused")])

    def test_secret_that_is_missing(self) -> None:
        """Requests that can't be verified are refused in the form of the source."""
        self.put("code", verify=github(secret="env:TEST_INTAKE_MISSING"))
        self.assertEqual((self.post("/hooks/code").status, self.post("/hooks/code").text), (503, "refused"))

    def test_stop(self) -> None:
        """A site that stops refuses in the form of the source."""
        self.web.begin_stopping()
        self.assertEqual(self.refused(), (503, "refused"))

    def test_slow_body(self) -> None:
        """A body that arrives too slowly is refused in the form of the source."""
        connection = self.connect()
        connection.send(f"POST /hooks/{TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".encode())
        self.pass_time(60)
        self.assertTrue(connection.received().endswith(b"refused"))

    def test_slow_handler_of_a_plugin(self) -> None:
        """A plugin that names the source responds in its form, too, here with 504."""

        async def wait(event: Event) -> None:
            await Deferred()

        declaration = HookDeclaration("/slow", ("POST",), source=SOURCE)
        self.web.routes.replace("Slow", [Hook("Slow", "wait", declaration, wait)])
        waiting = self.start("POST", "/slow", b"{}")
        self.pass_time(61)
        response = self.successResultOf(waiting)
        self.assertEqual((response.status, response.text), (504, "refused"))

    def test_form_that_fails(self) -> None:
        """If the source's form fails, the client gets errklein's own."""

        def fail(status: int, detail: str) -> ImmediateResponse:
            raise ZeroDivisionError

        broken = Source("x", "X", lines=lambda event, payload: [], verification=url_token, refusal=fail)
        self.put("tool", TOKEN, source=broken)
        self.assertEqual(json.loads(self.post("/hooks/tool").text)["status"], 401)
        self.logged_failures(ZeroDivisionError)


class EventTests(NamedCase):
    """Events that a webhook of a room is for, and others."""

    def send(self, event: str, **headers: str) -> int:
        """Send an event, and return the status."""
        return self.post(f"/hooks/tool/{TOKEN}", json.dumps({"event": event, "text": event}).encode(), headers).status

    def test_other_events(self) -> None:
        """Events that aren't wanted get the same response, and the log says why nothing was shown."""
        self.put("tool", TOKEN, events=("firing", "push.*"))
        self.assertEqual([self.send(event) for event in ("firing", "resolved", "push.x")], [200, 200, 200])
        self.assertEqual(self.texts(), ["firing", "push.x"])
        self.assertEqual(self.states(), ["done", "done", "done"])
        outcomes = [delivery.outcome for delivery in self.deliveries()]
        [ignored] = [outcome for outcome in outcomes if outcome is not None and outcome.reason]
        self.assertEqual(ignored[:2], (200, "event 'resolved' is not among its events"))

    def test_wanted_later(self) -> None:
        """An event that was left out is shown if the source repeats it after a change, or if an operator replays it."""
        verify = github(secret=SIGNED)
        self.put("code", verify=verify, dedupe="id", events=("x",))
        body = b'{"text": "hello"}'
        self.assertEqual(self.post("/hooks/code", body, signed(body)).status, 200)
        self.put("code", verify=verify, dedupe="id")
        self.assertEqual(self.texts(), [])
        self.assertEqual(self.post("/hooks/code", body, signed(body)).status, 200)
        self.assertEqual(self.texts(), ["hello"])
        self.successResultOf(self.journal.replay([self.deliveries()[0].id]))
        self.queue.look()
        self.assertEqual(self.texts(), ["hello", "hello"])

    def test_left_out_while_it_is_paused(self) -> None:
        """An event that isn't wanted is left out at once, although the webhook is paused."""
        self.put("tool", TOKEN, events=("firing",))
        self.successResultOf(self.queue.set_paused("tool", True))
        self.assertEqual([self.send("firing"), self.send("resolved")], [200, 200])
        self.assertEqual(sorted(self.states()), ["done", "received"])

    def test_secret_that_is_not_set_yet(self) -> None:
        """A webhook whose source makes the secret responds with 503 until it is set. It is no news for administrators."""
        unset = Verification("tool", lambda received, secrets: None, unusable="set the secret")
        self.put("tool", verify=unset)
        self.assertEqual(self.send("firing"), 503)
        self.assertEqual(self.web.services.checks.unusable["tool"], "set the secret")
        self.assertEqual(self.events.unusable, [("Receiver:unusable", self.events.unusable[0][1])])
        self.put("tool", verify=github(secret=SIGNED))
        self.assertEqual(self.web.services.checks.unusable.get("tool"), None)

    def test_large_bodies(self) -> None:
        """Bodies that take long to parse are parsed in threads, at the request and before the handler."""
        threads: list[str] = []

        def parse(received: Received) -> Any:
            threads.append(threading.current_thread().name)
            return json.loads(received.body)

        self.put("tool", TOKEN, source=replace(SOURCE, parse=parse))
        for body in (b'{"text": "small"}', b'{"text": "%b"}' % (b"x" * 100_000), b'{"x": [%b[]]}' % (b"[]," * 10_000)):
            threads.clear()
            response = self.ask("POST", f"/hooks/{TOKEN}", body, "application/json")
            self.assertEqual(response.status, 200)
            limit = time.monotonic() + 10
            while len(threads) < 2 and time.monotonic() < limit:
                self.clock.advance(0)
                self.clock.turn(0.05)
            in_threads = [name != threading.main_thread().name for name in threads]
            self.assertEqual(in_threads, [len(body) > 1000] * 2)

    def test_large_body_that_is_invalid(self) -> None:
        """A large body that can't be parsed is refused before it is acknowledged."""
        response = self.ask("POST", f"/hooks/{TOKEN}", b"x" * 100_000, "application/json")
        self.assertEqual((response.status, response.text), (400, "refused"))


class ChangeTests(NamedCase):
    """Changes of a webhook while a request arrives or waits."""

    def sent_in_parts(self, path: str, between: Callable[[], object]) -> bytes:
        """Return the response to a request, in the middle of whose body something happens."""
        connection, body = self.connect(), b'{"text": "hello"}'
        head = (
            f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.send(head.encode() + body[:5])
        between()
        return connection.send(body[5:])

    def test_other_webhook(self) -> None:
        """A request keeps its token when routes change, although its address has lost it."""
        for path in (TOKEN, f"tool/{TOKEN}", f"tool/{TOKEN}/slack"):
            response = self.sent_in_parts(f"/hooks/{path}", lambda: self.put("another", OTHER))
            self.assertEqual(status_of(response), 200, path)
        self.assertEqual(self.texts(), ["hello"] * 3)

    def test_made_while_the_body_arrives(self) -> None:
        """A webhook that is made while the body arrives gets the request."""
        response = self.sent_in_parts(f"/hooks/{OTHER}", lambda: self.put("another", OTHER))
        self.assertEqual(status_of(response), 200)

    def test_token_is_revoked(self) -> None:
        """A token that is replaced while the body arrives isn't accepted any more."""
        self.assertEqual(status_of(self.sent_in_parts(f"/hooks/{TOKEN}", lambda: self.put("tool", OTHER))), 404)

    def test_removed_while_the_body_arrives(self) -> None:
        """A webhook that is removed while the body arrives doesn't get the request."""
        response = self.sent_in_parts(f"/hooks/{TOKEN}", lambda: self.web.routes.drop("tool"))
        self.assertTrue(response.endswith(b"no_service"))

    def test_removed_while_deliveries_wait(self) -> None:
        """What a webhook has accepted ends with the reason, and doesn't wait for ever; the name may be used again."""
        self.successResultOf(self.queue.set_paused("tool", True))
        self.statuses(f"/hooks/{TOKEN}")
        self.web.routes.drop("tool")
        self.successResultOf(self.queue.set_paused("tool", False))
        self.clock.advance(1)
        [delivery] = self.deliveries()
        assert delivery.outcome is not None
        self.assertEqual(delivery.outcome[:2], (410, "the webhook was removed"))
        self.put("tool", OTHER)
        self.successResultOf(self.journal.replay([delivery.id]))
        self.queue.look()
        self.assertEqual(self.texts(), ["hello"])

    def test_name_of_a_removed_webhook(self) -> None:
        """What the webhook before has accepted isn't shown by a new one of its name, unless it is replayed."""
        self.successResultOf(self.queue.set_paused("tool", True))
        self.statuses(f"/hooks/{TOKEN}")
        self.web.routes.drop("tool")
        [delivery] = self.deliveries()
        self.put("tool", OTHER, since=delivery.received_at + 1)
        self.successResultOf(self.queue.set_paused("tool", False))
        self.clock.advance(1)
        [delivery] = self.deliveries()
        assert delivery.outcome is not None
        self.assertEqual((delivery.outcome[:2], self.texts()), ((410, "the webhook was removed"), []))
        self.successResultOf(self.journal.replay([delivery.id]))
        self.queue.look()
        self.assertEqual(self.texts(), ["hello"])

    def test_webhook_that_cannot_be_used(self) -> None:
        """While its source isn't installed, requests get 503, so that they are sent again, and deliveries wait."""
        self.successResultOf(self.queue.set_paused("tool", True))
        self.statuses(f"/hooks/{TOKEN}")
        stored = {"token": digest_of(TOKEN.encode())}
        gone = RoomWebhook.of_unusable("tool", stored, "there is no source 'tool'")
        hook = Hook("", "tool", gone.declaration(find_source, "/hooks"), self.fail, active=False)
        self.web.routes.put(hook, gone.digests)
        self.successResultOf(self.queue.set_paused("tool", False))
        self.clock.advance(1)
        self.assertEqual(self.statuses(f"/hooks/{TOKEN}", "/hooks/tool"), [503, 503])
        self.assertEqual(self.web.services.checks.unusable["tool"], "there is no source 'tool'")
        self.assertEqual(self.texts(), [])
        self.put("tool", TOKEN)
        self.assertEqual(self.texts(), ["hello"])

    def test_plugin_that_is_inactive(self) -> None:
        """Deliveries of a plugin's webhook wait for the plugin, as before."""
        self.successResultOf(self.queue.set_paused("Receiver:raw", True))
        waiting = self.post("/raw").status
        self.web.routes.remove("Receiver")
        self.successResultOf(self.queue.set_paused("Receiver:raw", False))
        self.clock.advance(1)
        self.assertEqual((waiting, self.states()), (202, ["retry"]))

    def test_changed_while_a_delivery_waits(self) -> None:
        """A delivery that waits runs as the webhook is then."""
        self.successResultOf(self.queue.set_paused("tool", True))
        self.statuses(f"/hooks/{TOKEN}")
        other = Room()
        self.room, before = other, self.room
        self.put("tool", OTHER)
        self.successResultOf(self.queue.set_paused("tool", False))
        self.assertEqual((self.texts(), before.got), (["hello"], []))


class SecrecyTests(NamedCase):
    """No log and no record shows a token."""

    settings = WebSettings(base_path="/bot")

    def test_no_token(self) -> None:
        """Neither of a request that is handled, nor of one that is refused in any way."""
        foreign = "tokens of another form"
        escaped = foreign.replace(" ", "%20")
        for path in (
            f"tool/{TOKEN}",
            TOKEN,
            f"tool/{escaped}",
            escaped,
            f"/{escaped}",
            f"{escaped}/%2f",
            f"{escaped}/%",
            f"tool?{TOKEN}",
            f"tool/?token={escaped}",
        ):
            self.connect().send(
                request("POST", f"/bot/hooks/{path}{'&' if '?' in path else '?'}x=1", b'{"text": "hello"}')
            )
            self.connect().send(request("GET", f"http://a/hooks/{path}"))
            self.connect().send(request("POST", f"/hooks/{path}", b"", "Content-Length: 99999999999"))
            self.connect().send(request("POST", f"/%68ooks/{path}", b"", "Expect: 100-continue", "Content-Length: 9"))
            self.connect().send(f"POST hooks/{TOKEN} HTTP/1.1\r\n\r\n".encode())
        self.clock.advance(1)
        found = "\n".join([*self.lines, *map(repr, self.deliveries()), *map(repr, self.events.refused)])
        found += repr(self.targets())
        for hidden in (TOKEN, foreign, escaped):
            self.assertNotIn(hidden, found)
        self.assertIn("/hooks/tool?x=1", self.targets())
        self.assertIn('"POST /hooks/***" 404', found)

    @given(
        st.lists(
            st.sampled_from(
                ["", "/", "tool", TOKEN, OTHER, "slack", "..", ".", "%2f", "%2F", "%", "%65", "?x=1", "*", "é"]
            )
            | st.text("/%?#.;=\\ é\x00~", max_size=3),
            max_size=7,
        ),
        st.sampled_from(["POST", "GET", "OPTIONS", "post"]),
    )
    def test_any_address(self, parts: list[str], method: str) -> None:
        """Whatever is asked for below the prefix gets a response, and leaves no token behind."""
        self.lines.clear()
        target = "/bot/hooks/" + "".join(parts).encode().decode("latin-1").replace(" ", "")
        status = status_of(self.connect().send(request(method, target, b'{"text": "hello"}')))
        self.assertIn(status, (200, 400, 404, 405))
        if status == 200 and method == "POST":
            self.assertIn(TOKEN, target)
        self.assertNotIn(TOKEN, "\n".join(self.lines))

    def test_headers_of_proxies(self) -> None:
        """A proxy may repeat the address in a header as it was sent, which is recorded without the token."""
        escaped = f"{TOKEN[:-1]}%{ord(TOKEN[-1]):02x}"
        for path in (f"/hooks/{TOKEN}", f"/hooks/tool/{TOKEN}", f"/hooks/tool/{escaped}", f"/hooks/{escaped}"):
            self.post(path, headers={"X-Original-Uri": path, "X-Other": "kept"})
        for delivery in self.deliveries():
            stored = self.successResultOf(self.journal.get(delivery.id))
            assert stored is not None and stored.request is not None
            self.assertIn((b"x-other", b"kept"), stored.request.headers)
            self.assertNotIn(TOKEN[:-1].encode(), b"".join(value for _, value in stored.request.headers))


class BotTests(PluginTestCase):
    """Webhooks of rooms in a whole bot."""

    plugins = ()
    config = {"PUBLIC_URL": "https://bot.example.net", "CHATROOM_PRESENCE": ("#ops",)}

    def made(self, command: str) -> tuple[str, str]:
        """Make or change a webhook in #ops; return the path of its address, and its secret."""
        shown = "\n".join(one.text for one in self.bot.say(command, room="#ops") if one.to == "@admin")
        address, secret = re.search(r"https://bot.example.net(/\S+)", shown), re.search("eks[a-z2-7]{32}", shown)
        assert address is not None, shown
        return address[1].strip("`"), secret[0] if secret is not None else ""

    def test_test_command(self) -> None:
        """`!webhook test NAME` reaches the room without the token, whether the webhook has one or verifies a signature."""
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.made("!webhook new alertmanager")
        self.made("!webhook new github")
        self.assertIn("Status code: 200", self.bot.command('!webhook test alertmanager {"status": "firing"}'))
        self.assertIn("FIRING", "\n".join(self.bot.sent_to("#ops")))
        self.assertIn("Status code: 200", self.bot.command('!webhook test github {"zen": "Keep it simple."}'))

    def test_signed_tests(self) -> None:
        """A test signs requests as the source does, with the secret that the bot has made."""
        path, _ = self.made("!webhook new github")
        self.assertEqual(self.post(path, json={"zen": "x"}, source="github", event="ping").status, 202)
        self.bot.advance(0)

    def test_signing_by_a_token(self) -> None:
        """A test can't sign for a source with a token in its address, and learns what to do."""
        self.made("!webhook new alertmanager")
        with self.assertRaisesRegex(ValueError, "leave out source, and use the whole address"):
            self.post("/hooks/alertmanager", json={}, source="alertmanager")

    def test_failed_assertion_names_the_address(self) -> None:
        """The explanation of a failed test suggests the right address."""
        self.made("!webhook new alertmanager")
        self.assertEqual(self.post("/hooks/alertmanger", json={}).status, 404)
        error = self.assertRaises(self.failureException, self.assertEqual, 1, 2)
        self.assertIn("did you mean /hooks/alertmanager?", str(error))

    def test_no_secret_anywhere(self) -> None:
        """Neither files nor logs nor notices nor commands nor metrics show a token or a signing secret."""
        (path, _), (signed_path, secret) = self.made("!webhook new post"), self.made("!webhook new github")
        token = path.rpartition("/")[2]
        self.assertEqual((len(token), len(secret)), (29, 35))
        for address in (
            path,
            f"/hooks/post/{token}",
            f"{path}/slack",
            f"{path}/x",
            f"/hooks/{token}x",
            f"/hooks/github/{token}",
        ):
            self.post(address, json={"text": "hello"})
            self.post(address, b"{", headers={"Content-Type": "application/json"})
            self.get(address)
        self.post(signed_path, json={"zen": secret}, headers={"X-Hub-Signature-256": secret})
        self.bot.advance(1)
        self.assertIn("hello", "\n".join(self.bot.sent_to("#ops")))
        self.made("!webhook rotate post")
        self.made("!webhook rotate github")
        commands = (
            "webhook list",
            "webhook show post",
            "webhook show github",
            "delivery list",
            "delivery show 1",
            "why post",
            "status",
        )
        shown = [self.bot.command(f"!{command}") for command in commands]
        host = self.bot.bot
        directory = Path(host.bot_config.BOT_DATA_DIR)
        self.bot.advance(10)
        files = {file: file.read_bytes() for file in directory.rglob("*") if file.is_file()}
        stored = [file.relative_to(directory).parts[0] for file, content in files.items() if secret.encode() in content]
        self.assertEqual(stored, ["secrets"])
        self.assertEqual([file for file, content in files.items() if token.encode() in content], [])
        texts = "\n".join([*shown, *self.bot.log, *self.bot.sent_to("#ops"), repr(host.room_webhooks.all())])
        self.assertNotIn(token, texts)
        self.assertNotIn(secret, texts)

"""Tests for `!why`: staged incidents, each of which an administrator understands from the chat alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Sequence
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, webhook, wiring
from errklein.chat.outgoing import PAUSED, MessageRecord, MessageState, OutgoingMessage, Wait, waiting_record
from errklein.journal.operations import BotState, Explainer
from errklein.networks.context import NetworkContext
from errklein.networks.irc._backend import IRCBackend
from errklein.ports.journal import JournalError
from errklein.running import PoolStatus, ThreadUse
from errklein.testing import ADMIN, TestBot
from errklein.testing._surroundings import TestReactor
from errklein.verify import hmac_signature
from errklein.webhooks.exported import shown_time
from tests.networks.irc.played import PlayedServer

INVITE_ONLY = ":irc.example 473 errklein #ops :Cannot join channel (+i)"
SECRET = "k" * 40


class Builds(BotPlugin):
    """Has webhooks that send messages."""

    @webhook("/build", ack="now", attempts=2)
    def build(self, payload: Any) -> None:
        if payload.get("broken"):
            raise ValueError("no such *branch*")
        for number in range(payload.get("count", 1)):
            self.send(self.build_identifier(payload["to"]), f"build {number}")

    @webhook("/status")
    def status(self, payload: Any) -> str:
        if payload["status"] == "broken":
            raise ValueError("no such status")
        self.send(self.build_identifier("irc:#ops"), "status")
        return "noted"

    @webhook("/slow", ack="now")
    async def slow(self, payload: Any) -> None:
        await Deferred()

    @webhook("/ordered", ack="now", ordered=True)
    async def ordered(self, payload: Any) -> None:
        await Deferred()

    @webhook(
        "/signed",
        verify=hmac_signature(secret="env:BUILDS_SECRET", header="X-Signature"),
        dedupe="header:X-Id",
        ack="now",
    )
    def signed(self, payload: Any) -> None:
        self.send(self.build_identifier("irc:#ops"), "signed")


class Copies(BotPlugin):
    """Has a webhook with the URL of another plugin's."""

    @webhook("/build")
    def copy(self, payload: Any) -> None:
        """Do nothing."""


class _PlayedBackend(IRCBackend):
    def watch(self, _: Any) -> None:
        """Do nothing: the test reads sent lines at the server."""


class IncidentCase(SynchronousTestCase):
    """A bot on IRC, whose server the test plays, and on a console, where the administrator asks. It isn't on IRC yet."""

    plugins: Sequence[type[BotPlugin]] = (Builds,)

    def setUp(self) -> None:
        """Start the bot."""
        variables = mock.patch.dict(os.environ, {"BUILDS_SECRET": SECRET})
        variables.start()
        self.addCleanup(variables.stop)
        self.server = PlayedServer()
        make_backend = wiring.make_backend

        def make(reactor: Any, view: Any, **services: Any) -> Any:
            if view.BACKEND != "IRC":
                return make_backend(reactor, view, **services)
            self.server.clock = reactor
            return _PlayedBackend(NetworkContext(reactor, view, reactor.seconds, lambda: 0.0), self.server)

        irc = {
            "BACKEND": "IRC",
            "BOT_ADMINS": ("boss!*@*",),
            "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.example"},
            "CHATROOM_PRESENCE": ("#ops",),
            "OUTBOX_MAX_AGE": 30.0,
            "IRC_CHANNEL_RATE": 0,
            "IRC_PRIVATE_RATE": 0,
        }
        self.reactor: Any = TestReactor()
        self.reactor.advance(1_000_000)
        with mock.patch("errklein.wiring.make_backend", make):
            networks = {"console": {"BOT_ADMINS": (ADMIN,)}, "irc": irc}
            self.bot = TestBot(self.plugins, networks=networks, reactor=self.reactor)
        self.started = self.time()
        self.bot.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Stop the bot, and close the connection as a server does."""
        self.bot.backends["irc"].disconnect()
        if self.server.transport is not None and self.server.transport.connected:
            self.server.close()
        self.bot.stop()

    def log_in(self, *rooms: str) -> None:
        """Welcome the bot on IRC, and let it join rooms."""
        self.server.welcome()
        for room in rooms:
            self.server.enter(room)
        self.server.answer()

    def time(self, seconds: float = 0.0) -> str:
        """Return the time that it is in so many seconds."""
        return shown_time(self.reactor.seconds() + seconds)

    def why(self, subject: str) -> str:
        """Return the reply to the administrator's question."""
        return self.bot.command(f"!why {subject}")

    def post(self, path: str, code: int, headers: Any = None, **values: Any) -> str:
        """Send a request that gets this status, and return the time at which it was received."""
        time = self.time()
        response = self.successResultOf(self.bot.post(path, json=values, headers=headers or {}))
        self.assertEqual(response.status, code, response.text)
        self.reactor.advance(0)
        return time

    def sign(self, secret: str = SECRET, number: str = "", **values: Any) -> dict[str, str]:
        """Return the headers of a signed request."""
        digest = hmac.new(secret.encode(), json.dumps(values).encode(), hashlib.sha256).hexdigest()
        return {"X-Signature": digest, **({"X-Id": number} if number else {})}


class NetworkTests(IncidentCase):
    """The network is down, or its room is closed."""

    def test_network_is_down(self) -> None:
        """The answer says since when the network has been down, why, and when the bot tries again."""
        self.log_in("#ops")
        self.reactor.advance(20)
        down = self.time()
        self.server.close()
        self.server.clock.advance(1)
        self.server.refuse()
        again = self.time(2)
        ran = self.post("/build", 202, to="irc:#ops")
        reason = "irc is not connected since {} (Connection was refused by other side.); next attempt {}"
        waits = f"waits: {reason.format(down, again)}"
        message = f"message to #ops on irc: accepted {ran}, {waits}"
        story = f"delivery 1 of Builds:build: accepted {ran}, ran {ran} (200 after 0.0 s)"
        self.assertEqual(self.why("1"), f"{story}; {message}")
        self.assertEqual(
            self.why("#ops"), f"#ops on irc: {reason.format(down, again)}, 1 message waits since {ran} (of delivery 1)"
        )
        self.server.clock.advance(2)
        sent = self.time()
        self.log_in("#ops")
        self.assertEqual(self.why("1"), f"{story}; message to #ops on irc: sent {sent}")

    def test_room_is_closed(self) -> None:
        """The answer has the server's reason, since when the bot is out of the room, and when it tries again."""
        self.log_in()
        outside = self.time()
        self.server.say(INVITE_ONLY)
        self.reactor.advance(0.5)
        ran = self.post("/build", 202, to="irc:#ops", count=2)
        reason = f"the bot isn't in #ops since {outside} (Cannot join channel (+i)); next attempt {self.time(0.5)}"
        both = f"2 messages to #ops on irc: accepted {ran}, waits: {reason}"
        story = f"delivery 1 of Builds:build: accepted {ran}, ran {ran} (200 after 0.0 s)"
        self.assertEqual(self.why("1"), f"{story}; {both}")
        self.assertEqual(
            self.why("#ops"), f"#ops on irc: {reason}, 2 messages wait, the oldest since {ran} (of delivery 1)"
        )
        joined = self.time()
        self.server.enter("#ops")
        self.server.answer()
        self.assertEqual(self.why("#OPS"), f"#OPS on irc: the bot is in #OPS since {joined}, no message waits")

    def test_kicked(self) -> None:
        """The answer says who has kicked the bot, and why."""
        self.log_in("#ops")
        self.server.say(":oper!o@host KICK #ops errklein :flooding")
        self.assertTrue(
            self.why("#ops").startswith(
                f"#ops on irc: the bot isn't in #ops since {self.time()} (oper kicked the bot: flooding"
            )
        )

    def test_lost_messages(self) -> None:
        """Messages that the server has rejected, and those that were too old, are told with the reason, and where they went."""
        self.log_in()
        self.server.say(INVITE_ONLY)
        self.post("/build", 202, to="irc:#ops")
        for _ in range(34):
            self.server.clock.advance(1)
            self.server.confirm()
        self.server.enter("#ops")
        lost = self.why("1").partition("; ")[2]
        self.assertRegex(
            lost, r"^message to #ops on irc: dropped 1970\S+ \(they waited for 30 s, which is OUTBOX_MAX_AGE\)$"
        )
        self.post("/build", 202, to="irc:#ops")
        rejected_at = self.time()
        self.server.say(":irc.example 404 errklein #ops :Cannot send to channel (+m)")
        self.server.answer()
        rejected = self.why("2").partition("; ")[2]
        self.assertIn(f"message to #ops on irc: rejected {rejected_at} (#ops: Cannot send to channel (+m))", rejected)
        room = self.why("irc:#ops").splitlines()
        self.assertEqual(
            [room[0].partition(", ")[2], *room[1:]],
            [
                "no message waits",
                f"- {lost.replace('message', 'message of 1')}",
                f"- {rejected.replace('message', 'message of 2')}",
            ],
        )

    def test_many_messages(self) -> None:
        """Of more messages than an answer counts, it says that there may be more, and doesn't call the first that it counts the oldest."""
        self.log_in()
        self.server.say(INVITE_ONLY)
        self.post("/build", 202, to="irc:#ops", count=99)
        self.assertIn("99 messages wait, the oldest since", self.why("#ops"))
        self.post("/build", 202, to="irc:#ops")
        self.assertIn("100 or more messages wait, one of them since", self.why("#ops"))

    def test_unknown_room(self) -> None:
        """A room that the bot should not be in is explained, too."""
        self.assertEqual(
            self.why("#dev"),
            "#dev: no message waits, and the bot isn't in it; it joins rooms of CHATROOM_PRESENCE and those of `room join`",
        )

    def test_colon_in_the_name_of_a_room(self) -> None:
        """The name of the network ends at the first colon; names of rooms may have others."""
        self.assertIn("#dev:example.org: no message waits", self.why("irc:#dev:example.org"))

    def test_alias(self) -> None:
        """Messages to a room are found by its alias, too, though they wait for its id."""

        class State(BotState):
            def recipient(self, network: str, name: str) -> str:
                return {"#ops:example.org": "!abc"}.get(name, name)

        record = MessageRecord(1, "matrix", "!abc", 0, MessageState.WAITING, 0.0)

        def messages(recipient: str) -> list[MessageRecord]:
            return [record] if recipient == record.recipient else []

        records: Any = None
        explainer = Explainer(records, messages, State(networks=["matrix"]))
        for name in ("#ops:example.org", "matrix:#ops:example.org", "!abc"):
            [found] = self.successResultOf(Deferred.fromCoroutine(explainer.answers(name)))
            self.assertIn("1 message waits since", "; ".join(found.lines()))

    def test_room_with_a_bare_name(self) -> None:
        """Rooms of some networks have no mark, such as -1001234567890 on Telegram. Nothing has to wait there."""
        self.patch(self.bot.backends["irc"], "room_status", {"-100": Wait("the bot is not in -100", cause="no")}.get)
        for name in ("-100", "irc:-100"):
            self.assertEqual(self.why(name), "-100 on irc: the bot is not in -100 (no), no message waits")

    def test_messages_to_people(self) -> None:
        """A message to a person is found, also on a network that has it at once, and by the name of the person."""
        self.log_in("#ops")
        self.server.close()
        self.post("/build", 202, to="irc:alice")
        self.assertIn("message to alice on irc: accepted", self.why("1"))
        self.assertIn("alice on irc: 1 message waits since", self.why("alice"))
        ran = self.post("/build", 202, to="console:@bob")
        self.assertTrue(self.why("2").endswith(f"; message to @bob on console: sent {ran}"))


class DeliveryTests(IncidentCase):
    """Requests that are refused, and deliveries that fail or wait."""

    def test_wrong_secret_is_explained(self) -> None:
        """The last refused request is explained with the reason, whose answer, and what to do."""
        time = self.post("/signed", 401, self.sign("wrong"))
        expected = f"delivery 1 of Builds:signed: refused {time} (401: the source could not be verified: "
        for subject in ("refused", "1", "Builds:signed", "/signed"):
            answer = self.why(subject)
            self.assertIn(expected, answer)
            self.assertTrue(answer.endswith("it isn't stored, so the source must send it again"), answer)
        self.post("/signed", 202, self.sign(number="7"))
        self.assertIn("signed: active", self.why("/signed").partition("\n")[0])
        self.assertEqual(len(self.why("/signed").splitlines()), 3)

    def test_request_id(self) -> None:
        """The id of a request, which its response has, names its delivery. Other requests are only in the log."""
        self.post("/build", 202, to="irc:#ops")
        self.post("/signed", 401, self.sign("wrong"))
        for number, name in ((1, "build"), (2, "signed")):
            stored = self.successResultOf(self.bot.bot.journal.get(number))
            self.assertTrue(self.why(stored.request_id).startswith(f"delivery {number} of Builds:{name}: "))
        self.assertIn("it isn't recorded; the log has its line", self.why("0123456789-00000a"))

    def test_oldest_delivery_that_has_not_ended(self) -> None:
        """The answer about a webhook explains the oldest delivery that has not ended beside the latest one."""
        self.bot.say("!webhook pause Builds:build")
        for _ in range(3):
            self.post("/build", 202, to="irc:#ops")
        answer = self.why("Builds:build")
        for number, is_explained in ((1, True), (2, False), (3, True)):
            self.assertEqual(f"- delivery {number} of Builds:build: accepted" in answer, is_explained)

    def test_repeated_request(self) -> None:
        """A repeated request names the one that ran."""
        self.log_in("#ops")
        self.post("/signed", 202, self.sign(number="7"))
        time = self.post("/signed", 202, self.sign(number="7"))
        self.assertEqual(
            self.why("2"),
            f"delivery 2 of Builds:signed: accepted {time}, not run (the source has sent it before, as 1)",
        )

    def test_missing_secret_is_explained(self) -> None:
        """A webhook whose secret was missing at the activation of its plugin says which one, until the plugin is activated again."""
        with mock.patch.dict(os.environ):
            del os.environ["BUILDS_SECRET"]
            self.assertTrue(self.why("/signed").startswith("Builds:signed: active"))
            self.bot.say("!plugin deactivate Builds")
            self.bot.say("!plugin activate Builds")
        self.post("/signed", 503, self.sign())
        answer = self.why("/signed")
        self.assertTrue(answer.startswith("Builds:signed: all requests get 503 (env:BUILDS_SECRET: "), answer)
        self.bot.say("!plugin deactivate Builds")
        self.bot.say("!plugin activate Builds")
        self.assertTrue(self.why("/signed").startswith("Builds:signed: active"))

    def test_handler_fails(self) -> None:
        """A failed delivery has the reason, and says whether it runs again. Markdown in it is shown as it is."""
        ran = self.post("/status", 500, status="broken")
        self.reactor.advance(1)
        self.assertEqual(
            self.why("1"),
            f"delivery 1 of Builds:status: accepted {ran}, failed {ran} (500 after 0.0 s: ValueError: no such status), "
            "it runs again only if it is replayed, or the source repeats it",
        )
        ran = self.post("/build", 202, broken=True)
        answer = self.why("2")
        self.assertIn(f"accepted {ran}, failed {ran} (500 after 0.0 s: ValueError: no such *branch*), waits: ", answer)
        self.assertRegex(answer, r"waits: the attempt has failed; next attempt 1970-\S+$")
        self.reactor.advance(20)
        answer = self.why("2")
        self.assertIn("(attempt 2, 500 after", answer)
        self.assertTrue(answer.endswith("it runs again only if it is replayed, or the source repeats it"), answer)
        self.flushLoggedErrors(ValueError)

    def test_others(self) -> None:
        """Only administrators may ask; where a rule admits others, they don't see texts of exceptions, nor those of networks."""
        message = OutgoingMessage(1 << 40, "irc", "#ops", "text", delivery=1)
        record = waiting_record(message)._replace(state=MessageState.REJECTED, at=1.0, reason="refused by the network")
        self.bot.bot.journal.outbox.end(record)
        self.post("/status", 500, status="broken")
        self.reactor.advance(1)
        self.assertIn("requires bot-admin", self.bot.command("!why 1", frm="@bob"))
        self.bot.config.networks["console"].ACCESS_CONTROLS = {"why": {"allowusers": ("*",), "allowmuc": True}}
        for reply in (self.bot.command("!why 1", frm="@bob"), *self.bot.say("!why 1", room="#ops")):
            self.assertIn("(500 after 0.0 s)", reply)
            self.assertIn("rejected", reply)
            self.assertNotIn("refused by the network", reply)
        self.flushLoggedErrors(ValueError)

    def test_texts_from_outside(self) -> None:
        """A reason is shown literally, on one line, without secrets and control characters."""
        store = self.bot.bot.journal.outbox
        message = OutgoingMessage(0, "irc", "#ops", "hi")
        reason = "**no** https://me:pw@host\n# \u202egnitser"
        store.end(waiting_record(message)._replace(state=MessageState.REJECTED, reason=reason))
        self.assertIn("rejected (**no** https://•••@host # \\u202egnitser)", self.why("#ops"))

    def test_delivery_waits(self) -> None:
        """A delivery of a paused webhook, and one whose plugin is inactive, say so."""
        self.bot.say("!webhook pause Builds:build")
        time = self.post("/build", 202, to="irc:#ops")
        self.assertEqual(self.why("1"), f"delivery 1 of Builds:build: accepted {time}, waits: the webhook is paused")
        self.assertTrue(
            self.why("/build").startswith(
                "Builds:build: paused: requests are accepted and wait for `webhook resume`, 1 delivery has not ended"
            )
        )
        self.assertIn("; paused webhooks: 1", self.bot.command("!status"))
        self.bot.say("!plugin deactivate Builds")
        answer = self.why("1")
        self.assertIn(
            "waits: the webhook is not active (the plugin Builds isn't active; `status plugins` says why)", answer
        )

    def test_delivery_runs(self) -> None:
        """A delivery whose handler has not ended is running."""
        time = self.post("/slow", 202)
        self.assertEqual(self.why("1"), f"delivery 1 of Builds:slow: accepted {time}, runs {time}")

    def test_delivery_waits_for_a_thread(self) -> None:
        """While all threads are busy, the answer says what runs in them."""
        time = self.post("/slow", 202)
        uses = tuple(
            ThreadUse("route:Builds:build", name, 20.0) for name in ("Builds.build", "Builds.build", "Spam.eat")
        )
        status = PoolStatus("recorded webhooks", 3, 3, uses, {"route:Builds:slow": 1})
        self.patch(self.bot.bot.web, "pools", (mock.Mock(status=lambda: status),))
        self.assertEqual(
            self.why("1"),
            f"delivery 1 of Builds:slow: accepted {time}, "
            "waits: no thread is free (1 of the webhook wait, and Builds.build, Spam.eat run)",
        )

    def test_ordered_delivery_waits(self) -> None:
        """A delivery of an ordered webhook waits for the earlier one."""
        self.post("/ordered", 202)
        time = self.post("/ordered", 202)
        self.assertEqual(
            self.why("2"), f"delivery 2 of Builds:ordered: accepted {time}, waits: an earlier delivery comes first"
        )

    def test_disk_is_full(self) -> None:
        """If the journal can't be written, each answer says so first, and the refused request is explained."""
        error = "/data/journal.sqlite: the disk is full"

        def fails(*_: Any, **__: Any) -> Deferred[Any]:
            return fail(JournalError(error))

        journal = self.bot.bot.journal
        for method in ("record", "check"):
            self.patch(journal, method, fails)
        self.patch(journal, "log", lambda delivery: None)
        time = self.post("/build", 503, to="irc:#ops")
        self.assertEqual(
            self.why("refused"),
            f"Requests can't be recorded, and results and messages aren't stored: {error}\n"
            f"delivery 1 of Builds:build: refused {time} (503: the request could not be recorded: {error}; from 127.0.0.1), "
            "it isn't stored, so the source must send it again",
        )

    def test_restored_message(self) -> None:
        """A message that a restore has paused names the command that lets it be sent."""
        store = self.bot.bot.journal.outbox
        message = store.add(OutgoingMessage(0, f"{PAUSED}irc", "#ops", "hi", accepted_at=self.reactor.seconds()))
        self.assertIn("waits: it was restored and is paused; after `errklein release-messages`", self.why("#ops"))
        store.end(waiting_record(message)._replace(state=MessageState.SENT))

    def test_unknown_subjects(self) -> None:
        """What isn't known is an error with the valid words, or a suggestion."""
        self.assertEqual(self.why("17"), "there is no delivery 17.")
        self.assertEqual(
            self.why("refused"), "refused: no refused request is recorded; those that get 404 or 405 aren't"
        )
        self.assertIn("did you mean 'Builds:build'?", self.why("Builds:biuld"))
        for subject in ("", "nonsense", "failed"):
            self.assertIn("expected the id of a delivery or request, a room, Plugin:method", self.why(subject))


class CopyTests(IncidentCase):
    """Two plugins with a webhook of the same URL."""

    plugins = (Builds, Copies)

    def test_webhook_with_the_url_of_another(self) -> None:
        """The webhook that gets no requests names the one that gets them, to which the path belongs."""
        first, second = ("Builds:build", "Copies:copy")
        if self.why("/build").startswith(second):
            first, second = second, first
        self.assertEqual(self.why("/build"), f"{first}: active, no request is recorded")
        self.assertEqual(
            self.why(second),
            f"{second}: no requests arrive (they go to {first}, which has the same URL), no request is recorded",
        )

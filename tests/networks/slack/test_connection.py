"""Tests of the connection to Slack: Socket Mode, tokens, the Events API, and events that come twice."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from errklein.networks.slack._client import HELLO, OVERLAP, QUIET
from errklein.storage import MemoryStorage
from tests.networks.slack.server import ALICE, BOB, BOT, DEV, OPS, SECRET, TOKEN, FakeSlack
from tests.networks.slack.workspace import BASE, BotCase
from tests.networks.test_context import ContextCase

KEYS = (
    *(
        "channel",
        "channel_id",
        "user",
        "user_id",
        "bot_id",
        "text",
        "ts",
        "thread_ts",
        "files",
        "subtype",
        "message",
        "id",
    ),
    *(
        "previous_message",
        "item",
        "item_user",
        "reaction",
        "name",
        "command",
        "actions",
        "container",
        "value",
        "action_id",
    ),
)

SCALARS = st.sampled_from(
    [None, 7, "", "x", ALICE, OPS, "D0ALICE00", BOT, "1700000000.000001", "<@U0ALICE00>", "rocket"]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner), max_leaves=4
)
TYPES = st.sampled_from(
    ["message", "reaction_added", "member_joined_channel", "channel_left", "channel_rename", "app_mention"]
)
USUAL = {
    "channel": OPS,
    "user": ALICE,
    "ts": "1700000000.000001",
    "text": "x",
    "container": {"message_ts": "1700000000.000001"},
}
PAYLOADS = st.fixed_dictionaries({"type": TYPES}, optional=dict.fromkeys(KEYS, VALUES)).map(lambda made: USUAL | made)


class EventTests(BotCase):
    """Events are acknowledged, and handled once."""

    def test_acknowledged(self) -> None:
        """Events, slash commands and presses are acknowledged at once."""
        self.online()
        self.say("hello")
        self.server.command("/errklein", "status")
        self.clock.advance(0.1)
        self.assertEqual(self.server.unacknowledged, {})

    def test_sent_again(self) -> None:
        """An event that Slack sends again is handled once, and acknowledged again."""
        self.online()
        self.say("!deploy", times=3)
        self.assertEqual((self.texts, self.server.unacknowledged), (["!deploy"], {}))

    def test_sent_again_after_kill(self) -> None:
        """An event that Slack sends again to the next process isn't handled there, also if the first one was killed."""
        self.online()
        ts = self.server.say("!deploy")
        self.assertEqual(self.texts, ["!deploy"])
        kept, self.storage = self.storage, MemoryStorage()
        for name in kept.namespaces():
            for key in list(kept.open(name).keys()):
                self.storage.open(name).set(key, kept.open(name).get(key))
        self.online()
        event = {**self.server.message(OPS, ts), "channel": OPS, "channel_type": "channel"}
        self.server.event(event)
        self.say("!status")
        self.assertEqual(self.texts, ["!status"])

    def test_mention_is_no_second_message(self) -> None:
        """A mention of the bot is an event beside that of the message."""
        self.online()
        ts = self.say("<@U0ERRKLEIN> status")
        self.server.event({**self.server.message(OPS, ts), "type": "app_mention", "channel": OPS})
        self.clock.advance(0.1)
        self.assertEqual(self.texts, ["errklein: status"])

    def test_commands_and_presses_again(self) -> None:
        """A slash command or press that comes again, such as a request that somebody repeats, has no further effect."""
        self.online()
        ts = self.say("x")
        self.server.command("/deploy")
        self.server.press(ts, 0)
        for envelope in [call for call in self.server.sent if call["type"] in ("slash_commands", "interactive")]:
            self.server.deliver(envelope["type"], envelope["payload"])
        self.clock.advance(0.1)
        self.assertEqual((self.texts, len(self.named("choice_made"))), (["x", "!deploy"], 1))
        self.assertEqual(self.server.unacknowledged, {})

    def test_other_workspaces(self) -> None:
        """What comes from another workspace that has installed the app is acknowledged, and not handled."""
        self.online()
        ts = self.say("x")
        theirs, ours = {"team_id": "T0OTHER"}, {"team_id": "T0TEAM"}
        event = {"type": "message", "user": ALICE, "channel": OPS, "text": "!deploy", "ts": "1700000000.000009"}
        press = {"user": {"id": ALICE}, "channel": {"id": OPS}, "container": {"message_ts": ts}}
        action = {"action_id": "choice-0", "value": "0"}
        self.server.deliver("events_api", {**theirs, "event_id": "Ev1X", "event": event})
        self.server.deliver("events_api", {**ours, "authorizations": [theirs], "event_id": "Ev2X", "event": event})
        self.server.deliver("slash_commands", {**theirs, "command": "/deploy", "user_id": ALICE, "channel_id": OPS})
        self.server.deliver("interactive", {**press, "team": {"id": "T0OTHER"}, "actions": [action]})
        self.clock.advance(0.1)
        self.assertEqual((self.texts, self.named("choice_made"), self.server.unacknowledged), (["x"], [], {}))
        # A channel may be shared with them.
        self.server.deliver("events_api", {**theirs, "authorizations": [ours], "event_id": "Ev3X", "event": event})
        self.clock.advance(0.1)
        self.assertEqual(self.texts, ["x", "!deploy"])

    def test_order_during_lookups(self) -> None:
        """A message waits for the sender's name, and later ones of the room wait for it. Other rooms don't."""
        self.server.channels[DEV].members.append("U0ERRKLEIN")
        self.online()
        self.say("from bob", user=BOB)
        slow = {"ok": True, "user": self.server.users[ALICE]}
        self.http.respond("GET", f"{BASE}/api/users.info?user={ALICE}", json=slow, delay=5)
        self.say("first")
        self.say("second", user=BOB)
        self.say("elsewhere", user=BOB, channel=DEV)
        self.assertEqual(self.texts, ["from bob", "elsewhere"])
        self.clock.advance(5)
        self.assertEqual(self.texts, ["from bob", "elsewhere", "first", "second"])
        self.assertEqual(self.events.messages[2].frm.nick, "alice")  # type: ignore[union-attr]

    def test_strange_events(self) -> None:
        """What Slack should never send harms nothing."""
        self.online()
        for event in (
            *({"type": "message"}, {"type": "message", "channel": 7, "user": []}, {"type": "message", "channel": OPS}),
            {"type": "message", "channel": OPS, "user": ALICE, "text": {"a": 1}, "ts": "x", "files": 7},
            {"type": "message", "channel": OPS, "subtype": "message_changed", "message": None},
            {"type": "reaction_added", "item": "x", "user": ALICE},
            {"type": "member_joined_channel", "user": 1, "channel": OPS},
            *([], {"type": {}}, {"type": "channel_rename", "channel": []}),
        ):
            self.server.event(event)  # type: ignore[arg-type]
        for kind in ("interactive", "slash_commands", "unknown"):
            self.server.deliver(
                kind, {"type": "block_actions", "actions": 7, "user": {"id": ALICE}, "channel": {"id": OPS}}
            )
        self.say("still here")
        self.assertEqual((self.texts[-1], self.flushLoggedErrors()), ("still here", []))

    def test_events_of_any_form(self) -> None:
        """No event, slash command or press of any form is an error, or keeps the bot from the next one."""
        self.online()
        self.say("known")
        self.server.unacknowledged.clear()

        @given(st.sampled_from(["events_api", "slash_commands", "interactive"]), PAYLOADS)
        @settings(max_examples=50)
        def deliver(kind: str, payload: dict[str, Any]) -> None:
            self.server.deliver(kind, {"event": payload, "event_id": ""} if kind == "events_api" else payload)
            self.clock.advance(0)
            self.assertEqual((self.flushLoggedErrors(), self.server.unacknowledged), ([], {}), payload)

        deliver()
        self.say("still here")
        self.assertEqual(self.texts[-1], "still here")


class SocketTests(BotCase):
    """Sockets are replaced, and failures noticed."""

    def test_refresh(self) -> None:
        """When Slack asks for a new socket, the old one stays until the new one works, and no event is lost."""
        self.online()
        [old] = self.server.links
        old.send({"type": "disconnect", "reason": "refresh_requested"})
        self.clock.advance(0.1)
        self.assertEqual(len(self.server.links), 2)
        self.say("on the new one")
        self.server.links.reverse()
        self.say("on the old one")
        self.server.links.reverse()
        self.clock.advance(2 * OVERLAP)
        self.assertNotIn(old, self.server.links)
        self.say("later")
        self.assertEqual(self.texts, ["on the new one", "on the old one", "later"])
        self.assertEqual(self.named("backend_disconnected"), [])

    def test_lost(self) -> None:
        """After a socket is lost, the bot connects again."""
        self.online()
        self.server.drop_links()
        self.assertEqual(len(self.named("backend_disconnected")), 1)
        self.clock.advance(2)
        self.clock.advance(1)
        self.say("again")
        self.assertEqual((self.texts, len(self.named("backend_connected"))), (["again"], 2))

    def test_silent_socket(self) -> None:
        """A socket on which nothing has come for ten minutes is replaced: it may be deaf."""
        self.online()
        self.say("begin")
        [deaf] = self.server.links
        deaf.is_deaf = True
        for _ in range(int(QUIET / 10) + 4):
            self.clock.advance(10)
        self.say("heard")
        self.assertEqual((self.texts, deaf in self.server.links), (["begin", "heard"], False))

    def test_missing_echo(self) -> None:
        """A socket that doesn't bring the bot's own message is replaced within a minute."""
        backend = self.online()
        self.send(backend, "one")
        self.clock.advance(30)
        [deaf] = self.server.links
        deaf.is_deaf = True
        self.send(backend, "two")
        for _ in range(6):
            self.clock.advance(10)
        self.assertNotIn(deaf, self.server.links)
        self.say("heard")
        self.assertEqual(self.texts, ["heard"])

    def test_no_hello(self) -> None:
        """Without Slack's greeting there is no connection, and the bot tries again."""
        self.patch(FakeSlack, "opened", lambda server, link: None)
        backend = self.online()
        self.clock.advance(HELLO + 1)
        self.assertEqual(self.named("backend_connected"), [])
        self.assertGreater(len(self.server.calls), 2)
        self.successResultOf(backend.disconnect())

    def test_end_before_hello(self) -> None:
        """If a socket ends before Slack's greeting, the bot doesn't wait for that, and says why."""
        self.patch(FakeSlack, "opened", lambda server, link: link.close())
        self.online()
        self.clock.advance(3)
        self.assertGreater(len(self.server.calls), 4)
        off = {"type": "disconnect", "reason": "link_disabled"}
        self.patch(FakeSlack, "opened", lambda server, link: link.send(off))
        self.clock.advance(10)
        self.clock.advance(0.1)
        self.assertIn("Socket Mode is switched off", self.notices[-1])

    def test_switched_off(self) -> None:
        """If Socket Mode is switched off in the app, administrators are notified."""
        self.online()
        self.server.links[0].send({"type": "disconnect", "reason": "link_disabled"})
        self.clock.advance(0.1)
        self.assertIn("Socket Mode is switched off", self.notices[-1])

    def test_too_many(self) -> None:
        """If Slack closes a socket for another reason, the bot connects again after a pause, and not at once."""
        self.online()
        calls = len(self.server.calls)
        self.server.links[0].send({"type": "disconnect", "reason": "too_many_websockets"})
        self.clock.advance(0.1)
        self.assertEqual(
            (len(self.server.calls), self.named("backend_disconnected")), (calls, [("too_many_websockets",)])
        )

    def test_half_open(self) -> None:
        """If the Web API doesn't answer, the bot isn't connected, and is as soon as it does."""
        for method in ("auth.test",):
            self.http.respond("POST", f"{BASE}/api/{method}", json={"ok": True}, delay=1000, times=1)
        self.online()
        self.clock.advance(31)
        self.clock.advance(2)
        self.clock.advance(1)
        self.say("hello")
        self.assertEqual(self.texts, ["hello"])

    def test_stop(self) -> None:
        """After a stop there are no sockets, and nothing is left to do."""
        backend = self.online()
        self.successResultOf(backend.disconnect())
        self.assertEqual((self.server.links, [str(call) for call in self.clock.getDelayedCalls()]), ([], []))


class TokenTests(BotCase):
    """Tokens that Slack refuses."""

    def test_wrong(self) -> None:
        """A wrong token is one notice, which names the key, and not the token."""
        self.online(token="xoxb-wrong")
        self.clock.advance(400)
        [notice] = set(self.notices)
        self.assertIn("Slack refuses BOT_IDENTITY['token'] (invalid_auth)", notice)
        self.assertNotIn("xoxb", notice)

    def test_wrong_app_token(self) -> None:
        """A wrong app-level token is named."""
        self.online(app_token="xapp-wrong")
        self.assertIn("BOT_IDENTITY['app_token'] (invalid_auth)", self.notices[0])

    def test_revoked(self) -> None:
        """While a token is revoked, messages wait; with a new one they are sent."""
        backend = self.online()
        del self.server.tokens[TOKEN]
        sent = self.send(backend, "one")
        self.clock.advance(1)
        self.assertIn("can't be used", self.notices[0])
        self.assertNoResult(sent)
        self.server.tokens[TOKEN] = "token"
        self.clock.advance(301)
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual(self.posted(), ["one"])
        self.successResultOf(sent)


class RequestTests(BotCase, ContextCase):
    """The Events API, with the web server of a bot."""

    def setUp(self) -> None:
        """Start the web server, and the connection."""
        ContextCase.setUp(self)
        routes = vars(self).pop("context")._set_routes
        super().setUp()
        self.set_routes = routes
        self.online(app_token=None, signing_secret=SECRET)
        self.responses: list[Any] = []
        self.server.http = lambda payload: self.responses.append(self.post(json.dumps(payload).encode()))

    def post(self, body: bytes, kind: str = "application/json", secret: str = SECRET) -> Any:
        """Send a request as Slack signs it."""
        at = str(int(self.bot.reactor.seconds()))
        signature = hmac.new(secret.encode(), b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
        headers = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={signature}", "Content-Type": kind}
        response = self.bot.post("/slack/events", body, headers=headers)
        self.clock.advance(1)
        return self.successResultOf(response)

    def test_events(self) -> None:
        """Messages arrive, and get an empty response; a request with a wrong signature is refused."""
        self.server.say("hello")
        self.assertEqual(([(one.status, one.text) for one in self.responses], self.texts), ([(200, "")], ["hello"]))
        self.assertEqual(self.post(b"{}", secret="wrong").status, 401)

    def test_challenge(self) -> None:
        """Slack's check of the address is answered."""
        response = self.post(b'{"type": "url_verification", "challenge": "3eZbrw1aB"}')
        self.assertEqual((response.status, response.text), (200, "3eZbrw1aB"))

    def test_forms(self) -> None:
        """Slash commands and presses come as forms."""
        command = {
            "command": "/echo",
            "text": "hello",
            "user_id": ALICE,
            "channel_id": OPS,
            "response_url": f"{BASE}/hooks/1",
        }
        form = "application/x-www-form-urlencoded"
        self.assertEqual(self.post(urlencode(command).encode(), form).status, 200)
        self.assertEqual(self.texts, ["!echo hello"])
        # Slack asks now and then whether the address is encrypted.
        self.assertEqual(self.post(b"ssl_check=1&token=x", form).status, 200)
        pressed = {"type": "block_actions", "user": {"id": ALICE}, "channel": {"id": OPS}, "actions": []}
        self.assertEqual(self.post(urlencode({"payload": json.dumps(pressed)}).encode(), form).status, 200)

"""Tests for the messages of webhooks of rooms: their rooms, their texts and their rate."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.filepath import FilePath

from errklein.bot.room_webhooks import RoomMessages
from errklein.chat import Message
from errklein.chat.features import Features
from errklein.ports.outbox import OutboxClosed, OutboxFull
from errklein.running.context import assigned, handled_network
from errklein.testing import PluginTestCase
from errklein.text.neutralising import ZERO_WIDTH_SPACE
from errklein.verify import bearer
from errklein.webhooks.options import RoomWebhook
from errklein.webhooks.source import Event, Source
from tests.doubles import NetworksCase
from tests.networks.irc.whole_bot import WholeBotCase

SOURCE = Source("builds", "Builds", lambda event, payload: ["**{state}** [{name}]({url})", "{note}"], bearer)


class MessagesCase(NetworksCase):
    """A test with webhooks of rooms on two networks."""

    networks = {"libera": {"BOT_ADMINS": ("alice",)}, "console": {"BOT_PREFIX": "/"}}

    def setUp(self) -> None:
        super().setUp()
        self.directory = FilePath(self.mktemp())
        self.directory.makedirs()
        bot = self.bot
        self.messages = RoomMessages(self.reactor, bot.networks, bot.send, bot.plugin_pool, Path(self.directory.path))
        self.addCleanup(self.messages.stop)
        self.forget()

    def receive(self, webhook: RoomWebhook, **values: Any) -> None:
        """Handle an event with these values as its payload."""
        handled = self.messages.handler(webhook)(Event("ended", values, SOURCE, values))
        waiting = Deferred.fromCoroutine(handled)  # type: ignore[arg-type]
        self.reactor.advance(0)
        self.assertIsNone(self.successResultOf(waiting))

    def webhook(self, **options: Any) -> RoomWebhook:
        """Return a webhook of #ops with these options."""
        return RoomWebhook(**{"name": "builds", "source": "builds", "room": "libera:#ops", **options})


class OutboxTests(MessagesCase):
    """A network that accepts no message at the moment."""

    def setUp(self) -> None:
        super().setUp()
        self.error: Exception | None = None
        backend: Any = self.backends["libera"]
        send = backend.send_message

        def send_or_fail(message: Message) -> Any:
            if self.error is not None:
                raise self.error
            return send(message)

        backend.send_message = send_or_fail

    def test_full(self) -> None:
        """A message that its outbox refuses is an error, so that the delivery is tried again."""
        self.error = OutboxFull("full")
        handled = self.messages.handler(self.webhook())(Event("", {}, SOURCE, {"state": "x"}))
        self.failureResultOf(Deferred.fromCoroutine(handled), OutboxFull)  # type: ignore[arg-type]

    def test_summary(self) -> None:
        """The number of messages that were left out is sent when it accepts messages again, with further ones."""
        webhook = self.webhook(messages="1/min")
        for _ in range(3):
            self.receive(webhook, state="x")
        self.error = OutboxFull("full")
        self.reactor.advance(60)
        self.receive(webhook, state="x")
        self.error = None
        self.reactor.advance(60)
        self.assertEqual(self.texts()[1:], ["… and 3 more events of builds were left out; see !delivery list builds"])

    def test_closed(self) -> None:
        """The log has the number if the network is closed."""
        webhook = self.webhook(messages="1/min")
        for _ in range(3):
            self.receive(webhook, state="x")
        self.error = OutboxClosed("closed")
        self.messages.stop()
        self.assertIn("2 events of the webhook builds were left out in libera:#ops: closed", self.test_bot.log)


class RoomTests(MessagesCase):
    """The room of a message."""

    def test_network(self) -> None:
        """The room may be on any network."""
        self.receive(self.webhook(room="console:#web"), state="failed")
        self.assertEqual(self.sent("console"), [("#web", "failed")])

    def test_default_network(self) -> None:
        """A room without a network is on the first one, also when a command on another network stops the bot."""
        webhook = self.webhook(room="#ops", messages="1/min")
        for _ in range(2):
            self.receive(webhook, state="failed")
        with assigned(handled_network, "console"):
            self.messages.stop()
        self.assertEqual([len(self.sent(network)) for network in ("libera", "console")], [2, 0])

    def test_chosen_by_the_payload(self) -> None:
        """A payload chooses a room in the list of the configuration, and the first one in it otherwise."""
        rooms = ("libera:#ops", "libera:#web", "console:#web")
        webhook = self.webhook(room="libera:#{labels.team or 'x'}", rooms=rooms)
        teams: tuple[Any, ...] = (
            "web",
            "WEB",
            "ops",
            "secret",
            "web,#secret",
            "",
            None,
            ["web"],
            {"a": "web"},
            "*web*",
        )
        for team in teams:
            self.receive(webhook, state=f"{team}!", labels={"team": team})
        shown = [room for room, _ in self.sent()]
        self.assertEqual(shown, ["#web", "#web", "#ops", "#ops", "#ops", "#ops", "#ops", "#web", "#ops", "#ops"])
        self.assertEqual(self.sent("console"), [])

    def test_prefix(self) -> None:
        """The line about messages that were left out has the command prefix of the room's network."""
        webhook = self.webhook(room="console:#web", messages="1/min")
        for _ in range(2):
            self.receive(webhook, state="x")
        self.messages.stop()
        self.assertIn("see /delivery list builds", self.texts("console")[-1])

    def test_person(self) -> None:
        """A name that isn't a room's is an error, so that the delivery is tried again and reported."""
        handled = self.messages.handler(self.webhook(room="@alice"))(Event("", {}, SOURCE, {"state": "x"}))
        failure = self.failureResultOf(Deferred.fromCoroutine(handled), ValueError)  # type: ignore[arg-type]
        self.assertIn("@alice isn't a room of the network libera", str(failure.value))


class TextTests(MessagesCase):
    """The text of a message."""

    def test_of_the_source(self) -> None:
        """By default, it is the source's."""
        self.receive(self.webhook(), state="failed", name="a *b*", url="https://ci.example.org/1", note="@bob")
        self.assertEqual(self.texts(), [f"failed a *b* (https://ci.example.org/1)\n@{ZERO_WIDTH_SPACE}bob"])

    def test_own(self) -> None:
        """A text of the webhook replaces it; without values, nothing is sent."""
        webhook = self.webhook(text="{state|upper} by {user}\n@here {user}")
        self.receive(webhook, state="failed", user="bob")
        self.receive(webhook, name="x")
        self.assertEqual(self.texts(), [f"FAILED by bob\n@{ZERO_WIDTH_SPACE}here bob"])

    def test_length(self) -> None:
        """It has at most as many lines as the source's."""
        self.receive(self.webhook(text="{a}\n" * 12), a="x")
        self.assertEqual(self.texts(), ["x\n" * 9 + "… and 3 more lines"])

    def test_names_of_people_in_the_room(self) -> None:
        """Where names notify people wherever they occur, those of people in the room are neutralised, apart from addresses."""
        backend: Any = self.backends["libera"]
        backend.features = lambda to: Features(highlights_names=True)
        self.say("hello", frm="carol", to="#ops")
        self.say("hello", frm="d_ave", to="#ops")
        self.forget()
        url = "https://ci.example.org/carol"
        self.receive(self.webhook(), state="Carol's", name="carol d_ave carols", url=url, note="dave")
        space = ZERO_WIDTH_SPACE
        self.assertEqual(
            self.texts(), [f"C{space}arol's c{space}arol d_ave carols ({url})\ndave".replace("d_ave", f"d{space}_ave")]
        )


class TemplateTests(MessagesCase):
    """Templates beside the configuration file."""

    def write(self, text: str) -> RoomWebhook:
        """Write the template, and return a webhook with it."""
        self.directory.child("builds.md").setContent(text.encode())
        return self.webhook(template="builds.md")

    def test_values_have_no_effect(self) -> None:
        """Values in a template are escaped as in a text; the template may have links and formatting."""
        webhook = self.write(
            "{% for job in jobs %}\n- **{{ job.name }}** [log]({{ job.url|link }}) {{ job.none }}\n{% endfor %}"
            "{{ event_name }} {{ payload.jobs|count }} {{ 'a*b' ~ jobs[0].name }}"
        )
        self.receive(webhook, jobs=[{"name": "*a* http://evil @bob", "url": "https://ci.example.org/1"}])
        name = f"*a* http:{ZERO_WIDTH_SPACE}//evil @{ZERO_WIDTH_SPACE}bob"
        self.assertEqual(self.texts(), [f"• {name} log (https://ci.example.org/1)\nended 1 a*b{name}"])

    def test_change(self) -> None:
        """A change of the file takes effect at once."""
        self.receive(self.write("one {{ state }}"), state="x")
        webhook = self.write("two {{ state }}")
        os.utime(self.directory.child("builds.md").path, (1, 1))
        self.receive(webhook, state="x")
        self.assertEqual(self.texts(), ["one x", "two x"])

    def test_broken(self) -> None:
        """If a template can't be rendered, the source's message is sent, and the log has the file and the line."""
        for text in ("one\n{% if %}", "{{ 1 / 0 }}", "{% include 'missing.md' %}"):
            self.receive(self.write(text), state="failed")
        self.receive(self.webhook(template="missing.md"), state="failed")
        self.assertEqual(self.texts(), ["failed"] * 4)
        log = "\n".join(self.test_bot.log)
        self.assertIn("builds.md, line 2: the template of the webhook builds can't be rendered", log)
        self.assertIn("builds.md, line 1: ", log)


class RateTests(PluginTestCase):
    """More messages than the rate of a webhook, which is 20 in a minute."""

    config = {"PUBLIC_URL": "https://bot.example.net"}

    def setUp(self) -> None:
        super().setUp()
        shown = self.bot.say("!webhook new alertmanager", room="#ops")
        (private,) = (one.text for one in shown if one.to == "@admin")
        self.path = private.partition("https://bot.example.net")[2].split()[0].strip("`")

    def send(self, count: int) -> list[str]:
        """Send so many alerts, and return the new messages in the room."""
        before = len(self.bot.sent_to("#ops"))
        for number in range(count):
            alert = {"labels": {"alertname": f"Disk{number}"}, "status": "firing"}
            body = json.dumps({"status": "firing", "alerts": [alert]}).encode()
            response = self.post(self.path, body=body, headers={"Content-Type": "application/json"})
            self.assertLess(response.status, 300)
            self.bot.advance(0)
        return list(self.bot.sent_to("#ops"))[before:]

    def summary(self, seconds: float) -> list[str]:
        """Return the messages in the room after so many seconds."""
        before = len(self.bot.sent_to("#ops"))
        self.bot.advance(seconds)
        return list(self.bot.sent_to("#ops"))[before:]

    def test_summary(self) -> None:
        """Further messages are left out; one line gives their number when half of the rate is free again."""
        self.assertEqual(len(self.send(57)), 20)
        self.assertEqual(self.summary(29), [])
        expected = "… and 37 more events of alertmanager were left out; see !delivery list alertmanager"
        self.assertEqual(self.summary(2), [expected])
        self.assertEqual(self.summary(600), [])
        self.assertEqual(len(self.send(20)), 20)

    def test_long_flood(self) -> None:
        """In a long flood, messages and summaries alternate, at no more than the rate."""
        shown = self.send(20)
        for _ in range(10):
            shown += [*self.send(15), *self.summary(30)]
        self.assertLessEqual(len(shown), 20 + 5 * 20)
        left_out = [text for text in shown if "left out" in text]
        self.assertEqual(len(left_out), 10)

    def test_one(self) -> None:
        """A single one is counted in the singular."""
        self.send(21)
        self.assertIn("… and 1 more event of alertmanager was left out", self.summary(30)[0])

    def test_stop(self) -> None:
        """When the bot stops, the line is sent."""
        self.send(22)
        self.bot.stop()
        self.assertIn("… and 2 more events", self.bot.sent_to("#ops")[-1])

    def test_others(self) -> None:
        """Another webhook sends its messages meanwhile."""
        self.send(25)
        shown = self.bot.say("!webhook new alertmanager", room="#web")
        (private,) = (one.text for one in shown if one.to == "@admin")
        self.path = private.partition("https://bot.example.net")[2].split()[0].strip("`")
        self.send(3)
        self.assertEqual(len([text for text in self.bot.sent_to("#web") if "Disk" in text]), 3)


class ChatTests(PluginTestCase):
    """A text that is set in a chat."""

    config = {"PUBLIC_URL": "https://bot.example.net"}

    def test_values_have_no_effect(self) -> None:
        """It has the formatting and links of the administrator, and values of the payload as they are."""
        shown = self.bot.say("!webhook new json builds", room="#ops")
        (private,) = (one.text for one in shown if one.to == "@admin")
        path = private.partition("https://bot.example.net")[2].split()[0].strip("`")
        self.bot.say("!webhook set builds text **{state|title}** [{name or 'a build'}]({url}) by {user.login}: {note}")
        note = "@here **now** [x](https://evil.example) <!channel> \x02\n# y"
        self.post(
            path, {"state": "failed", "url": "https://ci.example.org/7", "user": {"login": "alice"}, "note": note}
        )
        self.bot.advance(0)
        space = ZERO_WIDTH_SPACE
        expected = (
            "Failed a build (https://ci.example.org/7) by alice: "
            f"@{space}here **now** [x](https:{space}//evil.example) <!{space}channel> # y"
        )
        self.assertEqual(self.bot.sent_to("#ops")[-1], expected)
        refused = self.bot.say("!webhook set builds text {state|shout}")[-1].text
        self.assertIn("expected filters among count, date", refused)


class FileTests(PluginTestCase):
    """A webhook in the configuration file."""

    config = {
        "WEBHOOKS": {
            "alerts": {
                "source": "json",
                "room": "#{labels.team}",
                "rooms": ["#ops", "#web"],
                "secret": "env:ALERTS",
                "text": "{title}",
                "messages": "2/min",
            }
        }
    }
    secrets = {"ALERTS": "a-token-of-the-configuration"}

    def receive(self, team: str) -> None:
        """Receive an event of a team."""
        response = self.post(
            "/hooks/alerts/a-token-of-the-configuration", {"title": f"for {team}", "labels": {"team": team}}
        )
        self.assertLess(response.status, 300)
        self.bot.advance(0)

    def test_rooms(self) -> None:
        """A payload chooses among its rooms, and each gets the number of its messages that were left out."""
        for team in ("web", "secret", "web", "secret", "ops"):
            self.receive(team)
        self.assertEqual(self.bot.sent_to("#secret"), [])
        self.assertEqual(self.bot.sent_to("#web"), ["for web"])
        self.assertEqual(self.bot.sent_to("#ops"), ["for secret"])
        self.bot.advance(30)
        self.assertIn("… and 1 more event of alerts", self.bot.sent_to("#web")[-1])
        self.assertIn("… and 2 more events of alerts", self.bot.sent_to("#ops")[-1])


class IRCTests(WholeBotCase):
    """A webhook whose room is on an IRC network."""

    def setUp(self) -> None:
        secret = Path(self.mktemp()).absolute()
        secret.write_text("a-token-of-the-configuration", encoding="utf-8")
        secret.chmod(0o600)
        text = "**{state}** [{name}]({url}) for {user}\n{note}"
        webhook = {"source": "json", "room": "#ops", "secret": f"file:{secret}", "text": text}
        self.settings = {"WEBHOOKS": {"builds": webhook}}
        super().setUp()

    def receive(self, **payload: Any) -> list[str]:
        """Receive an event, and return the lines that the bot sends."""
        response = self.test_bot.post("/hooks/builds/a-token-of-the-configuration", payload)
        self.test_bot.reactor.advance(0)
        self.assertEqual(self.successResultOf(response).status, 202)
        self.test_bot.reactor.advance(0)
        self.server.answer()
        return [line for line in self.server.take() if line.startswith("PRIVMSG")]

    def test_values(self) -> None:
        """A value formats, links and highlights nothing, whatever the names of people in the room are."""
        self.server.say(":[carol]!c@h JOIN #ops", ":dave_!d@h JOIN #ops")
        note = "\x02x\x03 4 **now** https://evil.example @carol\r\nQUIT :x \x01ACTION y\x01"
        sent = self.receive(
            state="failed", name="[carol] dave", url="https://ci.example.org/dave", user="Dave_", note=note
        )
        space = ZERO_WIDTH_SPACE
        self.assertEqual(
            sent,
            [
                f"PRIVMSG #ops :\x02failed\x0f [c{space}arol] d{space}ave (https://ci.example.org/dave) for D{space}ave_",
                f"PRIVMSG #ops :x 4 **now** https:{space}//evil.example @{space}c{space}arol QUIT :x ACTION y",
            ],
        )

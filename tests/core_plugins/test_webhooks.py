"""Tests for the commands that make and change webhooks of rooms, from the chat to the message in the room."""

from __future__ import annotations

import re
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from twisted.internet.defer import Deferred

from errklein import BotPlugin
from errklein.chat import Message
from errklein.sources import known_sources
from errklein.testing import PluginTestCase
from tests.networks.irc.whole_bot import WholeBotCase

PAYLOADS = Path(__file__).parents[2] / "docs" / "examples" / "recipes" / "payloads"
FIRING = (PAYLOADS / "alertmanager-firing.json").read_bytes()
URL = re.compile(r"https?://\S*?(/hooks/[^\s`']+)")
OWN_SECRET = re.compile("ek[ts][a-z2-7]{26}")
JSON = {"Content-Type": "application/json"}


class RoomWebhookCase(PluginTestCase):
    """A test with webhooks of rooms."""

    plugins = ()
    config = {"PUBLIC_URL": "https://bot.example.net", "CHATROOM_PRESENCE": ("#ops", "#testroom")}

    def make(self, command: str) -> str:
        """Make a webhook in #ops and return the path that the private reply shows."""
        shown = self.bot.say(command, room="#ops")
        private = "\n".join(one.text for one in shown if one.to == "@admin")
        found = URL.search(private)
        assert found is not None, shown
        return found[1]


class NewTests(RoomWebhookCase):
    """From a command in a room to a message in it."""

    def test_alerts_appear_in_the_room(self) -> None:
        """What the source sends to the address in the private reply appears in the room."""
        path = self.make("!webhook new alertmanager")
        self.assertIn(self.post(path, body=FIRING, headers=JSON).status, (200, 202))
        self.bot.advance(0)
        self.assertIn("DiskFull", "\n".join(self.bot.sent_to("#ops")))

    def test_room_does_not_see_the_address(self) -> None:
        """Neither the room nor the list of webhooks shows the token."""
        path = self.make("!webhook new alertmanager")
        token = path.rpartition("/")[2]
        self.assertNotIn(token, "\n".join(self.bot.sent_to("#ops")))
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.assertNotIn(token, self.bot.command("!webstatus"))

    def test_wrong_token(self) -> None:
        """A request with another token is refused, and shows nothing."""
        path = self.make("!webhook new alertmanager")
        response = self.post(path[:-1] + "!", body=FIRING, headers=JSON)
        self.assertEqual(response.status, 401)
        self.assertNotIn("DiskFull", "\n".join(self.bot.sent_to("#ops")))

    def test_remove(self) -> None:
        """A removed webhook has no address any more."""
        path = self.make("!webhook new alertmanager")
        self.bot.say("!webhook remove alertmanager")
        self.assertEqual(self.post(path, body=FIRING, headers=JSON).status, 404)

    def test_log_has_no_token(self) -> None:
        """No line of the log has the token."""
        path = self.make("!webhook new alertmanager")
        self.post(path, body=FIRING, headers=JSON)
        self.assertNotIn(path.rpartition("/")[2], "\n".join(self.bot.log))


class InfoTests(RoomWebhookCase):
    """What lists and explanations say of a webhook of a room."""

    def test_list(self) -> None:
        """The list has its address without the token, its source, its room and its maker."""
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.make("!webhook new alertmanager")
        self.assertIn(
            "https://bot.example.net/hooks/alertmanager -> alertmanager [POST], Alertmanager, made in #ops by "
            "@admin, verified by token in the address",
            self.bot.command("!webhook list"),
        )

    def test_why(self) -> None:
        """Its state has the room and the maker; after its removal, it is known from its deliveries."""
        path = self.make("!webhook new alertmanager")
        made = "alertmanager: made in #ops by @admin"
        self.assertIn(f"{made}, active", self.bot.command("!why alertmanager"))
        self.bot.command("!webhook pause alertmanager")
        self.assertIn(f"{made}, paused", self.bot.command("!webhook show alertmanager"))
        self.bot.command("!webhook resume alertmanager")
        self.post(path, body=FIRING, headers=JSON)
        self.bot.advance(0)
        self.bot.command("!webhook remove alertmanager")
        self.assertIn(
            "alertmanager: not active (there is no webhook alertmanager any more)",
            self.bot.command("!why alertmanager"),
        )


class PrivateTests(RoomWebhookCase):
    """What is said where."""

    def test_replies(self) -> None:
        """The room learns that there is a webhook. The sender gets the address and the set-up in private."""
        room, private = self.bot.say("!webhook new grafana in #ops", room="#ops")[::-1]
        self.assertEqual(
            (room.to, room.text), ("#ops", "Made grafana for #ops; its address is in your private messages.")
        )
        self.assertEqual(private.to, "@admin")
        lines = private.text.splitlines()
        self.assertEqual(lines[0], "Made grafana for #ops.")
        self.assertRegex(lines[1], "^URL: https://bot.example.net/hooks/grafana/ekt[a-z2-7]{26}$")
        self.assertEqual(lines[5:], ["STORAGE is 'Memory', so the webhook ends with the process."])

    def test_in_private(self) -> None:
        """In private, the room is named, which the bot joins, and the reply has everything."""
        self.assertIn("add in ROOM", self.command("!webhook new github"))
        self.assertIn("Made far for #far", self.command("!webhook new github far in #far"))
        self.assertIn("#far", self.command("!room list"))
        lines = self.command("!webhook new github shop in #testroom expires 90d").splitlines()
        self.assertEqual(lines[:2], ["Made shop for #testroom.", "URL: https://bot.example.net/hooks/shop"])
        self.assertRegex(lines[2], "^Secret: eks[a-z2-7]{32}$")
        self.assertEqual(len(lines), 7)
        self.assertIn("Options: expires=", self.command("!webhook show shop"))

    def test_signed(self) -> None:
        """A source that may sign its requests gets a secret, and no token."""
        reply = self.command("!webhook new grafana signed in #testroom")
        self.assertIn("URL: https://bot.example.net/hooks/grafana\nSecret: eks", reply)
        self.assertIn("leave out 'signed'", self.command("!webhook new slack signed in #testroom"))

    def test_sources(self) -> None:
        """Without a source, they are listed in few lines."""
        reply = self.command("!webhook new")
        self.assertIn("\n Sources: alertmanager, discord, ", reply)

    def test_errors(self) -> None:
        """An error says what is wrong."""
        self.command("!webhook new grafana in #testroom")
        for command, error in (
            ("new grafna in #testroom", "There is no source 'grafna'; did you mean 'grafana'?"),
            ("new grafana Ops in #testroom", "Invalid name 'Ops'"),
            ("new grafana grafana in #testroom", "There is a webhook or plugin grafana already"),
            ("new grafana a b in #testroom", "Usage: !webhook new SOURCE [NAME]"),
            ("new grafana in", "Usage: !webhook new SOURCE [NAME]"),
            ("new grafana expires soon in #testroom", "soon"),
            ("set grafana", "Usage: !webhook set NAME OPTION VALUE"),
            ("set grafana event firing", "Unknown option 'event'; did you mean 'events'?"),
            ("rotate", "Usage: !webhook rotate NAME"),
            ("rotate grafna", "There is no webhook 'grafna' of a room; did you mean 'grafana'?"),
            ("move grafana", "Usage: !webhook move NAME ROOM"),
            ("move grafana @bob", "'test:@bob' is no room"),
            ("remove grafana now", "Usage: !webhook remove NAME"),
        ):
            self.assertIn(error, self.command(f"!webhook {command}"), command)

    def test_reach(self) -> None:
        """Without PUBLIC_URL, the reply says who can reach the address, and what to set."""
        object.__setattr__(self.bot.bot.web.site.settings, "public_url", "")
        reply = self.command("!webhook new grafana in #testroom")
        self.assertIn("The bot doesn't listen yet; configure the plugin Webserver, or set WEB.", reply)
        self.assertIn("set PUBLIC_URL; see docs/guides/reach-the-bot", reply)
        for host, url, reach in (
            ("127.0.0.1", "http://127.0.0.1:3141", "Only this computer can reach this address."),
            (
                "0.0.0.0",
                "http://localhost:3141",
                "Computers in this network can reach this address, with the name of this one",
            ),
            (
                "192.0.2.7",
                "http://192.0.2.7:3141",
                "Only computers that can connect to 192.0.2.7 can reach this address.",
            ),
        ):
            self.bot.say(f"!plugin config Webserver {{'HOST': '{host}', 'PORT': 3141}}")
            reply = self.command("!webhook rotate grafana")
            self.assertIn(f"URL: {url}/hooks/grafana/ekt", reply)
            self.assertIn(reach, reply)

    def test_without_encryption(self) -> None:
        """Where others may read messages on their way, no reply has the address or the secret."""
        self.bot.backend.is_encrypted = False
        for source in ("grafana", "github"):
            shown = self.bot.say(f"!webhook new {source}", room="#ops")
            shell = f"Run errklein webhook rotate {source} on the bot's machine: it prints the address"
            self.assertEqual([one.to for one in shown], ["#ops"])
            self.assertIn(shell, shown[0].text)
            self.assertIn(shell, self.command(f"!webhook rotate {source}"))
        self.assertNotRegex("\n".join(one.text for one in self.bot.messages), "ek[ts][a-z2-7]{26}|https?://")
        # Nothing about it is secret yet.
        self.assertIn("URL: https://bot.example.net/hooks/pagerduty\n", self.command("!webhook new pagerduty in #ops"))

    def test_rotation_without_encryption(self) -> None:
        """The address isn't replaced by one that nobody knows."""
        path = self.make("!webhook new alertmanager")
        self.bot.backend.is_encrypted = False
        for _ in range(2):
            self.assertTrue(
                self.command("!webhook rotate alertmanager").startswith("Nothing has changed. Run errklein")
            )
        self.bot.advance(2 * 86400)
        self.assertEqual(self.post(path, body=FIRING, headers=JSON).status, 202)

    def test_secret_of_source(self) -> None:
        """A secret that the source has made is set in private, and nowhere else."""
        reply = self.command("!webhook new pagerduty in #testroom")
        self.assertIn("Then set the secret with !webhook set pagerduty secret SECRET here.", reply)
        shell = "Run errklein webhook set pagerduty secret on the bot's machine"
        [shown] = self.bot.say("!webhook set pagerduty secret b3tween", room="#ops")
        self.assertIn(f"{shell}, which reads the secret from standard input. Make a new one at the source", shown.text)
        self.assertTrue(self.command("!webhook set pagerduty secret").endswith("from standard input."))
        self.bot.backend.is_encrypted = False
        self.assertIn(shell, self.command("!webhook set pagerduty secret b3tween"))
        self.bot.backend.is_encrypted = True
        self.assertIn("the secret", self.command("!why pagerduty") + self.post("/hooks/pagerduty", json={}).text)
        self.assertEqual(self.command("!webhook set pagerduty secret b3tween"), "Changed secret of pagerduty.")
        self.assertEqual(self.post("/hooks/pagerduty", json={}).status, 401)
        self.assertNotIn("b3tween", "\n".join([*self.bot.log, *(one.text for one in self.bot.messages)]))

    def test_history(self) -> None:
        """Commands with secrets can't be recalled."""
        self.command("!webhook new pagerduty in #testroom")
        self.command("!webhook set pagerduty secret b3tween")
        self.command("!webhook show pagerduty")
        self.assertRegex(self.command("!history"), "^1: ?!webhook show pagerduty$")


class SecrecyTests(RoomWebhookCase):
    """Where the address and the secret must not appear."""

    def test_everywhere(self) -> None:
        """They are in the private replies to who has made a webhook, and in no other message, log line or file."""
        data = Path(self.bot.config.BOT_DATA_DIR)
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        paths = [self.make("!webhook new alertmanager"), self.make("!webhook rotate alertmanager")]
        self.make("!webhook new github")
        told = [one for one in self.bot.messages if OWN_SECRET.search(one.text)]
        self.assertEqual({one.to for one in told}, {"@admin"})
        self.assertEqual(len(told), 3)
        for path in (*paths, *(f"{path}x" for path in paths), paths[0].replace("alertmanager", "unknown")):
            self.post(path, body=FIRING, headers=JSON)
        self.post("/hooks/github", body=FIRING, headers=JSON)
        self.bot.advance(0)
        for command in (
            "webhook list",
            "webhook show alertmanager",
            "webhook show github",
            "webhook test alertmanager",
            "delivery list",
            "delivery show 1",
            "delivery replay 1",
            "why alertmanager",
            "why refused",
            "plugin info Webhooks",
            "status",
            "log tail",
            "history",
            "backup",
            "webhook move alertmanager #testroom",
            "webhook remove alertmanager",
        ):
            self.bot.say(f"!{command}")
        self.bot.advance(1)
        self.assertEqual([one for one in self.bot.messages if OWN_SECRET.search(one.text)], told)
        self.assertNotRegex("\n".join(self.bot.log), OWN_SECRET)
        self.assertNotRegex(repr(self.bot.bot.core_host.room_webhooks.all()), OWN_SECRET)
        files = {file for file in data.rglob("*") if file.is_file() and OWN_SECRET.search(file.read_text("latin-1"))}
        self.assertEqual({file.parent.name for file in files}, {"secrets"})


class Listener(BotPlugin):
    """Hears what the bot says."""

    heard: ClassVar[list[str]] = []

    def callback_botmessage(self, message: Message) -> None:
        """Keep the text."""
        self.heard.append(message.body)


class PluginTests(RoomWebhookCase):
    """A bot with a plugin that hears what the bot says."""

    plugins = (Listener,)

    def test_does_not_hear_secrets(self) -> None:
        """It hears the reply in the room, and not the private one."""
        Listener.heard.clear()
        self.make("!webhook new grafana")
        self.bot.advance(0)
        self.assertEqual(Listener.heard, ["Made `grafana` for \\#ops; its address is in your private messages."])


class ChangeTests(RoomWebhookCase):
    """Changes of a webhook, and its other commands."""

    def test_set(self) -> None:
        """Only the events that are named appear."""
        path = self.make("!webhook new alertmanager")
        self.assertEqual(self.command("!webhook set alertmanager events resolved"), "Changed events of alertmanager.")
        self.assertIn("Options: events=('resolved',)", self.command("!webhook show alertmanager"))
        self.post(path, body=FIRING, headers=JSON)
        self.bot.advance(0)
        self.assertNotIn("DiskFull", "\n".join(self.bot.sent_to("#ops")))
        self.command("!webhook set alertmanager text It burns:\n{commonLabels.alertname} in #ops")
        self.command("!webhook set alertmanager events firing")
        self.post(path, body=FIRING, headers=JSON)
        self.bot.advance(0)
        self.assertIn("DiskFull in #ops", self.bot.sent_to("#ops")[-1])

    def test_rotate(self) -> None:
        """Both addresses work for a day, then the new one."""
        old, new = self.make("!webhook new alertmanager"), self.make("!webhook rotate alertmanager")
        self.assertNotEqual(old, new)
        self.assertEqual(self.bot.sent_to("#ops")[-1], "Rotated alertmanager; its address is in your private messages.")
        self.assertIn("What was valid before stays so for a day.", self.bot.sent_to("@admin")[-1])
        self.assertEqual({self.post(one, body=FIRING, headers=JSON).status for one in (old, new)}, {202})
        self.bot.advance(86401)
        self.assertEqual([self.post(one, body=FIRING, headers=JSON).status for one in (old, new)], [401, 202])

    def test_move(self) -> None:
        """Its messages go to the other room."""
        path = self.make("!webhook new alertmanager")
        self.assertEqual(self.command("!webhook move alertmanager #testroom"), "Moved alertmanager to #testroom.")
        self.post(path, body=FIRING, headers=JSON)
        self.bot.advance(0)
        self.assertIn("DiskFull", self.bot.sent_to("#testroom")[-1])

    def test_pause(self) -> None:
        """Messages wait while it is paused."""
        path = self.make("!webhook new alertmanager")
        self.assertEqual(self.command("!webhook pause alertmanager"), "Paused alertmanager.")
        self.assertEqual(self.command("!webhook pause"), "Paused: alertmanager.")
        self.assertEqual(self.post(path, body=FIRING, headers=JSON).status, 202)
        self.bot.advance(1)
        self.assertNotIn("DiskFull", "\n".join(self.bot.sent_to("#ops")))
        self.assertEqual(self.command("!webhook resume alertmanager"), "Resumed alertmanager.")
        self.bot.advance(1)
        self.assertIn("DiskFull", self.bot.sent_to("#ops")[-1])

    def test_test(self) -> None:
        """Without content, the example of the source appears in the room; its address isn't needed."""
        self.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        for source in known_sources():
            self.command(f"!webhook new {source} w-{source.replace('_', '-')} in #ops")
            before = len(self.bot.sent_to("#ops"))
            report = self.command(f"!webhook test w-{source.replace('_', '-')}")
            self.assertRegex(report, r"^Sent the example of its source to /hooks/w-\S+: 200 OK\.$", source)
            [shown] = self.bot.sent_to("#ops")[before:]
            self.assertGreater(len(shown), 10, source)
        path = self.make("!webhook rotate w-slack")
        self.assertNotIn(path.rpartition("/")[2], self.command(f"!webhook test {path} hello"))


class OtherPeopleTests(RoomWebhookCase):
    """People whom an access rule allows the commands: @alice is in #ops, and @bob in #dev."""

    config = {
        **RoomWebhookCase.config,
        "ACCESS_CONTROLS": {
            "webhook_*": {"allowusers": ("@admin", "@alice", "@bob"), "denyrooms": ("#closed",)},
        },
    }

    def setUp(self) -> None:
        """Let them enter the rooms."""
        super().setUp()
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        for room, person in (("#ops", "@alice"), ("#dev", "@bob"), ("#closed", "@alice")):
            self.bot.backend.query_room(room).join()
            self.bot.say("hello", frm=person, room=room)

    def test_makes_one(self) -> None:
        """@alice makes a webhook for #ops, there or in private, and none for a room that she isn't in, or where a rule denies it."""
        shown = self.bot.say("!webhook new grafana", frm="@alice", room="#ops")
        self.assertEqual([one.to for one in shown], ["@alice", "#ops"])
        self.assertIn("Made second for #ops.", self.bot.command("!webhook new grafana second in #ops", frm="@alice"))
        for room in ("#dev", "#closed", "#far"):
            reply = self.bot.command(f"!webhook new grafana third in {room}", frm="@alice")
            self.assertEqual(reply, f"You may make webhooks only for rooms that you are in, not for {room}.")
        self.assertEqual(self.webhooks(), ["grafana", "second"])

    def test_others(self) -> None:
        """@bob can neither change the webhook of #ops nor learn whether it exists."""
        self.bot.say("!webhook new grafana", room="#ops")
        before = len(self.bot.sent_to("#ops"))
        for name in ("grafana", "grafna"):
            for command in (
                f"set {name} events firing",
                f"rotate {name}",
                f"move {name} #dev",
                f"remove {name}",
            ):
                reply = self.bot.command(f"!webhook {command}", frm="@bob")
                self.assertTrue(reply.startswith(f"There is no webhook {name} of a room that you are in"), reply)
        for command in ("pause grafana", "resume grafana", "show grafana", "test grafana", "test /hooks/grafana {}"):
            reply = self.bot.command(f"!webhook {command}", frm="@bob")
            self.assertTrue(reply.startswith("There is no webhook grafana of a room that you are in"), reply)
        self.assertEqual(self.bot.sent_to("#ops")[before:], [])
        self.bot.command("!webhook pause grafana")
        self.assertEqual(self.bot.command("!webhook pause", frm="@bob"), "Paused: none.")
        self.assertEqual(self.bot.command("!webhook pause", frm="@alice"), "Paused: grafana.")

    def test_thread(self) -> None:
        """The rooms are asked in a thread, which has no context of the command."""
        pool = self.bot.bot.plugin_pool
        run = pool.run
        with mock.patch.object(pool, "run", lambda work: run(lambda: partial(Context().run, work()))):
            self.assertIn("Made grafana", self.bot.command("!webhook new grafana in #ops", frm="@alice"))

    def test_move(self) -> None:
        """Who moves a webhook must be in both rooms."""
        self.bot.say("!webhook new grafana", frm="@alice", room="#ops")
        for room in ("#dev", "#closed"):
            self.assertIn("no webhook", self.bot.command(f"!webhook move grafana {room}", frm="@alice"))
        self.bot.say("hello", frm="@alice", room="#dev")
        self.assertEqual(self.bot.command("!webhook move grafana #dev", frm="@alice"), "Moved grafana to #dev.")
        self.assertEqual(self.bot.command("!webhook remove grafana", frm="@bob"), "Removed grafana.")

    def test_list(self) -> None:
        """Each sees the webhooks of rooms that they are in. An administrator sees all."""
        for room in ("#ops", "#dev"):
            self.bot.say(f"!webhook new grafana {room[1:]}", room=room)
        for person, seen in (("@alice", "ops"), ("@bob", "dev"), ("@admin", "opsdev"), ("@eve", "")):
            reply = self.bot.command("!webhook list", frm=person)
            self.assertEqual(("-> ops" in reply, "-> dev" in reply), ("ops" in seen, "dev" in seen), person)
            self.assertIn("/echo", reply)

    def test_without_a_rule(self) -> None:
        """Others may do nothing, also in the room."""
        for command in ("new grafana", "set a events b", "rotate a", "move a #ops", "remove a"):
            [shown] = self.bot.say(f"!webhook {command}", frm="@eve", room="#ops")
            self.assertIn("not allowed", shown.text)
        self.assertEqual(self.webhooks(), [])

    def webhooks(self) -> list[str]:
        """Return the names of the webhooks of rooms."""
        return [one.name for one in self.bot.bot.core_host.room_webhooks.all()]


class IRCCase(WholeBotCase):
    """On IRC, `boss` is the administrator, and a rule allows `alice` the commands, too."""

    settings = {
        "PUBLIC_URL": "https://bot.example.net",
        "ACCESS_CONTROLS": {"webhook_*": {"allowusers": ("boss!*@*", "alice!*@*")}},
    }

    def say(self, sender: str, to: str, text: str) -> list[str]:
        """Return the replies to a message."""
        return self.replies_to(f":{sender} PRIVMSG {to} :{text}")


class PlainIRCTests(IRCCase):
    """On IRC without TLS."""

    def test_nothing_secret(self) -> None:
        """No line to the server has the address or the secret, also in private."""
        for source in ("grafana", "github"):
            [reply] = self.say("boss!b@host", "#ops", f"!webhook new {source}")
            self.assertIn(f"Made {source} for #ops. Run errklein webhook rotate {source} on the bot's machine", reply)
            [reply] = self.say("boss!b@host", "errklein", f"!webhook rotate {source}")
            self.assertIn(f"Run errklein webhook rotate {source} on", reply)
        self.assertNotRegex("\n".join([*self.server.lines, *self.test_bot.log]), "ek[ts][a-z2-7]{26}")

    def test_outside(self) -> None:
        """Who has left the room may not use the commands for its webhooks any more."""
        self.server.say(":alice!a@home JOIN #ops")
        [reply] = self.say("alice!a@home", "errklein", "!webhook new grafana in #ops")
        self.assertIn("Made grafana for #ops.", reply)
        self.server.say(":alice!a@home PART #ops")
        [reply] = self.say("alice!a@home", "errklein", "!webhook remove grafana")
        self.assertIn("There is no webhook grafana of a room that you are in", reply)


class EncryptedIRCTests(IRCCase):
    """On IRC with TLS."""

    settings = {**IRCCase.settings, "BOT_IDENTITY": {"nickname": "errklein", "server": "irc.example", "ssl": True}}

    def test_private(self) -> None:
        """The address is in a private message, which is neither sent to the room nor stored while it waits to be sent."""
        store = self.bot.journal.outbox
        stored = mock.Mock(wraps=store.add)
        self.patch(store, "add", stored)
        self.server.say(":boss!b@host JOIN #ops", ":boss!b@host PRIVMSG #ops :!webhook new grafana")
        self.test_bot.reactor.advance(0)
        self.server.answer()
        lines = [line for line in self.server.take() if line.startswith("PRIVMSG")]
        self.assertEqual([line.split()[1] for line in lines if "/hooks/grafana/ekt" in line], ["boss"])
        self.assertEqual(lines[-1], "PRIVMSG #ops :Made grafana for #ops; its address is in your private messages.")
        [in_room] = [call.args[0].body for call in stored.call_args_list]
        self.assertTrue(in_room.startswith("Made "), in_room)

    def test_holder(self) -> None:
        """The address isn't sent to somebody who has taken the sender's nick since the command."""
        waiting: list[Deferred[None]] = []
        storage = self.bot.storage
        in_background = storage.in_background

        async def wait(work: Any) -> Any:
            waiting.append(Deferred())
            await waiting[-1]
            return await in_background(work)

        self.server.say(":alice!a@home JOIN #ops")
        with mock.patch.object(storage, "in_background", wait):
            self.assertEqual(self.say("alice!a@home", "#ops", "!webhook new grafana"), [])
        replies = self.replies_to(":alice!a@home QUIT :bye", ":alice!x@elsewhere JOIN #ops")
        for one in waiting:
            one.callback(None)
        replies += self.replies_to()
        self.assertEqual(len(replies), 1)
        self.assertIn("Run errklein webhook rotate grafana on the bot's machine", replies[0])

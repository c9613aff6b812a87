"""Webhooks of rooms in the configuration file: from the start to a reload, and what a chat may do with them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from errklein.testing import TestBot
from tests.bot.test_reload import ReloadCase

TOKEN = "0123456789abcdef0123456789"
ALERTS = {"source": "json", "room": "#ops", "secret": "env:ALERTS", "text": "{title}"}
PATH = f"/hooks/alerts/{TOKEN}"


class OfFilesCase(ReloadCase):
    """A bot with webhooks in its configuration."""

    def start(self, webhooks: dict[str, Any] | None = None, **settings: Any) -> None:
        """Start the bot with these webhooks."""
        secrets = {"ALERTS": TOKEN, "OTHER": "another-token-of-22-letters", "SHORT": "0123456789abcdef"}
        before = TestBot.start

        def start(bot: TestBot) -> None:
            bot.secrets = {**bot.secrets, **secrets}
            before(bot)

        self.patch(TestBot, "start", start)
        webhooks = {"alerts": ALERTS} if webhooks is None else webhooks
        super().start(WEBHOOKS=webhooks, PUBLIC_URL="https://bot.example.net", **settings)

    def send(self, path: str = PATH, **payload: Any) -> int:
        """Post a payload; return the status."""
        response = self.successResultOf(
            self.bot.post(
                path,
                body=json.dumps(payload or {"title": "Disk full"}).encode(),
                headers={"Content-Type": "application/json"},
            )
        )
        self.bot.advance(0)
        return response.status

    def notices(self) -> str:
        """Return the notices to administrators."""
        return "\n".join(message.text for message in self.bot.messages if message.is_notice)


class StartTests(OfFilesCase):
    """A webhook from the start of the bot."""

    def test_message(self) -> None:
        """A request with the token gives a message in the room, which the bot has joined."""
        self.start()
        self.assertEqual(self.send(), 202)
        self.assertEqual(self.bot.sent_to("#ops"), ["Disk full"])
        self.assertIn("#ops", self.bot.command("!room list"))
        self.assertEqual([self.send("/hooks/alerts"), self.send("/hooks/alerts/x")], [401, 401])
        self.assertIn("`errklein webhook show alerts --url` prints", self.notices())

    def test_rooms_of_a_payload(self) -> None:
        """A payload chooses one of the listed rooms; for any other one, the first is taken."""
        self.start({"alerts": {**ALERTS, "room": "#{team}", "rooms": ["#ops", "#web"]}})
        for team in ("web", "ops", "elsewhere", None, {"web": 1}):
            self.send(title=str(team), team=team)
        self.assertEqual(self.bot.sent_to("#web"), ["web"])
        self.assertEqual(self.bot.sent_to("#ops"), ["ops", "elsewhere", "None", "{'web': 1}"])

    def test_prefix(self) -> None:
        """The path of webhooks of rooms is a setting."""
        self.start(WEBHOOK_PREFIX="/in/rooms/")
        self.assertEqual([self.send(), self.send(f"/in/rooms/alerts/{TOKEN}")], [404, 202])

    def test_secret_that_is_nowhere(self) -> None:
        """Without its secret a webhook responds with 503, and administrators are told why."""
        self.start({"alerts": {**ALERTS, "secret": "env:NOWHERE"}})
        self.assertEqual(self.send(), 503)
        self.assertIn("alerts. `why NAME` has the reason, such as of alerts: env:NOWHERE: ", self.notices())

    def test_short_token(self) -> None:
        """A token that could be guessed is never accepted."""
        self.start({"alerts": {**ALERTS, "secret": "env:SHORT"}})
        self.assertEqual(
            [self.send("/hooks/alerts/0123456789abcdef"), self.send("/hooks/0123456789abcdef")], [503, 404]
        )
        self.assertIn("at least 22 characters", self.notices())
        self.assertNotIn("0123456789abcdef", self.notices())

    def test_chat(self) -> None:
        """In a chat it is listed, and can't be changed; nothing shows its token."""
        self.start()
        for command in ("set alerts events firing", "move alerts #testroom", "rotate alerts", "remove alerts"):
            reply = "\n".join(one.text for one in self.bot.say(f"!webhook {command}", room="#testroom"))
            self.assertIn("is in the configuration file", reply)
        self.send()
        shown = [self.bot.command(f"!{command}") for command in ("webhook show alerts", "delivery list alerts")]
        self.assertIn("#ops", shown[0])
        self.assertNotIn(TOKEN, "\n".join([*shown, *self.bot.log]))


class ReloadTests(OfFilesCase):
    """`!config reload` with other webhooks."""

    def test_added_and_removed(self) -> None:
        """An added webhook works at once, and its room is joined; a removed one gets 404."""
        self.start({})
        self.assertEqual(self.send(), 404)
        self.assertIn("WEBHOOKS: added", self.reload(WEBHOOKS={"alerts": ALERTS}))
        self.bot.advance(0)
        self.assertIn("#ops", self.bot.command("!room list"))
        self.assertEqual(self.send(), 202)
        self.reload(WEBHOOKS={})
        self.assertEqual(self.send(), 404)

    def test_changed(self) -> None:
        """Another text and another secret apply at once."""
        self.start()
        self.reload(WEBHOOKS={"alerts": {**ALERTS, "text": "Alert: {title}", "secret": "env:OTHER"}})
        self.assertEqual([self.send(), self.send("/hooks/alerts/another-token-of-22-letters")], [401, 202])
        self.assertEqual(self.bot.sent_to("#ops"), ["Alert: Disk full"])

    def test_unchanged(self) -> None:
        """One that doesn't change keeps the rate that it has used up; a secret that changes elsewhere is read again."""
        secret = Path(self.mktemp()).absolute()
        secret.write_text(TOKEN)
        webhook = {**ALERTS, "secret": f"file:{secret}", "rate": "1/h"}
        self.start({"alerts": webhook})
        self.assertEqual(self.send(), 202)
        self.reload(WEBHOOKS={"alerts": webhook, "others": ALERTS})
        self.assertEqual(self.send(), 429)
        secret.write_text("another-token-of-22-letters")
        self.reload(WEBHOOKS={"alerts": webhook})
        self.assertEqual([self.send(), self.send("/hooks/alerts/another-token-of-22-letters")], [401, 202])

    def test_errors(self) -> None:
        """An error changes nothing."""
        self.start()
        for change, expected in (
            ({"secret": "env:NOWHERE"}, "WEBHOOKS['alerts']: env:NOWHERE: the secret is missing or empty"),
            ({"secret": "env:SHORT"}, "at least 22 characters"),
            ({"source": "jsn"}, "did you mean 'json'"),
            ({"room": "#{team}"}, "require each other"),
        ):
            self.assertIn(expected, self.reload(WEBHOOKS={"alerts": {**ALERTS, **change}}))
        self.assertEqual(self.send(), 202)

    def test_name_of_another(self) -> None:
        """It takes the place of a webhook of its name that was made in a chat, until it is removed."""
        self.start({})
        shown = "\n".join(one.text for one in self.bot.say("!webhook new json alerts", room="#testroom"))
        found = re.search("/hooks/alerts/[a-z0-9]+", shown)
        assert found is not None
        self.reload(WEBHOOKS={"alerts": ALERTS})
        self.assertEqual([self.send(), self.send(found[0])], [202, 401])
        self.assertIn("The configuration has webhooks with the names of others", self.notices())
        self.reload(WEBHOOKS={})
        self.assertEqual([self.send(), self.send(found[0])], [401, 202])

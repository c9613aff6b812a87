"""Tests for the commands that make and change webhooks of rooms, from the chat to the message in the room."""

from __future__ import annotations

import re
from pathlib import Path

from errklein.testing import PluginTestCase

PAYLOADS = Path(__file__).parents[2] / "docs" / "examples" / "recipes" / "payloads"
FIRING = (PAYLOADS / "alertmanager-firing.json").read_bytes()
URL = re.compile(r"https?://\S*?(/hooks/[^\s`']+)")
JSON = {"Content-Type": "application/json"}


class RoomWebhookCase(PluginTestCase):
    """A test with webhooks of rooms."""

    plugins = ()
    config = {"PUBLIC_URL": "https://bot.example.net"}

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
        path = self.make("!webhook new alertmanager")
        self.assertIn(self.post(path, body=FIRING, headers=JSON).status, (200, 202))
        self.bot.advance(0)
        self.assertIn("DiskFull", "\n".join(self.bot.sent_to("#ops")))

    def test_room_does_not_see_the_address(self) -> None:
        path = self.make("!webhook new alertmanager")
        token = path.rpartition("/")[2]
        self.assertNotIn(token, "\n".join(self.bot.sent_to("#ops")))
        self.bot.command("!plugin config Webserver {'HOST': '127.0.0.1', 'PORT': 3141}")
        self.assertNotIn(token, self.bot.command("!webstatus"))

    def test_wrong_token(self) -> None:
        path = self.make("!webhook new alertmanager")
        response = self.post(path[:-1] + "!", body=FIRING, headers=JSON)
        self.assertEqual(response.status, 401)
        self.assertNotIn("DiskFull", "\n".join(self.bot.sent_to("#ops")))

    def test_remove(self) -> None:
        path = self.make("!webhook new alertmanager")
        self.bot.say("!webhook remove alertmanager")
        self.assertEqual(self.post(path, body=FIRING, headers=JSON).status, 404)

    def test_log_has_no_token(self) -> None:
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

"""A configuration and a plugin that were written for errbot's Slack, from public documentation."""

from __future__ import annotations

import time

from twisted.internet import reactor as the_reactor

from tests.networks.errbots_config import ErrbotsConfigCase
from tests.networks.slack.server import ALICE, APP_TOKEN, BOB, BOT, OPS, SECRET, TOKEN, FakeSlack

SETTINGS = f"""
BACKEND = "Slack"
BOT_IDENTITY = {{
    "token": "{TOKEN}",
    "signing_secret": "{SECRET}",
    "app_token": "{APP_TOKEN}",
}}
BOT_ADMINS = ("{ALICE}",)
BOT_ADMINS_NOTIFICATIONS = ("<@{ALICE}>",)
BOT_ALT_PREFIXES = ("<@{BOT}>",)
BOT_PREFIX = "!"
CHATROOM_PRESENCE = ()
"""


class ErrbotsConfigTests(ErrbotsConfigCase):
    """With the backend's name, the settings of SlackV3 are valid without a warning, and a bot starts with them."""

    async def test_starts(self) -> None:
        """People and administrators have the same attributes as on errbot, and plugins react as there."""
        self.assertIn("no problems and no warnings", self.check(SETTINGS))
        server = FakeSlack(the_reactor, time.time)
        server.channels[OPS].members.append(BOT)
        server.start()
        self.addCleanup(server.stop)
        self.start_bot(f"from errklein.networks import slack; slack._API = '{server.url}/api'")
        await self.until(lambda: server.links, lambda: "not connected")
        server.say(f"<@{BOT}> who userid username channelid channelname fullname email aclattr", BOB)
        server.say("!secret", ALICE, server.direct().id)
        server.say("!secret", BOB)
        reacted = server.say("!react")
        direct = server.direct().id
        await self.until(
            lambda: server.posts(direct) and server.reactions == [(OPS, reacted, "tada")],
            lambda: (server.posts(), server.reactions),
        )
        shown = f"userid={BOB} username=bob channelid={OPS} channelname=ops fullname=Bob email=bob@example.org aclattr={BOB}"
        self.assertIn(shown, [one["text"] for one in server.posts()])
        self.assertEqual([one["text"] for one in server.posts(direct)], ["slack !secret"])
        self.assertEqual(server.complaints, [])

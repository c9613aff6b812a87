"""A configuration that was written for errbot's Telegram, from its public documentation."""

from __future__ import annotations

import time

from twisted.internet import reactor as the_reactor

from tests.networks.errbots_config import ErrbotsConfigCase
from tests.networks.telegram.server import ALICE, BOB, GROUP, TOKEN, started
from tests.processes import write_plugin

SETTINGS = f"""
BACKEND = "Telegram"
BOT_IDENTITY = {{
    "token": "{TOKEN}",
    "username": "errklein_bot",
}}
BOT_ADMINS = ({ALICE},)
BOT_PREFIX = "/"
BOT_ALT_PREFIXES = ("@errklein_bot",)
CHATROOM_PRESENCE = ()
"""


AS_IN_PUBLIC_PLUGINS = f"""
from errbot import BotPlugin, botcmd
from errbot.backends.telegram_messenger import TelegramPerson, TelegramRoom


class Alerts(BotPlugin):
    @botcmd
    def where(self, msg, args):
        "Show the group."
        if type(msg.to) is TelegramPerson:
            return "only in groups"
        return f"{{msg.to.id}} {{msg.to.title}} {{isinstance(msg.to, TelegramRoom)}}"

    @botcmd
    def alert(self, msg, args):
        "Send to a group and to a person by their numbers."
        self.send(TelegramPerson("{GROUP}"), "alert")
        self.send(TelegramPerson({BOB}), "alert")
"""
"""Uses of errbot's Telegram that are found in public plugins."""


class ErrbotsConfigTests(ErrbotsConfigCase):
    """It is valid without a warning, and a bot starts with it unchanged."""

    async def test_starts(self) -> None:
        """People and administrators are who they are on errbot, with the same attributes."""
        self.assertIn("no problems and no warnings", self.check(SETTINGS))
        self.store("errbot.backends.telegram_messenger\nTelegramPerson", "V_id\nI1002\nV_username\nVbob\n")
        write_plugin(self.directory / "plugins", "Alerts", AS_IN_PUBLIC_PLUGINS)
        server = started(self, the_reactor, time.time)
        self.start_bot(f"from errklein.networks import telegram; telegram.SERVER = {server.url!r}")
        await self.until(lambda: server.called("getUpdates"), lambda: "not connected")
        server.say(GROUP, "/who id person username first_name last_name aclattr", BOB)
        server.say(GROUP, "@errklein_bot secret", BOB)
        server.say(ALICE, "/secret")
        server.begin(BOB)
        server.say(ALICE, "/greet")
        await self.until(lambda: len(server.texts(GROUP)) == 2 and server.texts(ALICE), lambda: server.texts(GROUP))
        shown = "id=1002 person=1002 username=bob first_name=Bob last_name=None aclattr=1002"
        self.assertIn(shown, server.texts(GROUP))
        self.assertEqual(server.texts(ALICE), ["telegram /secret"])
        self.assertNotIn("telegram /secret", server.texts(GROUP))
        await self.until(lambda: server.texts(BOB) == ["hello"], lambda: server.texts(BOB))
        server.say(ALICE, "/where")
        server.say(GROUP, "/where", BOB)
        server.say(GROUP, "/alert", BOB)
        await self.until(
            lambda: len(server.texts(GROUP)) == 4 and len(server.texts(BOB)) == 2, lambda: server.texts(GROUP)
        )
        self.assertEqual(server.texts(ALICE)[1:], ["only in groups"])
        self.assertCountEqual(server.texts(GROUP)[2:], [f"{GROUP} Ops True", "alert"])
        self.assertEqual(server.texts(BOB), ["hello", "alert"])

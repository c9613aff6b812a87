"""The most used client of Telegram's Bot API agrees with the double: its calls are valid, and it understands the answers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from twisted.internet import reactor as the_reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from tests import needs_network
from tests.networks.telegram.server import ALICE, BOT, GROUP, OTHER, TOKEN, FakeChat, started

PYTHON = Path(os.environ.get("AIOGRAM_PYTHON") or Path(__file__).parents[2] / "venv-aiogram/bin/python")
CLIENT = Path(__file__).with_name("aiogram_client.py")


class ClientTests(TestCase):
    """aiogram against the double."""

    timeout = 60

    async def test_methods(self) -> None:
        """What the bot calls, aiogram calls, too, and gets what it expects."""
        needs_network()
        if not PYTHON.exists():
            raise SkipTest(f"{PYTHON} with aiogram is missing")
        server = started(self, the_reactor, time.time)
        server.chats[-77] = FakeChat(-77, "group", "Old", {ALICE: "creator", BOT: "member"}, moved_to=-10077)
        first = server.say(GROUP, "hello")
        server.edit(GROUP, first, "hello again")
        server.react(GROUP, first, "\N{THUMBS UP SIGN}")
        server.press(GROUP, first, "1")
        # Later versions of the Bot API have further rights of administrators.
        server.chats[GROUP].members[BOT] = server.chats[OTHER].members[BOT] = "member"
        server.set_member(OTHER, "left")
        server.limits[OTHER] = 7
        out, errors, code = await getProcessOutputAndValue(str(PYTHON), [str(CLIENT), server.url, TOKEN])
        self.assertEqual(code, 0, errors.decode()[-1500:])
        found = json.loads(out)
        kinds = ["message", "edited_message", "message_reaction", "callback_query", "my_chat_member"]
        self.assertEqual([kind for kind, _ in found["updates"]], kinds)
        self.assertEqual([text for _, text in found["updates"]], ["hello", "hello again", None, "1", None])
        self.assertEqual((found["me"], found["sent"]), ("errklein_bot", ["hello", "bold", first]))
        self.assertEqual((found["file"], found["chat"]), ([255, 0], ["Ops", "member"]))
        self.assertEqual((found["commands"], found["webhook"]), (["status"], "https://bot.example.org/x"))
        expected = [["TelegramRetryAfter", 7], ["TelegramMigrateToChat", -10077], ["TelegramBadRequest", None]]
        self.assertEqual(found["errors"], [*expected, ["TelegramUnauthorizedError", None]])
        self.assertEqual(server.texts(GROUP), ["edited"])
        self.assertEqual(server.chats[GROUP].messages[first]["own_reaction"], ["\N{FIRE}"])

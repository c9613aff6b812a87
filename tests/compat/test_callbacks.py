"""What plugins tell the bot in a network's place."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin
from errklein.chat import AWAY, Message, Presence, Reaction
from errklein.testing import TestBot


class Listener(BotPlugin):
    """Keeps what it is told."""

    def activate(self) -> None:
        """Nothing yet."""
        super().activate()
        self.told: list[Any] = []

    def callback_message(self, message: Message) -> None:
        """Keep it."""
        self.told.append(str(message))

    def callback_presence(self, presence: Presence) -> None:
        """Keep it."""
        self.told.append(presence.status)

    def callback_reaction(self, reaction: Reaction) -> None:
        """Keep it."""
        self.told.append(reaction.reaction_name)

    def callback_room_joined(self, room: Any, identifier: Any = None, invited_by: Any = None) -> None:
        """Keep it."""
        self.told.append((str(room), str(identifier), invited_by))


class CallbacksTests(SynchronousTestCase):
    """The bot has methods of errbot's names for what networks tell."""

    def test_told(self) -> None:
        """Each is as if the network had told it; the bot itself is meant where nobody is named."""
        bot = TestBot([Listener], config={"CHATROOM_PRESENCE": ()})
        bot.start()
        somebody = bot.bot.build_identifier("somebody")
        bot.bot.callback_message(Message("said", frm=somebody, to=bot.bot.bot_identifier))
        bot.bot.callback_presence(Presence(somebody, AWAY))
        bot.bot.callback_reaction(Reaction(reactor=somebody, reaction_name="smile"))
        bot.bot.callback_room_joined(bot.bot.query_room("#room"))
        told = bot.plugin("Listener").told
        bot.stop()
        self.assertEqual(told, ["said", AWAY, "smile", ("#room", str(bot.bot.bot_identifier), None)])

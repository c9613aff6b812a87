from pathlib import Path

from errklein.chat import RoomError
from errklein.networks.test import TestRoom
from errklein.testing import PluginTestCase


class IncidentTests(PluginTestCase):
    plugin_dirs = (Path(__file__).resolve().parent,)

    def test_room(self):
        """The room is opened, with a topic and the person."""
        self.assertEqual(self.command("!incident #down the shop is down", frm="@alice"), "In #down now: 1.")
        self.assertEqual(self.bot.backend.query_room("#down").topic, "the shop is down")

    def test_refusal(self):
        """The reply has the network's reason."""

        def refuse(room, **options):
            raise RoomError("the room is full")

        self.patch(TestRoom, "join", refuse)
        self.assertEqual(self.command("!incident #down x"), "The network refuses: the room is full")

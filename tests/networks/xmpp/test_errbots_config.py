"""A configuration that was written for errbot's XMPP, from its public documentation."""

from __future__ import annotations

from twisted.internet import reactor as the_reactor

from tests.networks.errbots_config import ErrbotsConfigCase
from tests.networks.xmpp.people import Person, needs_asyncio
from tests.networks.xmpp.prosody import Prosody

ROOM = "err@conference.localhost"
SETTINGS = """
BACKEND = "XMPP"
BOT_IDENTITY = {{
    "username": "err@localhost/resource",
    "password": "pw-err",
    "server": ("127.0.0.1", {port}),
}}
BOT_ADMINS = ("alice@localhost",)
BOT_PREFIX = "!"
BOT_ALT_PREFIXES = ("Err",)
BOT_ALT_PREFIX_SEPARATORS = (":", ",", ";")
BOT_ALT_PREFIX_CASEINSENSITIVE = True
CHATROOM_PRESENCE = ("{room}",)
CHATROOM_FN = "Errbot"
XMPP_CA_CERT_FILE = "{authority}"
XMPP_FEATURE_MECHANISMS = {{}}
XMPP_KEEPALIVE_INTERVAL = 300
XMPP_USE_IPV6 = False
XMPP_XHTML_IM = False
"""


class ErrbotsConfigTests(ErrbotsConfigCase):
    """It is valid without a warning, and a bot starts with it unchanged."""

    async def test_starts(self) -> None:
        """People and administrators are who they are on errbot, with the same attributes."""
        needs_asyncio(the_reactor)
        server = Prosody("alice", "err")
        self.addCleanup(server.stop)
        settings = SETTINGS.format(port=server.port, room=ROOM, authority=server.authority)
        self.assertIn("no problems and no warnings", self.check(settings))
        self.store("errbot.backends.xmpp\nXMPPPerson", "V_node\nValice\nV_domain\nVlocalhost\nV_resource\nN")
        server.start()
        await server.wait_until_up(the_reactor)
        alice = await Person(the_reactor, "alice", server.port, server.authority).connect()
        self.addCleanup(alice.leave)
        await alice.join(ROOM)
        self.start_bot()
        there = f"{ROOM}/Errbot"
        await self.until(lambda: [one for one in alice.stanzas if one.get("from") == there], lambda: "not in the room")
        await alice.say(ROOM, "Err, who nick person node domain resource client")
        await alice.say("err@localhost", "!who person node domain aclattr")
        await alice.say("err@localhost", "!secret")
        bot = "err@localhost"
        await self.until(lambda: len(alice.texts(bot)) == 2, lambda: (alice.texts(bot), alice.texts(ROOM)))
        shown = "person=alice@localhost node=alice domain=localhost aclattr=alice@localhost"
        self.assertEqual(alice.texts(bot), [shown, "xmpp !secret"])
        await self.until(lambda: len(alice.texts(ROOM)) > 1, lambda: alice.texts(ROOM))
        of_occupant = "node=err domain=conference.localhost resource=alice client=alice"
        self.assertEqual(alice.texts(ROOM)[-1], f"nick=alice person=alice@localhost {of_occupant}")
        await alice.say(bot, "!greet")
        await self.until(lambda: alice.texts(bot)[-1] == "hello", lambda: alice.texts(bot))

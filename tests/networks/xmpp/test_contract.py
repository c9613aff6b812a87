"""The contract of networks on XMPP, with a double of the server in virtual time and without sockets."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from twisted.trial.unittest import SynchronousTestCase

from errklein.networks.xmpp import NETWORK
from errklein.ports.chat import Backend
from errklein.testing.backend_contract import BackendContract
from tests.networks.xmpp.server import ALICE, BOT, ROOM, FakeServer

_CORRECT, _RETRACT = "{urn:xmpp:message-correct:0}replace", "{urn:xmpp:message-retract:1}retract"


class ContractTests(BackendContract, SynchronousTestCase):
    """A bot, and alice, who are in a room."""

    person_text, room_text = ALICE, ROOM
    invalid_identifiers = ("", "alice", "@localhost", "a b@localhost", "alice@", "<a>@localhost", "alice@localhost/")

    def setUp(self) -> None:
        """Make the server."""
        self.server = FakeServer(self.clock.loop)
        self.count = 0

    def make_backend(self) -> Backend:
        """Return a backend with the bot's password."""
        identity = {"username": BOT, "password": "pw-err", "server": ("localhost", 5222)}
        mechanisms = {"unencrypted_plain": True}
        context = self.context(
            identity, CHATROOM_PRESENCE=(ROOM,), CHATROOM_FN="err", XMPP_FEATURE_MECHANISMS=mechanisms
        )
        backend = NETWORK.make(context)
        # Coroutines that have not ended would be reported.
        self.addCleanup(lambda: (backend.disconnect(), [self.clock.advance(1) for _ in range(5)]))
        return backend

    def bring_online(self, backend: Backend) -> None:
        """Let the bot log in and join."""
        for _ in range(5):
            self.clock.advance(0)
        self.assertEqual([str(room) for room in backend.rooms()], [ROOM])

    def close_connection(self, backend: Backend) -> None:
        """Let the client read that the stream is closed."""
        for _ in range(5):
            self.clock.advance(0)

    def receive(self, backend: Backend, to: str, text: str) -> None:
        """Let alice say something."""
        self.count += 1
        self.to, self.last = to, f"m{self.count}"
        self.server.say(to, text, self.last)

    def receive_edit(self, backend: Backend, text: str) -> bool:
        """Let alice correct the message."""
        replace = f'<replace xmlns="urn:xmpp:message-correct:0" id="{self.last}"/>'
        self.server.say(self.to, text, f"{self.last}-edit", replace)
        return True

    def refuse(self, backend: Backend, seconds: float) -> bool:
        """Refuse messages for a while."""
        self.server.refuses = lambda stanza: "resource-constraint"
        self.clock.callLater(seconds, lambda: setattr(self.server, "refuses", lambda stanza: ""))
        return True

    def messages(self) -> list[Element]:
        """Return the messages that the server hasn't refused."""
        self.clock.advance(1)
        return [stanza for stanza in self.server.received if stanza.tag.endswith("}message")]

    def sent(self, backend: Backend) -> Sequence[tuple[str, str]]:
        """Return the bot's messages, without edits; one that was refused is there once."""
        new = [one for one in self.messages() if one.find(_CORRECT) is None and one.find(_RETRACT) is None]
        found = {one.get("id"): (one.get("to", ""), one.findtext("{jabber:client}body") or "") for one in new}
        return list(found.values())

    def shown(self, backend: Backend) -> Sequence[str]:
        """Return the texts after corrections and retractions, which name the bot's id and the room's."""
        shown: dict[str, str] = {}
        for number, one in enumerate(self.messages(), 1):
            replace, retract = one.find(_CORRECT), one.find(_RETRACT)
            if retract is not None:
                shown.pop(list(shown)[int(retract.get("id", "")[1:]) - 1], None)
                continue
            target = replace.get("id", "") if replace is not None else one.get("id", "")
            shown[target] = one.findtext("{jabber:client}body") or str(number)
        return list(shown.values())

"""The confirmation of lines by real servers, each in its own way."""

from __future__ import annotations

from twisted.internet.defer import gatherResults

from errklein.chat import Message
from errklein.networks.irc._lines import Transmission
from tests.networks.irc.ergo import Ergo
from tests.networks.irc.inspircd import ECHO, LABELS, NO_DELAY, NO_LIMITS, Inspircd
from tests.networks.irc.ngircd import Ngircd
from tests.networks.irc.test_ngircd import RealServer
from tests.server_program import ServerProgram


class ConfirmationTests(RealServer):
    """Lines to rooms and people that exist, to some that don't, and to a room in which the bot may not speak."""

    async def check(self, server: ServerProgram, pings: bool) -> None:
        """Each message is confirmed or rejected, in order; the bot receives none of them."""
        self.server = server
        self.addCleanup(server.stop)
        asked = []
        ping = Transmission._ping
        self.patch(Transmission, "_ping", lambda transmission, *data: asked.append(1) or ping(transmission, *data))
        server.start()
        await server.wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops", "#quiet")
        alice.send("MODE #quiet +m")
        await alice.wait_for("MODE #quiet", "+m")
        bob = await self.person("bob")
        bob.send("AWAY :lunch")
        await bob.wait_for(" 306 ")
        backend = self.bot(rooms=["#ops"], IRC_CHANNEL_RATE=0.0, IRC_PRIVATE_RATE=0.0)
        await self.listener.next("joined")
        ops, quiet = backend.query_room("#ops"), backend.query_room("#quiet")
        quiet.join()
        await self.until(lambda: quiet.joined)
        lines = [f"line {number}" for number in range(40)]
        results = [
            backend.send_message(Message("\n".join(lines[:20]), to=ops)),
            backend.send_message(Message("hello?", to=backend.build_identifier("nobody"))),
            backend.send_message(Message("psst", to=quiet)),
            backend.send_message(Message("**bold** `code`", to=backend.build_identifier("bob"))),
            backend.send_message(Message("\n".join(lines[20:]), to=ops)),
        ]
        for result in results:
            result.addCallbacks(lambda _: "confirmed", lambda failure: f"{failure.type.__name__}: {failure.value}")
        outcomes = await gatherResults(results)
        self.assertEqual([outcomes[index] for index in (0, 3, 4)], ["confirmed"] * 3)
        self.assertTrue(outcomes[1].startswith("LineRejected: nobody"), outcomes)
        self.assertTrue(outcomes[2].startswith("LineRejected: #quiet"), outcomes)
        await alice.wait_for(lines[-1])
        self.assertEqual([text for text in alice.texts if text.startswith("line")], lines)
        await bob.wait_for("bold")
        self.assertEqual(self.listener.messages, [])
        self.assertEqual(asked != [], pings)

    async def test_ngircd(self) -> None:
        """ngircd confirms lines by its replies to PINGs."""
        await self.check(Ngircd(penalties=False), pings=True)

    async def test_ergo(self) -> None:
        """ergo replies to labels."""
        await self.check(Ergo(), pings=False)

    async def test_inspircd(self) -> None:
        """InspIRCd confirms lines by its replies to PINGs, without further modules."""
        await self.check(Inspircd(NO_LIMITS), pings=True)

    async def test_inspircd_with_labels(self) -> None:
        """InspIRCd replies to labels."""
        await self.check(Inspircd(NO_LIMITS, LABELS), pings=False)

    async def test_inspircd_with_echoes(self) -> None:
        """InspIRCd sends lines back."""
        await self.check(Inspircd(NO_LIMITS, ECHO), pings=False)


class PaceTests(RealServer):
    """The default pace."""

    async def test_inspircd_does_not_disconnect(self) -> None:
        """The bot keeps the limit of an InspIRCd that disconnects clients that exceed it."""
        self.server = Inspircd(NO_DELAY)
        self.addCleanup(self.server.stop)
        self.server.start()
        await self.server.wait_until_up(self.reactor)
        alice = await self.person("alice", "#ops")
        joined = self.listener.next("joined")
        backend = self.bot()
        await joined
        lines = [f"line {number}" for number in range(14)]
        await backend.send_message(Message("\n".join(lines), to=backend.query_room("#ops")))
        await alice.wait_for(lines[-1])
        self.assertEqual(alice.texts, lines)
        self.assertNotIn("disconnected", self.listener.names())

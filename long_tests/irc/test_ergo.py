"""A whole bot with a real ergo, which replays missed messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory
from twisted.trial.unittest import TestCase

from errklein.config import load_config
from errklein.wiring import wire
from tests.networks.irc.ergo import Ergo
from tests.networks.irc.ngircd import Person, join
from tests.processes import write_plugin

PLUGIN = """\
from errklein import BotPlugin, botcmd, botmatch, cmdfilter

class Counter(BotPlugin):
    def activate(self):
        super().activate()
        self.ran, self.found, self.filtered, self.heard = [], [], [], []

    @botcmd
    async def count(self, msg, args):
        self.ran.append(args)
        return f"counted {args}"

    @botmatch("count (.*)")
    async def overheard(self, msg, match):
        self.found.append(match[1])

    @cmdfilter
    def watch(self, msg, cmd, args, dry_run):
        self.filtered.append(cmd)
        return msg, cmd, args

    async def callback_message(self, msg):
        self.heard.append((msg.delayed, str(msg.to), msg.body))
"""


class Cable:
    """The connection between bot and server, which a test can interrupt."""

    def __init__(self, reactor: Any, port: int) -> None:
        self._reactor = reactor
        self._open: list[Protocol] = []
        self._factory = ProxyFactory("127.0.0.1", port)
        self._factory.noisy = False
        build = self._factory.buildProtocol

        def remember(address: Any) -> Protocol:
            protocol: Protocol = build(address)
            self._open.append(protocol)
            return protocol

        self._factory.buildProtocol = remember
        self._listening = reactor.listenTCP(0, self._factory, interface="127.0.0.1")
        self.port: int = self._listening.getHost().port

    async def pull(self) -> None:
        """Break the connection, and refuse new ones."""
        await self._listening.stopListening()
        for protocol in self._open:
            if protocol.transport is not None:
                protocol.transport.abortConnection()
        self._open.clear()

    def plug_in(self) -> None:
        """Accept connections again."""
        self._listening = self._reactor.listenTCP(self.port, self._factory, interface="127.0.0.1")


class ReplayTests(TestCase):
    """ergo replays to an account that is always on the messages that it missed."""

    timeout = 120

    def setUp(self) -> None:
        """Create a server, and another person."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.server = Ergo()
        self.addCleanup(self.server.stop)
        self.server.start()

    def until(self, condition: Any) -> Deferred[None]:
        """Return a Deferred that fires when the condition holds."""

        async def wait() -> None:
            while not condition():
                await deferLater(self.reactor, 0.01)

        return Deferred.fromCoroutine(wait())

    async def person(self, nick: str, *rooms: str) -> Person:
        """Return a person in the rooms."""
        person = await join(self.reactor, self.server.port, nick, *rooms)
        self.addCleanup(person.leave)
        return person

    async def until_away(self, nick: str, asker: Person) -> None:
        """Wait until the server has noticed that the account has no connection; earlier messages would be lost."""
        while not any(line.command == "301" and nick in line.params for line in asker.lines):
            asker.send(f"WHOIS {nick}")
            await asker.wait_for(" 318 ", seen=False)

    async def register(self) -> None:
        """Register the bot's account, which receives missed private messages too."""
        person = await self.person("errklein")
        person.send("NS REGISTER s3cret")
        await person.wait_for("now logged in as errklein")
        person.send("NS SET AUTOREPLAY-MISSED on")
        await person.wait_for("missed messages is enabled")
        await person.leave()

    async def start_bot(self, port: int, **identity: str) -> Any:
        """Return a bot with the plugin; by default it authenticates as a device of its account."""
        directory = Path(self.mktemp()).absolute()
        write_plugin(directory, "Counter", PLUGIN)
        sasl = {"sasl_account": "errklein@bot", "sasl_password": "s3cret"}
        settings = {
            "BACKEND": "IRC",
            "BOT_IDENTITY": {"nickname": "errklein", "server": "127.0.0.1", "port": port, **(identity or sasl)},
            "BOT_ADMINS": ("boss!*@*",),
            "CHATROOM_PRESENCE": ("#ops",),
            "BOT_DATA_DIR": str(directory / "data"),
            "BOT_EXTRA_PLUGIN_DIR": str(directory),
            "STORAGE": "Memory",
            "IRC_RECONNECT_ON_DISCONNECT": 0.05,
        }
        (directory / "data").mkdir()
        _, make_bot = wire(self.reactor, load_config(None, settings), ended=lambda: None)
        bot = make_bot()
        await bot.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(bot.stop(0)))
        return bot

    async def test_replayed_commands_do_not_run(self) -> None:
        """None of 100 replayed commands runs, and no pattern or filter sees them.

        Plugins receive them as delayed messages. Commands before and afterwards run.
        """
        await self.server.wait_until_up(self.reactor)
        await self.register()
        cable = Cable(self.reactor, self.server.port)
        bot = await self.start_bot(cable.port)
        self.addCleanup(cable.pull)
        counter = bot.plugin_manager.get_plugin_obj_by_name("Counter")
        self.assertIsNotNone(counter)
        alice = await self.person("alice", "#ops")
        await self.until(lambda: bot.backends["irc"].query_room("#ops").joined)
        alice.send("PRIVMSG #ops :!count before")
        await alice.wait_for("PRIVMSG #ops", "counted before")

        await cable.pull()
        await self.until_away("errklein", alice)
        for number in range(50):
            alice.send(f"PRIVMSG #ops :!count room {number}", f"PRIVMSG errklein :!count private {number}")
        alice.send("PING :all-said")
        await alice.wait_for("PONG", "all-said")
        cable.plug_in()
        await self.until(lambda: len(counter.heard) >= 101)

        alice.send("PRIVMSG #ops :!count after", "PRIVMSG errklein :!count after")
        await alice.wait_for("PRIVMSG alice", "counted after")
        await alice.wait_for("PRIVMSG #ops", "counted after")
        self.assertEqual(counter.ran, ["before", "after", "after"])
        self.assertEqual(counter.found, [])
        self.assertEqual(counter.filtered, ["count"] * 3)
        said = [f"!count room {number}" for number in range(50)]
        told = [f"!count private {number}" for number in range(50)]
        replayed = [(to.partition("!")[0], body) for delayed, to, body in counter.heard if delayed]
        self.assertEqual(replayed, [*(("#ops", body) for body in said), *(("errklein", body) for body in told)])
        # The first answer may come twice, if the connection was broken before ergo had confirmed it.
        self.assertEqual({text for text in alice.texts if "counted" in text}, {"counted before", "counted after"})

    async def test_names(self) -> None:
        """ergo announces CASEMAPPING=ascii: nicks that only differ in case are equal; brackets and braces differ."""
        await self.server.wait_until_up(self.reactor)
        await self.register()
        bot = await self.start_bot(self.server.port)
        await self.until(lambda: bot.backends["irc"].query_room("#ops").joined)
        one, same, other = (bot.build_identifier(f"{nick}!u@host") for nick in ("al[x]", "AL[X]", "al{x}"))
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)

    async def test_bots(self) -> None:
        """Messages of a bot, which ergo marks, run no commands; the bot is marked as one itself."""
        await self.server.wait_until_up(self.reactor)
        bot = await self.start_bot(self.server.port, username="kit")
        await self.until(lambda: bot.backends["irc"].query_room("#ops").joined)
        person = await self.person("alice", "#ops")
        person.send("MODE alice +B", "PRIVMSG #ops :!count 1", "MODE alice -B", "PRIVMSG #ops :!count 2")
        await person.wait_for("counted 2")
        person.send("WHOIS errklein")
        await person.wait_for(" 335 ")
        self.assertEqual(bot.plugin_manager.instance("Counter").ran, ["2"])

    async def test_nickserv(self) -> None:
        """A bot without SASL gets its reserved nick by IDENTIFY, since ergo has no REGAIN."""
        self.server.kill()
        text = self.server.configuration.read_text(encoding="utf-8")
        for before, after in (("always-on: opt-out", "always-on: disabled"), ("account: true", "account: false")):
            text = text.replace(before, after)
        self.server.configuration.write_text(text, encoding="utf-8")
        self.server.start()
        await self.server.wait_until_up(self.reactor)
        person = await self.person("errklein")
        person.send("NS REGISTER s3cret")
        await person.wait_for("now logged in as errklein")
        await person.leave()
        bot = await self.start_bot(self.server.port, nickserv_password="s3cret")
        await self.until(lambda: getattr(bot.bot_identifier, "nick", "") == "errklein")
        await self.until(lambda: bot.backends["irc"].query_room("#ops").joined)

"""A bot of several processes, of which one owns plugins and networks."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, botcmd, webhook
from errklein.bot import SingleNode
from errklein.chat import Message
from errklein.commands.operations import Actor
from errklein.config import Config, ConfigError, SecretStore, load_config
from errklein.console import ConsoleServer
from errklein.listening import SOCKETS
from errklein.ports.journal import JournalError
from errklein.ports.outbox import OutboxStatus
from errklein.running.context import OnlyInOwner
from errklein.status import StatusServer
from errklein.storage import StorageError
from errklein.testing import PluginTestCase, TestBot
from errklein.testing._bot import ADMIN
from errklein.testing._surroundings import InlinePool
from tests.bot.several import SeveralTestCase

CALLS: list[str] = []
"""What the plugin was called for."""


class Steps(BotPlugin):
    """A plugin that records its steps."""

    def activate(self) -> None:
        """Activate."""
        super().activate()
        CALLS.append("activate")

    def deactivate(self) -> None:
        """Deactivate."""
        super().deactivate()
        CALLS.append("deactivate")

    @botcmd
    def ping(self, message: Any, args: str) -> str:
        """Reply."""
        return "pong"


class SingleNodeTests(SynchronousTestCase):
    """A bot that is one process."""

    def test_owns_from_the_start(self) -> None:
        """It activates its plugins while it starts, and is a node that owns."""
        CALLS.clear()
        bot = TestBot([Steps])
        self.addCleanup(bot.stop)
        bot.start()
        self.assertEqual((CALLS, bot.command("!ping")), (["activate"], "pong"))
        node = bot.bot.nodes
        self.assertEqual((node.owner, self.successResultOf(node.all())), (node.me, [node.me]))

    def test_nothing_to_drain(self) -> None:
        """Its status has no processes, and none can be drained."""
        bot = TestBot()
        self.addCleanup(bot.stop)
        bot.start()
        self.assertNotIn("Processes", bot.command("!status"))
        self.assertIn("the bot is one process", bot.command("!drain 1"))

    def test_needs_nobody(self) -> None:
        """Nobody gets its news, and it can't be drained."""
        node = SingleNode()
        node.changed("plugins")
        self.assertFalse(self.successResultOf(node.drain(7)))
        self.assertIsNone(self.successResultOf(node.stop()))


class OwnershipTests(SeveralTestCase):
    """Two processes of a bot."""

    plugins = (Steps,)

    def setUp(self) -> None:
        """Start both. The first one owns plugins and networks."""
        super().setUp()
        CALLS.clear()
        self.owner = self.process(owns=True)
        self.other = self.process()

    def test_one_owner(self) -> None:
        """Only the owner activates plugins and connects. The other one loads them, and is ready."""
        self.assertEqual((CALLS, self.owner.command("!ping")), (["activate"], "pong"))
        self.assertEqual((self.other.bot.phase, self.other.bot.owns), ("running", False))
        self.assertFalse(self.other.plugin("Steps").is_activated)
        self.assertIsNone(self.other.bot.events.states["test"].connected_at)

    def test_takeover_after_a_stop(self) -> None:
        """The owner stops, and releases its ownership after plugins and networks; the other one takes over."""
        released: list[list[str]] = []
        stop = self.nodes[0].stop
        self.nodes[0].stop = lambda: (released.append([*CALLS]), stop())[1]  # type: ignore[method-assign]
        self.stop(self.owner)
        self.assertEqual(released, [["activate", "deactivate"]])
        self.nodes[1].own()
        self.assertEqual((self.other.command("!ping"), CALLS[2:]), ("pong", ["activate"]))

    def test_lost(self) -> None:
        """A process that isn't the owner any more restarts at once."""
        self.nodes[0].lose()
        self.assertEqual(self.restarts, [self.nodes[0]])

    def test_place_of_the_owner(self) -> None:
        """Others know where commands of the shell are to be run, or that it can't be known now."""
        self.assertEqual((self.owner.bot.core_host.elsewhere(), self.other.bot.core_host.elsewhere()), ("", "host1:1"))
        self.stop(self.owner)
        self.assertRaises(OnlyInOwner, self.other.bot.core_host.elsewhere)

    def test_status_and_console(self) -> None:
        """A process that isn't the owner is ready without networks. Its console says that it is elsewhere."""
        status = StatusServer(self.reactor, "tcp:1", make_pool=InlinePool)
        self.addCleanup(status.close)
        status.watch(self.other.bot)
        self.assertEqual(status.problems()["networks"], "")
        console = ConsoleServer(self.reactor, "tcp:1", "http://localhost:9142", (), make_pool=InlinePool)
        console.watch(self.other.bot)
        client = StubTreq(console.resource)
        response = self.successResultOf(client.get("http://localhost:9142/", headers={"Host": "localhost:9142"}))
        client.flush()
        self.assertEqual(response.code, 503)
        self.assertIn("Another process of the bot has its plugins", self.successResultOf(response.text()))

    def test_lost_unawares(self) -> None:
        """A process that was suspended restarts when it notices that its lease has ended, before it sends something."""
        self.assertTrue(self.owner.bot.check_ownership())
        self.assertFalse(self.other.bot.check_ownership())
        self.nodes[0]._owns = False
        self.assertFalse(self.owner.bot.check_ownership())
        self.assertEqual(self.restarts, [self.nodes[0]])

    def test_owned_while_it_stops(self) -> None:
        """A process that becomes the owner while it stops activates nothing."""
        self.stop(self.owner)
        self.other.bot.phase = "stopping"
        self.nodes[1].own()
        self.assertEqual(CALLS, ["activate", "deactivate"])
        self.other.bot.phase = "running"

    def test_drained(self) -> None:
        """A process that is drained closes connections after their responses, goes on for 10 s, and stops in order."""
        self.assertIn("takes no new work", self.owner.command("!drain host2:1"))
        self.assertTrue(self.other.bot.draining)
        self.assertFalse(self.owner.bot.draining)
        status = self.successResultOf(self.other.post("/unknown")).status
        self.assertEqual(status, 503)
        self.reactor.advance(9.9)
        self.assertFalse(self.reactor.hasStopped)
        self.nodes[0].drain(2)
        self.reactor.advance(0.2)
        self.assertTrue(self.reactor.hasStopped)

    def test_database_that_is_absent(self) -> None:
        """The status says why it has no processes."""
        reason = "PostgreSQL db/bot: Connection refused"
        self.patch(self.nodes[0], "all", lambda: fail(JournalError(reason)))
        process = self.owner.bot.core_host.process
        status = self.successResultOf(Deferred.fromCoroutine(process.status(Actor("me"))))
        self.assertEqual((status.nodes, status.nodes_unknown), ([], reason))

    def test_usage_of_drain(self) -> None:
        """Without a process, the command shows its usage."""
        self.assertEqual(self.owner.command("!drain"), "Usage: !drain PROCESS")

    def test_drained_below_a_supervisor(self) -> None:
        """It ends by SIGTERM there, since the status of `!shutdown` would end the other processes, too."""
        self.patch(os, "environ", {**os.environ, SOCKETS: "{}"})
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        received: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
        self.nodes[0].drain(2)
        self.reactor.advance(10)
        self.assertEqual((received, self.reactor.hasStopped), ([signal.SIGTERM], False))

    def test_status(self) -> None:
        """The status has the processes, and which one owns. One that isn't among them can't be drained."""
        shown = self.owner.command("!status")
        self.assertIn("1 host1:1: intake, worker, chat, owns plugins and networks", shown)
        self.assertIn("2 host2:1: intake, worker, chat; errklein 1", shown)
        self.assertIn(
            "unknown process 'host3'; those of the bot are: host1:1, host2:1", self.owner.command("!drain host3")
        )


class Hooks(BotPlugin):
    """A plugin with webhooks of each kind, which records where they run."""

    def get_configuration_template(self) -> Any:
        """Return an example."""
        return {"NAME": "a"}

    def activate(self) -> None:
        """Activate."""
        super().activate()
        CALLS.append("activate")

    @webhook("/later", ack="now")
    def later(self, payload: Any) -> None:
        """Run in the owner."""
        CALLS.append(f"later {payload} in {self.where}")

    @webhook("/anywhere", ack="now", anywhere=True)
    def anywhere(self, payload: Any) -> None:
        """Run anywhere, with values and configuration."""
        self["last"] = payload
        CALLS.append(f"anywhere {payload} in {self.where}, {self.config}")

    @webhook("/at-once")
    def at_once(self, payload: Any) -> str:
        """Respond."""
        return self.where

    @property
    def where(self) -> str:
        """The process."""
        return str(self._bot.nodes.me.name.partition(":")[0])


class WebhookTests(SeveralTestCase):
    """Webhooks that arrive at a process that isn't the owner."""

    plugins = (Hooks,)

    def setUp(self) -> None:
        """Start an owner."""
        super().setUp()
        CALLS.clear()
        self.owner = self.process(owns=True)
        CALLS.clear()

    def post(self, bot: TestBot, path: str, payload: str = "1") -> int:
        """Send a request to a process, and return the status."""
        status = self.successResultOf(bot.post(path, data=payload)).status
        self.reactor.advance(0.02)
        return status

    def test_recorded_elsewhere(self) -> None:
        """A process that isn't the owner records and answers. The owner is told, and runs the delivery."""
        other = self.process("intake")
        self.assertEqual((self.post(other, "/later"), CALLS), (202, ["later 1 in host1"]))
        self.assertEqual(self.post(self.owner, "/later", "2"), 202)
        self.assertEqual(CALLS[1:], ["later 2 in host1"])

    def test_without_an_owner(self) -> None:
        """Recorded deliveries wait for an owner. Other requests get 503 and the reason."""
        other = self.process()
        self.stop(self.owner)
        self.assertEqual([self.post(other, "/later", str(number)) for number in range(3)], [202, 202, 202])
        for path in ("/at-once", "/pages", "/"):
            response = self.successResultOf(other.post(path))
            self.assertEqual((response.status, response.header("Retry-After")), (503, "2"))
            self.assertIn("no process of this bot owns its plugins at the moment", response.text)
        self.assertEqual(CALLS, [])
        self.nodes[1].own()
        self.reactor.advance(0.02)
        self.assertEqual(CALLS, ["activate", *(f"later {number} in host2" for number in range(3))])
        self.assertEqual(self.successResultOf(other.post("/at-once")).text, "host2")

    def test_anywhere(self) -> None:
        """A worker runs deliveries of webhooks with `anywhere`, with values and configuration, and the owner leaves these to it."""
        self.owner.command("!plugin config Hooks {'NAME': 'b'}")
        self.process("worker")
        self.reactor.advance(2)
        intake = self.process("intake")
        CALLS.clear()
        self.assertEqual((self.post(intake, "/anywhere"), self.post(self.owner, "/anywhere", "2")), (202, 202))
        self.assertEqual(CALLS, [f"anywhere {number} in host2, {{'NAME': 'b'}}" for number in (1, 2)])
        self.assertEqual(self.owner.plugin("Hooks")["last"], 2)
        self.post(intake, "/later")
        self.assertEqual(CALLS[2:], ["later 1 in host1"])

    def test_anywhere_without_workers(self) -> None:
        """The owner runs these itself while no other process is a worker that isn't drained."""
        self.process("intake")
        worker = self.process("worker")
        self.nodes[2].is_draining = True
        self.reactor.advance(2)
        self.stop(worker)
        self.post(self.owner, "/anywhere")
        self.assertEqual(CALLS, ["anywhere 1 in host1, None"])

    def test_anywhere_that_no_worker_runs(self) -> None:
        """The owner runs what has waited for ten seconds, such as for a worker that hasn't the plugin, and leaves what is new to others."""
        self.plugins = ()
        self.process("worker")
        self.reactor.advance(2)
        self.post(self.owner, "/anywhere")
        self.assertIn("a worker runs it, or the owner if none has after 10 s", self.owner.command("!why 1"))
        self.reactor.advance(8)
        self.assertEqual(CALLS, [])
        self.reactor.advance(4)
        self.assertEqual(CALLS, ["anywhere 1 in host1, None"])
        self.reactor.advance(2)
        self.plugins = (Hooks,)
        self.process("worker")
        self.post(self.owner, "/anywhere", "2")
        self.assertEqual(CALLS[1:], ["anywhere 2 in host3, None"])

    def test_anywhere_after_a_failure(self) -> None:
        """A worker that couldn't use a plugin, since the database was absent for instance, tries again."""
        with mock.patch.object(Hooks, "init_storage", side_effect=StorageError("absent")):
            self.process("worker")
            self.reactor.advance(4)
        self.assertEqual(len(self.flushLoggedErrors(StorageError)), 1)
        self.post(self.owner, "/anywhere")
        self.assertEqual(CALLS, [])
        self.reactor.advance(2)
        self.assertEqual(CALLS, ["anywhere 1 in host2, None"])

    def test_changes_of_the_owner(self) -> None:
        """Other processes follow the configuration, the blacklist, and the webhooks that are paused."""
        other = self.process()
        self.reactor.advance(2)
        self.owner.command("!plugin config Hooks {'NAME': 'c'}")
        CALLS.clear()
        self.post(other, "/anywhere")
        self.assertEqual(CALLS, ["anywhere 1 in host2, {'NAME': 'c'}"])
        self.owner.command("!webhook pause Hooks:anywhere")
        self.reactor.advance(0.02)
        self.assertEqual((self.post(other, "/anywhere"), CALLS[1:]), (202, []))
        self.owner.command("!webhook resume Hooks:anywhere")
        self.reactor.advance(0.02)
        self.assertEqual(len(CALLS), 2)
        self.owner.command("!plugin deactivate Hooks")
        self.assertEqual((self.post(other, "/anywhere"), len(CALLS)), (202, 2))
        self.owner.command("!plugin activate Hooks")
        self.reactor.advance(0.02)
        self.assertEqual(CALLS[2:], ["activate", "anywhere 1 in host2, {'NAME': 'c'}"])
        self.owner.command("!plugin blacklist Hooks")
        self.assertEqual(self.post(other, "/anywhere"), 503)
        self.owner.command("!plugin unblacklist Hooks")
        self.assertEqual(self.post(other, "/later"), 202)

    def test_changes_that_cannot_be_read(self) -> None:
        """A process that can't read what the owner has changed, since the database is slow or absent, tries again."""
        other = self.process()
        rooms = other.bot.room_webhooks
        with mock.patch.object(rooms, "read_again", lambda: fail(StorageError("too slow"))):
            self.owner.command("!plugin blacklist Hooks")
            self.assertEqual(self.post(other, "/later"), 202)
        self.reactor.advance(2)
        self.assertEqual(self.post(other, "/later"), 503)

    def test_configuration(self) -> None:
        """When the owner has reloaded the configuration, others read theirs. One that is invalid stays as it was."""
        others = [self.process(), self.process()]

        def read(bot: TestBot) -> Config:
            if bot is others[1]:
                raise ConfigError("no such file")
            settings = {
                "BOT_DATA_DIR": bot.config.BOT_DATA_DIR,
                "STORAGE": "Memory",
                "BACKEND": "Test",
                "BOT_ADMINS": (ADMIN,),
            }
            return load_config(None, {**settings, "WEBHOOKS": {"Hooks:later": {"rate": "1/min"}}})

        for bot in (self.owner, *others):
            bot.bot.read_config = partial(read, bot)
        self.owner.command("!config reload")
        self.assertEqual([self.post(others[0], "/later") for _ in range(2)], [202, 429])
        self.assertEqual([self.post(others[1], "/later") for _ in range(2)], [202, 202])
        self.assertEqual([message for message in others[0].messages if "reload" in message], [])

    def test_webhooks_of_rooms(self) -> None:
        """One that is made in the owner is received by others, until it is removed; the owner sends the messages."""
        other = self.process()
        making = self.owner.bot.room_webhooks.create(Actor("alice"), "json", "#testroom", "alerts")
        made = self.successResultOf(Deferred.fromCoroutine(making))
        path = urlsplit(made.url).path
        self.owner.messages.clear()
        self.assertEqual(self.post(other, path, '{"text": "It burns."}'), 202)
        self.assertEqual([message.to for message in self.owner.messages], ["#testroom"])
        self.stop(self.owner)
        self.assertEqual(self.post(other, path, '{"text": "It burns again."}'), 202)
        self.nodes[1].own()
        self.reactor.advance(0.02)
        self.assertEqual([message.to for message in other.messages], ["#testroom"])
        later = self.process()
        removing = other.bot.room_webhooks.remove(Actor("alice"), "alerts")
        self.successResultOf(Deferred.fromCoroutine(removing))
        self.assertEqual(self.post(later, path), 503)

    def test_signed_webhooks_of_rooms(self) -> None:
        """Other machines, and later ones, get the secrets of webhooks that are made in the owner, and so does the next owner."""
        other = self.process()
        rooms = self.owner.bot.room_webhooks
        made = self.successResultOf(
            Deferred.fromCoroutine(rooms.create(Actor("alice"), "github", "#testroom", "pushes"))
        )
        later = self.process()
        for bot in (other, later):
            self.assertEqual(self.secrets(bot), [made.secret])
            self.assertEqual(self.post(bot, urlsplit(made.url).path), 401)
        rotated = self.successResultOf(Deferred.fromCoroutine(rooms.rotate(Actor("alice"), "pushes")))
        self.assertEqual(self.secrets(other), sorted([made.secret, rotated.secret]))
        self.successResultOf(Deferred.fromCoroutine(rooms.remove(Actor("alice"), "pushes")))
        self.assertEqual((self.secrets(self.owner), self.secrets(self.process())), ([], []))

    def secrets(self, bot: TestBot) -> list[str]:
        """Return the secrets in the data directory of a process."""
        self.reactor.advance(0)
        return sorted(one.decode() for one in SecretStore.of(bot.bot.bot_config.BOT_DATA_DIR).contents().values())


class Everything(BotPlugin):
    """A plugin whose webhooks do what only the owner can."""

    @webhook("/asks", ack="now", anywhere=True)
    async def asks(self, payload: Any) -> None:
        """Try everything, and record the errors."""
        room = self.build_identifier("#testroom")
        handle = self.send(room, f"sent by {self._bot.nodes.me.name}")
        for work in (
            lambda: self.ask(Message("a question"), "Really?"),
            lambda: self.choose(room, "Really?", ["yes"]),
            lambda: self.resolve("#testroom"),
            lambda: self.topic_of("#testroom"),
            self.rooms,
            lambda: self.query_room("#testroom"),
            self.change_presence,
            lambda: self.start_poller(1, self.rooms),
            lambda: self.mutable("x").__enter__(),
            lambda: handle,
        ):
            try:
                await work()  # type: ignore[no-untyped-call]
            except OnlyInOwner as error:
                CALLS.append(str(error))
        await handle.stored
        await self.store.update("number", lambda number: number + 1, 0)

    @webhook("/waits", ack="now", anywhere=True)
    def waits(self, payload: Any) -> None:
        """Wait in a thread."""
        sent = self.send(self.build_identifier("#testroom"), "sent")
        assert sent.stored is None
        sent.wait()

    @webhook("/once", ack="now", anywhere=True, raw=True)
    def once(self, request: Any) -> None:
        """Use what needs no network."""
        CALLS.append(str(request.delivery.once("step")))
        self.warn_admins("noticed")

    def callback_botmessage(self, message: Message) -> None:
        """Use the network, in the owner."""
        if message.body.startswith("sent"):
            CALLS.append(f"heard {len(self.rooms())}")


class OnlyInOwnerTests(PluginTestCase):
    """A handler with `anywhere` that runs in a bot of one process."""

    plugins = (Everything,)

    def setUp(self) -> None:
        """Forget earlier calls."""
        super().setUp()
        CALLS.clear()

    def test_errors(self) -> None:
        """It fails as it would in another process, with errors that name the option, or what to use instead."""
        self.post("/asks")
        self.bot.advance(0)
        self.assertEqual(self.bot.sent_to("#testroom"), [f"sent by {self.bot.bot.nodes.me.name}"])
        self.assertEqual(CALLS.pop(0), "heard 1")
        self.assertEqual(len(CALLS), 10)
        for text in CALLS:
            self.assertIn("Everything:asks has anywhere=True", text)
        self.assertIn("self.store.update", CALLS[8])
        self.assertIn("can't wait for a message; remove the option", CALLS[9])
        self.assertEqual(self.bot.plugin("Everything")["number"], 1)

    def test_errors_in_threads(self) -> None:
        """A wait in a thread fails, too, and the delivery is tried again."""
        self.post("/waits")
        self.bot.advance(0)
        self.assertIn("OnlyInOwner", "".join(self.bot.log))
        self.assertEqual(len(self.flushLoggedErrors(OnlyInOwner)), 1)

    def test_what_needs_no_network(self) -> None:
        """The journal and notices to administrators can be used."""
        self.post("/once")
        self.bot.advance(0)
        self.assertEqual((CALLS, self.bot.sent_to("@admin")), (["True"], ["noticed"]))


class Speaker(BotPlugin):
    """A plugin whose deliveries send messages."""

    @webhook("/say", ack="now", anywhere=True)
    def say(self, payload: Any) -> None:
        """Send to a room, and a person."""
        self.send(self.build_identifier("#testroom"), str(payload), mentions=True)
        self.send_file(self.build_identifier("@bob"), b"content", "a.txt")


class MessageTests(SeveralTestCase):
    """Messages of a process that isn't connected."""

    plugins = (Speaker,)

    def setUp(self) -> None:
        """Start an owner and a worker."""
        super().setUp()
        self.owner = self.process(owns=True)
        self.worker = self.process("worker", "chat")
        self.reactor.advance(2)

    def say(self, text: str) -> None:
        """Send a request to the worker."""
        self.worker.post("/say", data=text)
        self.reactor.advance(0)

    def test_sent_by_the_owner(self) -> None:
        """The owner sends them, in order, as soon as they are on disk."""
        for text in ("one", "two"):
            self.say(text)
        self.assertEqual((self.worker.messages, self.owner.messages), ([], []))
        self.reactor.advance(0.02)
        self.assertEqual(self.owner.sent_to("#testroom"), ["one", "two"])
        self.assertEqual(self.owner.chat("@bob"), ["[a.txt]", "[a.txt]"])
        self.assertEqual(self.worker.messages, [])

    def test_without_an_owner(self) -> None:
        """They wait for an owner, which sends them before its own."""
        self.stop(self.owner)
        self.say("three")
        self.reactor.advance(1)
        self.nodes[1].own()
        self.assertEqual(self.worker.sent_to("#testroom"), ["three"])
        self.worker.messages.clear()
        self.say("four")
        self.assertEqual(self.worker.sent_to("#testroom"), ["four"])

    def test_notices(self) -> None:
        """Notices to administrators are sent by the owner, too, and none is kept elsewhere for later."""
        self.worker.bot.warn_admins("The disk is full.")
        self.reactor.advance(0.02)
        self.assertEqual(self.owner.sent_to("@admin"), ["The disk is full."])

    def test_lost_database(self) -> None:
        """Only the owner notifies administrators of a database that all share."""
        self.patch(self.journal.part, "check", lambda: fail(JournalError("the database can't be reached")))
        for process in (self.owner, self.worker):
            process.bot.health.watch()
        self.reactor.advance(2)
        self.assertEqual(self.owner.sent_to("@admin"), ["the database can't be reached"])

    def test_too_old(self) -> None:
        """The owner doesn't send what is older than OUTBOX_MAX_AGE."""
        self.stop(self.owner)
        self.say("old")
        self.reactor.advance(4000)
        self.nodes[1].own()
        self.assertNotIn("old", self.worker.sent_to("#testroom"))

    def test_lost_notification(self) -> None:
        """The owner looks for messages from time to time."""
        self.nodes[1].changed = lambda topic: None  # type: ignore[method-assign]
        self.say("five")
        self.reactor.advance(0.02)
        self.assertEqual(self.owner.sent_to("#testroom"), [])
        self.reactor.advance(2)
        self.assertEqual(self.owner.sent_to("#testroom"), ["five"])

    def test_full_outbox(self) -> None:
        """The owner takes none for a network with many messages that wait, until there is room."""
        outbox = self.owner.backend.outbox
        self.patch(type(outbox), "status", OutboxStatus(1, 1_000, 1, 1.0))
        self.say("six")
        self.reactor.advance(4)
        self.assertEqual(self.owner.sent_to("#testroom"), [])
        self.patch(type(outbox), "status", OutboxStatus(0, 0, 0, 0.0))
        self.reactor.advance(2)
        self.assertEqual(self.owner.sent_to("#testroom"), ["six"])

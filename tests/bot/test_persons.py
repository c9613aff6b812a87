"""Tests for `!person forget`, and what it removes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, Person, botcmd, webhook
from errklein.bot import persons
from errklein.chat.handles import Handle, MessageRef
from errklein.chat.outgoing import MessageRecord, MessageState, OutgoingMessage, waiting_record
from errklein.commands.operations import Actor
from errklein.storage import DATABASE
from errklein.testing import PluginTestCase, TestBot
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome, StoredDelivery, StoredRequest
from tests.networks.irc.whole_bot import WholeBotCase

REQUEST = StoredRequest("POST", "/github", [(b"x-event", b"push")], b'{"login": "Alice"}', "198.51.100.7")


def sent_record(message: OutgoingMessage) -> MessageRecord:
    """Return the record of a message that was sent."""
    return waiting_record(message)._replace(state=MessageState.SENT, at=1000.0)


class Notes(BotPlugin):
    """Stores notes, and removes them in a coroutine."""

    @botcmd
    def note(self, msg: Any, args: str) -> str:
        """Store a note."""
        self[msg.frm.person] = args
        return "Noted."

    async def callback_forget_person(self, person: Person) -> Any:
        if person.person not in self:
            return None
        await self.store.delete(person.person)
        return f"the note of {person.aclattr} is removed"


class Polls(BotPlugin):
    """Removes votes in a thread."""

    def callback_forget_person(self, person: Person) -> Any:
        return "votes stay, without the name"


class Games(BotPlugin):
    """Removes scores with a Deferred."""

    def callback_forget_person(self, person: Person) -> Deferred[str]:
        return succeed("no score")


class Broken(BotPlugin):
    """Has a callback that fails."""

    def callback_forget_person(self, person: Person) -> Any:
        raise LookupError(f"no table for {person}")


class Counter(BotPlugin):
    """Stores values, and can't remove those of a person."""

    def activate(self) -> None:
        """Store a value."""
        super().activate()
        self["@alice"] = 1

    @webhook("/count", ack="now")
    def count(self, payload: Any) -> str:
        return "counted"


class PersonsCase(PluginTestCase):
    """A bot with plugins that store something of people."""

    plugins = (Notes, Polls, Games, Counter)

    def forget(self, text: str = "@alice") -> list[str]:
        """Return the lines of the reply."""
        return [line for line in self.command(f"!person forget {text}").splitlines() if line]

    def log(
        self, body: bytes = REQUEST.body or b"", state: DeliveryState = DeliveryState.FAILED, reason: str = "KeyError"
    ) -> int:
        """Store a delivery that has ended, and return its id."""
        journal = self.bot.bot.journal
        number, outcome = journal.next_id(), Outcome(500, reason, 0.2)
        request = REQUEST._replace(body=body)
        journal.log(StoredDelivery(number, "Counter:count", state, 1000.0, outcome=outcome, request=request))
        return number

    def stored(self, number: int) -> StoredDelivery:
        """Return a delivery."""
        delivery: StoredDelivery = self.successResultOf(self.bot.bot.journal.get(number))
        return delivery


class ForgetTests(PersonsCase):
    """The removal of what isn't in deliveries."""

    def test_commands(self) -> None:
        """The person's commands are removed, in all places; those of others stay."""
        self.bot.say("!echo private", frm="@alice")
        self.bot.say("!echo public", frm="@alice", room="#testroom")
        self.bot.say("!echo mine", frm="@bob")
        self.assertIn("Removed of @alice on test: 2 commands and 0 notices", self.forget())
        self.assertEqual(self.bot.say("!history", frm="@alice"), [])
        self.assertEqual(self.command("!history", frm="@bob"), "1:!echo mine")

    def test_command_itself(self) -> None:
        """The administrator's history doesn't get the name."""
        self.forget()
        self.assertEqual(self.bot.say("!history"), [])

    def test_plugins(self) -> None:
        """Each active plugin is called where its method may run, and the reply has what it returns, if anything."""
        self.bot.say("!note water the plants", frm="@alice")
        told = {"Notes: the note of @alice is removed", "Polls: votes stay, without the name", "Games: no score"}
        self.assertLessEqual(told, {*self.forget()})
        self.assertEqual(list(self.bot.plugin("Notes")), [])
        self.assertFalse([line for line in self.forget() if line.startswith("Notes")])

    def test_plugins_that_do_not_take_part(self) -> None:
        """The reply names the plugins with values that weren't asked: those without the method, and inactive ones."""
        self.bot.say("!note water the plants", frm="@bob")
        text = "Remains: values of plugins that have no callback_forget_person, or aren't active: "
        self.assertIn(f"{text}Counter", self.forget())
        self.command("!plugin deactivate Notes")
        self.assertIn(f"{text}Counter, Notes", self.forget())

    def test_plugin_that_hangs(self) -> None:
        """A plugin that doesn't return in time is an error, and the others are asked nevertheless."""

        async def hang(person: Person) -> None:
            await Deferred()

        self.bot.plugin("Polls").callback_forget_person = hang  # type: ignore[method-assign]
        self.bot.say("!person forget @alice")
        self.bot.advance(61)
        reply = self.bot.sent_to("@admin")[-1]
        self.assertIn("Polls has failed: ", reply)
        self.assertIn("Games: no score", reply)
        self.flushLoggedErrors()

    def test_messages(self) -> None:
        """Messages that wait for the person are counted, and stay."""
        outbox = self.bot.bot.journal.outbox
        outbox.add(OutgoingMessage(0, "test", "@alice", "hello"))
        outbox.add(OutgoingMessage(0, "other", "@alice", "hello"))
        self.assertIn("Remains: messages to @alice that wait to be sent, at most for OUTBOX_MAX_AGE: 1", self.forget())
        self.assertEqual(len(self.successResultOf(outbox.find(recipient="@alice"))), 2)

    def test_ids_of_messages(self) -> None:
        """The ids that the network has given to messages in direct conversations with the person are removed; others stay."""
        outbox = self.bot.bot.journal.outbox
        for network, recipient in (("test", "@alice"), ("test", "@Alice"), ("test", "#alice"), ("other", "@alice")):
            message = outbox.add(OutgoingMessage(0, network, recipient, "hello", key=f"{recipient}-key"))
            outbox.end(sent_record(message), [MessageRef(network, "!direct", "m1")])
        self.assertIn("The network's ids of messages to @alice are removed: 1", self.forget())
        handles = ("test/@alice-key", "test/@Alice-key", "test/#alice-key", "other/@alice-key")
        known = [len(self.successResultOf(outbox.refs_of(Handle(handle)))) for handle in handles]
        self.assertEqual(known, [0, 1, 1, 1])
        self.assertFalse([line for line in self.forget() if "ids of messages" in line])

    def test_webhooks_of_rooms(self) -> None:
        """Webhooks that the person has made stay, without the name."""
        webhooks = self.bot.bot.core_host.room_webhooks
        for maker, name in (("@alice", "mine"), ("@bob", "his")):
            Deferred.fromCoroutine(webhooks.create(Actor(maker), "alertmanager", "#ops", name))
        self.bot.advance(0)
        self.assertIn("The name of the maker is removed from these webhooks: mine", self.forget())
        self.assertEqual([one.made_by for one in webhooks.all()], ["@bob", ""])
        self.assertEqual(self.bot.storage.open("room webhooks").get("mine")["made_by"], "")

    def test_what_remains(self) -> None:
        """The reply names deliveries that haven't ended, files with backups, and the log."""
        journal = self.bot.bot.journal
        waiting = StoredDelivery(
            journal.next_id(), "Gone:gone", DeliveryState.RECEIVED, 1000.0, ack="now", request=REQUEST
        )
        self.successResultOf(journal.record(waiting))
        self.command("!backup")
        lines = self.forget()
        self.assertIn("Remains: deliveries that wait or run, and may mention @alice: 1", lines)
        self.assertIn("Remains: backups, backup.jsonl", lines)
        self.assertTrue([line for line in lines if line.startswith("Remains: the log")])

    def test_log(self) -> None:
        """The log says who has removed something, and not of whom."""
        with capturedLogs() as events:
            self.forget()
        lines = [formatEvent(event) for event in events if event["log_namespace"] == "errklein.audit"]
        self.assertEqual(lines, ["@admin (chat): person forget …"])

    def test_others_may_not(self) -> None:
        """Only administrators may use the command, in private."""
        self.assertIn("requires bot-admin privileges", self.command("!person forget @alice", frm="@bob"))
        [reply] = self.bot.say("!person forget @alice", room="#testroom")
        self.assertIn("only be issued through a direct message", reply)

    def test_usage(self) -> None:
        """Without a person, or with other options, the reply is the usage."""
        for text in ("", "@alice --deliveries", "@alice --deliveries x", "--deliveries 1"):
            self.assertIn("Usage: !person forget PERSON", self.command(f"!person forget {text}"), text)


class FailureTests(PersonsCase):
    """A plugin whose callback fails."""

    plugins = (Broken, Notes)

    def test_error(self) -> None:
        """The reply has the error with its line, and the others are asked. In a room, the text stays in the log."""
        self.bot.say("!note water the plants", frm="@alice")
        lines = self.forget()
        [failed] = [line for line in lines if line.startswith("Broken")]
        self.assertRegex(failed, r"^Broken has failed: .*test_persons\.py, line \d+: LookupError: no table")
        self.assertIn("Notes: the note of @alice is removed", lines)
        self.bot.config.ACCESS_CONTROLS = {"person_forget": {"allowmuc": True}}
        [reply] = self.bot.say("!person forget @alice", room="#testroom")
        self.assertIn("Broken has failed: the log has the reason", reply)
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 2)


class DeliveriesTests(PersonsCase):
    """Headers and bodies of deliveries."""

    plugins = (Counter,)

    def test_list(self) -> None:
        """Deliveries that have ended and mention the person are listed, with the command that removes their contents."""
        first, _, third = self.log(), self.log(b"{}"), self.log(b"user=alice&x=1", DeliveryState.DONE)
        lines = self.forget()
        self.assertEqual([line.partition(" ")[0] for line in lines[-3:-1]], [str(third), str(first)])
        command = f"!person forget @alice --deliveries {third} {first}"
        self.assertEqual(lines[-1], f"To remove headers and bodies: {command}")
        self.assertEqual(self.stored(first).request, REQUEST)

    def test_reason(self) -> None:
        """A delivery of which only the reason of its failure mentions the person is listed, too."""
        number = self.log(b"{}", reason="KeyError: 'alice'")
        self.assertTrue(self.forget("@Alice")[-1].endswith(f" --deliveries {number}"))
        self.forget(f"@Alice --deliveries {number}")
        self.assertNotIn("--deliveries", self.forget("@Alice")[-1])

    def test_long_list(self) -> None:
        """A list has an end. When what it has is removed, the rest is listed."""
        ids = [self.log() for _ in range(persons.MOST_LISTED + 5)]
        lines = self.forget()
        self.assertIn(f"Remains: deliveries below {ids[5]} that mention alice: they weren't searched", lines)
        self.forget(lines[-1].partition("forget ")[2])
        self.assertTrue(self.forget()[-1].endswith(f" --deliveries {' '.join(map(str, ids[4::-1]))}"))

    def test_bounded_search(self) -> None:
        """A search ends after some deliveries, and the reply says where."""
        self.patch(persons, "SLICE", 3)
        self.patch(persons, "MOST_SEARCHED", 6)
        ids = [self.log() for _ in range(2)] + [self.log(b"{}") for _ in range(9)]
        self.assertIn(f"Remains: deliveries below {ids[5]} that mention alice: they weren't searched", self.forget())
        self.patch(persons, "MOST_SEARCHED", 12)
        self.assertTrue(self.forget()[-1].endswith(f" --deliveries {ids[1]} {ids[0]}"))

    def test_removal(self) -> None:
        """Headers, body and reasons of the chosen deliveries are removed. Their rows stay with state and time."""
        first, second = self.log(reason="KeyError: 'alice'"), self.log()
        with capturedLogs() as events:
            lines = self.forget(f"@alice --deliveries {first} 99")
        self.assertEqual(lines, [f"Deliveries without headers and bodies now: {first}", "Unknown, or not ended: 99"])
        self.assertIn(f"@admin (chat): person forget … --deliveries {first} 99", map(formatEvent, events))
        removed = self.stored(first)
        self.assertEqual((removed.state, removed.received_at, removed.request), (DeliveryState.FAILED, 1000.0, None))
        self.assertEqual(removed.outcome, Outcome(500, "", 0.2))
        self.assertEqual(self.stored(second).request, REQUEST)
        self.assertIn("The request is not stored.", self.command(f"!delivery show {first}"))
        self.assertTrue(self.forget()[-1].endswith(f" --deliveries {second}"))

    def test_waiting_delivery(self) -> None:
        """A delivery that waits stays, and runs with its request."""
        journal = self.bot.bot.journal
        waiting = StoredDelivery(
            journal.next_id(), "Gone:gone", DeliveryState.RECEIVED, 1000.0, ack="now", request=REQUEST
        )
        self.successResultOf(journal.record(waiting))
        self.assertIn(f"Unknown, or not ended: {waiting.id}", self.forget(f"@alice --deliveries {waiting.id}"))
        self.assertEqual(self.successResultOf(journal.find(DeliveryQuery(text="alice")))[0].id, waiting.id)


class NamesTests(SynchronousTestCase):
    """The person that a name stands for."""

    def start(self, **networks: dict[str, Any]) -> TestBot:
        """Return a bot on these networks."""
        bot = TestBot([Notes], networks=networks)
        bot.start()
        self.addCleanup(bot.stop)
        return bot

    def test_several_networks(self) -> None:
        """A name without a network is an error that lists the choices; with one of them, only that person is meant."""
        admins = {"BOT_ADMINS": ("@admin",)}
        bot = self.start(work=admins, home=admins)
        for network in ("work", "home"):
            bot.say("!echo x", frm="@alice", network=network)
        reply = bot.command("!person forget @alice")
        self.assertIn("'@alice' is the name of several people; name one: home:@alice, work:@alice.", reply)
        self.assertIn("Removed of @alice on home: 1 commands", bot.command("!person forget home:@alice"))
        self.assertEqual(bot.say("!history", frm="@alice", network="work"), ["1:!echo x"])
        self.assertEqual(bot.say("!history", frm="@alice", network="home"), [])

    def test_network_without_people(self) -> None:
        """A network that has no people is no choice."""
        bot = self.start(work={"BOT_ADMINS": ("@admin",)}, hooks={})
        self.patch(bot.config.networks["hooks"], "BACKEND", "Null")
        self.assertIn("Removed of @alice on work:", bot.command("!person forget @alice"))

    def test_room(self) -> None:
        """The name of a room is an error."""
        bot = self.start(work={"BOT_ADMINS": ("@admin",)})
        self.assertIn(
            "'#ops' isn't the name of a person",
            bot.command("!person forget #ops"),
        )


class IRCTests(WholeBotCase):
    """A network on which nobody owns a nick."""

    settings = {"BOT_ADMINS": ("boss!*@trusted",), "BOT_ADMINS_NOTIFICATIONS": ("carol!*@trusted",)}

    def forget(self, text: str) -> list[str]:
        """Return the lines of the reply."""
        return self.replies_to(f":boss!b@trusted PRIVMSG errklein :!person forget {text}")

    def test_nick_of_several_people(self) -> None:
        """If others have had the nick, the reply lists their names, of which one chooses the commands to be removed."""
        for mask in ("alice!a@one", "alice!x@two"):
            self.replies_to(f":{mask} PRIVMSG errklein :!echo {mask}")
        choices = "irc:alice!a@one, irc:alice!x@two"
        self.assertEqual(self.forget("ALICE"), [f"'ALICE' is the name of several people; name one: {choices}."])
        self.assertIn("Removed of Alice!A@one on irc: 1 commands and 0 notices", self.forget("irc:Alice!A@one"))
        self.assertEqual(self.replies_to(":alice!x@two PRIVMSG errklein :!history"), ["1:!echo alice!x@two"])
        self.assertIn("Removed of alice on irc: 1 commands and 0 notices", self.forget("alice"))

    def test_notices(self) -> None:
        """Notices that are kept for the person are removed, also if the setting has a pattern; those of others aren't."""
        self.bot.tell_admins("The disk is full")
        self.test_bot.reactor.advance(0)
        self.server.answer()
        self.assertIn("Removed of car on irc: 0 commands and 0 notices", self.forget("car"))
        self.assertIn("Removed of Carol on irc: 0 commands and 1 notices", self.forget("Carol"))
        self.assertIn("Removed of carol!c@trusted on irc: 0 commands and 0 notices", self.forget("carol!c@trusted"))

    def test_invalid_name(self) -> None:
        """The reply to an invalid name has the network's reason."""
        [reply] = self.forget("a b")
        self.assertIn("'a b' isn't the name of a person; irc: invalid person: 'a b'; expected a nick", reply)


class FileTests(SynchronousTestCase):
    """A bot with its values in a file."""

    def test_nothing_is_left_in_the_files(self) -> None:
        """After the reply, no file of the storage and of the journal has a byte of what was removed, while the bot runs."""
        bot = TestBot([Notes, Counter], config={"STORAGE": "Shelf"})
        bot.start()
        self.addCleanup(bot.stop)
        for number in range(50):
            bot.say(f"!note the first secret {number} {'x' * 50 * number}", frm="@alice")
            bot.say(f"!note kept {number} {'x' * 50 * number}", frm=f"@bob{number}")
        journal = bot.bot.journal
        request = REQUEST._replace(body=b"the second secret" + b"y" * 20_000)
        number = journal.next_id()
        journal.log(StoredDelivery(number, "Counter:count", DeliveryState.FAILED, 1000.0, request=request))
        message = journal.outbox.add(OutgoingMessage(0, "test", "@alice", "hello", key="k"))
        journal.outbox.end(sent_record(message), [MessageRef("test", "the third secret", "m1")])
        bot.advance(1)
        directory = Path(bot.config.BOT_DATA_DIR)

        def contains(text: bytes) -> set[str]:
            return {path.name for path in directory.iterdir() if path.is_file() and text in path.read_bytes()}

        self.assertIn(f"{DATABASE}-wal", contains(b"the first secret"))
        self.assertIn("journal.sqlite-wal", contains(b"the second secret"))
        self.assertIn("journal.sqlite-wal", contains(b"the third secret"))
        bot.command("!person forget @alice")
        self.assertEqual(contains(b"the third secret"), set())
        bot.command(f"!person forget @alice --deliveries {number}")
        self.assertEqual(contains(b"the first secret"), set())
        self.assertEqual(contains(b"the second secret"), set())
        self.assertTrue(contains(b"kept 7 "))

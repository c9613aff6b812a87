"""Updates of Telegram: what plugins get of them, and that none is lost or handled twice."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail

from errklein.chat import MessageRef
from errklein.chat.operations import Wanted
from errklein.database import StorageError
from errklein.http_client import BodyTooLarge
from errklein.networks.context import DurableState
from errklein.networks.telegram._backend import LATE
from errklein.networks.telegram.identifiers import TelegramOccupant, TelegramPerson
from errklein.ports.outbox import RoomUnavailable
from tests.networks.telegram.case import URL, TelegramCase
from tests.networks.telegram.server import ALICE, BOB, BOT, GROUP, OTHER, TOKEN

THUMB, FIRE = "\N{THUMBS UP SIGN}", "\N{FIRE}"


class PositionTests(TelegramCase):
    """What happens while the bot is away."""

    def test_restart(self) -> None:
        """A bot that is started again runs what was written meanwhile, and nothing twice."""
        self.hears("!first")
        self.stop()
        self.server.say(GROUP, "!second")
        self.start()
        self.assertEqual(self.hears("!third").body, "!third")
        self.assertEqual(self.events.texts, ["!second", "!third"])

    def test_kill(self) -> None:
        """A process that is killed has stored what it has read before it handles that."""
        stored: Any = None

        def received(*_: Any) -> None:
            nonlocal stored
            stored = self.copy_of_storage()

        self.events.message_received = received  # type: ignore[assignment]
        self.server.say(GROUP, "!deploy")
        self.wait()
        self.stop()
        # Telegram hasn't got the confirmation either.
        self.server.updates.insert(0, self.server.made[0])
        self.storage = stored
        self.start()
        self.hears("!next")
        self.assertEqual(self.events.texts, ["!next"])

    def test_all_of_many(self) -> None:
        """Many messages arrive in order, none is missing."""
        for number in range(1000):
            self.server.say(GROUP, f"line {number}")
        self.wait()
        self.assertEqual(self.events.texts, [f"line {number}" for number in range(1000)])

    def test_messages_before_the_first_start(self) -> None:
        """Without a stored position, what was written before may have run: it is delayed."""
        self.stop()
        self.server.say(GROUP, "!deploy")
        self.storage = type(self.storage)()
        self.clock.advance(2)
        self.start()
        self.hears("!now")
        self.assertEqual(
            [(one.body, one.delayed) for one in self.events.messages], [("!deploy", True), ("!now", False)]
        )

    def test_late_messages(self) -> None:
        """After a long outage, old messages run no commands."""
        self.stop()
        self.server.say(GROUP, "!deploy")
        self.clock.advance(LATE - 60)
        self.server.say(GROUP, "!status")
        self.clock.advance(120)
        self.start()
        self.assertEqual(self.events.texts, ["!status"])
        self.assertEqual([one.body for one in self.events.messages], ["!deploy", "!status"])

    def test_numbers_that_begin_again(self) -> None:
        """After a week without updates, Telegram begins with another number, which may be smaller."""
        self.hears("one")
        self.stop()
        self.server.next_update = 5
        self.clock.advance(8 * 86400)
        self.start()
        self.hears("two")
        self.assertEqual(self.events.texts, ["two"])

    def test_other_bot(self) -> None:
        """The position of another bot means nothing."""
        self.hears("one")
        self.stop()
        self.server.users[BOT + 1] = {**self.server.users.pop(BOT), "id": BOT + 1}
        self.server.users[BOT] = self.server.users[BOT + 1]
        self.server.next_update = 7
        self.start()
        self.hears("two")
        self.assertEqual(self.events.texts, ["two"])

    def test_update_that_cannot_be_handled(self) -> None:
        """Others are handled all the same."""
        self.server.updates.append({"update_id": 900, "message": {"chat": 3}})
        self.server.next_update = 901
        self.server.updates.append({"update_id": 902, "poll": {}})
        self.hears("!now")
        self.assertEqual(self.events.texts, ["!now"])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.events.named("backend_disconnected"), [])


class MessageTests(TelegramCase):
    """Messages."""

    def test_what_a_message_has(self) -> None:
        """The id, the time, the sender with all names, and the room."""
        message: Any = self.hears("hello")
        number = str(len(self.server.chats[GROUP].messages))
        self.assertEqual(message.ref, MessageRef("telegram", str(GROUP), number))
        self.assertEqual((message.sent_at, message.thread, message.edited), (self.clock.seconds() - 51, "", False))
        frm = message.frm
        self.assertEqual((frm.id, frm.person, frm.aclattr), (ALICE, str(ALICE), str(ALICE)))
        self.assertEqual((frm.username, frm.first_name, frm.last_name), ("alice", "Alice", None))
        self.assertEqual((frm.nick, frm.fullname, str(frm)), ("alice", "Alice", f"{GROUP}/{ALICE}"))
        self.assertEqual((frm.room, message.to.title, message.to.shown), (message.to, "Ops", f"{GROUP} (Ops)"))
        self.assertTrue(self.backend.is_certain(frm))

    def test_private_message(self) -> None:
        """It is from a person, and to the bot."""
        message: Any = self.hears("hello", ALICE)
        self.assertNotIsInstance(message.frm, TelegramOccupant)
        self.assertEqual((str(message.frm), message.to), (str(ALICE), self.backend.bot_identifier))
        self.assertEqual(message.ref.room, str(ALICE))

    def test_commands_of_telegram(self) -> None:
        """They begin with the prefix of the configuration, and those for other bots run nothing."""
        for text, body in (
            ("/status", "!status"),
            ("/status@Errklein_Bot now", "!status now"),
            ("/plugin_list\nx", "!plugin_list\nx"),
            ("/etc/passwd", "/etc/passwd"),
            ("see /status", "see /status"),
            ("/", "/"),
        ):
            message = self.hears(text)
            self.assertEqual((message.body, message.extras.get("notice")), (body, None))
        self.settings["BOT_PREFIX"] = "/"
        self.stop()
        self.start()
        self.assertEqual(self.hears("/status@errklein_bot now").body, "/status now")
        other = self.hears("/status@other_bot")
        self.assertEqual((other.body, other.extras["notice"]), ("/status@other_bot", True))

    def test_other_bots(self) -> None:
        """Messages of other bots run nothing; anonymous administrators are nobody in particular."""
        self.server.users[7] = {"id": 7, "is_bot": True, "first_name": "Robot", "username": "robot"}
        self.assertTrue(self.hears("!status", by=7).extras["notice"])
        anonymous = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
        self.server.users[1087968824] = anonymous
        message: Any = self.hears("!status", by=1087968824, sender_chat=self.server.chats[GROUP].json)
        self.assertEqual((message.frm.aclattr, message.extras.get("notice")), ("1087968824", None))

    def test_words_of_others(self) -> None:
        """What somebody forwards, or sends with the help of another bot, runs nothing: others have written it."""
        origin = {"type": "user", "sender_user": self.server.users[BOB], "date": 1}
        robot = {"id": 7, "is_bot": True, "first_name": "Robot"}
        for more in ({"forward_origin": origin}, {"via_bot": robot}):
            message = self.hears("/deploy", **more)
            self.assertEqual((message.body, message.extras.get("notice")), ("/deploy", True))

    def test_mentions(self) -> None:
        """People whom a message names by their number are reported."""
        mention = {"type": "text_mention", "offset": 0, "length": 3, "user": self.server.users[BOB]}
        self.hears("Bob!", entities=[mention])
        [(_, people)] = self.events.named("mention_received")
        self.assertEqual(people, [TelegramPerson(BOB)])

    def test_control_characters(self) -> None:
        """A text has none."""
        self.assertEqual(self.hears("a\x1b[31mb\x00").body, "ab")

    def test_edits(self) -> None:
        """An edit names the message."""
        message: Any = self.hears("!first")
        self.server.edit(GROUP, int(message.ref.id), "!second")
        self.wait()
        [(edited,)] = self.events.named("message_edited")
        self.assertEqual((edited.body, edited.edited, edited.ref), ("!second", True, message.ref))

    def test_replies(self) -> None:
        """An answer to a message is in the thread of that message, however long the chain is; the bot answers there."""
        for chat in (GROUP, ALICE):
            first: Any = self.hears("question", chat)
            second: Any = self.hears("answer", chat, reply_to=int(first.ref.id))
            third: Any = self.hears("!status", chat, reply_to=int(second.ref.id))
            self.assertEqual((first.thread, second.thread, third.thread), ("", first.ref.id, first.ref.id))
            self.backend.send_message(self.backend.build_reply(third, "fine"))
            self.clock.advance(1)
            self.assertEqual(self.server.own(chat)[-1]["reply_to_message"]["message_id"], int(first.ref.id))

    def test_topics(self) -> None:
        """What is written in a topic is answered there, also as a reply."""
        self.server.chats[GROUP].is_forum = True
        message: Any = self.hears("!status", topic=4)
        self.assertEqual((message.thread, message.ref.thread), ("topic:4", "topic:4"))
        for threaded in (False, True):
            self.backend.send_message(self.backend.build_reply(message, "fine", threaded=threaded))
            self.clock.advance(1)
            own = self.server.own(GROUP)[-1]
            self.assertEqual((own["message_thread_id"], own["is_topic_message"]), (4, True))
            self.assertEqual("reply_to_message" in own, threaded)

    def test_reactions(self) -> None:
        """Added and removed ones are reported, with the author of the message."""
        message: Any = self.hears("done", by=BOB)
        self.server.react(GROUP, int(message.ref.id), THUMB)
        self.server.react(GROUP, int(message.ref.id), FIRE)
        self.wait()
        reactions = [one for (one,) in self.events.named("reaction_changed")]
        shown = [(one.action, one.reaction_name) for one in reactions]
        self.assertEqual(shown, [("added", THUMB), ("added", FIRE), ("removed", THUMB)])
        self.assertEqual(reactions[0].reactor, TelegramPerson(ALICE))
        self.assertEqual(reactions[0].reacted_to_owner, TelegramPerson(BOB))
        self.assertEqual(MessageRef(**reactions[0].reacted_to), message.ref)

    def test_reactions_without_emoji(self) -> None:
        """Pictures of one's own have no name, and aren't reported."""
        message: Any = self.hears("done", by=BOB)
        own = {"type": "custom_emoji", "custom_emoji_id": "5"}
        base = {"chat": self.server.chats[GROUP].json, "message_id": int(message.ref.id), "date": 1, "old_reaction": []}
        self.server.report("message_reaction", {**base, "user": self.server.users[ALICE], "new_reaction": [own]})
        self.wait()
        self.assertEqual(self.events.named("reaction_changed"), [])

    def test_files(self) -> None:
        """A file is read when it is asked for, up to a size, and a caption is the text."""
        self.server.attach(GROUP, "!status.txt", b"one two")
        self.server.attach(GROUP, "largest", b"12345", kind="photo")
        self.wait()
        document, photo = (message.attachments[0] for message in self.events.messages)
        self.assertEqual([message.body for message in self.events.messages], ["", ""])
        self.assertEqual((document.name, document.size), ("!status.txt", 7))
        self.assertEqual((photo.name, photo.type), ("photo.jpg", "image/jpeg"))
        self.assertEqual([call for call in self.server.calls if "/file/" in call.path], [])
        for file, path, content in ((document, "F%21status.txt", b"one two"), (photo, "Flargest", b"12345")):
            self.http.respond("GET", f"{URL}/file/bot{TOKEN}/{path}", body=content)
            self.assertEqual(self.successResultOf(self.read(file, 100)), content)
        self.failureResultOf(self.read(document, 6), BodyTooLarge)
        message = self.hears("", document={"file_id": "F", "file_unique_id": "u"}, caption="!look")
        self.assertEqual((message.body, len(message.attachments)), ("!look", 1))

    def read(self, file: Any, most: int) -> Any:
        """Begin to read a file."""
        reading = Deferred.fromCoroutine(file.read(most))
        self.clock.advance(1)
        return reading

    def test_presses(self) -> None:
        """A press is acknowledged, with the reason if it counts for nothing, also if the bot fails."""
        self.perform("Deploy?", Wanted(choices=("yes", "no")))
        question = self.server.own(GROUP)[-1]["message_id"]
        self.events.refusal = "x" * 300
        self.server.press(GROUP, question, "1", by=BOB)
        self.wait()
        [(press,)] = self.events.named("choice_made")
        self.assertEqual((press.ref.id, str(press.by), press.number), (str(question), f"{GROUP}/{BOB}", 1))
        self.server.press(GROUP, question, "strange")
        self.events.choice_made = lambda *_: 1 / 0  # type: ignore[assignment]
        self.server.press(GROUP, question, "0")
        self.wait()
        shown = [(answer.get("text", "")[:21], answer.get("show_alert")) for answer in self.server.answers]
        has_no_effect = ("This button has no ef", True)
        self.assertEqual(shown, [("x" * 21, True), has_no_effect, has_no_effect])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RoomTests(TelegramCase):
    """Groups that the bot is in."""

    def test_membership(self) -> None:
        """Being removed is reported; messages wait, and are sent when the bot is back."""
        self.server.set_member(GROUP, "kicked")
        self.wait()
        [(room, who, by)] = self.events.named("room_left")
        self.assertEqual((str(room), who.person, by.person), (str(GROUP), str(BOT), str(ALICE)))
        self.assertEqual(self.backend.rooms(), [])
        self.perform("I am back").addErrback(lambda failure: failure.trap(RoomUnavailable))
        self.assertEqual(self.server.texts(GROUP), [])
        self.assertIn("removed by alice", str(self.backend.room_status(str(GROUP))))
        self.server.set_member(GROUP, "member")
        self.wait()
        self.assertEqual(self.server.texts(GROUP), ["I am back"])
        self.assertEqual(len(self.events.named("room_joined")), 1)

    def test_many_rooms_that_are_left(self) -> None:
        """Whoever adds the bot to ever more groups, and removes it, doesn't make it remember them all."""
        for number in range(1002):
            self.backend.note(str(-5000 - number), False, "removed")
        self.assertIsNone(self.backend.room_status("-5001"))
        self.assertIn("removed", str(self.backend.room_status("-6001")))
        self.assertTrue(self.backend.is_joined(str(GROUP)))

    def test_rooms_after_a_restart(self) -> None:
        """The bot knows its rooms, though Telegram doesn't list them, and asks for none of them again."""
        self.hears("hello", OTHER)
        self.stop()
        self.server.calls.clear()
        self.start()
        self.assertEqual(
            {str(room): room.joined for room in self.backend.rooms()}, {str(GROUP): True, str(OTHER): True}
        )
        self.assertEqual([call for call in self.server.calls if call.path.endswith("getChat")], [])

    def test_configured_room_without_the_bot(self) -> None:
        """Messages wait with the reason until somebody adds the bot."""
        self.stop()
        self.storage = type(self.storage)()
        self.server.chats[GROUP].members.pop(BOT)
        self.start()
        self.assertIn("Telegram doesn't let bots join", str(self.backend.room_status(str(GROUP))))
        self.perform("hello").addErrback(lambda failure: failure.trap(RoomUnavailable))
        self.server.set_member(GROUP, "member")
        self.wait()
        self.assertEqual(self.server.texts(GROUP), ["hello"])

    def test_supergroup(self) -> None:
        """A group that becomes a supergroup gets what is for the old id, and rules for it apply; also after a restart."""
        old, new = -77, -10077
        self.server.chats[old] = type(self.server.chats[GROUP])(old, "group", "Old", {ALICE: "creator", BOT: "member"})
        room: Any = self.hears("hello", old).to
        before, number = self.backend.build_identifier(str(old)), hash(room)
        self.server.migrate(old, new)
        self.wait()
        self.successResultOf(self.perform("to the new one", to=old))
        self.assertEqual(self.server.texts(new), ["to the new one"])
        self.assertEqual((str(room), room, hash(room)), (str(new), before, number))
        self.assertEqual(set(room.access_names("allow")), {str(old), str(new)})
        self.stop()
        self.start()
        self.assertEqual(str(self.backend.build_identifier(str(old))), str(new))

    def test_supergroup_without_the_update(self) -> None:
        """The refusal of a message has the new id, too."""
        old, new = -77, -10077
        self.server.chats[old] = type(self.server.chats[GROUP])(old, "group", "Old", {ALICE: "creator", BOT: "member"})
        self.server.migrate(old, new)
        self.server.updates.clear()
        self.successResultOf(self.perform("hello", to=old))
        self.assertEqual(self.server.texts(new), ["hello"])

    def test_supergroup_that_is_heard_of_first(self) -> None:
        """The old id is also stored if a message from the supergroup comes before the update about it."""
        old, new = -77, -10077
        self.server.chats[old] = type(self.server.chats[GROUP])(old, "group", "Old", {ALICE: "creator", BOT: "member"})
        self.hears("hello", old)
        self.server.migrate(old, new)
        late = self.server.updates.pop(0)
        self.hears("here", new)
        self.server.report("message", late["message"])
        self.wait()
        self.stop()
        self.start()
        self.assertEqual(self.backend.names_of(str(new)), [str(old)])

    def test_own_commands(self) -> None:
        """The description is the topic; what Telegram doesn't allow is refused with the reason."""
        room: Any = self.backend.build_identifier(str(GROUP))
        self.successResultOf(self.backend.set_topic(room, "Release day"))
        self.assertEqual(self.successResultOf(self.backend.topic(room)), "Release day")
        for action in (self.backend.create, self.backend.invite, self.backend.members):
            with self.assertRaisesRegex(Exception, "Telegram"):
                action(room)

    def test_stored_identifiers(self) -> None:
        """They can be stored and compared."""
        message: Any = self.hears("hello")
        for one in (message.frm, message.to, TelegramPerson(ALICE, "Alice", "Lee", "al")):
            copy = pickle.loads(pickle.dumps(one))
            self.assertEqual((copy, str(copy), hash(copy)), (one, str(one), hash(one)))
        with self.assertRaises(NotImplementedError):
            pickle.loads(pickle.dumps(message.to)).join()


class WebhookTests(TelegramCase):
    """Updates that Telegram posts."""

    identity = {"token": TOKEN, "webhook": "https://bot.example.org/hooks/telegram"}

    def post(self, number: int = 0) -> None:
        """Pass an update to the route, as the web server does with verified ones."""
        hook = self.routes[-1][1][0]
        update = self.server.updates[number]
        body = json.dumps(update).encode()
        done = Deferred.fromCoroutine(self.backend._updates._posted(SimpleNamespace(get_data=lambda: body)))
        self.successResultOf(done)
        self.assertEqual(hook.declaration.rule, "/hooks/telegram")

    def test_post(self) -> None:
        """An update runs once, also if Telegram posts it again, or after a restart."""
        self.assertEqual(self.server.webhook["url"], self.identity["webhook"])
        self.server.say(GROUP, "!status")
        self.post()
        self.post()
        self.assertEqual(self.events.texts, ["!status"])
        secret = self.server.webhook["secret_token"]
        self.stop()
        self.start()
        self.post()
        self.assertEqual((self.events.texts, self.server.webhook["secret_token"]), ([], secret))

    def test_routes(self) -> None:
        """The route is there once, also after a lost connection."""
        self.server.webhook["url"] = "https://other.example.org/x"
        self.wait(61)
        [notice] = self.notices
        self.assertIn("another program", notice)
        self.wait(310)
        self.assertEqual(len(self.events.named("backend_connected")), 2)
        self.assertEqual([len(hooks) for _, hooks in self.routes], [1])

    def test_secret_that_cannot_be_stored(self) -> None:
        """The next session has a route all the same."""
        self.stop()
        self.routes.clear()
        self.storage = type(self.storage)()
        set_value, DurableState.set = DurableState.set, lambda *_: fail(StorageError("disk full"))  # type: ignore[assignment,method-assign]
        self.addCleanup(setattr, DurableState, "set", set_value)
        self.start()
        DurableState.set = set_value  # type: ignore[method-assign]
        self.wait(10)
        self.server.say(GROUP, "!status")
        self.post()
        self.assertEqual(self.events.texts, ["!status"])
        self.flushLoggedErrors(StorageError)

    def test_unreachable(self) -> None:
        """If Telegram can't reach the bot, administrators are notified."""
        self.server.webhook_error = "SSL error"
        self.wait(61)
        self.assertIn("SSL error", self.notices[0])

    def test_back_to_polling(self) -> None:
        """Without the key, the bot deletes its webhook, and goes on where it was."""
        self.server.say(GROUP, "!one")
        self.post()
        self.stop()
        self.identity = {"token": TOKEN}
        self.start()
        self.hears("!two")
        self.assertEqual((self.server.webhook, self.events.texts), ({}, ["!two"]))

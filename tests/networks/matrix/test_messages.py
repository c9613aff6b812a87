"""Messages on Matrix in both directions, with a double on the loopback interface."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from errklein.chat import AWAY, Message, MessageRef
from errklein.chat.operations import Kind, Wanted
from errklein.http_client import BodyTooLarge
from errklein.networks._connection import Backoff
from errklein.networks.matrix.identifiers import MatrixOccupant, MatrixPerson
from tests import needs_network
from tests.networks.double import Answer, Fault
from tests.networks.matrix.people import Connected, Person
from tests.networks.matrix.server import started

THUMB = "\N{THUMBS UP SIGN}"


class MessageCase(TestCase):
    """A bot and alice in a room."""

    timeout = 60

    async def setUp(self) -> None:
        """Start the double, and let the bot join the room."""
        needs_network()
        self.patch(Backoff, "FIRST", 0.02)
        self.server = started(self, the_reactor)
        self.alice = await self.person("alice")
        self.bob = await self.person("bob")
        await self.person("err")
        self.room = await self.alice.make_room(self.bob.user, "@err:localhost", room_alias_name="ops")
        await self.bob.call("POST", f"/join/{quote(self.room)}")
        identity = {"user": "err", "password": "pw-err"}
        self.bot = Connected(the_reactor, self.server.url, identity, CHATROOM_PRESENCE=("#ops:localhost",))
        self.addCleanup(lambda: self.bot.stop())
        await self.bot.start()
        self.events = self.bot.events
        await self.events.until(lambda: self.bot.backend.membership.is_joined(self.room), "joining")

    async def person(self, name: str) -> Person:
        """Return a person with an account."""
        return await Person(the_reactor, self.server.url, name).register()

    async def put(self, kind: str, content: Any, by: Person | None = None) -> str:
        """Send any event, and return its id."""
        path = f"/rooms/{quote(self.room)}/send/{kind}/{next(Person._keys)}-any"
        return str((await (by or self.alice).call("PUT", path, content))["event_id"])

    async def marked(self) -> Message:
        """Wait until the bot has heard all that was said before."""
        text = f"mark {next(Person._keys)}"
        await self.alice.say(self.room, text)
        return await self.events.hear(text)

    async def named(self, name: str) -> Any:
        """Wait for a call of BackendEvents, and return the arguments of the latest."""
        return (await self.events.until(lambda: self.events.named(name), name))[-1]

    def perform(
        self, body: str = "", wanted: Wanted | None = None, file: bytes = b"", **attributes: Any
    ) -> Deferred[Any]:
        """Let the bot do something in the room."""
        message = Message(body, to=self.bot.backend.build_identifier(self.room))
        vars(message).update(attributes)
        return self.bot.backend.perform(message, wanted or Wanted(), file)

    @property
    def own(self) -> list[dict[str, Any]]:
        """The contents of the bot's messages in the room."""
        events = (event for _, event in self.server.rooms[self.room].events)
        return [
            one["content"] for one in events if one["type"] == "m.room.message" and one["sender"] == "@err:localhost"
        ]

    def last_id(self) -> str:
        """Return the id of the latest event in the room."""
        return str(self.server.rooms[self.room].events[-1][1]["event_id"])

    def ref(self, id: str, thread: str = "") -> MessageRef:
        """Return the address of a message in the room."""
        return MessageRef("matrix", self.room, id, thread)


class ReceivedTests(MessageCase):
    """What plugins get of what people do."""

    async def test_kinds(self) -> None:
        """Notices, which bots send, and actions are marked, so that notices run no command."""
        await self.alice.say(self.room, "!status", msgtype="m.notice")
        await self.alice.say(self.room, "waves", msgtype="m.emote")
        self.assertTrue((await self.events.hear("!status")).extras["notice"])
        self.assertTrue((await self.events.hear("waves")).extras["action"])
        self.assertNotIn("notice", (await self.marked()).extras)

    async def test_what_a_message_has(self) -> None:
        """The id, the thread, the time, the sender with name and id, and the room."""
        root = await self.alice.say(self.room, "root")
        relation = {"rel_type": "m.thread", "event_id": root, "is_falling_back": True}
        id = await self.alice.say(self.room, "below", **{"m.relates_to": relation})
        message = await self.events.hear("below")
        self.assertEqual((message.ref, message.thread), (self.ref(id, root), root))
        self.assertLess(abs(message.sent_at - time.time()), 60)
        self.assertEqual(
            (message.frm.aclattr, message.frm.nick, str(message.to)), (self.alice.user, "alice", self.room)
        )
        reply = self.bot.backend.build_reply(message, "answer")
        self.assertEqual((reply.thread, reply.to), (root, message.to))

    async def test_connection_that_breaks_while_the_disk_is_slow(self) -> None:
        """A message that was read before the connection breaks is handled, since nothing reads it again."""
        writing: list[Deferred[Any]] = []

        def in_background(work: Any) -> Deferred[Any]:
            writing.append(Deferred())
            return writing[-1]

        patched = self.patch(self.bot.storage, "in_background", in_background)
        await self.alice.say(self.room, "!status")
        await self.events.until(lambda: writing, "the write")
        self.assertEqual(self.events.texts, [])
        patched.restore()
        self.server.fail("PUT .*/send/", Fault(Answer(502, b"")))
        await self.perform("sent again")
        self.assertEqual(self.events.texts, ["!status"])
        self.assertEqual(len(self.events.named("backend_disconnected")), 1)

    async def test_own_messages(self) -> None:
        """The bot doesn't hear itself."""
        await self.perform("!status")
        await self.marked()
        self.assertNotIn("!status", self.events.texts)

    async def test_people_with_the_same_name(self) -> None:
        """Their ids are shown, so that nobody can pass for somebody else."""
        await self.bob.call("PUT", f"/profile/{self.bob.user}/displayname", {"displayname": "alice"})
        await self.bob.say(self.room, "I am alice")
        message = await self.events.hear("I am alice")
        self.assertEqual((message.frm.nick, message.frm.aclattr), (f"alice ({self.bob.user})", self.bob.user))

    async def test_old_replies(self) -> None:
        """The quote that old clients put before a reply isn't part of the text."""
        relation = {"m.in_reply_to": {"event_id": await self.alice.say(self.room, "question")}}
        await self.alice.say(
            self.room, "> <@bob:localhost> question\n> more\n\n!answer\n> kept", **{"m.relates_to": relation}
        )
        await self.events.hear("!answer\n> kept")

    async def test_edits(self) -> None:
        """An edit is an event of its own, and names the message."""
        first = await self.alice.say(self.room, "!first")
        await self.put("m.room.message", edited(first, "!second"))
        (message,) = await self.named("message_edited")
        self.assertEqual((message.body, message.edited, message.ref.id), ("!second", True, first))
        self.assertNotIn("* !second", self.events.texts)

    async def test_edits_by_others(self) -> None:
        """Homeservers pass on what anybody claims to be an edit; only that of the sender counts."""
        first = await self.alice.say(self.room, "!first")
        await self.put("m.room.message", edited(first, "!forged"), by=self.bob)
        await self.marked()
        self.assertEqual(self.events.named("message_edited"), [])

    async def test_edits_of_old_messages(self) -> None:
        """The sender of a message from before the bot's start is asked for."""
        old = await self.alice.say(self.room, "old")
        await self.marked()
        await self.bot.restart()
        self.events = self.bot.events
        await self.put("m.room.message", edited(old, "!forged"), by=self.bob)
        await self.put("m.room.message", edited("$unknown", "!forged"))
        await self.put("m.room.message", edited(old, "new"))
        (message,) = await self.named("message_edited")
        self.assertEqual(message.body, "new")

    async def test_deletions(self) -> None:
        """A deletion names the message and who has deleted it."""
        id = await self.alice.say(self.room, "oops")
        await self.events.hear("oops")
        await self.alice.call("PUT", f"/rooms/{quote(self.room)}/redact/{quote(id)}/r1")
        ref, by = await self.named("message_deleted")
        self.assertEqual((ref, by), (self.ref(id), MatrixPerson(self.alice.user, "matrix")))

    async def test_reactions(self) -> None:
        """A reaction is added, and taken back by its deletion."""
        id = await self.bob.say(self.room, "done")
        reaction = await self.put("m.reaction", reacted(id, THUMB + "\ufe0f"))
        (added,) = await self.named("reaction_changed")
        self.assertEqual((added.action, added.reaction_name), ("added", THUMB))
        self.assertEqual((added.reactor.person, added.reacted_to_owner.person), (self.alice.user, self.bob.user))
        self.assertEqual(MessageRef(**added.reacted_to), self.ref(id))
        await self.alice.call("PUT", f"/rooms/{quote(self.room)}/redact/{quote(reaction)}/r2")
        await self.events.until(lambda: len(self.events.named("reaction_changed")) > 1, "the removal")
        self.assertEqual((await self.named("reaction_changed"))[0].action, "removed")
        self.assertEqual(self.events.named("message_deleted"), [])

    async def test_mentions(self) -> None:
        """Plugins get the people whom a message is meant for."""
        await self.alice.say(
            self.room, "hello", **{"m.mentions": {"user_ids": ["@err:localhost", "nobody", self.bob.user]}}
        )
        message, people = await self.named("mention_received")
        self.assertEqual(message.body, "hello")
        self.assertEqual(people, [self.bot.backend.bot_identifier, MatrixPerson(self.bob.user, "matrix")])

    async def test_files(self) -> None:
        """A file is read on demand up to a limit, and its name runs no command."""
        self.server.media["m1"] = "text/plain", b"content"
        await self.put(
            "m.room.message", {"msgtype": "m.file", "body": "!status", "url": "mxc://localhost/m1", "info": {"size": 7}}
        )
        captioned = {"msgtype": "m.image", "body": "look", "filename": "a\nb.png", "url": "mxc://localhost/m1"}
        await self.put("m.room.message", captioned)
        await self.marked()
        first, second = self.events.messages[-3:-1]
        self.assertEqual((first.body, first.attachments[0].name, first.attachments[0].size), ("", "!status", 7))
        self.assertEqual(await first.attachments[0].read(), b"content")
        self.assertEqual((second.body, second.attachments[0].name), ("look", "a b.png"))
        with self.assertRaises(BodyTooLarge):
            await second.attachments[0].read(3)

    async def test_private(self) -> None:
        """A private conversation is a direct message, and so is the answer, in the room where the person wrote last."""
        rooms = [
            await self.alice.make_room("@err:localhost", preset="trusted_private_chat", is_direct=True) for _ in "12"
        ]
        for room in rooms:
            await self.events.until(lambda room=room: self.bot.backend.membership.is_joined(room), "joining")
        for number, room in enumerate([*rooms, rooms[0]]):
            await self.alice.say(room, f"question {number}")
            message = await self.events.hear(f"question {number}")
            self.assertTrue(message.is_direct)
            await self.bot.backend.send_message(self.bot.backend.build_reply(message, f"answer {number}"))
            self.assertEqual(self.server.bodies(room)[-1], f"answer {number}")

    async def test_presence(self) -> None:
        """Presences of people reach plugins."""
        await self.alice.call(
            "PUT", f"/presence/{self.alice.user}/status", {"presence": "unavailable", "status_msg": "lunch"}
        )
        await self.events.until(
            lambda: any(one[0].status == AWAY for one in self.events.named("presence_changed")), "away"
        )
        shown = [one[0] for one in self.events.named("presence_changed") if one[0].status == AWAY][-1]
        self.assertEqual((shown.identifier.person, shown.message), (self.alice.user, "lunch"))

    async def test_hostile_events(self) -> None:
        """Whatever a homeserver passes on, the bot goes on, and no text has control characters or lone surrogates."""
        room = self.server.rooms[self.room]
        contents: list[Any] = [
            {},
            {"msgtype": "m.text"},
            {"msgtype": 7, "body": []},
            {"msgtype": "m.text", "body": {"a": 1}},
            {"msgtype": "m.text", "body": "x", "m.relates_to": "thread"},
            {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.replace", "event_id": 3}},
            {
                "msgtype": "m.text",
                "body": "x",
                "m.relates_to": {"rel_type": "m.replace", "event_id": "$e1"},
                "m.new_content": 4,
            },
            {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": "m.thread", "event_id": ["$e1"]}},
            {"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": "@err:localhost"}},
            {"msgtype": "m.text", "body": "x", "m.mentions": {"user_ids": [None, {}, "@\n:x"]}},
            {"msgtype": "m.file", "body": "x", "url": {}, "info": []},
            {"msgtype": "m.file", "body": "", "url": "mxc://", "info": {"size": "big", "mimetype": 4}},
            {"m.relates_to": {"rel_type": "m.annotation", "event_id": "$e1", "key": {}}},
            {"redacts": {}},
            {"msgtype": "m.text", "body": "> " * 30_000, "m.relates_to": {"m.in_reply_to": {}}},
        ]
        for kind in ("m.room.message", "m.reaction", "m.room.redaction", "org.example.unknown"):
            for content in contents:
                self.server.add(room, self.alice.user, kind, content)
        for sender in ("alice", "@alice", "@a\nb:localhost", "@" + "a" * 300 + ":localhost"):
            self.server.add(room, sender, "m.room.message", {"msgtype": "m.text", "body": "from nobody"})
        self.server.add(
            room, self.alice.user, "m.room.message", {"msgtype": "m.text", "body": "a\x00b\x1b[31mc\ud800\r\nd"}
        )
        await self.events.hear("abc\ufffd\nd")
        await self.marked()
        self.assertNotIn("from nobody", self.events.texts)


class SentTests(MessageCase):
    """What people see of what the bot does."""

    async def test_notices_and_actions(self) -> None:
        """`extras` choose the kind of a message."""
        await self.perform("a", extras={"notice": True})
        await self.perform("b", extras={"action": True})
        await self.perform("c")
        self.assertEqual([one["msgtype"] for one in self.own], ["m.notice", "m.emote", "m.text"])

    async def test_replies(self) -> None:
        """An answer with `in_reply_to` names the message."""
        id = await self.alice.say(self.room, "question")
        await self.perform("answer", parent=await self.events.hear("question"))
        self.assertEqual(self.own[-1]["m.relates_to"], {"m.in_reply_to": {"event_id": id}})

    async def test_order_while_an_alias_is_looked_up(self) -> None:
        """What is sent to an alias comes before what is sent to its room when the id is known."""
        alias, backend = "#second:localhost", self.bot.backend
        await self.alice.call("PUT", f"/directory/room/{quote(alias)}", {"room_id": self.room})
        self.server.fail("PUT .*/send/m.room.message", Fault(delay=0.2))
        sent = [backend.send_message(Message(text, to=backend.build_identifier(alias))) for text in ("one", "two")]
        await backend.resolve(alias)
        sent += [backend.send_message(Message(text, to=backend.build_identifier(alias))) for text in ("three", "four")]
        for each in sent:
            await each
        self.assertEqual([one["body"] for one in self.own], ["one", "two", "three", "four"])

    async def test_edit_and_delete(self) -> None:
        """An edit replaces the text, and a deletion removes the message with its edits, which homeservers keep."""
        sent = self.perform("one")
        handle = await sent
        await self.perform("two", Wanted(Kind.EDIT, handle))
        self.assertEqual(self.own[-1]["m.relates_to"], {"rel_type": "m.replace", "event_id": sent.refs[0].id})
        self.assertEqual(self.own[-1]["m.new_content"]["body"], "two")
        await self.perform("", Wanted(Kind.DELETE, handle))
        self.assertEqual(self.own, [{}, {}])

    async def test_reactions(self) -> None:
        """A second time is no error, and a reaction is taken back also by a process that hasn't added it."""
        target = self.ref(await self.alice.say(self.room, "done"))
        await self.perform("", Wanted(Kind.REACT, target, emoji=THUMB))
        await self.perform("", Wanted(Kind.REACT, target, emoji=THUMB))
        added = [one for _, one in self.server.rooms[self.room].events if one["type"] == "m.reaction"]
        self.assertEqual([one["content"] for one in added], [reacted(target.id, THUMB)])
        await self.bot.restart()
        await self.perform("", Wanted(Kind.UNREACT, target, emoji=THUMB))
        self.assertEqual(added[0]["content"], {})
        await self.perform("", Wanted(Kind.UNREACT, target, emoji=THUMB))

    async def test_failing_questions(self) -> None:
        """What the bot must ask before it changes something may fail; it is done in the next session."""
        handle = await self.perform("one")
        self.server.fail("/relations/", Fault(Answer(502)))
        await self.perform("", Wanted(Kind.DELETE, handle))
        await self.perform("two")
        self.assertEqual([one.get("body") for one in self.own], [None, "two"])

    async def test_file(self) -> None:
        """A file is uploaded, and shown with its type and size."""
        wanted = Wanted(Kind.FILE, file="plot.png", type="image/png", thread=await self.alice.say(self.room, "root"))
        await self.perform("", wanted, b"picture")
        content = self.own[-1]
        self.assertEqual((content["msgtype"], content["body"]), ("m.image", "plot.png"))
        self.assertEqual(content["info"], {"mimetype": "image/png", "size": 7})
        self.assertEqual(content["m.relates_to"]["event_id"], wanted.thread)
        self.assertEqual(self.server.media[content["url"].rpartition("/")[2]], ("image/png", b"picture"))

    async def test_answers_to_people(self) -> None:
        """A prefix with the name of a person notifies that person, and nobody else."""
        message, frm = Message("done", to=self.bot.backend.build_identifier(self.room)), (await self.marked()).frm
        self.bot.backend.prefix_groupchat_reply(message, frm)
        await self.bot.backend.send_message(message)
        self.assertEqual(
            (self.own[-1]["body"], self.own[-1]["m.mentions"]), ("alice: done", {"user_ids": [self.alice.user]})
        )

    async def test_hostile_name(self) -> None:
        """A display name before an answer is shown as text."""
        message = Message("done", to=self.bot.backend.build_identifier(self.room))
        self.bot.backend.prefix_groupchat_reply(
            message, MatrixPerson(self.bob.user, "matrix", "# [x](http://evil) @room")
        )
        await self.bot.backend.send_message(message)
        self.assertNotIn("<a", self.own[-1].get("formatted_body", ""))
        self.assertEqual(self.own[-1]["m.mentions"], {"user_ids": [self.bob.user]})

    async def test_to_an_occupant(self) -> None:
        """What is sent to an occupant of a room is private."""
        frm = (await self.marked()).frm
        self.assertIsInstance(frm, MatrixOccupant)
        before = len(self.own)
        sent = self.bot.backend.send_message(Message("secret", to=frm))
        room = await self.alice.invitation()
        await sent
        self.assertEqual((len(self.own), self.server.bodies(room)), (before, ["secret"]))

    async def test_large_texts(self) -> None:
        """A text whose HTML is too large for an event is split by the size of both forms."""
        line = f"*{chr(0x1F600) * 100}*\n"
        await self.perform("begin\n" + line * 300 + "end")
        self.assertGreater(len(self.own), 2)
        shown = "".join(one["body"] for one in self.own)
        self.assertEqual((shown.count(chr(0x1F600)), shown[:5], shown[-3:]), (30_000, "begin", "end"))

    async def test_shrinking_edit(self) -> None:
        """A text of several parts is edited to one, and the rest is deleted."""
        sent = self.perform(("word " * 20 + "\n") * 1000)
        handle = await sent
        self.assertGreater(len(self.own), 1)
        await self.perform("short", Wanted(Kind.EDIT, handle))
        self.assertEqual([one for one in self.own if one][-1]["m.new_content"]["body"], "short")
        self.assertEqual(len([one for one in self.own if one]), 2)

    async def test_presence(self) -> None:
        """The bot's presence is shown, and stays after a reconnection."""
        self.bot.backend.change_presence("dnd", "maintenance")
        shown = {"presence": "unavailable", "status_msg": "maintenance"}
        account = self.server.accounts["@err:localhost"]
        await self.events.until(lambda: account.presence == shown, "the presence")
        self.server.fail("/sync", Fault(Answer(500)))
        await self.marked()
        await self.events.until(lambda: len(self.events.named("backend_connected")) > 1, "the reconnection")
        await self.marked()
        self.assertEqual(account.presence, shown)


def edited(id: str, text: str) -> dict[str, Any]:
    """Return the content of an edit, as Element sends it."""
    new = {"msgtype": "m.text", "body": text}
    return {**new, "body": f"* {text}", "m.new_content": new, "m.relates_to": {"rel_type": "m.replace", "event_id": id}}


def reacted(id: str, emoji: str) -> dict[str, Any]:
    """Return the content of a reaction."""
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": id, "key": emoji}}

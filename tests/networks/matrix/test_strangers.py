"""Attacks by strangers on Matrix, and by homeservers, with a double on the loopback interface."""

from __future__ import annotations

import json
from typing import Any

from errklein.chat import Message
from errklein.chat.operations import Kind, Wanted
from errklein.networks.json_client import RequestRefused
from errklein.networks.matrix import _backend
from errklein.networks.matrix.identifiers import MatrixPerson
from errklein.networks.outbox import _lanes
from errklein.text.masking import masker
from tests.networks.double import Answer, Fault
from tests.networks.matrix.server import FakeRoom, limited
from tests.networks.matrix.test_messages import MessageCase


class StrangersTests(MessageCase):
    """What others may do, who only have accounts."""

    def invite(self, rid: str, by: str = "@mallory:evil", **fields: Any) -> FakeRoom:
        """Invite the bot to a room of another homeserver."""
        room = self.server.rooms[rid] = FakeRoom(rid)
        self.server.add(room, by, "m.room.create", {"room_version": "10"}, "")
        self.server.member(room, by, by, "join")
        self.server.member(room, by, "@err:localhost", "invite", is_direct=True, **fields)
        return room

    async def test_room_with_an_invalid_id(self) -> None:
        """An invitation to a room whose id isn't valid keeps the bot from accepting no other one."""
        self.invite("!a b:evil")
        other = await self.alice.make_room(self.bot.backend.client.user, preset="private_chat")
        await self.events.until(lambda: self.bot.backend.membership.is_joined(other), "joining")

    async def test_invitation_of_an_administrator(self) -> None:
        """It is accepted before those of strangers."""
        self.server.fail("POST .*/join/%21f", Fault(delay=0.05), times=60)
        for number in range(60):
            self.invite(f"!f{number}:evil")
        other = await self.alice.make_room("@err:localhost", preset="private_chat")
        await self.events.until(lambda: self.bot.backend.membership.is_joined(other), "joining")
        self.assertLess(len(self.server.called("POST .*/join/")), 20)

    async def test_too_many_invitations(self) -> None:
        """If the homeserver limits how often the bot joins rooms, it joins the next ones later."""
        self.server.fail("POST .*/join/", Fault(limited(20)), times=2)
        other = await self.alice.make_room("@err:localhost", preset="private_chat")
        await self.events.until(lambda: self.bot.backend.membership.is_joined(other), "joining")

    async def test_reaction_in_a_conversation_that_is_over(self) -> None:
        """A reaction to what was said where the bot isn't any more delays nothing that is for the same person."""
        room = await self.bob.make_room("@err:localhost", preset="trusted_private_chat", is_direct=True)
        await self.bob.say(room, "hello")
        message = await self.events.hear("hello")
        await self.bob.do(room, "kick", user_id="@err:localhost")
        await self.events.until(lambda: self.events.named("room_left"), "leaving")
        reply = self.bot.backend.build_reply(message, "")
        reaction = self.bot.backend.perform(reply, Wanted(Kind.REACT, message.ref, emoji="x"))
        sent = self.bot.send(self.bob.user, "later")
        self.assertEqual(await self.bob.texts(await self.bob.invitation()), ["later"])
        await sent
        with self.assertRaises(RequestRefused):
            await reaction

    async def test_surrogates_in_what_the_bot_sends(self) -> None:
        """Lone surrogates, which JSON of webhooks may have, are no reason to send nothing else."""
        target = self.ref(await self.alice.say(self.room, "hello"), "")
        await self.perform("", Wanted(Kind.REACT, target, emoji="\ud800"))
        await self.perform("", Wanted(Kind.FILE, file="\ud800.txt", type="text/plain\ud800"), b"x")
        await self.perform("text", Wanted(thread="$e\ud800"))
        self.assertEqual([one["body"] for one in self.own], ["?.txt", "text"])
        self.assertEqual(self.events.named("backend_disconnected"), [])

    async def test_people_of_a_server_that_hangs(self) -> None:
        """People whose homeserver doesn't answer delay nothing that is for others."""
        self.server.fail("GET .*/profile/.*mallory", Fault(hangs=True), times=100)
        waiting = [self.bot.send(f"@mallory{number}:evil", "for you") for number in range(10)]
        for each in waiting:
            each.addErrback(lambda failure: None)
        sent = self.perform("for all").addTimeout(5, self.bot.reactor)
        await sent
        self.assertEqual(self.own[-1]["body"], "for all")

    async def test_names(self) -> None:
        """Display names are short, and have one line, so that nobody makes the bot send long texts."""
        room = self.server.rooms[self.room]
        self.server.member(room, self.bob.user, self.bob.user, "join", displayname="a\u202e\n\x1b[31m" + "b" * 60_000)
        await self.bob.say(self.room, "hello")
        nick = (await self.events.hear("hello")).frm.nick
        self.assertLessEqual(len(nick), 200)
        self.assertNotIn("\n", nick)

    async def test_name_of_a_file(self) -> None:
        """The name of a file runs no command, also if it has characters that are removed."""
        for name in ("!status\u202e", "!status\x00", "!status\r\n"):
            await self.alice.say(self.room, name, msgtype="m.file", url="mxc://localhost/x", filename=name)
        await self.marked()
        self.assertEqual([text for text in self.events.texts if "status" in text], [])

    async def test_too_much_at_once(self) -> None:
        """If others have written more than the bot reads at once, it goes on. What it hasn't read is a gap."""
        other = await self.alice.make_room(self.bob.user, self.bot.backend.client.user)
        await self.events.until(lambda: self.bot.backend.membership.is_joined(other), "joining")
        self.patch(_backend, "LARGEST", 800_000)
        await self.bot.stop()
        for number in range(50):
            for room in (self.room, other):
                await self.alice.say(room, f"{number} " + "x" * 10_000)
        self.bot.make()
        self.events = (await self.bot.start()).events
        await self.marked()
        await self.events.until(lambda: len(self.events.delayed) == 98, "reading both gaps")

    async def test_name_before_an_answer(self) -> None:
        """A person's name mentions nobody, also in a message that may."""
        for name in ("@room", self.bob.user):
            message = Message("done @room", to=self.bot.backend.build_identifier(self.room))
            message.mentions = True
            self.bot.backend.prefix_groupchat_reply(message, MatrixPerson(self.alice.user, "matrix", name))
            message.body = message.body.removesuffix("@room")
            await self.bot.backend.send_message(message)
            self.assertEqual(self.own[-1]["m.mentions"], {"user_ids": [self.alice.user]})


class ServersTests(MessageCase):
    """What a homeserver may answer."""

    async def test_token_in_an_error(self) -> None:
        """An error that repeats the access token, which the bot got for its password, is masked in the log."""
        calls = self.server.called("PUT .*/account_data|GET .*/profile")
        token = next(call.headers["authorization"] for call in calls[::-1]).removeprefix("Bearer ")
        self.assertNotIn(token, masker.known(f"Unknown token: {token}"))

    async def test_surrogates(self) -> None:
        """Ids with lone surrogates belong to nobody."""
        room = self.server.rooms[self.room]
        hostile = "@\ud800:localhost"
        self.server.add(room, hostile, "m.room.message", {"msgtype": "m.text", "body": "from nobody"})
        self.server.member(room, hostile, hostile, "join")
        await self.marked()
        self.assertEqual(self.events.named("backend_disconnected"), [])

    async def test_odd_answers(self) -> None:
        """Whatever is in a response, what else is in it is read."""
        member = {
            "type": "m.room.member",
            "state_key": "@err:localhost",
            "sender": "@x:y",
            "content": {"is_direct": True},
        }
        said = {"type": "m.room.message", "sender": "@x:y", "content": {"msgtype": "m.text", "body": "x"}}
        odd = {"type": [], "event_id": {}, "sender": 5, "state_key": [], "unsigned": [], "origin_server_ts": 10**400}
        for number, rooms in enumerate(
            [
                {"join": {"!other": {"timeline": {"events": 5}}}},
                {"join": {"nonsense": {"timeline": {"events": [said]}}}},
                {"invite": {"nonsense": {"invite_state": {"events": [member]}}}},
                {"invite": {"!a": {"invite_state": {"events": [{"type": [], "state_key": {}}, member]}}}},
                {"leave": {"nonsense": {"timeline": {"events": [member]}}}},
                {"join": {"!other": {"timeline": {"events": [odd]}}}},
            ]
        ):
            message = {
                **said,
                "event_id": f"$heard{number}",
                "content": {"msgtype": "m.text", "body": f"heard {number}"},
            }
            joined = {**rooms.get("join", {}), self.room: {"timeline": {"events": [message]}}}
            answer = {"next_batch": f"s{self.server.position}", "rooms": {**rooms, "join": joined}}
            self.server.fail("GET .*/sync", Fault(Answer(200, answer)))
            await self.alice.say(self.room, "go on")
            await self.events.hear(f"heard {number}")
        self.assertEqual(self.events.named("backend_disconnected"), [])

    async def test_deep_event(self) -> None:
        """An event that is nested too deeply is read without what is too deep, once, and the next ones are read, too."""
        said = {"type": "m.room.message", "sender": "@x:y", "event_id": "$deep"}
        said["content"] = {"msgtype": "m.text", "body": "deep", "extra": "DEEP"}
        rooms = {"join": {self.room: {"timeline": {"events": [said]}}}}
        answer = json.dumps({"next_batch": f"s{self.server.position}", "rooms": rooms})
        deep = answer.replace('"DEEP"', "[" * 30_000 + "]" * 30_000).encode()
        self.server.fail("GET .*/sync", Fault(Answer(200, deep)))
        await self.alice.say(self.room, "go on")
        await self.marked()
        self.assertEqual(self.events.texts.count("deep"), 1)
        self.assertEqual(self.events.named("backend_disconnected"), [])

    async def test_pause(self) -> None:
        """A pause of any length ends."""
        self.patch(_lanes, "LONGEST_PAUSE", 0.05)
        for value in (10**400, float("inf"), float("nan"), True, "x", [], -1):
            refused = {"errcode": "M_LIMIT_EXCEEDED", "error": "x" * 1000, "retry_after_ms": value}
            self.server.fail("PUT .*/send/m.room.message/", Fault(Answer(429, refused)))
            await self.perform(f"late {value!r:.10}")
        self.assertEqual(len(self.own), 7)

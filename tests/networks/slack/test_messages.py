"""Tests of messages from and to Slack."""

from __future__ import annotations

import json
from typing import Any

from errklein.chat import REACTION_ADDED, REACTION_REMOVED, Card, Message
from errklein.chat.operations import Kind, Wanted
from errklein.networks.json_client import RequestRefused
from errklein.networks.slack._client import EPHEMERAL_FOR
from tests.networks.slack.server import ALICE, BOB, BOT, BOT_ID, DEV, OPS, TOKEN
from tests.networks.slack.workspace import BASE, BotCase


class ReceivedTests(BotCase):
    """What people say."""

    def test_attributes(self) -> None:
        """A message has the attributes that plugins know from errbot, and the event."""
        self.online()
        ts = self.say("hello", thread="1700000000.000001")
        [message] = self.events.messages
        sender: Any = message.frm
        self.assertEqual((sender.userid, sender.aclattr, sender.person), (ALICE, ALICE, ALICE))
        self.assertEqual((sender.nick, sender.username, sender.fullname), ("alice", "alice", "Alice"))
        self.assertEqual((sender.email, sender.domain), ("alice@example.org", "example"))
        self.assertEqual((sender.channelid, sender.channelname, sender.room.name), (OPS, "ops", "ops"))
        self.assertEqual((message.ref.id, message.thread), (ts, "1700000000.000001"))  # type: ignore[union-attr]
        self.assertEqual(message.extras["slack_event"]["text"], "hello")
        self.assertAlmostEqual(message.sent_at, self.clock.seconds(), 0)

    def test_as_typed(self) -> None:
        """Slack's markup becomes what people have typed."""
        self.online()
        for sent, typed in (
            ("a &lt;b&gt; &amp;amp;", "a <b> &amp;"),
            (f"!kick <@{BOB}>", f"!kick <@{BOB}>"),
            (f"!kick <@{BOB}|bob>", f"!kick <@{BOB}>"),
            ("in <#C0OPS0000|ops> and <#C0DEV0000>", "in #ops and <#C0DEV0000>"),
            ("<!here> <!subteam^S1|@team>", "@here @team"),
            ("<https://a.org/> <http://a.org|a.org> <https://a.org|this>", "https://a.org/ a.org this (https://a.org)"),
            ("<mailto:a@b.org|a@b.org>", "a@b.org"),
            (f"<@{BOT}>, status", "errklein: status"),
            (f"hello <@{BOT}>", f"hello <@{BOT}>"),
        ):
            self.say(sent)
            self.assertEqual(self.texts[-1], typed)

    def test_mentions(self) -> None:
        """Mentions of people are reported, once each."""
        self.online()
        self.say(f"<@{BOB}> and <@{BOB}|bob> and <@{BOT}>")
        [(message, people)] = self.named("mention_received")
        self.assertEqual(([one.person for one in people], message.body[:12]), ([BOB, BOT], f"<@{BOB}>"[:12]))

    def test_edits(self) -> None:
        """An edit is reported; a preview of a link isn't; what the bot has edited isn't."""
        backend = self.online()
        ts = self.say("one")
        self.server.edit(ts, "two")
        self.server._changed(OPS, self.server.message(OPS, ts), self.server.message(OPS, ts))
        sent = self.send(backend, "mine")
        backend.perform(Message("changed", to=backend.query_room("#ops")), Wanted(Kind.EDIT, str(sent)))
        self.clock.advance(2)
        [(message,)] = self.named("message_edited")
        self.assertEqual((message.body, message.edited, message.ref.id), ("two", True, ts))

    def test_deletions(self) -> None:
        """A deleted message is reported, also if Slack keeps its place since there are answers."""
        self.online()
        first, second = self.say("one"), self.say("two", channel=self.server.direct().id)
        self.server.delete(first)
        gone = self.server.message(self.server.direct().id, second)
        self.server._changed(self.server.direct().id, {**gone, "subtype": "tombstone", "user": "USLACKBOT"}, gone)
        self.clock.advance(0.1)
        refs = [ref for ref, _ in self.named("message_deleted")]
        self.assertEqual([(ref.room, ref.id) for ref in refs], [(OPS, first), (ALICE, second)])

    def test_other_bots(self) -> None:
        """Messages of other bots are marked, so that they run no commands. The bot's own are nobody's."""
        self.online()
        self.say("!deploy", user="B0OTHER00", subtype="bot_message", bot_id="B0OTHER00")
        self.say("!deploy", user=BOT, bot_id=BOT_ID)
        self.say("!deploy", user="USLACKBOT")
        self.assertEqual([message.extras["bot"] for message in self.events.messages], [True, True])

    def test_reactions(self) -> None:
        """Names of reactions become emoji."""
        self.online()
        ts = self.say("hello", user=BOB)
        for name in ("thumbsup", "wave::skin-tone-3", "party_parrot", "heart"):
            self.server.react(ts, name)
        self.server.react(ts, "rocket", added=False)
        self.server.react(ts, "eyes", user=BOT)
        self.clock.advance(0.1)
        found = [reaction for (reaction,) in self.named("reaction_changed")]
        names = ["\N{THUMBS UP SIGN}", "\N{WAVING HAND SIGN}\U0001f3fc", "party_parrot", "\N{HEAVY BLACK HEART}"]
        self.assertEqual([one.reaction_name for one in found], [*names, "\N{ROCKET}"])
        self.assertEqual([one.action for one in found], [REACTION_ADDED] * 4 + [REACTION_REMOVED])
        self.assertEqual((found[0].reactor.person, found[0].reacted_to_owner.person), (ALICE, BOB))
        self.assertEqual(found[0].reacted_to["id"], ts)

    def test_files(self) -> None:
        """Files are read on demand, with the token, and only from Slack."""
        self.online()
        self.server.attach("log.txt", b"one")
        evil = {"name": "x", "size": 3, "url_private": "https://evil.example.org/x"}
        self.say("", subtype="file_share", files=[evil])
        ours, theirs = [message.attachments[0] for message in self.events.messages]
        self.assertEqual((ours.name, ours.size), ("log.txt", 3))
        [file] = self.events.messages[0].extras["slack_event"]["files"]
        self.http.respond("GET", file["url_private"], body=b"one")
        reading = ours.read()
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(reading), b"one")
        self.assertEqual(self.http.requests[-1].header("Authorization"), f"Bearer {TOKEN}")
        self.failureResultOf(theirs.read(), RequestRefused)

    def test_file_at_a_method(self) -> None:
        """A file whose address is that of a method, as people can enter it for files elsewhere, calls nothing with the token."""
        self.online()
        for path in (
            "/api/chat.delete?x=1",
            "/files-pri/../api/chat.delete",
            "/files-pri/T1-F1/x/../../../api/x",
            "/x",
        ):
            self.say("", subtype="file_share", files=[{"name": "x", "url_private": BASE + path, "is_external": True}])
        count = len(self.http.requests)
        for message in self.events.messages:
            self.assertIn("isn't on Slack", str(self.failureResultOf(message.attachments[0].read(), RequestRefused)))
        self.assertEqual(len(self.http.requests), count)


class SentTests(BotCase):
    """What the bot sends."""

    def test_markup(self) -> None:
        """Markdown becomes mrkdwn, and nothing in a text is a command of Slack."""
        backend = self.online()
        self.send(backend, "**bold** *it* `a<b` [x](https://a.org/?a=1&b=2)\n\n- one\n- two")
        self.send(backend, f"<!channel> <@{BOB}> @here <!subteam^S1> &lt;!here&gt; [b](javascript:x)")
        first, second = self.posted()
        self.assertEqual(first, "*bold* _it_ `a&lt;b` <https://a.org/?a=1&amp;b=2|x>\n• one\n• two")
        self.assertNotIn("<", second)

    def test_for_all(self) -> None:
        """With `mentions`, a text may notify people and rooms."""
        backend = self.online()
        self.send(backend, f"@here <@{BOB}> <!channel> <script>", mentions=True)
        self.assertEqual(self.posted(), [f"<!here> <@{BOB}> <!channel> &lt;script&gt;"])

    def test_people(self) -> None:
        """The people of a message are notified, by their name in the text or before it. Other mentions become names, and ids stay."""
        backend = self.online()
        self.say("hello", user=BOB)
        self.say("hello")
        reply = backend.build_reply(self.events.messages[1], "done")
        backend.prefix_groupchat_reply(reply, self.events.messages[1].frm)
        backend.send_message(reply)
        self.send(backend, "look", mentioned=(ALICE, BOB))
        self.send(backend, f"{BOB} has said <@{ALICE}> is `{ALICE}`", mentioned=(BOB,))
        self.clock.advance(1)
        expected = [f"<@{ALICE}> done", f"<@{ALICE}> <@{BOB}> look", f"<@{BOB}> has said @alice is `{ALICE}`"]
        self.assertEqual(self.posted(), expected)

    def test_reactions(self) -> None:
        """Emoji become names; a reaction that is there already, or isn't any more, is no error."""
        backend = self.online()
        ts = self.say("hello")
        ref = self.events.messages[0].ref
        to = backend.query_room("#ops")
        for emoji in (
            "\N{THUMBS UP SIGN}",
            "\N{HEAVY BLACK HEART}\ufe0f",
            "\N{WAVING HAND SIGN}\U0001f3fc",
            ":party_parrot:",
        ):
            backend.perform(Message(to=to), Wanted(Kind.REACT, ref, emoji=emoji))
        again = backend.perform(Message(to=to), Wanted(Kind.REACT, ref, emoji="\N{THUMBS UP SIGN}"))
        self.clock.advance(5)
        names = ["+1", "heart", "wave::skin-tone-3", "party_parrot"]
        self.assertEqual(self.server.reactions, [(OPS, ts, name) for name in names])
        self.successResultOf(again)
        gone = backend.perform(Message(to=to), Wanted(Kind.UNREACT, ref, emoji="\N{ROCKET}"))
        self.clock.advance(5)
        self.successResultOf(gone)

    def test_refusals(self) -> None:
        """What Slack refuses has a reason that says what to do."""
        backend = self.online()
        self.server.channels["C0PRIVATE"] = type(self.server.channels[OPS])(
            "C0PRIVATE", "secret", [ALICE], is_private=True
        )
        for to, reason in (
            (DEV, "the bot is not in the room: invite the bot"),
            ("C0PRIVATE", "there is no such room, or it is private"),
            ("U0NOBODY0", "there is no such person"),
        ):
            self.assertIn(reason, str(self.failureResultOf(self.send(backend, "x", to)).value))
        self.server.channels[OPS].is_archived = True
        self.assertIn("archived", str(self.failureResultOf(self.send(backend, "x")).value))
        self.server.scopes.remove("chat:write")
        text = str(self.failureResultOf(self.send(backend, "x")).value)
        self.assertIn("lacks the scope chat:write: add it to the app, and install the app again", text)

    def test_pace(self) -> None:
        """After three messages, a room gets one a second; other rooms don't wait for it."""
        self.server.channels[DEV].members.append(BOT)
        backend = self.online()
        for number in range(6):
            self.send(backend, str(number))
        self.send(backend, "x", DEV)
        count = len(self.posted())
        self.assertEqual((count < 6, self.posted(DEV)), (True, ["x"]))
        self.clock.advance(1)
        self.assertEqual(len(self.posted()), count + 1)
        for _ in range(5):
            self.clock.advance(1)
        self.assertEqual(self.posted(), [str(number) for number in range(6)])

    def test_long(self) -> None:
        """A long text becomes several messages of at most 4,000 characters, measured as Slack does."""
        backend = self.online()
        self.send(backend, "&<" * 3000)
        for _ in range(5):
            self.clock.advance(1)
        self.assertGreater(len(self.posted()), 5)
        self.assertEqual("".join(self.posted()), "&amp;&lt;" * 3000)

    def test_cards(self) -> None:
        """A card consists of blocks; if Slack can't use them, of text."""
        backend = self.online()
        to, link = backend.query_room("#ops"), "https://ci.example.org/7"
        fields = [(f"name {number}", "a value") for number in range(12)]
        more: Any = {"link": link, "image": f"{link}.png", "thumbnail": f"{link}s.png", "fields": fields}
        for card in (
            Card("The *build* failed <!here>", to=to, title="Build <7>", **more),
            Card("x", to=to, title="Build", color="#ff0000"),
            Card("x", to=to, title="Build", image="https://broken.example.org/x.png"),
            Card("long " * 1000, to=to, title="Build", link="javascript:x"),
        ):
            backend.send_card(card)
        for _ in range(9):
            self.clock.advance(1)
        self.assertEqual(self.server.complaints, [])
        whole, colored, broken, *long = self.server.posts()
        blocks = whole["blocks"]
        self.assertEqual(blocks[0]["text"]["text"], f"*<{link}|Build &lt;7&gt;>*")
        self.assertEqual(blocks[1]["text"]["text"], "The _build_ failed &lt;!\u200bhere&gt;")
        self.assertEqual([len(block.get("fields", ())) for block in blocks], [0, 0, 10, 2, 0])
        self.assertIn("Build", whole["text"])
        self.assertEqual((colored["attachments"][0]["color"], colored["text"]), ("#ff0000", ""))
        self.assertEqual(("blocks" in broken, "Build" in broken["text"]), (False, True))
        self.assertEqual(len(long), 2)

    def test_edited_card(self) -> None:
        """An edit of a card replaces it."""
        backend = self.online()
        sent = backend.send_card(Card("x", to=backend.query_room("#ops"), title="Build", color="#ff0000"))
        self.clock.advance(1)
        backend.perform(Message("done", to=backend.query_room("#ops")), Wanted(Kind.EDIT, str(sent)))
        self.clock.advance(1)
        [message] = self.server.posts()
        self.assertEqual((message["text"], message["attachments"], message["blocks"]), ("done", [], []))

    def test_own_blocks(self) -> None:
        """`extras` may have blocks."""
        backend = self.online()
        blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*hello*"}}]
        self.send(backend, "hello", extras={"blocks": blocks, "other": object()})
        self.assertEqual(self.server.posts()[0]["blocks"], blocks)

    def test_files(self) -> None:
        """A file is uploaded into the thread."""
        backend = self.online()
        ts = self.say("hello")
        wanted = Wanted(Kind.FILE, thread=ts, file="a b.txt", type="text/plain")
        backend.perform(Message(to=backend.query_room("#ops")), wanted, b"one")
        self.clock.advance(1)
        [message] = self.server.posts()
        self.assertEqual(
            (message["thread_ts"], self.server.files[message["files"][0]["id"]]), (ts, ("a b.txt", b"one"))
        )


class EphemeralTests(BotCase):
    """Slash commands and buttons."""

    def reply(self, backend: Any, text: str = "pong") -> Any:
        """Reply to the last message."""
        sent = backend.send_message(backend.build_reply(self.events.messages[-1], text))
        self.clock.advance(1)
        return sent

    def test_commands(self) -> None:
        """Slash commands are commands, and only who gave them sees the replies."""
        backend = self.online()
        self.server.command("/errklein", "ping <@U0BOB0000|bob>")
        self.server.command("/plugin_list")
        self.server.command("/errklein")
        self.server.command("/ping", channel="D0OTHERS0")
        self.clock.advance(0.1)
        self.assertEqual(self.texts, [f"!ping <@{BOB}>", "!plugin_list", "!help", "!ping"])
        self.assertEqual([message.is_direct for message in self.events.messages], [False, False, False, True])
        sent = self.reply(backend, "*pong* <!here>")
        self.assertEqual((self.server.ephemeral, self.posted()), ([("ephemeral", "_pong_ <!\u200bhere>")], []))
        change = backend.perform(Message("x", to=backend.query_room("#ops")), Wanted(Kind.EDIT, str(sent)))
        self.clock.advance(1)
        self.failureResultOf(change, RequestRefused)

    def test_question(self) -> None:
        """A question with buttons in reply to a slash command is a message for all, since a press needs its id."""
        backend = self.online()
        self.server.command("/deploy")
        self.clock.advance(0.1)
        reply = backend.build_reply(self.events.messages[0], "Deploy?")
        backend.perform(reply, Wanted(choices=("yes", "no")))
        self.clock.advance(1)
        [message] = self.server.posts()
        self.assertEqual((self.server.buttons(message), self.server.ephemeral), (["yes", "no"], []))

    def test_late_reply(self) -> None:
        """After half an hour, a reply to a slash command is an ephemeral message."""
        backend = self.online()
        self.server.command("/ping")
        self.clock.advance(0.1)
        self.clock.advance(EPHEMERAL_FOR + 1)
        self.clock.advance(3)
        self.reply(backend)
        self.assertEqual((self.server.ephemeral, self.posted()), ([(ALICE, "pong")], []))

    def test_private_reply(self) -> None:
        """A private reply to a slash command is a private message."""
        backend = self.online()
        self.server.command("/ping")
        self.clock.advance(0.1)
        backend.send_message(backend.build_reply(self.events.messages[0], "secret", private=True))
        self.clock.advance(1)
        self.assertEqual((self.server.ephemeral, self.posted(self.server.direct().id)), ([], ["secret"]))

    def test_private_buttons(self) -> None:
        """Buttons work in a private conversation; a long text stays whole above them."""
        backend = self.online()
        text = "word & " * 350
        asked = backend.perform(Message(text, to=backend.build_identifier(ALICE)), Wanted(choices=("yes", "no" * 50)))
        self.clock.advance(1)
        direct = self.server.direct().id
        [message] = self.server.posts(direct)
        self.assertEqual(len(self.server.buttons(message)[1]), 75)
        self.server.press(message["ts"], 1, channel=direct)
        self.clock.advance(1)
        [(press,)] = self.named("choice_made")
        self.assertEqual((press.ref, press.by.person, press.number), (asked.refs[-1], ALICE, 1))
        self.assertEqual(self.server.unacknowledged, {})

    def test_foreign_buttons(self) -> None:
        """Buttons of a plugin's own blocks are no choices."""
        self.online()
        ts = self.say("x")
        self.server.press(ts, 0)
        envelope = json.loads(json.dumps({"type": "block_actions", "user": {"id": ALICE}, "channel": {"id": OPS}}))
        self.server.deliver("interactive", {**envelope, "actions": [{"action_id": "own", "value": "0"}]})
        self.clock.advance(0.1)
        self.assertEqual(len(self.named("choice_made")), 1)

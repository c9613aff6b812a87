"""Messages that the bot sends to Telegram, and its connection, with the faults that there are."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent

from errklein.chat import Message, MessageRef
from errklein.chat.operations import Kind, Wanted
from errklein.networks.errors import RequestRefused
from errklein.text.masking import masker
from tests.networks.double import Answer
from tests.networks.telegram.case import HANGS, TelegramCase
from tests.networks.telegram.server import ALICE, BOB, GROUP, OTHER, TOKEN, refusal

PNG = b"\x89PNG\r\n\x1a\n\xff\x00"
THUMB, FIRE, ROCKET = "\N{THUMBS UP SIGN}", "\N{FIRE}", "\N{ROCKET}"


class SentTests(TelegramCase):
    """Messages, files and reactions of the bot."""

    def test_text(self) -> None:
        """Markdown becomes formatted text, and hostile text stays text."""
        self.successResultOf(self.perform("**bold** <b>x</b> & [a](javascript:x)"))
        own = self.server.own(GROUP)[-1]
        self.assertEqual(own["text"], "bold <b>x</b> & a")
        self.assertEqual([one["type"] for one in own["entities"]], ["strong"])

    def test_mentions(self) -> None:
        """The person who is answered by name is notified, also without a username."""
        for who, name in ((BOB, "bob"), (7, "Ann <b> *Lee*")):
            self.server.users.setdefault(7, {"id": 7, "is_bot": False, "first_name": "Ann <b>", "last_name": "*Lee*"})
            message: Any = self.hears("!status", by=who)
            reply = self.backend.build_reply(message, "fine")
            self.backend.prefix_groupchat_reply(reply, message.frm)
            self.backend.send_message(reply)
            self.clock.advance(1)
            own = self.server.own(GROUP)[-1]
            self.assertIn(f"{name} fine", own["text"])
            self.assertEqual([one["user"]["id"] for one in own["entities"]], [who])
        self.perform("Wake up!", Wanted(mentions=(str(ALICE), f"{GROUP}/{BOB}")))
        own = self.server.own(GROUP)[-1]
        self.assertEqual({one["user"]["id"] for one in own["entities"]}, {ALICE, BOB})
        self.successResultOf(self.perform("x" * 4096, Wanted(mentions=(str(ALICE),))))
        self.perform("x", Wanted(mentions=('5"><i>', "@alice")))
        self.assertEqual(self.server.own(GROUP)[-1]["html"], "x")

    def test_reply(self) -> None:
        """`in_reply_to` answers that message."""
        message: Any = self.hears("question")
        reply = Message("answer", to=message.to, parent=message)
        self.backend.send_message(reply)
        self.clock.advance(1)
        self.assertEqual(self.server.own(GROUP)[-1]["reply_to_message"]["text"], "question")

    def test_files(self) -> None:
        """A photo is a photo, unless Telegram refuses it; all else is a document."""
        for name, type, content, kind in (
            ("a.png", "image/png", PNG, "photo"),
            ("b.png", "image/png", b"strange", "document"),
            ("c.png", "image/png", PNG + bytes(10_000_000), "document"),
            ("d.bin", "", b"\xff\x00\xfe", "document"),
        ):
            self.successResultOf(self.perform(wanted=Wanted(Kind.FILE, file=name, type=type), file=content))
            own = self.server.own(GROUP)[-1]
            file = own["photo"][-1] if kind == "photo" else own[kind]
            self.assertEqual(self.server.files[file["file_id"]], content)

    def test_reactions(self) -> None:
        """A bot has one reaction: taking an earlier one back leaves the later one. Emoji that Telegram lacks become a text."""
        message: Any = self.hears("!deploy")
        found = self.server.chats[GROUP].messages[int(message.ref.id)]
        for kind, emoji, shown in (
            (Kind.REACT, THUMB, [THUMB]),
            (Kind.REACT, "\u2764\ufe0f", ["\u2764"]),
            (Kind.UNREACT, THUMB, ["\u2764"]),
            (Kind.UNREACT, "\u2764", []),
        ):
            self.successResultOf(self.perform(wanted=Wanted(kind, message.ref, emoji=emoji)))
            self.assertEqual(found["own_reaction"], shown)
        self.perform(f"alice: {ROCKET}", Wanted(Kind.REACT, message.ref, emoji=ROCKET))
        self.assertEqual(self.server.texts(GROUP), [f"alice: {ROCKET}"])

    def test_edit_without_a_change(self) -> None:
        """Telegram refuses it, which is no error."""
        sent = self.perform("the same")
        self.successResultOf(self.perform("the same", Wanted(Kind.EDIT, str(sent))))

    def test_refusals(self) -> None:
        """What Telegram refuses fails with its reason."""
        other = MessageRef("telegram", str(GROUP), "999")
        failure = self.failureResultOf(self.perform(wanted=Wanted(Kind.DELETE, other)), RequestRefused)
        self.assertIn("not found", str(failure.value))
        self.failureResultOf(self.perform("hello", to=BOB), RequestRefused)
        self.flushLoggedErrors(RequestRefused)

    def test_long_text(self) -> None:
        """It is split as Telegram counts: an emoji is two units, tags are none."""
        self.perform("**" + "\N{GRINNING FACE}" * 2048 + "**")
        self.perform("\N{GRINNING FACE}" * 5000)
        lengths = [len(text) for text in self.server.texts(GROUP)]
        self.assertEqual((lengths[0], sum(lengths[1:]), max(lengths)), (2048, 5000, 2048))


class FaultTests(TelegramCase):
    """Faults of Telegram and of the way there."""

    def test_limits(self) -> None:
        """A conversation in which Telegram takes nothing for a while doesn't delay others."""
        self.server.limits[GROUP] = 30
        late = [self.perform(f"late {number}") for number in range(2)]
        self.successResultOf(self.perform("at once", to=OTHER))
        self.assertNoResult(late[0])
        asked = len([call for call in self.server.calls if call.path.endswith("sendMessage")])
        self.server.limits.clear()
        self.wait(25)
        self.assertEqual(len([call for call in self.server.calls if call.path.endswith("sendMessage")]), asked)
        self.wait(10)
        self.assertEqual(self.server.texts(GROUP), ["late 0", "late 1"])

    def test_limit_of_polls(self) -> None:
        """The bot asks for updates as late as Telegram says."""
        self.faults.append(("getUpdates", refusal(429, "Too Many Requests: retry after 40", retry_after=40)))
        self.wait(51)
        asked = len(self.server.calls)
        self.wait(36)
        self.assertEqual(len(self.server.calls), asked)
        self.wait(5)
        self.assertEqual(self.hears("!now").body, "!now")

    def test_wrong_token(self) -> None:
        """Administrators get one notice, the bot tries again later, and what it has to send waits."""
        self.stop()
        self.server.revoke()
        self.start()
        waiting = self.perform("I am back")
        self.wait(600)
        [notice] = self.notices
        self.assertIn("Telegram refuses BOT_IDENTITY['token'] (Unauthorized)", notice)
        self.server.token = TOKEN
        self.wait(3600)
        self.successResultOf(waiting)
        self.assertEqual(len(self.notices), 1)

    def test_token_that_is_revoked(self) -> None:
        """While the bot runs, it is noticed by the next message, or by the next poll."""
        for is_sending in (True, False):
            self.notices.clear()
            self.server.revoke()
            if is_sending:
                self.assertNoResult(self.perform("hello"))
            self.wait()
            self.assertEqual(len(self.notices), 1)
            self.server.token = TOKEN
            self.wait(3600)
        self.assertEqual(self.server.texts(GROUP), ["hello"])

    def test_unknown_token(self) -> None:
        """Telegram answers to what looks like no token as to a path that it doesn't have."""
        self.stop()
        self.identity = {"token": "123:short"}
        self.start()
        self.assertIn("(Not Found)", self.notices[0])

    def test_second_reader(self) -> None:
        """If another program reads the messages, too, administrators get one notice."""
        text = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
        self.faults += [("getUpdates", refusal(409, text))] * 3
        self.wait(2200)
        [notice] = self.notices
        self.assertIn("another program reads the messages of the same bot", notice)
        self.hears("!now")

    def test_webhook_of_another_program(self) -> None:
        """The bot doesn't delete it."""
        self.stop()
        self.server.webhook = {"url": "https://other.example.org/x", "secret_token": "s"}
        self.start()
        self.assertIn("webhook is active", self.notices[0])
        self.assertTrue(self.server.webhook)

    def test_half_open_connection(self) -> None:
        """If Telegram doesn't answer to a poll within 15 seconds of its end, the connection is lost, and made again."""
        self.faults.append(("getUpdates", HANGS))
        self.wait(51 + 60)
        self.assertEqual(self.events.named("backend_disconnected"), [])
        self.wait(10)
        self.assertEqual(len(self.events.named("backend_disconnected")), 1)
        self.assertEqual(self.hears("!now").body, "!now")

    def test_lost_answers(self) -> None:
        """What isn't confirmed is sent again in the next session, in order; Telegram may show it twice."""
        self.faults.append(("sendMessage", "lost"))
        sent = [self.perform(f"line {number}") for number in range(3)]
        self.wait(10)
        for each in sent:
            self.successResultOf(each)
        self.assertEqual(self.server.texts(GROUP), ["line 0", "line 0", "line 1", "line 2"])

    def test_proxy_without_telegram(self) -> None:
        """The answers of a proxy are a lost connection, and no refusal."""
        for answer in (Answer(404, "<html>"), Answer(502, "<html>"), Answer(200, {"welcome": "hotel"})):
            self.faults.append(("sendMessage", answer))
            self.successResultOf(self.done(self.perform("hello")))
        self.assertEqual(self.server.texts(GROUP), ["hello"] * 3)

    def done(self, sent: Any) -> Any:
        """Wait for the next session."""
        self.wait(60)
        return sent

    def test_token_in_the_log(self) -> None:
        """The token is in no line of the log, whatever fails."""
        with capturedLogs() as events:
            self.faults += [("getUpdates", Answer(502, "")), ("getUpdates", refusal(401, f"Unauthorized {TOKEN}"))]
            self.wait(120)
        self.assertNotIn(TOKEN, masker("\n".join(str(formatEvent(event)) for event in events)))
        self.assertNotIn(TOKEN, repr(self.backend.client))


class LookupTests(TelegramCase):
    """Names."""

    def test_people(self) -> None:
        """Somebody who has never written to the bot is unknown to it."""
        resolving = self.backend.resolve(str(BOB))
        self.clock.advance(1)
        self.assertIn("never written to the bot", str(self.failureResultOf(resolving).value))
        found = self.backend.resolve(str(ALICE))
        self.clock.advance(1)
        self.assertEqual(str(self.successResultOf(found)), str(ALICE))

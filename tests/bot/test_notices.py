"""Tests for the notice board."""

from __future__ import annotations

from collections import deque
from math import inf
from types import SimpleNamespace
from typing import Any

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._notices import MOST, Notice, NoticeBoard
from errklein.testing import ADMIN, PluginTestCase
from errklein.testing._surroundings import TestReactor
from errklein.text import plain
from errklein.text.masking import SHOWN_TEXT


class Board(NoticeBoard):
    """Keeps the notices instead of sending them."""

    def __init__(self, clock: TestReactor) -> None:
        without: Any = None
        fallback: Any = SimpleNamespace(look=lambda: None)
        super().__init__(clock, without, without, without, without, fallback)
        self.sent: list[str] = []

    def _distribute(self, notice: Notice) -> None:
        self.sent.append(notice.markdown + (f" | {notice.summary}" if notice.summary else ""))


class BoardCase(SynchronousTestCase):
    """A board with a clock."""

    def setUp(self) -> None:
        """Create the board."""
        self.clock = TestReactor()
        self.board = Board(self.clock)
        self.sent = self.board.sent

    def advance(self, seconds: float) -> None:
        """Let time pass, and the board look."""
        self.clock.advance(seconds)
        self.board.look()


class PostTests(BoardCase):
    """Notices with keys."""

    def post(self, key: str = "a", **options: Any) -> None:
        """Post a notice with a number."""
        self.board.post(key, f"disk {key} is full", more=f"disk {key}: {{count}} more", **options)

    def test_repeated_notices_are_counted(self) -> None:
        """The first notice of a key is sent at once, and the others of each interval together."""
        for _ in range(1_200):
            self.post()
            self.advance(1)
        self.post("b")
        self.assertEqual(self.sent, ["disk a is full", "disk a: 599 more", "disk a: 600 more", "disk b is full"])

    def test_after_a_pause(self) -> None:
        """After an interval without notices, the next one is sent at once."""
        self.post(interval=5)
        self.advance(5)
        self.post(interval=5)
        self.assertEqual(self.sent, ["disk a is full"] * 2)

    def test_count(self) -> None:
        """A notice may be about several events."""
        self.post(count=3)
        self.post(count=4)
        self.post()
        self.advance(600)
        self.assertEqual(self.sent[1:], ["disk a: 5 more"])

    def test_braces_in_a_text(self) -> None:
        """Braces in the name of a webhook or room are ordinary characters."""
        for _ in range(3):
            self.board.post("a", "x", more="{count} more of /{0.real}/{}")
        self.advance(600)
        self.assertEqual(self.sent[1:], [plain("2 more of /{0.real}/{}")])

    def test_without_a_text_for_more(self) -> None:
        """Without a text for further notices, the last one is sent with their number; rooms get its summary."""
        for number in range(3):
            self.board.post("a", f"failed: {number}", "failed")
        self.advance(600)
        notice, _, summary = self.sent[1].partition(" | ")
        self.assertEqual(notice, "failed: 2 (again since the last notice: 2)")
        self.assertRegex(summary, r"^failed \(again since the last notice: 2\) \(error \w{8}\)\.$")

    def test_once(self) -> None:
        """A notice without an end of its interval is sent once."""
        for _ in range(3):
            self.post(interval=inf)
            self.advance(1e6)
        self.board.stop()
        self.assertEqual(self.sent, ["disk a is full"])

    def test_stop(self) -> None:
        """When the bot stops, administrators get the numbers, and later notices at once."""
        self.post()
        self.post()
        self.board.stop()
        self.assertEqual(self.sent[1:], ["disk a: 1 more"])
        self.post()
        self.post()
        self.assertEqual(self.sent[2:], ["disk a is full"] * 2)


class LimitTests(BoardCase):
    """Too many notices of all kinds."""

    def test_flood(self) -> None:
        """Of a flood, administrators get 100 notices a minute, and then the number of the others."""
        for number in range(MOST + 30):
            self.board.warn_admins(str(number))
            self.board.tell_admins(str(number))
        self.assertEqual(self.sent, [str(number // 2) for number in range(MOST)])
        self.advance(60)
        self.assertEqual(
            self.sent[MOST:], [f"{MOST + 60} more notices were too many within a minute; the log has their texts."]
        )
        self.board.warn_admins("x")
        self.assertEqual(self.sent[MOST + 1 :], ["x"])

    def test_long_notices(self) -> None:
        """Of a notice with a sender's body, administrators get the beginning, in which a secret at the cut is masked."""
        text = "x" * (SHOWN_TEXT - 15) + " token=abcdefghi" + "y" * 1_000_000
        for tell in (self.board.warn_admins, self.board.tell_admins):
            tell(text)
            self.assertRegex(self.sent[-1], r"^x+ token=•••…?$")

    def test_notices_of_errklein_in_a_flood(self) -> None:
        """A plugin that floods administrators doesn't hide errklein's own notices, of which there are as many."""
        for number in range(MOST + 1):
            self.board.warn_admins(str(number))
        for number in range(MOST + 1):
            self.board.post(number, f"own {number}", interval=inf)
        self.assertEqual(len(self.sent), 2 * MOST)
        self.assertEqual(self.sent[-1], f"own {MOST - 1}")
        self.advance(60)
        self.board.post(MOST, "later", interval=inf)
        self.assertEqual(self.sent[-1], "later")

    def test_repeated_notices_in_a_flood(self) -> None:
        """A notice that repeats in a flood isn't logged each time."""
        for number in range(2 * MOST):
            self.board.post(number, "x")
        events = self.enterContext(capturedLogs())
        for _ in range(1000):
            self.board.post("a", "x")
        self.assertEqual(len(events), 1)

    def test_number_in_a_flood(self) -> None:
        """The number of notices that were too many is sent also while the flood goes on, so that it isn't lost."""
        for number in range(4 * MOST):
            self.board.post(number, "x", interval=inf)
        self.advance(30)
        self.board.post("later", "x", interval=inf)
        self.advance(29)
        self.board._sent.clear()
        for number in range(4 * MOST):
            self.board.post(-1 - number, "x", interval=inf)
        self.advance(1)
        self.assertIn(f"{2 * MOST + 1 + 2 * MOST} more notices", self.sent[-1])

    def test_stop_beside_threads(self) -> None:
        """A stop while a thread sends a notice doesn't change what that thread reads."""
        board, locked = self.board, []

        class Sent(deque[float]):
            def clear(self) -> None:
                locked.append(board._lock.locked())

        board._sent = Sent()
        board.stop()
        self.assertEqual(locked, [True])

    def test_stop(self) -> None:
        """When the bot stops during a flood, administrators get the number."""
        for number in range(MOST + 1):
            self.board.warn_admins(str(number))
        self.board.stop()
        self.assertIn("1 more", self.sent[-1])
        self.board.warn_admins("one more")


class BotTests(PluginTestCase):
    """The board of a bot."""

    config = {"BOT_ADMINS_NOTIFICATIONS": (ADMIN,)}

    def test_dropped_messages(self) -> None:
        """The first dropped message is reported at once, and the others of ten minutes together, for each network."""
        events, backend = self.bot.bot.events, self.bot.backend
        events.messages_dropped(backend, 2, "they are too old")
        events.messages_dropped(backend, 1, "they are too old")
        events.messages_dropped(backend, 3, "they are too old")
        self.bot.advance(600)
        log = "since they are too old. The log has the recipients and texts."
        self.assertEqual(
            self.bot.sent_to(ADMIN),
            [f"2 messages were not sent on test, {log}", f"Not sent on test: 4 more, {log}"],
        )

    def test_messages_that_wait_for_a_room(self) -> None:
        """The notice says which room messages wait for, why, how many they are and what has sent them; one for each room."""
        events, backend = self.bot.bot.events, self.bot.backend
        origins = {"route:CI:build": 10, "plugin:Watch": 1, "person:test/alice": 1, "": 1}
        for room in ("#ops", "#OPS", "#dev"):
            events.messages_undelivered(backend, room, origins, "invite only", waiting=True)
        first, second = self.bot.sent_to(ADMIN)
        self.assertEqual(
            first,
            "13 messages to #ops on test: not sent yet, since the bot can't write there (invite only). By the webhook CI:build: 10, "
            "the plugin Watch: 1, commands of test/alice: 1, the bot: 1. `why #ops` says more. What has waited for OUTBOX_MAX_AGE, 3600 s, is dropped.",
        )
        self.assertIn("to #dev", second)

    def test_rejected_message(self) -> None:
        """The notice names the webhook and the plugin that have sent a rejected message."""
        events, origins = self.bot.bot.events, {"route:CI:build": 1}
        events.messages_undelivered(self.bot.backend, "#other", origins, "no such channel", waiting=False)
        text = (
            "A message to #other on test: not sent (no such channel). By the webhook CI:build: 1. The log has the text."
        )
        self.assertEqual(self.bot.sent_to(ADMIN), [text])

    def test_secrets_are_masked(self) -> None:
        """Notices with keys contain no secrets."""
        for _ in range(2):
            self.bot.bot.notices.post("a", "passphrase=abcdef", more="passphrase=abcdef {count}")
        self.bot.advance(600)
        self.assertEqual(self.bot.sent_to(ADMIN), ["passphrase=•••", "passphrase=••• 1"])


class RoomTests(PluginTestCase):
    """A bot whose notices also go to a room."""

    config = {"BOT_ADMINS_NOTIFICATIONS": (ADMIN, "#Ops")}

    def test_room_that_rejects_notices(self) -> None:
        """A notice that a room of BOT_ADMINS_NOTIFICATIONS rejects isn't followed by a notice about that each ten minutes."""
        for room in ("#ops", "#dev"):
            self.bot.messages.clear()
            for _ in range(6):
                self.bot.bot.events.messages_undelivered(self.bot.backend, room, {"": 1}, "moderated", waiting=False)
                self.bot.advance(600)
            self.assertEqual(len(self.bot.sent_to(ADMIN)), 1 if room == "#ops" else 6)

    def test_secrets_in_summaries(self) -> None:
        """The summary that a room gets contains no secrets either."""
        self.bot.bot.tell_admins("failed", summary="passphrase=abcdef failed")
        self.assertRegex(self.bot.sent_to("#Ops")[0], r"^passphrase=••• failed \(error \w+\)\.$")

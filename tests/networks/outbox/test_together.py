"""Messages of several origins to one recipient: each stays together, and none waits for long."""

from __future__ import annotations

from itertools import groupby

from twisted.internet.defer import Deferred

from errklein.chat.outgoing import OutgoingMessage
from errklein.networks.outbox import NotConfirmed
from errklein.running import TokenBucket
from tests.networks.outbox.test_lanes import KeptMessages, LanesCase


def words(name: str, count: int) -> str:
    """Return a text of so many words, which the network makes parts of."""
    return " ".join(f"{name}{number}" for number in range(count))


class TogetherTests(LanesCase):
    """Several webhooks send to one room."""

    def say(self, name: str, count: int, recipient: str = "#ops", priority: bool = False) -> Deferred[None]:
        """Send a message of an origin of its own."""
        return self.send(words(name, count), recipient, by=f"route:{name}", priority=priority)

    @property
    def runs(self) -> list[tuple[str, int]]:
        """The origins of the parts that the network got, and how many of each came after one another."""
        return [(name, len(list(parts))) for name, parts in groupby(self.network.got, lambda part: part[0])]

    def test_two_webhooks(self) -> None:
        """The lines of two webhooks aren't mixed, whatever the window and the pace are."""
        for window in (1, 2, 16):
            for interval in (None, 2.0):
                pace = None if interval is None else TokenBucket(self.clock.seconds, 1 / interval, 1)
                self.outbox = self.make(window=window, pace=pace)
                for text in ("a", "b", "c"):
                    self.say(text, 3)
                self.outbox.resume()
                for _ in range(40):
                    self.confirm_all()
                    self.clock.advance(1.0)
                self.assertEqual(self.runs, [("a", 3), ("b", 3), ("c", 3)], (window, interval))

    def test_later_webhook(self) -> None:
        """A message that comes while another is sent waits for the rest of that one, and no longer."""
        self.say("a", 5)
        self.say("b", 5)
        self.outbox.resume()
        self.network.confirm()
        self.say("c", 1)
        self.confirm_all()
        self.assertEqual(self.runs, [("a", 5), ("c", 1), ("b", 5)])

    def test_more_than_ten_parts(self) -> None:
        """After ten parts of a message, another one has its turn; a message to another room has it after each part."""
        self.say("a", 25)
        self.say("b", 2)
        self.say("c", 12)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.runs, [("b", 2), ("a", 10), ("c", 12), ("a", 15)])

    def test_other_rooms(self) -> None:
        """Rooms still take turns part by part."""
        self.say("a", 3)
        self.say("b", 3, "#dev")
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.runs, [("a", 1), ("b", 1)] * 3)

    def test_alert(self) -> None:
        """A message with priority goes between any two parts."""
        self.say("a", 3)
        self.outbox.resume()
        self.say("z", 2, priority=True)
        self.confirm_all()
        self.assertEqual(self.runs, [("a", 1), ("z", 2), ("a", 2)])

    def test_many_short_messages(self) -> None:
        """A long message has its turn although other origins never stop to send short ones."""
        self.say("a", 1)
        self.say("x", 10)
        self.outbox.resume()
        for number in range(50):
            self.say("abc"[number % 3], 1)
            self.network.confirm()
        self.assertIn(("x", 10), self.runs)
        # Its share of four is over then.
        self.assertLess(self.network.got.index("x9"), 40)

    def test_new_origins(self) -> None:
        """A long message has its turn although one new origin after the other sends a short message."""
        self.say("0", 1)
        self.say("x", 10)
        self.outbox.resume()
        for number in range(50):
            self.say(chr(ord("A") + number), 1)
            self.network.confirm()
        self.assertIn(("x", 10), self.runs)
        self.assertLess(self.network.got.index("x9"), 30)

    def test_many_origins(self) -> None:
        """Of 40 origins each has its turn, and each message is together; new short ones wait for few others."""
        names = [chr(ord("A") + number) for number in range(40)]
        for name in names:
            self.say(name, 3)
        self.outbox.resume()
        self.network.confirm()
        self.say("!", 1)
        self.confirm_all()
        self.assertEqual({name for name, _ in self.runs}, {*names, "!"})
        self.assertEqual({count for name, count in self.runs if name != "!"}, {3})

    def test_fair_shares(self) -> None:
        """Two origins that have always something to send get equal parts of the room."""
        for _ in range(12):
            self.say("a", 6)
        for _ in range(36):
            self.say("b", 2)
        self.outbox.resume()
        for _ in range(60):
            self.network.confirm()
        count = sum(part[0] == "a" for part in self.network.got)
        self.assertTrue(24 <= count <= 36, self.runs)

    def test_rejection_in_the_middle(self) -> None:
        """If the network rejects a line, the rest of the message is dropped, and the next message is whole."""
        self.say("a", 4)
        self.outbox.resume()
        self.say("b", 3)
        self.network.confirm()
        self.network.fail(ValueError("no"))
        self.confirm_all()
        self.assertEqual(self.runs, [("a", 2), ("b", 3)])

    def test_kick_in_the_middle(self) -> None:
        """The rest of a message is sent first when the bot is in the room again."""
        self.say("a", 4)
        self.outbox.resume()
        self.say("b", 3)
        self.network.confirm()
        self.closed["#ops"] = "kicked"
        self.network.fail(ValueError("not in the room"))
        self.clock.advance(1.0)
        self.say("c", 1)
        del self.closed["#ops"]
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got[:2], ["a0", "a1"])
        self.assertEqual(self.runs, [("a", 5), ("c", 1), ("b", 3)])

    def test_break_in_the_middle(self) -> None:
        """A message at which the connection broke doesn't hold the others."""
        self.say("a", 3)
        self.say("b", 2)
        self.outbox.resume()
        self.network.confirm()
        self.network.fail(NotConfirmed())
        self.outbox.pause()
        self.outbox.resume()
        self.confirm_all()
        self.clock.advance(1.0)
        self.assertEqual(sorted(set(self.network.got)), ["a0", "a1", "a2", "b0", "b1"])

    def test_rest_of_an_earlier_process(self) -> None:
        """After a restart the rest of the message that had begun comes first."""
        store = KeptMessages()
        store.add(OutgoingMessage(0, "net", "#ops", words("a", 1), origin="route:a", accepted_at=1_700_000_000.0))
        store.add(OutgoingMessage(0, "net", "#ops", words("b", 4), "route:b", accepted_at=1_700_000_000.0, sent=0.5))
        self.outbox = self.make(store)
        self.outbox.resume()
        self.confirm_all()
        self.assertEqual(self.network.got, ["b2", "b3", "a0"])

"""The tests of a journal's lists, which are part of `journal_contract`."""

# Trial's assertions have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from errklein.testing._journal_case import ERROR, OK, JournalCase
from errklein.webhooks.deliveries import DeliveryQuery, DeliveryState, Outcome


class QueryContract(JournalCase):
    """Tests of `find`."""

    def test_find_newest_first(self) -> None:
        """A page has the newest deliveries without their requests; `before` continues it."""
        ids = [self.record(), self.log(DeliveryState.DONE, OK), self.record(lease=5), self.log(DeliveryState.REFUSED)]
        self.assertEqual(self.find(), ids[::-1])
        self.assertEqual(self.find(limit=3), ids[:0:-1])
        self.assertEqual(self.find(before=ids[2]), ids[1::-1])
        self.assertEqual(self.find(before=ids[0]), [])
        self.assertEqual(self.find(ids=[ids[3], 99, ids[1]]), [ids[3], ids[1]])
        self.assertEqual(self.find(ids=[]), [])
        for delivery in self.result_of(self.journal.find(DeliveryQuery())):
            self.assertEqual(delivery, self.get(delivery.id)._replace(request=None, attempts=(), began_at=0.0))

    def test_find_by_route(self) -> None:
        """A page of a webhook, or of all webhooks of a plugin."""
        first = self.record(webhook="Builds:build")
        second = self.record(webhook="Builds:other")
        third = self.record(webhook="BuildsMore:build")
        self.log(DeliveryState.DONE, webhook="Bui")
        done = self.log(DeliveryState.DONE, webhook="Builds:other")
        self.assertEqual(self.find(webhook="Builds"), [done, second, first])
        for name, found in (("build", [first]), ("other", [done, second])):
            self.assertEqual(self.find(webhook=f"Builds:{name}"), found)
        self.assertEqual(self.find(webhook="BuildsMore"), [third])
        self.assertEqual(self.find(webhook="Builds", limit=2), [done, second])
        self.assertEqual(self.find(webhook="Builds", before=done), [second, first])
        self.assertEqual(self.find(webhook="None"), [])
        self.assertEqual(self.find(webhook="Builds%"), [])

    def test_find_by_state(self) -> None:
        """A page of states, combined with webhooks."""
        received, running = self.record(), self.record(lease=5)
        retry, dead, done = self.record(lease=5), self.record(lease=5), self.record(lease=5, webhook="A:a")
        self.result_of(self.journal.retry_at(retry, 2000.0, ERROR))
        self.result_of(self.journal.bury(dead, ERROR))
        self.result_of(self.journal.finish(done, OK))
        states = {
            DeliveryState.RECEIVED: received,
            DeliveryState.RUNNING: running,
            DeliveryState.RETRY: retry,
            DeliveryState.DEAD: dead,
            DeliveryState.DONE: done,
            DeliveryState.FAILED: self.log(DeliveryState.FAILED),
            DeliveryState.REFUSED: self.log(DeliveryState.REFUSED),
        }
        for state, number in states.items():
            self.assertEqual(self.find(states=[state]), [number])
        self.assertEqual(self.find(states=list(states)), sorted(states.values(), reverse=True))
        self.assertEqual(self.find(states=[DeliveryState.DEAD, DeliveryState.RECEIVED]), [dead, received])
        self.assertEqual(self.find(states=[DeliveryState.DONE, DeliveryState.DEAD], webhook="Builds"), [dead])
        self.assertEqual(self.find(states=[DeliveryState.DUPLICATE]), [])
        self.assertEqual(self.find(states=[]), [])

    def test_find_by_key_status_and_reason(self) -> None:
        """A page of a key, of the status of the last outcome, or of a part of its reason."""
        first = self.record(key="k", lease=1)
        second = self.log(DeliveryState.REFUSED, Outcome(401, "The signature doesn't match"), key="k")
        third = self.log(DeliveryState.FAILED, Outcome(500, "ValueError: 100%"), key="K" * 150)
        self.record()
        self.assertEqual(self.find(key="k"), [second, first])
        self.assertEqual(self.find(key="K" * 150, states=[DeliveryState.FAILED], webhook="Builds"), [third])
        self.assertEqual(self.find(status=401, key="k"), [second])
        self.assertEqual(self.find(status=500), [third])
        for reason, found in (("SIGNATURE", [second]), ("valueerror: 100%", [third]), ("%", [third]), ("_", [])):
            self.assertEqual(self.find(reason=reason), found)
        self.journal.count("Builds:build")
        self.settle()
        for fields in ({"key": "k"}, {"status": 200}, {"reason": "x"}):
            self.assertEqual(self.result_of(self.journal.counted(DeliveryQuery(**fields))), 0)

    def test_find_by_request(self) -> None:
        """A page of the delivery of a request."""
        number = self.record(request_id="0123456789-00000a")
        self.record()
        self.assertEqual(self.find(request_id="0123456789-00000a"), [number])
        self.assertEqual(self.find(request_id="0123456789-00000b"), [])
        self.assertFalse(DeliveryQuery(request_id="r1").has_counted)

    def test_routes(self) -> None:
        """`webhooks` returns the webhooks with deliveries, also those that were only counted or paused."""
        self.record(webhook="A:a")
        self.journal.count("A:b")
        self.result_of(self.journal.pause("A:c", True))
        self.settle()
        self.assertEqual(self.result_of(self.journal.webhooks()), ["A:a", "A:b", "A:c"])

    def test_counted(self) -> None:
        """Deliveries that were only counted are numbers by webhook and minute. They aren't found."""
        for minute in range(3):
            self.time = 1020.0 + 60 * minute
            for webhook in ("A:a", "A:b", "Ab:a", "A:a"):
                self.journal.count(webhook)
            self.settle()
        for fields, number in (
            ({}, 12),
            ({"webhook": "A"}, 9),
            ({"webhook": "A:a"}, 6),
            ({"webhook": "B"}, 0),
            ({"since": 1085.0, "until": 1100.0}, 4),
            ({"since": 1085.0}, 8),
            ({"until": 1085.0}, 8),
            ({"states": [DeliveryState.FAILED, DeliveryState.DONE]}, 12),
            ({"states": [DeliveryState.FAILED]}, 0),
        ):
            self.assertEqual(self.result_of(self.journal.counted(DeliveryQuery(**fields))), number, fields)
        self.assertEqual(self.find(), [])

    def test_find_by_time(self) -> None:
        """A page of a range of times, both ends included."""
        ids = []
        for _ in range(6):
            ids.append(self.record())
            self.time += 10
        self.assertEqual(self.find(since=1020.0), ids[:1:-1])
        self.assertEqual(self.find(since=1020.5), ids[:2:-1])
        self.assertEqual(self.find(until=1020.0), ids[2::-1])
        self.assertEqual(self.find(since=1010.0, until=1030.0, webhook="Builds"), ids[3:0:-1])
        self.assertEqual(self.find(since=1060.0), [])
        self.assertEqual(self.find(until=999.0), [])

"""Tests for texts and sizes that the journal bounds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from errklein.journal._writing import bounded, fitting
from errklein.webhooks.deliveries import DeliveryState, Outcome, StoredDelivery

DELIVERY = StoredDelivery(1, "Builds:build", DeliveryState.FAILED, 1000.0, outcome=Outcome(500, "ValueError"))
LONGEST = "k" * 100


class TextTests(SynchronousTestCase):
    def test_usual_texts(self) -> None:
        """Texts of usual sizes are stored as they are."""
        for delivery in (DELIVERY, DELIVERY._replace(key=LONGEST, request_id=LONGEST), DELIVERY._replace(outcome=None)):
            self.assertEqual(bounded(delivery), delivery)

    def test_keys(self) -> None:
        """Keys that are long, or not ASCII, are replaced by short ones, which differ as they do."""
        keys = [LONGEST + "1", LONGEST + "2", "ä", "\udc80", "ä" + LONGEST]
        stored = {bounded(DELIVERY._replace(key=key)).key for key in keys}
        self.assertEqual(len(stored - set(keys)), len(keys))
        self.assertEqual({len(key) for key in stored}, {64})

    def test_request_ids(self) -> None:
        """A long id is cut, and what isn't Unicode is replaced."""
        for given, expected in ((LONGEST + "1", LONGEST), ("ä", "ä"), ("a\udc80", "a?"), ("ä" * 101, "ä" * 100)):
            self.assertEqual(bounded(DELIVERY._replace(request_id=given)), DELIVERY._replace(request_id=expected))

    def test_reasons(self) -> None:
        """A reason is on one line. A secret of which only the beginning would be stored is masked."""
        secret = "5ecre7" * 20
        for given, expected in (
            ("two\n  lines\r", "two lines"),
            ("\udc80", "?"),
            ("x" * 480 + f" https://ann:{secret}@host/", "x" * 480 + " https://"),
            ("token='" + "x" * 4960 + f"' https://ann:{secret}@host/", "token='•••' https://•••"),
        ):
            outcome = bounded(DELIVERY._replace(outcome=Outcome(500, given, 2.0))).outcome
            assert outcome is not None
            self.assertEqual((outcome.status, outcome.seconds), (500, 2.0))
            self.assertTrue(outcome.reason.startswith(expected), outcome.reason)
            self.assertLessEqual(len(outcome.reason), 500)
            self.assertNotIn("5ecre7", outcome.reason)


class LeaseTests(SynchronousTestCase):
    def test_bodies_of_a_lease(self) -> None:
        """A lease reads bodies up to 16 MB together, and at least one of any size."""
        for sizes, number in (
            ([8_000_000, 8_000_000, 1], 2),
            ([8_000_000, 8_000_001], 1),
            ([10, 10, 10], 3),
            ([17_000_000, 1], 1),
        ):
            self.assertEqual(fitting(sizes), number)

"""Tests for deliveries as lines and as JSON."""

from __future__ import annotations

import json
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text.masking import masker
from errklein.webhooks.deliveries import Attempt, DeliveryState, FailureGroup, Outcome, StoredDelivery, StoredRequest
from errklein.webhooks.exported import (
    InvalidExport,
    as_values,
    body_text,
    details,
    merged,
    read_request,
    shape_of,
    summary,
)

RECEIVED_AT = datetime(2026, 11, 28, 18, 56, 6).timestamp()
TIME, LATER = (datetime(2026, 11, 28, 18, minute, 6).astimezone().isoformat() for minute in (56, 57))
REQUEST = StoredRequest("POST", "/github?a=1", [(b"x-event", b"push")], b'{"zen": 1}', "198.51.100.7")

REQUESTS = st.builds(
    StoredRequest,
    method=st.sampled_from(["POST", "PUT"]),
    target=st.text(st.characters(min_codepoint=33, max_codepoint=126)),
    headers=st.lists(st.tuples(st.binary(), st.binary())),
    body=st.binary(),
    client=st.text(),
    secure=st.booleans(),
    server=st.tuples(st.text(), st.integers(0, 65535)),
    base_path=st.text(),
)


class SummaryTests(SynchronousTestCase):
    """`summary`."""

    def test_failed(self) -> None:
        """A line has the id, state, time, webhook, status, duration and reason."""
        outcome = Outcome(500, "ValueError: bad\nthing", 0.2)
        delivery = StoredDelivery(4711, "Github:notification", DeliveryState.FAILED, RECEIVED_AT, outcome=outcome)
        line = f"4711 failed {TIME} Github:notification 500 after 0.2 s: ValueError: bad thing"
        self.assertEqual(summary(delivery), line)

    def test_repeated(self) -> None:
        """The source's id and a later delivery with it are shown, on the same line."""
        delivery = StoredDelivery(
            1, "A:a", DeliveryState.REFUSED, RECEIVED_AT, key="a\n2 done", superseded_by=7, outcome=Outcome(401, "no")
        )
        self.assertEqual(
            summary(delivery), f"1 refused {TIME} A:a source-id a 2 done (superseded by 7) 401 after 0.0 s: no"
        )
        self.assertEqual(as_values(delivery)["superseded_by"], 7)

    def test_origin(self) -> None:
        """Tests and replays are marked, and an attempt without a response is described."""
        delivery = StoredDelivery(
            1, "Github:notification", DeliveryState.DEAD, RECEIVED_AT, origin="replay", outcome=Outcome(0, "", 60)
        )
        line = f"1 dead {TIME} Github:notification (replay) no response after 60.0 s"
        self.assertEqual(summary(delivery), line)


class DetailsTests(SynchronousTestCase):
    """`details` and `body_text`."""

    def test_long_values(self) -> None:
        """The beginnings of a long target and header are shown, without that of a known secret at their ends; an export has all."""
        masker.learn(self, "test", ["hunter2-of-the-bot"])
        target, value = "/" + "x" * 1015, "y" * 4090
        long = REQUEST._replace(
            target=f"{target}hunter2-of-the-bot", headers=[(b"x-event", f"{value}hunter2-of-the-bot".encode())]
        )
        delivery = StoredDelivery(1, "Github:notification", DeliveryState.DONE, RECEIVED_AT, request=long)
        self.assertEqual(details(delivery)[-2:], [f"POST {target}•••… from 198.51.100.7", f"x-event: {value}•••…"])
        self.assertEqual(as_values(delivery)["request"]["target"], long.target)

    def test_all_facts(self) -> None:
        """The lines have the facts that are known, the earlier attempts, the request and its headers."""
        delivery = StoredDelivery(
            7,
            "Github:notification",
            DeliveryState.RETRY,
            RECEIVED_AT,
            request_id="abc",
            ack="now",
            attempt=2,
            due_at=RECEIVED_AT + 60,
            key="d-1",
            outcome=Outcome(500, "no", 0.5),
            request=REQUEST,
            attempts=[Attempt(1, RECEIVED_AT, Outcome(0, "", 60.0))],
        )
        self.assertEqual(
            details(delivery),
            [
                f"7 retry {TIME} Github:notification source-id d-1 500 after 0.5 s: no",
                f"request abc, ack now, attempt 2, next attempt {LATER}",
                f"attempt 1 {TIME} no response after 60.0 s",
                "POST /github?a=1 from 198.51.100.7",
                "x-event: push",
            ],
        )

    def test_few_facts(self) -> None:
        """Unknown facts are left out; the time of a lease isn't one of a next attempt."""
        delivery = StoredDelivery(7, "Github:notification", DeliveryState.RUNNING, RECEIVED_AT, due_at=RECEIVED_AT)
        first = f"7 running {TIME} Github:notification"
        self.assertEqual(details(delivery), [first, "ack after, attempt 0", "The request is not stored."])
        waiting = delivery._replace(state=DeliveryState.RETRY, due_at=0.0, request=REQUEST._replace(client=""))
        self.assertEqual(details(waiting)[1:3], ["ack after, attempt 0", "POST /github?a=1 from an unknown address"])

    def test_bodies(self) -> None:
        """Only text is shown."""
        for body, shown in (
            (None, ("The body is not stored.", "")),
            (b"", ("Body (0 bytes):", "")),
            ("naïve".encode(), ("Body (6 bytes):", "naïve")),
            (b"\xff", ("The body has 1 bytes, which aren't text in UTF-8.", "")),
        ):
            self.assertEqual(body_text(REQUEST._replace(body=body)), shown)


class JSONTests(SynchronousTestCase):
    """`as_values` and `read_request`."""

    def values(self, body: bytes | None) -> dict[str, object]:
        """Return the values of a delivery with this body."""
        request = StoredRequest(REQUEST.method, REQUEST.target, REQUEST.headers, body)
        attempts = [Attempt(1, RECEIVED_AT, Outcome(500, "no", 0.5))]
        delivery = StoredDelivery(
            7, "Github:notification", DeliveryState.DEAD, 0.25, attempt=2, request=request, attempts=attempts
        )
        values: dict[str, object] = json.loads(json.dumps(as_values(delivery)))
        return values

    @given(REQUESTS)
    def test_requests_are_preserved(self, request: StoredRequest) -> None:
        """A request that was written as JSON is read unchanged, whatever its bytes are."""
        delivery = StoredDelivery(7, "Github:notification", DeliveryState.DONE, 0, request=request)
        expected = request._replace(secret_headers=frozenset())
        self.assertEqual(read_request(json.dumps(as_values(delivery))), expected)

    def test_readable(self) -> None:
        """Times are ISO dates in UTC, and a body in UTF-8 is text."""
        values = self.values("naïve".encode())
        self.assertEqual(values["received_at"], "1970-01-01T00:00:00.250+00:00")
        self.assertIn('"body": "na\\u00efve"', json.dumps(values))
        self.assertIn('"body_base64": "/w=="', json.dumps(self.values(b"\xff")))
        self.assertIn('"reason": "no", "seconds": 0.5', json.dumps(values["attempts"]))

    def test_lists_have_no_requests(self) -> None:
        """A delivery of a list has neither request nor attempts."""
        values = as_values(StoredDelivery(7, "Github:notification", DeliveryState.DONE, 0))
        self.assertEqual({"request", "attempts"} & values.keys(), set())

    def test_invalid_files(self) -> None:
        """The error for another text, version or a delivery without a body has the reason."""
        for text, reason in (
            ("{", "it isn't an exported delivery: "),
            ("[]", "it isn't an exported delivery: "),
            ("7", "it isn't an exported delivery: "),
            ("[" * 100_000, "it isn't an exported delivery: "),
            ("{}", "'version' is missing; it isn't a delivery that was exported with its body"),
            ('{"version": 0}', "version 0 isn't supported; export the delivery again"),
            ('{"version": 1}', "version 1 isn't supported; export the delivery again"),
            (json.dumps(self.values(None)), "'body' is missing; it isn't a delivery"),
            (json.dumps({**self.values(b""), "request": {"body": 7}}), "it isn't an exported delivery: "),
        ):
            error = self.assertRaises(InvalidExport, read_request, text)
            self.assertTrue(str(error).startswith(reason), str(error))


class GroupTests(SynchronousTestCase):
    """Groups of failures with the same cause."""

    def test_shapes(self) -> None:
        """Numbers, ids and quoted words don't make another cause; other words do."""
        for first, second, is_same in (
            ("build 7 failed", "build 812 failed", True),
            ("no user 'a'", "no user 'b c'", True),
            ('no "x" in `y`', 'no "z" in `1`', True),
            ("commit 0a1b2c3 is unknown", "commit fe01234 is unknown", True),
            ("6fa459ea-ee8a-3ca4-894e-db77e160355e", "16fd2706-8baf-433b-82eb-8c7fada847da", True),
            ("since 2026-11-28T18:56:06", "since 2026-11-30T08:00:11", True),
            ("the disk is full", "the disk is slow", False),
            ("it doesn't work, isn't here", "it doesn't begin, isn't here", False),
        ):
            self.assertEqual(shape_of(first) == shape_of(second), is_same, (first, second))

    def test_merged(self) -> None:
        """The groups of a cause become one with the latest reason; the latest group is the first."""
        one = FailureGroup("A:a", DeliveryState.DEAD, 500, "build 7", 2, 1, 10.0, 20.0, ids=[1, 2])
        other = one._replace(webhook="A:b", last=25.0)
        found = merged([one, one._replace(reason="build 8", first=5.0, last=30.0, ids=[3, 4]), other])
        self.assertEqual(
            [group[:8] for group in found],
            [one._replace(reason="build 8", number=4, repeated=2, first=5.0, last=30.0)[:8], other[:8]],
        )
        self.assertEqual([group.ids for group in found], [[1, 2, 3, 4], [1, 2]])
        self.assertEqual(len({group.key for group in found}), 2)

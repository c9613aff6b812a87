"""A stream and its states."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.backends.test import TestPerson
from errklein.chat.streams import (
    DEFAULT_REASON,
    STREAM_ERROR,
    STREAM_REJECTED,
    STREAM_SUCCESSFULLY_TRANSFERED,
    STREAM_TRANSFER_IN_PROGRESS,
    STREAM_WAITING_TO_START,
    Stream,
)

NEXT = {
    (STREAM_WAITING_TO_START, "accept"): STREAM_TRANSFER_IN_PROGRESS,
    (STREAM_WAITING_TO_START, "reject"): STREAM_REJECTED,
    (STREAM_TRANSFER_IN_PROGRESS, "success"): STREAM_SUCCESSFULLY_TRANSFERED,
}
"""Where the steps lead that may be taken; `error` leads from everywhere to the error."""


def stream(data: bytes = b"bytes") -> Stream:
    """A stream that somebody offers."""
    return Stream(TestPerson("alice"), io.BytesIO(data), "a.txt", len(data), "text/plain")


class StreamTests(SynchronousTestCase):
    """What a plugin sees of a stream."""

    def test_what_it_is(self) -> None:
        """A stream tells what is offered by whom, and is read as any file."""
        offered = stream()
        self.assertEqual(
            (str(offered.identifier), offered.name, offered.size, offered.stream_type),
            ("alice", "a.txt", 5, "text/plain"),
        )
        self.assertEqual((offered.status, offered.transfered, offered.reason), ("pending", 0, DEFAULT_REASON))
        self.assertEqual(offered.read(), b"bytes")

    def test_least(self) -> None:
        """Name, size and type needn't be known."""
        bare = Stream(TestPerson("alice"), io.BytesIO(b""))
        self.assertEqual((bare.name, bare.size, bare.stream_type), (None, None, None))

    def test_acknowledged(self) -> None:
        """How much has arrived is what was said last."""
        offered = stream()
        offered.ack_data(3)
        offered.ack_data(4)
        self.assertEqual(offered.transfered, 4)

    def test_clone(self) -> None:
        """A clone is the same stream at its beginning, with other bytes."""
        offered = stream()
        offered.accept()
        offered.ack_data(2)
        clone = offered.clone(io.BytesIO(b"others"))
        self.assertEqual((clone.name, clone.size, clone.status, clone.transfered), ("a.txt", 5, "pending", 0))
        self.assertEqual(clone.read(), b"others")

    def test_reason(self) -> None:
        """Why a transfer has ended can be asked."""
        offered = stream()
        offered.error("the cable broke")
        self.assertEqual((offered.status, offered.reason), (STREAM_ERROR, "the cable broke"))

    @given(st.lists(st.sampled_from(["accept", "reject", "success", "error"])))
    def test_states(self, steps: list[str]) -> None:
        """Each step leads where it should, and one out of turn is refused and changes nothing."""
        offered = stream()
        status = STREAM_WAITING_TO_START
        for step in steps:
            expected = STREAM_ERROR if step == "error" else NEXT.get((status, step))
            if expected is None:
                with self.assertRaises(ValueError):
                    getattr(offered, step)()
            else:
                getattr(offered, step)()
                status = expected
            self.assertEqual(offered.status, status)

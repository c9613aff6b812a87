"""Streams and their states."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.chat.streams import (
    STREAM_ERROR,
    STREAM_REJECTED,
    STREAM_SUCCESSFULLY_TRANSFERED,
    STREAM_TRANSFER_IN_PROGRESS,
    STREAM_WAITING_TO_START,
    Stream,
)
from errklein.networks.test import TestPerson

NEXT = {
    (STREAM_WAITING_TO_START, "accept"): STREAM_TRANSFER_IN_PROGRESS,
    (STREAM_WAITING_TO_START, "reject"): STREAM_REJECTED,
    (STREAM_TRANSFER_IN_PROGRESS, "success"): STREAM_SUCCESSFULLY_TRANSFERED,
}
"""Where the steps lead that may be taken; `error` leads from everywhere to the error."""


def stream(data: bytes = b"bytes") -> Stream:
    """Return a stream from a person."""
    return Stream(TestPerson("alice"), io.BytesIO(data), "a.txt", len(data), "text/plain")


class StreamTests(SynchronousTestCase):
    """`Stream`."""

    def test_reason(self) -> None:
        """The reason of a failed transfer is available."""
        offered = stream()
        offered.error("the cable broke")
        self.assertEqual((offered.status, offered.reason), (STREAM_ERROR, "the cable broke"))

    @given(st.lists(st.sampled_from(["accept", "reject", "success", "error"])))
    def test_states(self, steps: list[str]) -> None:
        """Each step leads to its state; a step that isn't possible raises ValueError and changes nothing."""
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

"""A file, or any other bytes, on its way from or to somebody."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from errklein.chat.identifiers import Identifier, read_only

STREAM_WAITING_TO_START = "pending"
STREAM_TRANSFER_IN_PROGRESS = "in progress"
STREAM_SUCCESSFULLY_TRANSFERED = "success"
STREAM_PAUSED = "paused"
STREAM_ERROR = "error"
STREAM_REJECTED = "rejected"

DEFAULT_REASON = "unknown"


class Stream(io.BufferedReader):
    """Bytes from `identifier`, or for it, which are read from `fsource`.

    `status` is one of the `STREAM_…` constants: pending, until who gets the stream calls `accept` or `reject`; then in
    progress, until `success`; and error from any of these on. Steps out of turn raise ValueError and change nothing.
    """

    identifier: Identifier = read_only("_identifier", "Who offers the stream, or is offered it.")
    name: Any = read_only("_name", "The file's name; None if it has none.")
    size: int | None = read_only("_size", "How many bytes there are; None if that isn't known.")
    transfered: int = read_only("_transfered", "How many bytes have arrived.")
    stream_type: str | None = read_only(
        "_stream_type", "What the bytes are, such as a media type; None if that isn't known."
    )
    status: str = read_only("_status", "How far the stream has got, one of the `STREAM_…` constants.")
    reason: str = read_only("_reason", "What `error` was told.")

    def __init__(
        self,
        identifier: Identifier,
        fsource: BinaryIO | io.RawIOBase,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> None:
        super().__init__(fsource)  # type: ignore[arg-type]
        self._identifier = identifier
        self._name = name
        self._size = size
        self._stream_type = stream_type
        self._status = STREAM_WAITING_TO_START
        self._reason = DEFAULT_REASON
        self._transfered = 0

    def accept(self) -> None:
        """Begin the transfer."""
        self._must_be(STREAM_WAITING_TO_START, "accepted")
        self._status = STREAM_TRANSFER_IN_PROGRESS

    def reject(self) -> None:
        """Refuse the stream."""
        self._must_be(STREAM_WAITING_TO_START, "rejected")
        self._status = STREAM_REJECTED

    def success(self) -> None:
        """All of it has arrived."""
        self._must_be(STREAM_TRANSFER_IN_PROGRESS, "ended with success")
        self._status = STREAM_SUCCESSFULLY_TRANSFERED

    def error(self, reason: str = DEFAULT_REASON) -> None:
        """The transfer is over, because of `reason`."""
        self._status = STREAM_ERROR
        self._reason = reason

    def ack_data(self, length: int) -> None:
        """So many bytes have arrived up to now, in all."""
        self._transfered = length

    def clone(self, new_fsource: BinaryIO) -> Stream:
        """The same stream at its beginning, with its bytes from elsewhere."""
        return Stream(self._identifier, new_fsource, self._name, self._size, self._stream_type)

    def _must_be(self, status: str, done: str) -> None:
        if self._status != status:
            raise ValueError(f"a stream that is {self._status} can't be {done}, only one that is {status}")

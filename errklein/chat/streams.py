"""Streams: files that people and the bot send each other."""

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
    """A file that is being received or sent: a binary file object with the state of its transfer.

    `callback_stream` receives one in a worker thread, and reads it after accepting it::

        def callback_stream(self, stream):
            stream.accept()
            path = self.folder / secrets.token_hex(8)
            path.write_bytes(stream.read())
            stream.success()

    `name` comes from the person who sends the file: don't use it as a path. `BotPlugin.send_stream_request` returns a Stream, whose `status`
    shows the progress of sending.

    The status is "pending" at first. The recipient's `accept` makes it "in progress", `reject` "rejected". `success` and
    `error` end the transfer. A step that isn't possible in the current status raises ValueError and changes nothing.

    The constructor's parameters are attributes of the same names, but for `fsource`, the binary file object to read from.
    """

    identifier: Identifier = read_only("_identifier", "The person who sends the file, or who receives it.")
    name: Any = read_only("_name", "The file's name, or None.")
    size: int | None = read_only("_size", "The number of bytes; None if it is unknown.")
    transfered: int = read_only("_transfered", "The number of bytes transferred so far. The spelling is errbot's.")
    stream_type: str | None = read_only(
        "_stream_type", "The content's type, such as `image/png`; None if it is unknown."
    )
    status: str = read_only(
        "_status", "The state of the transfer: `pending`, `in progress`, `success`, `paused`, `error` or `rejected`."
    )
    reason: str = read_only("_reason", "The reason given to `error`; `unknown` before that.")

    def __init__(
        self,
        identifier: Identifier,
        fsource: BinaryIO | io.RawIOBase,
        name: str | None = None,
        size: int | None = None,
        stream_type: str | None = None,
    ) -> None:
        super().__init__(fsource)  # type: ignore[arg-type]
        self._identifier, self._name, self._size, self._stream_type = identifier, name, size, stream_type
        self._status, self._reason, self._transfered = STREAM_WAITING_TO_START, DEFAULT_REASON, 0

    def accept(self) -> None:
        """Accept the file: the status becomes "in progress". It must be "pending"."""
        self._must_be(STREAM_WAITING_TO_START, "accepted")
        self._status = STREAM_TRANSFER_IN_PROGRESS

    def reject(self) -> None:
        """Refuse the file: the status becomes "rejected". It must be "pending"."""
        self._must_be(STREAM_WAITING_TO_START, "rejected")
        self._status = STREAM_REJECTED

    def success(self) -> None:
        """Mark the transfer as complete: the status becomes "success". It must be "in progress"."""
        self._must_be(STREAM_TRANSFER_IN_PROGRESS, "ended with success")
        self._status = STREAM_SUCCESSFULLY_TRANSFERED

    def error(self, reason: str = DEFAULT_REASON) -> None:
        """Mark the transfer as failed, in any status."""
        self._status = STREAM_ERROR
        self._reason = reason

    def ack_data(self, length: int) -> None:
        """Set `transfered`, the number of bytes since the beginning."""
        self._transfered = length

    def clone(self, new_fsource: BinaryIO) -> Stream:
        """Return a stream that reads from another file object, with the same metadata and the status "pending"."""
        return Stream(self._identifier, new_fsource, self._name, self._size, self._stream_type)

    def _must_be(self, status: str, done: str) -> None:
        if self._status != status:
            raise ValueError(f"can't be {done}: the stream's status is {self._status!r}, and must be {status!r}")

"""A request as its verification sees it, and the results of a verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Header = tuple[bytes, bytes]
"""The name of a header in lower case, and its value."""


class Refused(Exception):
    """The request isn't authentic.

    :param text: The reason, for the log; it contains no secret and no expected value.
    :param kind: The kind of the reason, for metrics and notices: "signature", "malformed" (also: missing), "time" or "address".
    """

    def __init__(self, text: str, kind: str = "signature") -> None:
        super().__init__(text)
        self.kind = kind


class UnusableSecret(Refused):
    """The secret can't verify any request, for example since its encoding is invalid."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request, as the functions that verify it get it.

    `url` is the address that the source used, with scheme, host and query. The names of `headers` are in lower case; their
    values are unchanged. `body` has the bytes that have arrived, `peer` is the client's address or "", and `now` the current
    Unix time in seconds. The repr leaves out what may contain secrets.
    """

    method: str
    url: str = field(repr=False)
    headers: Sequence[Header] = field(repr=False)
    body: bytes = field(repr=False)
    peer: str
    now: float

    def header(self, name: bytes) -> bytes:
        """Return the value of the header; empty if it is missing.

        :param name: The name in lower case.
        :raises Refused: The header is repeated, so its value is ambiguous.
        """
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise Refused(f"the header {name.decode()} is repeated", "malformed")
        return values[0] if values else b""


@dataclass(frozen=True, slots=True)
class ImmediateResponse:
    """A response that is part of a scheme, such as to Slack's challenge. The handler isn't called then."""

    status: int
    headers: Sequence[Header]
    body: bytes

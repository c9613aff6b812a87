"""A verification as a plugin or an operator has configured it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from errklein.verify._values import ImmediateResponse, Received

Check = Callable[..., ImmediateResponse | None]
"""Called with a `Received`, the secrets as bytes, and the options of the scheme by name. Raises Refused."""


@dataclass(frozen=True)
class Verification:
    """A scheme, such as that of GitHub, with the references to its secrets and its options.

    :param scheme: The name of the scheme.
    :param check: The function that verifies a request.
    :param secrets: References such as "env:GH_SECRET". A request is authentic if one of them fits.
    :param options: Further arguments of `check`.
    :param delivery_id: Returns the id that the sender gives each delivery, and repeats when it sends it again; None if the
        request has none.
    :param secret_headers: The lower-case names of headers that authenticate a request. They are never stored in the log.
    """

    scheme: str
    check: Check
    secrets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    delivery_id: Callable[[Received], str | None] | None = None
    secret_headers: frozenset[bytes] = frozenset()

    def verify(self, received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        """Return None if the request is authentic, or the response that the scheme requires instead of the handler's.

        :param secrets: The secrets themselves.
        :raises Refused: The request isn't authentic, or malformed.
        """
        return self.check(received, secrets, **self.options)

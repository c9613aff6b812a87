"""A verification as a plugin or an operator has configured it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from errklein.verify._references import parse_reference
from errklein.verify._values import Header, ImmediateResponse, Received, Refused

Check = Callable[..., ImmediateResponse | None]
"""Called with a `Received`, the secrets as bytes, and the options of the scheme by name. Raises Refused."""

Signer = Callable[..., Sequence[Header]]
"""Called with a `Received`, one secret, and the options of the scheme by name. Returns the headers of the signature."""


@dataclass(frozen=True)
class Verification:
    """A scheme, such as that of GitHub, with the references to its secrets and its options.

    :param scheme: The name of the scheme.
    :param check: The function that verifies a request.
    :param secrets: References such as "env:GH_SECRET". A request is authentic if one of them fits.
    :param options: Further arguments of `check` and `signer`.
    :param delivery_id: Returns the id that the source gives each delivery, and repeats when it sends it again; None if the
        request has none. It raises no exception.
    :param secret_headers: The lower-case names of headers that authenticate a request. They are never stored in the log.
    :param signer: The function that signs a request, for tests; None if the scheme has no secret, or a private key.
    :raises ValueError: A secret isn't a reference.
    """

    scheme: str
    check: Check
    secrets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    delivery_id: Callable[[Received], str | None] | None = None
    secret_headers: frozenset[bytes] = frozenset()
    signer: Signer | None = None

    def __post_init__(self) -> None:
        for reference in self.secrets:
            parse_reference(reference)

    def verify(self, received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        """Return None if the request is authentic, or the response that the scheme requires instead of the handler's.

        :param secrets: The secrets themselves.
        :raises Refused: The request isn't authentic, or malformed, or a secret is empty or missing.
        """
        if (self.secrets or secrets) and not (secrets and all(secrets)):
            raise Refused("the secret is missing or empty")
        return self.check(received, secrets, **self.options)

    def sign(self, received: Received, secret: bytes) -> Sequence[Header]:
        """Return the headers with which a request becomes authentic.

        :raises ValueError: The scheme has no secret, or a private key; or the request or the secret is unsuitable.
        """
        if self.signer is None:
            raise ValueError(f"requests can't be signed for {self.scheme}: it has no secret, or a private key")
        try:
            return self.signer(received, secret, **self.options)
        except Refused as refused:
            raise ValueError(f"the request can't be signed for {self.scheme}: {refused}") from None

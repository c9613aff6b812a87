"""The verification of a webhook's source: the request, the reasons to refuse it, secrets, and the schemes by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

from errklein.text.suggestions import did_you_mean

LONGEST_ID = 255

Header = tuple[bytes, bytes]  # the name of a header in lower case, and its value
Secrets = str | Sequence[str]  # one reference to a secret, or several, of which each is accepted: for rotation

_REFERENCE = re.compile(
    r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(/[^\0]*)|(credential):([^\0/.][^\0/]*)|(secret):([A-Za-z0-9][A-Za-z0-9_-]{0,99})"
)
_EXPECTED = "'env:NAME', 'file:/path' or 'credential:NAME'"


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


class Expired(Refused):
    """The webhook has expired."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request, as the functions that verify it get it.

    `url` is the address that the source used, with scheme, host and query. The names of `headers` are in lower case; their
    values are unchanged. `body` has the bytes that have arrived, `peer` is the client's address or "", and `now` the current
    Unix time in seconds. `path_token` is the token at the end of the address of a webhook of a room, which `url` doesn't have.
    The repr leaves out what may contain secrets.
    """

    method: str
    url: str = field(repr=False)
    headers: Sequence[Header] = field(repr=False)
    body: bytes = field(repr=False)
    peer: str
    now: float
    path_token: bytes = field(default=b"", repr=False)

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
    """A response without a call of the handler: to Slack's challenge, to a recorded request, or to a repeated one."""

    status: int
    headers: Sequence[Header]
    body: bytes


def parse_reference(reference: str) -> tuple[str, str]:
    """Return the kind of a reference to a secret, and the name: ("env", "GH_SECRET") for "env:GH_SECRET".

    :param reference: "env:NAME" is a variable of the environment, "file:/path" a file, "credential:NAME" a credential of
        systemd, and "secret:NAME" a secret that the bot has made itself.
    :raises ValueError: It isn't a reference. The text doesn't repeat it, since it may be the secret itself.
    """
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if found is None:
        raise ValueError(f"a secret must be given by reference, as {_EXPECTED}, and not as the value itself")
    kind, name = filter(None, found.groups())
    return kind, name


def references(secret: Secrets) -> tuple[str, ...]:
    """Return the references as a tuple. `Verification` checks each of them. Raises ValueError: there are none."""
    given = (secret,) if isinstance(secret, str) else tuple(secret) if isinstance(secret, Sequence) else (secret,)
    if not given:
        raise ValueError(f"no secret is given; name one as {_EXPECTED}")
    return given


class HeaderId:
    """Returns the id that is in the first of these headers that is present, or None."""

    def __init__(self, *names: bytes) -> None:
        self.names = names

    def __call__(self, received: Received) -> str | None:
        for name in self.names:
            # If the header is repeated, its values are the id together.
            value = b",".join(value for key, value in received.headers if key == name)
            if value:
                return value.decode("latin-1") if len(value) <= LONGEST_ID else None
        return None


# Returns the id that the source gives a delivery, and repeats when it sends it again; None if the request has none.
FindId = Callable[[Received], str | None] | None
# Called with a `Received`, the secrets as bytes, and the options of the scheme by name; raises Refused.
Check = Callable[..., ImmediateResponse | None]
# Called with a `Received`, one secret, and the options of the scheme by name; returns the headers of the signature.
Signer = Callable[..., Sequence[Header]]


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
    :param event_header: The header with the name of the event, for tests; "" if the source names it in the body.
    :param unusable: Why no request can be verified, such as since no secret is configured yet; "" if requests can be.
    :raises ValueError: A secret isn't a reference.
    """

    scheme: str
    check: Check
    secrets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    delivery_id: FindId = None
    secret_headers: frozenset[bytes] = frozenset()
    signer: Signer | None = None
    event_header: str = ""
    unusable: str = ""

    def __post_init__(self) -> None:
        for reference in self.secrets:
            parse_reference(reference)

    def verify(self, received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        """Return None if the request is authentic, or the response that the scheme requires instead of the handler's.

        :param secrets: The secrets themselves.
        :raises Refused: The request isn't authentic, or malformed, or a secret is empty or missing.
        """
        if self.unusable:
            raise UnusableSecret(self.unusable)
        if (self.secrets or secrets) and not (secrets and all(secrets)):
            raise Refused("the secret is missing or empty")
        return self.check(received, secrets, **self.options)

    def match(self, received: Received, secrets: Sequence[bytes]) -> str:
        """Return which secret fits an authentic request: its reference, or the digest of the token; "" without secrets."""
        digests = self.options.get("digests")
        if digests and (digest := sha256(received.path_token).hexdigest()) in digests:
            return digest
        for reference, secret in zip(self.secrets[:-1], secrets, strict=False):
            with suppress(Refused):
                self.check(received, [secret], **self.options)
                return reference
        return self.secrets[-1] if self.secrets else ""

    def sign(self, received: Received, secret: bytes) -> Sequence[Header]:
        """Return the headers with which a request becomes authentic. Raises ValueError: that isn't possible."""
        if self.signer is None:
            raise ValueError(f"requests can't be signed for {self.scheme}: it has no secret, or a private key")
        try:
            return self.signer(received, secret, **self.options)
        except Refused as refused:
            raise ValueError(f"the request can't be signed for {self.scheme}: {refused}") from None

    def headers_of_source(self, event: str | None) -> Mapping[str, str]:
        """Return the headers that the source adds beside the signature: the name of the event, if given, and a new id. Raises
        ValueError: the source has no header for the event."""
        headers = {}
        if event is not None:
            if not self.event_header:
                raise ValueError(f"{self.scheme} has no header for the event; leave out the event {event!r}")
            headers[self.event_header] = event
        if isinstance(self.delivery_id, HeaderId):
            headers[self.delivery_id.names[0].decode()] = str(uuid4())
        return headers


SCHEMES: dict[str, Callable[..., Verification]] = {}  # the functions that return a verification, by name
Factory = TypeVar("Factory", bound=Callable[..., Verification])


def scheme(factory: Factory) -> Factory:
    SCHEMES[factory.__name__] = factory
    return factory


_TYPES: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("True or False", (bool,)),
    "float": ("a number", (int, float)),
    "str": ("a string", (str,)),
    "str | None": ("a string or None", (str, type(None))),
    "str | Sequence[str]": ("a string or a list of strings", (str, list, tuple)),
}
"""The values of the annotations of options, with their description. `references` checks the type of secrets."""


def verification(scheme: str, /, **options: Any) -> Verification:
    """Return the verification of a scheme with these options, as `github(secret="env:GH_SECRET")` does.

    :raises ValueError: The scheme or an option is unknown, missing or invalid. The text has the valid names.
    """
    factory = SCHEMES.get(scheme) if isinstance(scheme, str) else None
    if factory is None:
        known = ", ".join(sorted(SCHEMES))
        hint = did_you_mean(str(scheme), SCHEMES)
        raise ValueError(f"unknown verification: {scheme!r}; expected one of {known}{hint}")
    parameters = inspect.signature(factory).parameters
    for name in options:
        if name not in parameters:
            known = ", ".join(parameters)
            hint = did_you_mean(name, parameters)
            raise ValueError(f"unknown option of the verification {scheme}: {name!r}; expected {known}{hint}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            example = ", such as 'secret': 'env:NAME'" if name == "secret" else ""
            raise ValueError(f"the verification {scheme} needs the option {name!r}{example}")
        if name in options and not _is_of_type(options[name], parameter.annotation):
            expected = _TYPES[parameter.annotation][0]
            given = type(options[name]).__name__
            raise ValueError(f"the option {name!r} of the verification {scheme} must be {expected}, not a {given}")
    return factory(**options)


def _is_of_type(value: object, annotation: str) -> bool:
    items = value if isinstance(value, (list, tuple)) else ()
    return annotation not in _TYPES or (
        isinstance(value, _TYPES[annotation][1]) and all(isinstance(item, str) for item in items)
    )

"""The verification of a webhook's source: the request, the reasons to refuse it, secrets, the schemes by name; and their common parts:
comparisons, times, ids in bodies, tokens, and forms of signatures."""

from __future__ import annotations

import hashlib
import hmac
import inspect
import json
import math
import re
from base64 import b64decode, b64encode
from binascii import hexlify
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from errklein.text.suggestions import did_you_mean

LONGEST_ID = 255
Header = tuple[bytes, bytes]  # the name of a header in lower case, and its value
Secrets = str | Sequence[str]  # one reference to a secret, or several, of which each is accepted: for rotation
_REFERENCE = re.compile(
    r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(/[^\0]*)|(credential):([^\0/.][^\0/]*)|(secret):([A-Za-z0-9][A-Za-z0-9_-]{0,99})"
)
_EXPECTED = "'env:NAME', 'file:/path' or 'credential:NAME'"


class Refused(Exception):
    """The request isn't authentic. `text` is the reason, for the log, without a secret or an expected value. `kind` is that of the
    reason, for metrics and notices: "signature", "malformed" (also: missing), "time" or "address"."""

    def __init__(self, text: str, kind: str = "signature") -> None:
        super().__init__(text)
        self.kind = kind


class UnusableSecret(Refused):
    """The secret can't verify any request, for example since its encoding is invalid."""


class Expired(Refused):
    """The webhook has expired."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request, as the functions that verify it get it. The repr leaves out what may contain secrets."""

    method: str
    url: str = field(repr=False)  #: the address that the source used, with scheme, host and query
    headers: Sequence[Header] = field(repr=False)  #: with names in lower case
    body: bytes = field(repr=False)  #: the bytes that have arrived
    peer: str  #: the client's address, or ""
    now: float  #: the current Unix time in seconds
    path_token: bytes = field(
        default=b"", repr=False
    )  #: the token at the end of a room's address, which `url` doesn't have

    def header(self, name: bytes) -> bytes:
        """Return the value of the header with this lower-case name; empty if it is missing. Raises Refused: it is repeated."""
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
    """Return the kind of a reference to a secret, and the name: ("env", "GH_SECRET") for "env:GH_SECRET", a variable of the
    environment. "file:/path" is a file, "credential:NAME" a credential of systemd, "secret:NAME" a secret of the bot's own. Raises
    ValueError, whose text doesn't repeat what is no reference, since it may be the secret itself."""
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if found is None:
        raise ValueError(f"a secret must be given by reference, as {_EXPECTED}, and not as the value itself")
    kind, name = filter(None, found.groups())
    return kind, name


def references(secret: Secrets) -> tuple[str, ...]:
    """Return the references as a tuple. `Verification` checks each of them. Raises ValueError: there are none."""
    given = tuple(secret) if isinstance(secret, Sequence) and not isinstance(secret, str) else (secret,)
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
    """A scheme, such as that of GitHub, with the references to its secrets and its options. Raises ValueError: a secret isn't a
    reference."""

    scheme: str
    check: Check
    secrets: tuple[str, ...] = ()  #: references such as "env:GH_SECRET"; a request is authentic if one of them fits
    options: Mapping[str, Any] = field(default_factory=dict)  #: further arguments of `check` and `signer`
    delivery_id: FindId = None  #: returns the id of a delivery, and raises no exception
    secret_headers: frozenset[bytes] = frozenset()  #: lower-case names of headers that are never stored in the log
    signer: Signer | None = None  #: signs a request, for tests; None if the scheme has no secret, or a private key
    event_header: str = ""  #: the header with the name of the event, for tests; "" if the source names it in the body
    unusable: str = ""  #: why no request can be verified, such as without a secret; "" if requests can be

    def __post_init__(self) -> None:
        for reference in self.secrets:
            parse_reference(reference)

    def verify(self, received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        """Return None if the request is authentic, or the response that the scheme requires instead of the handler's. Raises
        Refused: the request isn't authentic, or malformed, or one of the secrets is empty or missing."""
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
Text = TypeVar("Text", str, bytes)


def scheme(factory: Factory) -> Factory:
    SCHEMES[factory.__name__] = factory
    return factory


# The values of the annotations of options, with their description. `references` checks the type of secrets.
_TYPES: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("True or False", (bool,)),
    "float": ("a number", (int, float)),
    "str": ("a string", (str,)),
    "str | None": ("a string or None", (str, type(None))),
    "str | Sequence[str]": ("a string or a list of strings", (str, list, tuple)),
}


def verification(scheme: str, /, **options: Any) -> Verification:
    """Return the verification of a scheme with these options, as `github(secret="env:GH_SECRET")` does. Raises ValueError: the
    scheme or an option is unknown, missing or invalid. The text has the valid names."""
    factory = SCHEMES.get(scheme) if isinstance(scheme, str) else None
    if factory is None:
        known = f"{', '.join(sorted(SCHEMES))}{did_you_mean(str(scheme), SCHEMES)}"
        raise ValueError(f"unknown verification: {scheme!r}; expected one of {known}")
    parameters = inspect.signature(factory).parameters
    for name in options:
        if name not in parameters:
            known = f"{', '.join(parameters)}{did_you_mean(name, parameters)}"
            raise ValueError(f"unknown option of the verification {scheme}: {name!r}; expected {known}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            example = ", such as 'secret': 'env:NAME'" if name == "secret" else ""
            raise ValueError(f"the verification {scheme} needs the option {name!r}{example}")
        if name in options and not _is_of_type(options[name], parameter.annotation):
            expected, given = _TYPES[parameter.annotation][0], type(options[name]).__name__
            raise ValueError(f"the option {name!r} of the verification {scheme} must be {expected}, not a {given}")
    return factory(**options)


def _is_of_type(value: object, annotation: str) -> bool:
    are_texts = all(isinstance(item, str) for item in (value if isinstance(value, (list, tuple)) else ()))
    return annotation not in _TYPES or (isinstance(value, _TYPES[annotation][1]) and are_texts)


Encoding = Callable[[bytes], bytes]
ENCODINGS: dict[str, Encoding] = {"base64": b64encode, "hex": hexlify}
ALGORITHMS = ("sha1", "sha256", "sha384", "sha512")
NO_MATCH = "the signature or token doesn't match"
BODY, TIMESTAMP = b"{body}", b"{timestamp}"
_DIGITS = re.compile(rb"[0-9]{1,12}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MOST_SIGNATURES = 10  # a source has one key, and for a while two; more would cost time


def matches(given: Sequence[Text], expected: Iterable[Text]) -> bool:
    """Return whether one of the given values is one of the expected ones. All are compared, so that the time doesn't tell
    where they differ, and as they are encoded, so that there is one spelling of each signature."""
    return sum([hmac.compare_digest(one, value) for value in expected for one in given]) > 0


def match(given: Sequence[bytes], expected: Iterable[bytes]) -> None:
    if not matches(given, expected):
        raise Refused(NO_MATCH)


def check_time(timestamp: bytes, now: float, tolerance: float) -> None:
    """Raise Refused if a Unix time in seconds is malformed, or more than `tolerance` seconds before or after `now`."""
    if not _DIGITS.fullmatch(timestamp):
        raise Refused("the timestamp is missing or invalid", "malformed")
    if not abs(now - int(timestamp)) <= tolerance:
        raise Refused(f"the timestamp is more than {tolerance:g} s from the present time", "time")


def check_tolerance(tolerance: float) -> None:
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 < tolerance < math.inf:
        raise ValueError(f"invalid tolerance: {tolerance!r}; expected a number of seconds above 0")


def required(received: Received, name: bytes) -> bytes:
    """Return the value of the header. Raises Refused: it is missing, empty or repeated."""
    value = received.header(name)
    if not value:
        raise Refused(f"the header {name.decode()} is missing", "malformed")
    return value


def json_of(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    return None


def id_in_json(*path: str) -> Callable[[Received], str | None]:
    """Return a function that returns the text or number in these nested fields of a JSON body, or None."""

    def delivery_id(received: Received) -> str | None:
        value = json_of(received.body)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        return text if 0 < len(text) <= LONGEST_ID else None

    return delivery_id


def token_in_header(
    scheme: str,
    header: bytes,
    secret: Secrets,
    delivery_id: FindId = None,
    event_header: str = "",
    *,
    kind: bytes = b"",
    encode: Encoding = bytes,
) -> Verification:
    """Return the verification of a header that has the encoded secret itself, after `kind` of credentials, such as b"Bearer"."""

    def check(received: Received, secrets: Sequence[bytes]) -> None:
        given = required(received, header)
        if kind:
            before, _, given = given.partition(b" ")
            if before.lower() != kind.lower():
                name, wanted = header.decode(), kind.lower().decode()
                raise Refused(f"the header {name} has no {wanted} credentials", "malformed")
            given = given.strip(b" ")
        match([given], map(encode, secrets))

    def sign(received: Received, token: bytes) -> Sequence[Header]:
        return [(header, b" ".join(filter(None, (kind, encode(token)))))]

    return Verification(scheme, check, references(secret), {}, delivery_id, frozenset({header}), sign, event_header)


ADDRESS_SCHEME = "token in the address"  # the name of the scheme `url_token`


def url_token(secret: Secrets = (), *, digests: Sequence[str] = (), delivery_id: FindId = None) -> Verification:
    """Return the verification by the token at the end of the address, `Received.path_token`, which the web server removes before
    anything records or logs it. `secret` are references to tokens, `digests` the hexadecimal SHA-256 digests of further ones."""

    def check(received: Received, secrets: Sequence[bytes], digests: Sequence[str]) -> None:
        if not received.path_token:
            raise Refused("the address has no token", "malformed")
        given = digest_of(received.path_token)
        known = [*digests, *map(digest_of, secrets)]
        if not matches([given], known):
            raise Refused("the token in the address doesn't match")

    known = references(secret) if secret else ()
    return Verification(ADDRESS_SCHEME, check, known, {"digests": digests}, delivery_id=delivery_id)


def digest_of(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


@dataclass(frozen=True)
class SignedBody:
    """The form of a signature that is the HMAC of the body, or of a text that contains it. Most sources have such a scheme."""

    headers: tuple[bytes, ...]  # names of headers that may have the signature; the first one that is present counts
    prefix: bytes = b""  # the text before the signature
    separator: bytes | None = None  # the text between several signatures, of which one must match; None for only one
    algorithm: str = "sha256"
    encode: Encoding = hexlify
    signed: bytes = BODY  # the signed text, with the placeholders {body} and {timestamp}
    timestamp_header: bytes = b""  # the header with the Unix time in seconds that is signed, too
    timestamp_item: bytes = b""  # the beginning of the item with that time, if it is among the signatures
    tolerance: float = 300.0  # the greatest difference to the present time, in seconds

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    def verification(
        self, scheme: str, secret: Secrets, find_id: FindId = None, event_header: str = ""
    ) -> Verification:
        names = frozenset(self.headers)
        return Verification(scheme, self.check, references(secret), {}, find_id, names, self.sign, event_header)

    def check(self, received: Received, secrets: Sequence[bytes]) -> None:
        name = next((name for name in self.headers if received.header(name)), self.headers[0])
        value = required(received, name)
        given = value.split(self.separator) if self.separator else [value]
        timestamp = received.header(self.timestamp_header) if self.timestamp_header else b""
        if self.timestamp_item:
            times = [item.removeprefix(self.timestamp_item) for item in given if item.startswith(self.timestamp_item)]
            given = [item for item in given if item.startswith(self.prefix)]
            if len(times) != 1 or not given:
                raise Refused(f"the header {name.decode()} is malformed", "malformed")
            timestamp = times[0]
        if self.timestamp_header or self.timestamp_item:
            check_time(timestamp, received.now, self.tolerance)
        message = self._message(received.body, timestamp)
        match(given, (self._of(message, one) for one in secrets))

    def sign(self, received: Received, secret: bytes) -> Sequence[Header]:
        timestamp = b"%d" % received.now
        headers = [(self.timestamp_header, timestamp)] if self.timestamp_header else []
        signature = self._of(self._message(received.body, timestamp), secret)
        if self.timestamp_item:
            signature = b"%b%b,%b" % (self.timestamp_item, timestamp, signature)
        return [*headers, (self.headers[0], signature)]

    def _message(self, body: bytes, timestamp: bytes) -> bytes:
        # The body is inserted last, since it may contain a placeholder.
        before, _, after = self.signed.replace(TIMESTAMP, timestamp).partition(BODY)
        return before + body + after

    def _of(self, message: bytes, secret: bytes) -> bytes:
        return self.prefix + self.encode(hmac.digest(secret, message, self.algorithm))


@scheme
def hmac_signature(
    *,
    secret: Secrets,
    header: str,
    algorithm: str = "sha256",
    prefix: str = "",
    encoding: str = "hex",
    timestamp_header: str | None = None,
    signed: str | None = None,
    tolerance: float = 300.0,
    id_header: str | None = None,
) -> Verification:
    """Return the verification of an HMAC in a header, for sources without a scheme of their own here.

    :param header: The header with the signature.
    :param algorithm: "sha1", "sha256", "sha384" or "sha512".
    :param prefix: The text before the signature, such as "sha256=".
    :param encoding: "hex", in lower case, or "base64".
    :param timestamp_header: The header with the time at which the source signs, as Unix time in seconds.
    :param signed: The signed text with the placeholders {timestamp} and {body}. By default, it is "{timestamp}.{body}" with a
        timestamp, and otherwise the body.
    :param tolerance: The greatest difference of that time to the present time, in seconds.
    :param id_header: The header with the id of the delivery.
    """
    for name in (header, *filter(None, (timestamp_header, id_header))):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"invalid name of a header: {name!r}")
    for option, known, kind in ((algorithm, ALGORITHMS, "algorithm"), (encoding, (*ENCODINGS,), "encoding")):
        if option not in known:
            raise ValueError(f"invalid {kind}: {option!r}; expected one of {', '.join(known)}")
    text = signed or ("{timestamp}.{body}" if timestamp_header else "{body}")
    if text.count(BODY.decode()) != 1 or text.count(TIMESTAMP.decode()) != bool(timestamp_header):
        raise ValueError(f"invalid signed text: {text!r}; expected {{body}}, and {{timestamp}} with a timestamp_header")
    form = SignedBody(
        (header.lower().encode(),),
        prefix=prefix.encode(),
        algorithm=algorithm,
        encode=ENCODINGS[encoding],
        signed=text.encode(),
        timestamp_header=(timestamp_header or "").lower().encode(),
        tolerance=tolerance,
    )
    return form.verification("hmac_signature", secret, HeaderId(id_header.lower().encode()) if id_header else None)


def load_key(decode: Callable[[str], bytes], text: str) -> Ed25519PublicKey:
    """Return the public key (RFC 8032) of an encoded text of 32 bytes. Raises ValueError."""
    try:
        return Ed25519PublicKey.from_public_bytes(decode(text))
    except (ValueError, TypeError):
        raise ValueError(f"invalid public key: {text!r}; expected 32 bytes, encoded as the source shows them") from None


def verifies(key: Ed25519PublicKey, decode: Encoding, encode: Encoding, signature: bytes, message: bytes) -> bool:
    """Return whether the encoded signature is that of the message. Only its regular spelling is accepted."""
    try:
        decoded = decode(signature)
        key.verify(decoded, message)
    except (ValueError, InvalidSignature):
        return False
    return encode(decoded) == signature


@scheme
def standard_webhooks(
    *, secret: Secrets = (), public_key: str | Sequence[str] = (), prefix: str = "", tolerance: float = 300.0
) -> Verification:
    """Return the verification of Standard Webhooks, by a signature of id, time and body in `webhook-signature`. Many sources use it, also
    through Svix. See https://www.standardwebhooks.com.

    :param secret: References to secrets, "whsec_…", for signatures of the kind v1.
    :param public_key: Public keys, "whpk_…", for signatures of the kind v1a.
    :param prefix: The beginning of the headers' names, "webhook" or "svix". By default, a source may use either.
    :param tolerance: The greatest difference of the signed time to the present time, in seconds.
    """
    if not isinstance(prefix, str) or not prefix.isascii():
        raise ValueError(f"invalid prefix of headers: {prefix!r}; expected 'webhook' or 'svix'")
    given = (public_key,) if isinstance(public_key, str) else public_key
    keys = tuple(load_key(b64decode, key.removeprefix("whpk_")) for key in given)
    prefixes = (prefix.lower().encode(),) if prefix else (b"webhook", b"svix")
    return StandardWebhooks(tolerance, prefixes, keys).verification("standard_webhooks", secret)


@dataclass(frozen=True)
class StandardWebhooks:
    """The form of a signature of Standard Webhooks: the tolerance in seconds, prefixes of the headers, and keys for v1a."""

    tolerance: float
    prefixes: tuple[bytes, ...] = (b"webhook",)
    keys: tuple[Ed25519PublicKey, ...] = ()

    def __post_init__(self) -> None:
        check_tolerance(self.tolerance)

    def verification(self, scheme: str, secret: Secrets, event_header: str = "") -> Verification:
        return Verification(
            scheme,
            self.check,
            references(secret) if secret or not self.keys else (),
            delivery_id=HeaderId(*(prefix + b"-id" for prefix in self.prefixes)),
            secret_headers=frozenset(prefix + b"-signature" for prefix in self.prefixes),
            signer=self.sign,
            event_header=event_header,
        )

    def check(self, received: Received, secrets: Sequence[bytes]) -> None:
        prefix = self._prefix(received)
        ident, timestamp, given = (required(received, prefix + part) for part in (b"-id", b"-timestamp", b"-signature"))
        check_time(timestamp, received.now, self.tolerance)
        signatures = given.split(b" ")
        # With a full stop in the id, another division of the signed text would have the same signature.
        if b"." in ident or len(signatures) > _MOST_SIGNATURES:
            raise Refused("the id is invalid, or there are too many signatures", "malformed")
        message = b".".join((ident, timestamp, received.body))
        by_secret = matches(signatures, [_standard_signature(message, secret) for secret in secrets])
        by_keys = [one.removeprefix(b"v1a,") for one in signatures if one.startswith(b"v1a,")]
        by_key = any(verifies(key, b64decode, b64encode, one, message) for one in by_keys for key in self.keys)
        if not (by_secret or by_key):
            raise Refused(NO_MATCH)

    def sign(self, received: Received, secret: bytes) -> Sequence[Header]:
        """Return the headers of a request that is signed now. An id that it has already is kept."""
        timestamp = b"%d" % received.now
        made_up = b"msg_" + hashlib.sha256(timestamp + received.body).hexdigest()[:24].encode()
        prefix = self._prefix(received)
        ident = received.header(prefix + b"-id")
        signature = _standard_signature(b".".join((ident or made_up, timestamp, received.body)), secret)
        named = [] if ident else [(prefix + b"-id", made_up)]
        return [*named, (prefix + b"-timestamp", timestamp), (prefix + b"-signature", signature)]

    def _prefix(self, received: Received) -> bytes:
        return next((prefix for prefix in self.prefixes if received.header(prefix + b"-id")), self.prefixes[0])


def _standard_signature(message: bytes, secret: bytes) -> bytes:
    try:
        encoded = secret.removeprefix(b"whsec_")
        key = b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise UnusableSecret("the secret isn't in Base64, with or without whsec_ before it")
    return b"v1," + b64encode(hmac.digest(key, message, "sha256"))

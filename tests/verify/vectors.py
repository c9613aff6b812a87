"""Authentic requests of each scheme.

Those that a source documents say so. The others were made with openssl, with the sources' own libraries, or by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from errklein.verify import SCHEMES, ImmediateResponse, Received, Verification, verification

PEOPLE = b"It's a Secret to Everybody"
PONG = ImmediateResponse(200, [(b"content-type", b"application/json")], b'{"type":1}')
ED25519_KEY = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121"
    b".803a0bc887a14d10d2c447fce8b6703c"
)
TWILIO_FORM = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
TWILIO_JSON = b'{"a": 1}'
FORM = {b"content-type": b"application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True)
class Vector:
    """An authentic request.

    :param name: The scheme, with what the vector shows.
    :param options: The options of the scheme; "env:A" is the reference to its secret.
    :param secret: The secret; empty for schemes without one.
    :param signature: The headers of the signature, by name.
    :param body: The body.
    :param signed: Other headers that are signed.
    :param others: Headers that aren't signed.
    :param response: The response that the scheme requires.
    :param delivery_id: The id of the delivery.
    """

    name: str
    options: Mapping[str, object]
    secret: bytes
    signature: Mapping[bytes, bytes]
    body: bytes
    now: float = 1700000000.0
    signed: Mapping[bytes, bytes] | None = None
    others: Mapping[bytes, bytes] | None = None
    url: str = "https://bot.example/hook"
    response: ImmediateResponse | None = None
    delivery_id: str | None = None

    @property
    def scheme(self) -> str:
        """The name of the scheme."""
        return self.name.partition(",")[0]

    @cached_property
    def verification(self) -> Verification:
        """The verification."""
        return verification(self.scheme, **({"secret": "env:A"} if self.secret else {}) | self.options)

    @property
    def secrets(self) -> Sequence[bytes]:
        """The secrets."""
        return [self.secret] if self.secret else []

    @property
    def received(self) -> Received:
        """The request."""
        headers = [*self.signature.items(), *(self.signed or {}).items(), *(self.others or {}).items()]
        return Received("POST", self.url, headers, self.body, "192.0.2.7", self.now)


def with_flipped_bits(data: bytes) -> Iterator[bytes]:
    """Yield the bytes with each of their bits flipped."""
    for bit in range(len(data) * 8):
        number = int.from_bytes(data, "big") ^ (1 << bit)
        yield number.to_bytes(len(data), "big")


def flipped(vector: Vector) -> Iterator[Vector]:
    """Yield the vector with each bit of its signature, other signed headers, body and secret flipped."""
    for part in ("signature", "signed"):
        headers = getattr(vector, part) or {}
        for name, value in headers.items():
            for changed in with_flipped_bits(value):
                yield replace(vector, **{part: {**headers, name: changed}})
    for changed in with_flipped_bits(vector.body):
        yield replace(vector, body=changed)
    for changed in with_flipped_bits(vector.secret):
        yield replace(vector, secret=changed)


VECTORS = [
    Vector(
        "github, documented",
        {},
        PEOPLE,
        {b"x-hub-signature-256": b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        b"Hello, World!",
        others={b"x-github-delivery": b"72d3162e-cc78-11e3-81ab-4c9367dc0958"},
        delivery_id="72d3162e-cc78-11e3-81ab-4c9367dc0958",
    ),
    Vector(
        "bitbucket, documented",
        {},
        PEOPLE,
        {b"x-hub-signature": b"sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"},
        b"Hello World!",
        others={b"x-request-uuid": b"uuid", b"x-request-id": b"id"},
        delivery_id="uuid",
    ),
    Vector(
        "slack, documented",
        {},
        b"8f742231b10e8888abcd99yyyzzz85a5",
        {b"x-slack-signature": b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
        SLACK_BODY,
        now=1531420618.0,
        signed={b"x-slack-request-timestamp": b"1531420618"},
    ),
    Vector(
        "standard_webhooks, documented",
        {},
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {b"webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        b'{"test": 2432232314}',
        now=1614265330.0,
        signed={b"webhook-timestamp": b"1614265330", b"webhook-id": b"msg_p5jXN8AQM9LWM0D4loKWxJek"},
        delivery_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
    ),
    Vector(
        "gitlab, signed",
        {"signed": True},
        b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {b"webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        b'{"test": 2432232314}',
        now=1614265330.0,
        signed={b"webhook-timestamp": b"1614265330", b"webhook-id": b"msg_p5jXN8AQM9LWM0D4loKWxJek"},
        delivery_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
    ),
    Vector(
        "standard_webhooks, v1a, with the prefix of Svix",
        {"public_key": "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=", "prefix": "svix"},
        b"",
        {
            b"svix-signature": b"v1a,WwyPbMAMx6K5OKeJ6iRTn0B7eTGqbHwfUYOx1GGKqR"
            b"+LJaWE5Vv8kXba0ECldNVQc/vTkU0W8qTGCVYMF8f3CA=="
        },
        b'{"type":"a"}',
        signed={b"svix-timestamp": b"1700000000", b"svix-id": b"msg_1"},
        delivery_id="msg_1",
    ),
    Vector(
        "twilio, documented",
        {},
        b"12345",
        {b"x-twilio-signature": b"RSOYDt4T1cUTdK1PDd93/VVr8B8="},
        TWILIO_FORM,
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
        others={**FORM, b"i-twilio-idempotency-token": b"token"},
        delivery_id="token",
    ),
    Vector(
        "twilio, sha256",
        {"algorithm": "sha256"},
        b"12345",
        {b"x-twilio-signature": b"033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s="},
        TWILIO_FORM,
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
        others=FORM,
    ),
    Vector(
        "twilio, JSON",
        {},
        b"12345",
        {b"x-twilio-signature": b"H2DoBb7EUQVlLh812E/g5u9yoUI="},
        TWILIO_JSON,
        url=f"https://mycompany.com/hook?bodySHA256={sha256(TWILIO_JSON).hexdigest()}",
    ),
    Vector(
        "twilio, with the port in the signed URL",
        {},
        b"12345",
        {b"x-twilio-signature": b"nv2Ve7869kizotY4Mve61aTm8ec="},
        b"",
        url="https://mycompany.com/hook",
    ),
    Vector(
        "discord",
        {"public_key": ED25519_KEY},
        b"",
        {
            b"x-signature-ed25519": b"c1098e97d711377f30225d53d94b89d43537f92e5b3afaddc590781b1f9f9d4b"
            b"2eeab335d370be3b9a090bc61a85b86448bc140dcd195f1569c2bff181257607"
        },
        b'{"type":1}',
        signed={b"x-signature-timestamp": b"1700000000"},
        response=PONG,
    ),
    Vector(
        "stripe",
        {},
        b"whsec_test_secret",
        {
            b"stripe-signature": b"t=1700000000,v1=d95c6b7477fbd7e9f90b1b0ef5f9c7ac25abca5382460e0d988c2b2a5b71b990",
        },
        b'{"id":"evt_test_webhook","object":"event"}',
        delivery_id="evt_test_webhook",
    ),
    *(
        Vector(
            f"gitea, {name.decode()}",
            {},
            b"123",
            {b"x-%s-signature" % name: b"fcc9295610ebbba56ad12ca5af2c2557ebaf40a9d2fb948335b13b245f328af8"},
            b"{}",
            others={b"x-%s-delivery" % name: b"uuid"},
            delivery_id="uuid",
        )
        for name in (b"gitea", b"forgejo", b"gogs")
    ),
    Vector(
        "pagerduty",
        {},
        b"k",
        {b"x-pagerduty-signature": b"v1=add853b103fbcc936a194f9eb15e29c4ff08af6e47d5d1bca4f20218e31e4fff"},
        b"{}",
    ),
    Vector(
        "sentry",
        {},
        b"k",
        {b"sentry-hook-signature": b"add853b103fbcc936a194f9eb15e29c4ff08af6e47d5d1bca4f20218e31e4fff"},
        b"{}",
        others={b"request-id": b"id"},
        delivery_id="id",
    ),
    *(
        Vector(
            f"shopify, {prefix.decode()}",
            {},
            b"shpss_secret",
            {prefix + b"-hmac-sha256": b"jqbalbO3Z8mDmrF2/+wzM3KYvbgqzVBF969vgiIy80I="},
            b'{"id":820982911946154508}',
            others={prefix + b"-webhook-id": b"id"},
            delivery_id="id",
        )
        for prefix in (b"x-shopify", b"shopify")
    ),
    Vector(
        "linear",
        {},
        b"lin_wh_secret",
        {b"linear-signature": b"0e7eb538ce08f2d147d43dcc1a8d5fef4d5dd6effe602c4c11c3d2456d92c6be"},
        b'{"action":"create","webhookTimestamp":1700000000000}',
        others={b"linear-delivery": b"uuid"},
        delivery_id="uuid",
    ),
    Vector(
        "hmac_signature, all options",
        {
            "header": "X-Signature",
            "algorithm": "sha512",
            "encoding": "base64",
            "prefix": "sha512=",
            "timestamp_header": "X-Time",
            "tolerance": 5,
            "id_header": "X-Id",
        },
        b"generic secret",
        {
            b"x-signature": b"sha512=RKByMTs6JfcB0EG5UScG8dd48sieFBoG/LcUjSt9yIo5SRwGqnqnl5UuOeJW"
            b"+dCVlVz/oxY5MUDjeTPfVvMc1w=="
        },
        b'{"event":"{timestamp}"}',
        signed={b"x-time": b"1700000000"},
        others={b"x-id": b"5"},
        delivery_id="5",
    ),
    Vector(
        "hmac_signature, sha1",
        {"header": "X-Hub-Signature", "algorithm": "sha1", "prefix": "sha1="},
        PEOPLE,
        {b"x-hub-signature": b"sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"},
        b"Hello, World!",
    ),
]
VECTORS = [vector for vector in VECTORS if vector.scheme in SCHEMES]
"""Requests with a signature of the body."""

TOKENS = [
    Vector(
        "gitlab, token",
        {},
        b"token 1",
        {b"x-gitlab-token": b"token 1"},
        b"{}",
        others={b"idempotency-key": b"f5e5f430"},
        delivery_id="f5e5f430",
    ),
    Vector(
        "telegram",
        {},
        b"A-z_0",
        {b"x-telegram-bot-api-secret-token": b"A-z_0"},
        b'{"update_id":10000}',
        delivery_id="10000",
    ),
    Vector("bearer", {}, b"mF_9.B5f-4.1JqM", {b"authorization": b"Bearer mF_9.B5f-4.1JqM"}, b""),
    Vector(
        "basic, RFC 7617",
        {"user": "Aladdin"},
        b"open sesame",
        {b"authorization": b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        b"",
    ),
]
TOKENS = [vector for vector in TOKENS if vector.scheme in SCHEMES]
"""Requests with a token."""

ADDRESS = Vector("addresses", {"allowed": ["192.0.2.0/29", "2001:db8::/32"]}, b"", {}, b"")

EVERY = [*VECTORS, *TOKENS, ADDRESS]

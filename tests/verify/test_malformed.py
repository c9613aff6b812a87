"""Malformed requests are refused, and by nothing but constant-time comparison."""

from __future__ import annotations

import hmac
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import Received, Refused, verification
from tests.verify.vectors import EVERY, TOKENS, VECTORS

NAMES = sorted({name for vector in EVERY for name, _ in vector.received.headers})
VALUES = st.binary(max_size=80) | st.sampled_from(
    [
        b"NaN",
        b"inf",
        b"-1",
        b"1e9",
        b"9" * 5000,
        b"1" * 13,
        b"1_0",
        "١٧".encode(),
        b"v1,",
        b"v1a,=",
        b"t=,v1=",
        b"Basic =",
        b"Bearer",
    ]
)
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8)
BODIES = st.binary(max_size=80) | st.sampled_from(
    [b"[" * 100_000, b'{"id":' + b"9" * 5000 + b"}", b'{"webhookTimestamp":NaN}']
)
URLS = st.text(max_size=30) | st.sampled_from(["http://[", "http://h:99999", "http://h:x/", "//"])
PEERS = st.text(max_size=20) | st.ip_addresses().map(str)
RECEIVED = st.builds(Received, st.just("POST"), URLS, HEADERS, BODIES, PEERS, st.floats(0, 1e12))


class MalformedTests(SynchronousTestCase):
    """Requests of any content."""

    @given(RECEIVED)
    def test_arbitrary_requests(self, received: Received) -> None:
        """No request with a made-up signature is accepted, and none raises another exception."""
        for vector in [*VECTORS, *TOKENS]:
            self.assertRaises(Refused, vector.verification.verify, received, vector.secrets)

    @given(st.sampled_from(EVERY), RECEIVED, st.sets(st.sampled_from(["url", "headers", "body", "peer"]), max_size=2))
    def test_changed_requests(self, vector, given, changes) -> None:
        """A changed authentic request is accepted or refused; the reason has no secret and no signature that would fit."""
        received = vector.received
        for name in changes:
            extra = list(received.headers) if name == "headers" else None
            value = getattr(given, name)
            received = replace(received, **{name: [*extra, *value] if extra else value})
        try:
            vector.verification.verify(received, vector.secrets)
        except Refused as refused:
            for value in (vector.secret, *vector.signature.values()):
                self.assertFalse(len(value) > 3 and value.decode() in str(refused), refused)

    @given(RECEIVED)
    def test_delivery_ids(self, received: Received) -> None:
        """The id of any request is a text of at most 255 characters, or None."""
        for vector in EVERY:
            find = vector.verification.delivery_id
            ident = find(received) if find else None
            self.assertTrue(ident is None or 0 < len(ident) <= 255, ident)

    def test_timestamps(self) -> None:
        """A timestamp that isn't a plain number of seconds is refused, although it is signed."""
        scheme = verification(
            "hmac_signature", secret="env:A", header="X-S", timestamp_header="X-T", signed="{timestamp} {body}"
        )
        for time in (
            b"-1",
            b"+1",
            b" 1",
            b"1 ",
            b"1.0",
            b"1e0",
            b"0x1",
            b"1_0",
            b"1/0",
            b"NaN",
            b"inf",
            b"1" * 13,
            "١".encode(),
            b"",
        ):
            signature = hmac.new(b"key", time + b" body", "sha256").hexdigest().encode()
            received = Received("POST", "", [(b"x-s", signature), (b"x-t", time)], b"body", "", 1.0)
            error = self.assertRaises(Refused, scheme.verify, received, [b"key"])
            self.assertEqual(str(error), "the timestamp is missing or invalid")


class ConstantTimeTests(SynchronousTestCase):
    """Comparison of secrets, signatures and tokens."""

    def test_only_compare_digest_decides(self) -> None:
        """`hmac.compare_digest` alone decides whether a signature or token matches; it gets bytes."""
        compared = []

        def compare(one: object, other: object) -> bool:
            compared.append((type(one), type(other)))
            return result

        self.patch(hmac, "compare_digest", compare)
        for vector in [*VECTORS, *TOKENS]:
            if not vector.secret:
                continue
            verify = vector.verification.verify
            result = False
            self.assertRaises(Refused, verify, vector.received, vector.secrets)
            result = True
            verify(vector.received, [b"b3RoZXIgc2VjcmV0"])
        self.assertEqual(set(compared), {(bytes, bytes)})

    def test_all_secrets_are_compared(self) -> None:
        """All secrets and signatures are compared, also after a match."""
        compared = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append(one == other)
            return compared[-1]

        self.patch(hmac, "compare_digest", compare)
        for vector in [*VECTORS, *TOKENS]:
            if vector.secret and "JSON" not in vector.name:
                compared.clear()
                other = b"b3RoZXIgc2VjcmV0"
                vector.verification.verify(vector.received, [vector.secret, other, other])
                self.assertEqual((len(compared) % 3, sum(compared)), (0, 1), vector.name)

"""Authentic requests are accepted, and no changed ones."""

from __future__ import annotations

from binascii import hexlify, unhexlify
from dataclasses import replace
from urllib.parse import parse_qsl

from twisted.trial.unittest import SynchronousTestCase

from errklein import verify
from errklein.verify import SCHEMES, ImmediateResponse, Refused, Verification
from errklein.verify._verification import load_key, verifies
from tests.verify.vectors import ED25519_KEY, EVERY, TOKENS, VECTORS, Vector, flipped, with_flipped_bits


def verified(vector: Vector) -> ImmediateResponse | None:
    """Verify the request of a vector."""
    return vector.verification.verify(vector.received, vector.secrets)


def accepted(vector: Vector, verification: Verification | None = None) -> bool:
    """Return whether the request of a vector is accepted, by default by its own verification."""
    try:
        (verification or vector.verification).verify(vector.received, vector.secrets)
    except Refused:
        return False
    return True


class AuthenticTests(SynchronousTestCase):
    """Authentic requests."""

    def test_each_scheme(self) -> None:
        """Each scheme has a vector, which is accepted, with the response and the id that belong to it."""
        self.assertEqual({vector.scheme for vector in EVERY}, set(SCHEMES))
        for vector in EVERY:
            self.assertEqual(verified(vector), vector.response, vector.name)
            find = vector.verification.delivery_id
            self.assertEqual(find and find(vector.received), vector.delivery_id, vector.name)

    def test_exported(self) -> None:
        """Each scheme can be imported from errklein.verify, as in a plugin's decorator."""
        self.assertEqual(set(SCHEMES) - set(verify.__all__), set())

    def test_signed_again(self) -> None:
        """A request that is signed at the same time gets the same signature."""
        for vector in VECTORS:
            if vector.secret and "port" not in vector.name:
                received = replace(
                    vector.received, headers=[*(vector.signed or {}).items(), *(vector.others or {}).items()]
                )
                headers = vector.verification.sign(received, vector.secret)
                self.assertEqual(headers[-1][1], *vector.signature.values(), vector.name)
                self.assertLessEqual({*headers[:-1]}, {*(vector.signed or {}).items()}, vector.name)

    def test_rotation(self) -> None:
        """Each of several secrets is accepted."""
        for vector in [*VECTORS, *TOKENS]:
            other = b"whsec_b3RoZXI="
            for secrets in ([vector.secret, other], [other, vector.secret], [other, other, vector.secret]):
                if vector.secret:
                    self.assertEqual(vector.verification.verify(vector.received, secrets), vector.response, vector.name)

    def test_rotated_public_keys(self) -> None:
        """Each of several public keys is accepted."""
        other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        for vector in VECTORS:
            if vector.scheme == "discord":
                for keys in ([other, ED25519_KEY], [ED25519_KEY, other]):
                    self.assertTrue(accepted(replace(vector, options={"public_key": keys})))
                self.assertFalse(accepted(replace(vector, options={"public_key": other})))

    def test_time_window(self) -> None:
        """A request is accepted until its time is further away than the tolerance, in both directions."""
        tolerances = {"linear": 60, "hmac_signature": 5}
        timed = [
            vector for vector in VECTORS if vector.scheme == "linear" or vector.signed or vector.scheme == "stripe"
        ]
        self.assertGreater(len(timed), 6)
        for vector in timed:
            tolerance = tolerances.get(vector.scheme, 300)
            for sign in (-1, 1):
                for seconds, inside in ((0, True), (1, False)):
                    changed = replace(vector, now=vector.now + sign * (tolerance + seconds))
                    self.assertIs(accepted(changed), inside, f"{vector.name} {sign} {seconds}")
                wider = replace(vector, now=vector.now + sign * 1000, options={**vector.options, "tolerance": 1000})
                self.assertTrue(accepted(wider), vector.name)

    def test_default_window(self) -> None:
        """The window of a timestamp in a header of any name is 300 s by default."""
        [vector] = [vector for vector in VECTORS if vector.name == "hmac_signature, all options"]
        options = {name: value for name, value in vector.options.items() if name != "tolerance"}
        for seconds, inside in ((300, True), (301, False)):
            self.assertIs(accepted(replace(vector, options=options, now=vector.now + seconds)), inside)

    def test_signed_headers_are_not_stored(self) -> None:
        """The headers of the signature are those that the log leaves out."""
        for vector in EVERY:
            self.assertEqual(set(vector.signature) - vector.verification.secret_headers, set(), vector.name)


class ChangedTests(SynchronousTestCase):
    """Changed requests."""

    def test_each_bit(self) -> None:
        """With any bit of the signature, the signed headers, the body or the secret flipped, the request is refused."""
        for vector in VECTORS:
            number = 0
            verification = vector.verification
            for changed in flipped(vector):
                # Two spellings of a form are the same form.
                if vector.scheme == "twilio" and changed.body != vector.body and fields(changed) == fields(vector):
                    continue
                number += 1
                self.assertFalse(accepted(changed, verification), changed)
            self.assertGreater(number, 200, vector.name)

    def test_each_bit_of_a_token(self) -> None:
        """With any bit of the token flipped, in the request or in the secret, the request is refused."""
        for vector in TOKENS:
            for name, value in vector.signature.items():
                prefix, _, token = value.rpartition(b" ") if name == b"authorization" else (b"", b"", value)
                for changed in with_flipped_bits(token):
                    given = (prefix + b" " + changed) if prefix else changed
                    self.assertFalse(accepted(replace(vector, signature={name: given})), given)
            for changed in with_flipped_bits(vector.secret):
                self.assertFalse(accepted(replace(vector, secret=changed)), changed)

    def test_each_bit_of_a_public_key(self) -> None:
        """With any bit of the public key flipped, the request is refused."""
        for vector in VECTORS:
            if vector.scheme == "discord":
                for changed in with_flipped_bits(bytes.fromhex(ED25519_KEY)):
                    self.assertFalse(accepted(replace(vector, options={"public_key": changed.hex()})))

    def test_each_part_is_needed(self) -> None:
        """Without one of its signed headers, or with an empty or repeated one, a request is refused."""
        for vector in [*VECTORS, *TOKENS]:
            received = vector.received
            for name in {**vector.signature, **(vector.signed or {})}:
                without = [item for item in received.headers if item[0] != name]
                for headers in (
                    without,
                    [*without, (name, b"")],
                    [*received.headers, (name, dict(received.headers)[name])],
                ):
                    changed = replace(received, headers=headers)
                    self.assertRaises(Refused, vector.verification.verify, changed, vector.secrets)

    def test_url(self) -> None:
        """With any bit of the path or query flipped, a request of Twilio is refused."""
        for vector in VECTORS:
            if vector.scheme == "twilio":
                host, _, path = vector.url.rpartition("/")
                for changed in with_flipped_bits(path.encode()):
                    url = f"{host}/{changed.decode('latin-1')}"
                    self.assertFalse(accepted(replace(vector, url=url)), url)


class NoSecretTests(SynchronousTestCase):
    """Schemes without a usable secret."""

    def test_no_or_empty_secret(self) -> None:
        """With no secret, or an empty one among others, each request is refused."""
        for vector in [*VECTORS, *TOKENS]:
            for secrets in ([], [b""], [vector.secret, b""], [b"", vector.secret]):
                if vector.secret or secrets:
                    error = self.assertRaises(Refused, vector.verification.verify, vector.received, secrets)
                    self.assertEqual(str(error), "the secret is missing or empty")

    def test_unusable_secret(self) -> None:
        """A secret that isn't in Base64, where it must be, is refused with a reason."""
        for vector in VECTORS:
            if vector.secret.startswith(b"whsec_M"):
                for secret in (b"whsec_", b"whsec_=", b"whsec_\xff", b"\x00", vector.secret + b" ", vector.secret[:-3]):
                    error = self.assertRaises(Refused, vector.verification.verify, vector.received, [secret])
                    self.assertEqual(str(error), "the secret isn't in Base64, with or without whsec_ before it")

    def test_secret_without_its_prefix(self) -> None:
        """The prefix and the padding of a secret of Standard Webhooks may be missing."""
        for vector in VECTORS:
            if vector.secret.startswith(b"whsec_M"):
                self.assertTrue(accepted(replace(vector, secret=vector.secret.removeprefix(b"whsec_"))))


class Ed25519Tests(SynchronousTestCase):
    """Signatures with a private key."""

    def test_rfc_8032(self) -> None:
        """Test 1 of RFC 8032, section 7.1, is accepted, and not with a flipped bit."""
        key = load_key(bytes.fromhex, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        signature = (
            b"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            b"5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        )
        self.assertTrue(verifies(key, unhexlify, hexlify, signature, b""))
        self.assertFalse(verifies(key, unhexlify, hexlify, signature, b"x"))
        for changed in (*with_flipped_bits(signature), signature.upper(), b"", b"00", signature + b"00"):
            self.assertFalse(verifies(key, unhexlify, hexlify, changed, b""))


def fields(vector: Vector) -> list[tuple[bytes, bytes]]:
    """Return the fields of a form."""
    text = vector.body.decode("utf-8", "surrogateescape")
    return [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in parse_qsl(text, True, errors="surrogateescape")
    ]

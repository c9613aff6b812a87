"""Rules that only one scheme has."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import (
    ImmediateResponse,
    Received,
    Refused,
    Verification,
    addresses,
    basic,
    bearer,
    bitbucket,
    gitea,
    github,
    linear,
    pagerduty,
    shopify,
    slack,
    standard_webhooks,
    stripe,
    telegram,
    twilio,
)
from tests.verify.kit import SourceCase, request, signed
from tests.verify.vectors import FORM

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


class SlackTests(SourceCase):
    """Slack's challenge."""

    def response(self, body: bytes) -> ImmediateResponse | None:
        """Return the response to a signed body."""
        verification = slack(secret="env:A")
        return verification.verify(signed(verification, request(body)), [b"a2V5"])

    def test_challenge(self) -> None:
        """The challenge is returned as text."""
        body = json.dumps({"token": "x", "challenge": "3eZbrw1aBü", "type": "url_verification"}).encode()
        text = [(b"content-type", b"text/plain; charset=utf-8")]
        self.assertEqual(self.response(body), ImmediateResponse(200, text, "3eZbrw1aBü".encode()))

    def test_others(self) -> None:
        """Other bodies are for the handler, even if they contain a challenge."""
        for body in (
            b'{"type":"event_callback","challenge":"url_verification"}',
            b'{"type":"url_verified","challenge":"url_verification"}',
            b'{"type":"url_verification"}',
            b'{"type":"url_verification","challenge":5}',
            b'["url_verification"]',
            b'"url_verification"',
            b"type=url_verification&challenge=x",
        ):
            self.assertIsNone(self.response(body), body)

    def test_unsigned_challenge(self) -> None:
        """A challenge without a signature is refused."""
        body = b'{"type":"url_verification","challenge":"x"}'
        headers = {"x_slack_signature": b"v0=00", "x_slack_request_timestamp": b"1700000000"}
        self.assertIn("doesn't match", self.refused(slack(secret="env:A"), request(body, **headers), b"key"))


class AddressTests(SourceCase):
    """Addresses of clients."""

    def test_ranges(self) -> None:
        """Addresses in one of the ranges are accepted, also IPv4 addresses in an IPv6 socket."""
        verification = addresses(allowed=["192.0.2.7", "198.51.100.0/24", "2001:db8::/32", "fe80::/10"])
        for peer in (
            "192.0.2.7",
            "198.51.100.255",
            "2001:db8::5",
            "2001:DB8:0::5",
            "::ffff:192.0.2.7",
            "fe80::1%eth0",
        ):
            self.assertIsNone(verification.verify(request(peer=peer), []), peer)
        for peer in ("192.0.2.8", "::ffff:192.0.2.8", "198.51.101.0", "2001:db9::", "::", "0.0.0.0"):
            self.assertEqual(self.refused(verification, request(peer=peer)), "the client's address isn't allowed")

    def test_unknown_address(self) -> None:
        """A client whose address is hidden or unknown is refused, also if all addresses are allowed."""
        verification = addresses(allowed=["0.0.0.0/0", "::/0"])
        for peer in ("", "unknown", "localhost", "192.0.2", "192.0.2.07", "192.0.2.7:80", "[::1]", " ::1", "١.1.1.1"):
            self.assertEqual(self.refused(verification, request(peer=peer)), "the client's address is unknown")

    def test_one(self) -> None:
        """One address may be given without a list."""
        verification = addresses(allowed="192.0.2.7")
        self.assertIsNone(verification.verify(request(peer="192.0.2.7"), []))
        self.assertEqual((verification.secrets, verification.delivery_id), ((), None))


class AuthorizationTests(SourceCase):
    """The header Authorization."""

    def test_case_and_space(self) -> None:
        """The name of the kind is in any case, and may be followed by several spaces."""
        for value in (b"Bearer key", b"bearer key", b"BEARER   key "):
            self.assertIsNone(bearer(secret="env:A").verify(request(authorization=value), [b"key"]))
        for value in (b"Basic dTprZXk=", b"basic  dTprZXk="):
            self.assertIsNone(basic(user="u", secret="env:A").verify(request(authorization=value), [b"key"]))

    def test_other_kinds(self) -> None:
        """Credentials of another kind are refused, and so are malformed ones."""
        for value in (
            b"key",
            b"Basic key",
            b"Bearerkey",
            b"Bearer\tkey",
            b"Digest key",
            b"zz key",
            b" Bearer key",
            b"Bearer:key",
        ):
            reason = self.refused(bearer(secret="env:A"), request(authorization=value), b"key")
            self.assertEqual(reason, "the header authorization has no bearer credentials")
        for value in (b"Bearer", b"Bearer ", b"Bearer k", b"Bearer key,key", b"Bearer \xff"):
            reason = self.refused(bearer(secret="env:A"), request(authorization=value), b"key")
            self.assertEqual(reason, "the signature or token doesn't match")

    def test_other_user(self) -> None:
        """The user name must match, too; it may have letters that aren't in ASCII."""
        verification = basic(user="üser", secret="env:A")
        for user, fits in (("üser", True), ("user", False), ("Üser", False), ("", False)):
            received = request(authorization=b"Basic " + b64encode(f"{user}:key".encode()))
            if fits:
                self.assertIsNone(verification.verify(received, [b"key"]))
            else:
                self.refused(verification, received, b"key")


class SignatureListTests(SourceCase):
    """Headers with several signatures."""

    def test_one_fits(self) -> None:
        """PagerDuty and Stripe may send several signatures, of which one must fit."""
        fits = hmac.new(b"key", b"{}", "sha256").hexdigest()
        other = "00" * 32
        for header, accepted in (
            (f"v1={fits}", True),
            (f"v1={other},v1={fits}", True),
            (f"v1={fits},v1={other},", True),
            (f"v1={other},v1={other}", False),
            (f"v0={fits}", False),
            (fits, False),
            (f"v1={fits};v1={fits}", False),
        ):
            received = request(b"{}", x_pagerduty_signature=header.encode())
            self.assertIs(self.accepted(pagerduty(secret="env:A"), received), accepted, header)
        fits = hmac.new(b"key", b"1700000000.{}", "sha256").hexdigest()
        for header, accepted in (
            (f"t=1700000000,v1={other},v1={fits},v0=x", True),
            (f"v1={fits},t=1700000000", True),
            (f"t=1700000000,v0={fits}", False),
            (f"t=1700000000,t=1700000000,v1={fits}", False),
            (f"v1={fits}", False),
            (f"t,v1={fits}", False),
            (f"t=1700000000,v1={fits}={fits}", False),
            ("t=1700000000,v1=", False),
            ("t=1700000000", False),
        ):
            received = request(b"{}", stripe_signature=header.encode())
            self.assertIs(self.accepted(stripe(secret="env:A"), received), accepted, header)

    def test_reason(self) -> None:
        """The reason is that the header is malformed."""
        for header in (b"v1=00", b"t=1,t=1,v1=00", b"t=1700000000"):
            reason = self.refused(stripe(secret="env:A"), request(stripe_signature=header), b"key")
            self.assertEqual(reason, "the header stripe-signature is malformed")

    def accepted(self, verification: Verification, received: Received) -> bool:
        """Return whether the request is accepted with the secret "key"."""
        try:
            verification.verify(received, [b"key"])
        except Refused:
            return False
        return True


class StandardWebhooksTests(SourceCase):
    """Signatures and ids of Standard Webhooks."""

    def accepted(self, signature: bytes, ident: bytes = b"msg_1", **options: object) -> bool:
        """Return whether a signature is accepted."""
        received = request(b"{}", webhook_id=ident, webhook_timestamp=b"1700000000", webhook_signature=signature)
        try:
            standard_webhooks(secret="env:A", **options).verify(received, [b"whsec_a2V5"])
        except Refused:
            return False
        return True

    def setUp(self) -> None:
        """Sign a request in each way."""
        message = b"msg_1.1700000000.{}"
        self.hmac = b"v1," + b64encode(hmac.digest(b"key", message, "sha256"))
        self.public = {"public_key": "whpk_" + b64encode(PUBLIC).decode()}
        self.ed25519 = b"v1a," + b64encode(PRIVATE.sign(message))
        self.other = b"v1a," + b64encode(OTHER.sign(message))

    def test_several(self) -> None:
        """At most ten signatures are read, of which one must fit."""
        self.assertTrue(self.accepted(b"v1,x v2,y " + self.hmac))
        self.assertTrue(self.accepted(b" ".join([b"v1,x"] * 9 + [self.hmac])))
        self.assertFalse(self.accepted(b" ".join([b"v1,x"] * 10 + [self.hmac])))
        self.assertFalse(self.accepted(b"v1,x v2,y"))

    def test_kinds(self) -> None:
        """Each kind needs its key; with a secret and a public key, either kind is accepted."""
        self.assertFalse(self.accepted(self.ed25519))
        self.assertTrue(self.accepted(self.ed25519, **self.public))
        self.assertTrue(self.accepted(self.hmac, **self.public))
        self.assertTrue(self.accepted(b" ".join((self.other, self.ed25519, b"v1,x")), **self.public))
        for signature in (
            self.other,
            self.ed25519[4:],
            self.ed25519.replace(b"v1a", b"v1"),
            self.ed25519 + b"=",
            b"v1a,",
        ):
            self.assertFalse(self.accepted(signature, **self.public), signature)
        both = {
            "public_key": [
                "whpk_" + b64encode(OTHER.public_key().public_bytes_raw()).decode(),
                self.public["public_key"],
            ]
        }
        self.assertTrue(self.accepted(self.ed25519, **both))
        self.assertTrue(self.accepted(self.other, **both))

    def test_padding_of_the_secret(self) -> None:
        """The padding of a secret in Base64 may be missing."""
        for length in range(1, 7):
            key = bytes(range(length))
            secret = b"whsec_" + b64encode(key).rstrip(b"=")
            signature = b"v1," + b64encode(hmac.digest(key, b"1.1700000000.", "sha256"))
            received = request(webhook_id=b"1", webhook_timestamp=b"1700000000", webhook_signature=signature)
            self.assertIsNone(standard_webhooks(secret="env:A").verify(received, [secret]))

    def test_full_stop_in_the_id(self) -> None:
        """An id with a full stop is refused, since the signed text could be divided in another way."""
        signature = b"v1," + b64encode(hmac.digest(b"key", b"msg.1.1700000000.{}", "sha256"))
        self.assertFalse(self.accepted(signature, b"msg.1"))

    def test_one_is_required(self) -> None:
        """Neither a secret nor a public key is an error."""
        self.assertRaises(ValueError, standard_webhooks)
        self.assertEqual(standard_webhooks(**self.public).secrets, ())

    def test_unsuitable_secret(self) -> None:
        """A request can't be signed with a secret that isn't in Base64."""
        error = self.assertRaises(ValueError, standard_webhooks(secret="env:A").sign, request(), b"\xff")
        self.assertIn("can't be signed for standard_webhooks: the secret isn't in Base64", str(error))

    def test_prefix(self) -> None:
        """By default the headers have either prefix; with `prefix`, their names have it, in requests that are signed, too."""
        verification = standard_webhooks(secret="env:A", prefix="Svix")
        received = signed(verification, request(b"{}"))
        self.assertEqual([name for name, _ in received.headers], [b"svix-id", b"svix-timestamp", b"svix-signature"])
        for accepting in (verification, standard_webhooks(secret="env:A")):
            self.assertIsNone(accepting.verify(received, [b"a2V5"]))
        self.refused(standard_webhooks(secret="env:A", prefix="webhook"), received, b"a2V5")


class TwilioTests(SourceCase):
    """URLs and bodies of Twilio."""

    def accepted(self, url: str, signed_url: str, body: bytes = b"", kind: bytes | None = None) -> bool:
        """Return whether a signature of another URL, or with the body of a form, is accepted."""
        message = signed_url.encode()
        signature = b64encode(hmac.digest(b"key", message, "sha1"))
        headers = {"x_twilio_signature": signature, "content_type": FORM[b"content-type"] if kind is None else kind}
        try:
            twilio(secret="env:A").verify(request(body, url=url, **headers), [b"key"])
        except Refused:
            return False
        return True

    def test_ports(self) -> None:
        """The signed URL may have the port of the URL or not, and no other one."""
        for url, other in (
            ("https://bot.example/a?b=c", "https://bot.example:443/a?b=c"),
            ("http://bot.example/a", "http://bot.example:80/a"),
            ("http://[::1]/a", "http://[::1]:80/a"),
            ("https://bot.example/a", "https://bot.example:443/a"),
        ):
            self.assertTrue(self.accepted(url, url))
            self.assertTrue(self.accepted(url, other))
            self.assertTrue(self.accepted(other, url))
            self.assertFalse(self.accepted(url, other.replace("80/", "81/").replace("443/", "80/")))
        self.assertTrue(self.accepted("https://bot.example:8443/", "https://bot.example/"))
        self.assertFalse(self.accepted("https://bot.example/", "https://bot.example:8443/"))
        self.assertFalse(self.accepted("https://bot.example/", "http://bot.example/"))

    def test_form(self) -> None:
        """Fields are signed in the order of their names and values, each only once, also empty ones and other letters."""
        for body, fields in (
            (b"b=2&a=1", "a1b2"),
            (b"a=2&a=1&a=2", "a1a2"),
            (b"B=1&a=2", "B1a2"),
            (b"a=&b", "ab"),
            (b"a=%C3%BC+x%20y", "aü x y"),
            ("a=ü".encode(), "aü"),
            (b"a=1;b=2", "a1;b=2"),
        ):
            self.assertTrue(self.accepted("https://h/", f"https://h/{fields}", body), body)

    def test_other_bytes(self) -> None:
        """Fields that aren't in UTF-8 are signed as their bytes."""
        signature = b64encode(hmac.digest(b"key", b"https://h/a\xff", "sha1"))
        for body in (b"a=%ff", b"a=\xff"):
            received = request(body, url="https://h/", x_twilio_signature=signature, content_type=FORM[b"content-type"])
            self.assertIsNone(twilio(secret="env:A").verify(received, [b"key"]))

    def test_many_fields(self) -> None:
        """A form with more than 1,000 fields is refused."""
        for number, accepted in ((1000, True), (1001, False)):
            body = b"&".join([b"a="] * number)
            self.assertIs(self.accepted("https://h/", "https://h/a", body), accepted)

    def test_unsigned_body(self) -> None:
        """A body that the signature doesn't cover is refused: without a digest, only forms are covered."""
        for kind in (b"application/json", b"", b"multipart/form-data", b"application/x-www-form-urlencodedx"):
            self.assertFalse(self.accepted("https://h/", "https://h/", b"a=1", kind))
            self.assertFalse(self.accepted("https://h/", "https://h/a1", b"a=1", kind))
        for kind in (b"APPLICATION/x-www-form-urlencoded", b" application/x-www-form-urlencoded ; charset=x"):
            self.assertTrue(self.accepted("https://h/", "https://h/a1", b"a=1", kind))

    def test_reasons(self) -> None:
        """The reasons say what is wrong with the URL and the body."""
        headers = {"x_twilio_signature": b"x", "content_type": FORM[b"content-type"]}
        scheme = twilio(secret="env:A")
        for url in ("http://[", "http://h:x/", "http://h:99999/"):
            self.assertEqual(self.refused(scheme, request(url=url, **headers), b"key"), "the URL is invalid")
        many = request(b"a=&" * 1001, **headers)
        self.assertEqual(self.refused(scheme, many, b"key"), "the form is invalid")
        json_body = request(b"{}", x_twilio_signature=b"x", content_type=b"application/json")
        self.assertIn("the query has no digest of it", self.refused(scheme, json_body, b"key"))

    def test_other_digest(self) -> None:
        """A digest of another body is refused, although it is signed."""
        url = "https://h/?bodySHA256=" + "0" * 64
        self.assertFalse(self.accepted(url, url, b"{}", b"application/json"))


class HeaderNameTests(SourceCase):
    """Schemes whose signature has several names of headers."""

    def test_names(self) -> None:
        """The first name is used for signing, and in the reason if all are missing."""
        for scheme, name in ((gitea, "x-gitea-signature"), (shopify, "x-shopify-hmac-sha256")):
            verification = scheme(secret="env:A")
            self.assertEqual(self.refused(verification, request(), b"key"), f"the header {name} is missing")
            self.assertEqual([one for one, _ in verification.sign(request(), b"key")], [name.encode()])

    def test_first_counts(self) -> None:
        """With several signatures under different names, the first one that is present counts."""
        fits = hmac.new(b"key", b"", "sha256").hexdigest().encode()
        verification = gitea(secret="env:A")
        self.assertIsNone(verification.verify(request(x_gogs_signature=b"x", x_gitea_signature=fits), [b"key"]))
        self.refused(verification, request(x_gogs_signature=fits, x_gitea_signature=b"x"), b"key")


class DeliveryIdTests(SynchronousTestCase):
    """The ids of deliveries."""

    def test_length(self) -> None:
        """An id of more than 255 characters is none, and neither is an empty one."""
        find_in_header, find_in_json = github(secret="env:A").delivery_id, telegram(secret="env:A").delivery_id
        assert find_in_header is not None and find_in_json is not None
        for ident, expected in (("", None), ("x" * 255, "x" * 255), ("x" * 256, None), ("é", "é")):
            self.assertEqual(find_in_header(request(x_github_delivery=ident.encode("latin-1"))), expected)
            self.assertEqual(find_in_json(request(json.dumps({"update_id": ident}).encode())), expected)

    def test_other_header(self) -> None:
        """Jira's and Bitbucket Server's ids are in another header than Bitbucket Cloud's."""
        find = bitbucket(secret="env:A").delivery_id
        assert find is not None
        self.assertEqual(find(request(x_request_id=b"5")), "5")

    def test_repeated_header(self) -> None:
        """A repeated header has one id, of all its values."""
        find = github(secret="env:A").delivery_id
        assert find is not None
        received = replace(
            request(), headers=[(b"x-github-delivery", b"1"), (b"x", b"y"), (b"x-github-delivery", b"2")]
        )
        self.assertEqual(find(received), "1,2")

    def test_json(self) -> None:
        """Texts and whole numbers are ids, other values aren't."""
        find, nested = telegram(secret="env:A").delivery_id, pagerduty(secret="env:A").delivery_id
        assert find is not None and nested is not None
        for value, expected in (
            ("5", "5"),
            ('"a"', "a"),
            ("0", "0"),
            ("true", None),
            ("1.5", None),
            ("null", None),
            ("[]", None),
        ):
            self.assertEqual(find(request(b'{"update_id":%s}' % value.encode())), expected)
            self.assertEqual(nested(request(b'{"event":{"id":%s}}' % value.encode())), expected)
        for body in (
            b"",
            b"{",
            b"[]",
            b"5",
            b'{"event":5}',
            b'{"event":null}',
            b'{"id":1}',
            b"[" * 100_000,
            b"9" * 5000,
        ):
            self.assertEqual((find(request(body)), nested(request(body))), (None, None))


class TimestampTests(SourceCase):
    """Unix times in headers."""

    def test_twelve_digits(self) -> None:
        """A time may have twelve digits."""
        verification = slack(secret="env:A")
        received = replace(request(), now=999_999_999_999.0)
        self.assertIsNone(verification.verify(signed(verification, received), [b"a2V5"]))


class LinearTests(SourceCase):
    """The timestamp in the body."""

    def test_timestamp(self) -> None:
        """A timestamp that isn't a whole number of milliseconds within a minute is refused, although it is signed."""
        verification = linear(secret="env:A")
        for value, accepted in (
            ("1700000000999", True),
            ("1700000060999", True),
            ("1700000061000", False),
            ("1699999940000", True),
            ("1699999939999", False),
            ("1700000000000.0", False),
            ('"1700000000000"', False),
            ("NaN", False),
            ("true", False),
            ("-1700000000000", False),
            ("1" * 4000, False),
            ("null", False),
        ):
            received = signed(verification, request(b'{"webhookTimestamp":%s}' % value.encode()))
            if accepted:
                self.assertIsNone(verification.verify(received, [b"a2V5"]), value)
            else:
                self.assertIn("timestamp", self.refused(verification, received, b"a2V5"))
        for body in (b"", b"{}", b"[]", b"5"):
            self.refused(verification, signed(verification, request(body)), b"a2V5")

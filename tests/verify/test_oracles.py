"""The sources' own libraries agree with the verification."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from stripe import SignatureVerificationError, WebhookSignature
from twisted.trial.unittest import SynchronousTestCase

from errklein.verify import Received, Refused, Verification, slack, standard_webhooks, stripe

SECRETS = st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1)
BODIES = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.integers(0, 10**12 - 1)
CHANGES = st.sampled_from(["", "x", " ", ",", "=", "é"])


def accepted(verification: Verification, headers: dict[str, str], body: str, secret: str, now: float) -> bool:
    """Return whether the verification accepts the request."""
    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    try:
        verification.verify(Received("POST", "", given, body.encode(), "", now), [secret.encode()])
    except Refused:
        return False
    return True


class FixedClock(Clock):
    """A clock for slack_sdk."""

    def __init__(self, time: float) -> None:
        self._time = time

    def now(self) -> float:
        """Return the time."""
        return self._time


class OracleTests(SynchronousTestCase):
    """Requests that a library has signed, and changed ones."""

    @given(SECRETS, BODIES, TIMES, st.integers(-400, 400), CHANGES)
    def test_slack(self, secret: str, body: str, time: int, offset: int, change: str) -> None:
        """slack_sdk accepts the same signatures and times."""
        verifier = SignatureVerifier(secret, FixedClock(time + offset))
        signature = verifier.generate_signature(timestamp=str(time), body=body)
        headers = {"X-Slack-Request-Timestamp": str(time), "X-Slack-Signature": f"{signature}{change}"}
        try:
            expected = verifier.is_valid_request(body, headers)
        except TypeError:
            # slack_sdk compares texts, and those that aren't in ASCII can't be.
            expected = False
        self.assertIs(accepted(slack(secret="env:A"), headers, body, secret, time + offset), expected)
        self.assertIs(expected, not change and abs(offset) <= 300)

    @given(SECRETS, BODIES, TIMES, CHANGES, st.booleans())
    def test_stripe(self, secret: str, body: str, time: int, change: str, twice: bool) -> None:
        """Stripe accepts the same signatures."""
        header = WebhookSignature.generate_signature_header(body, secret, time) + change
        if twice:
            header = header.replace(",v1=", ",v1=00,v1=")
        try:
            expected = WebhookSignature.verify_header(body, header, secret)
        except (SignatureVerificationError, TypeError):
            expected = False
        # Stripe's library ignores a second equals sign and what follows; errklein accepts one spelling only.
        expected = expected and change != "="
        self.assertIs(accepted(stripe(secret="env:A"), {"Stripe-Signature": header}, body, secret, time), expected)

    @given(st.binary(min_size=1), BODIES, CHANGES, st.sampled_from([-301, -290, 0, 290, 301]))
    def test_standard_webhooks(self, key: bytes, body: str, change: str, offset: int) -> None:
        """standardwebhooks accepts the same signatures and times."""
        now = datetime.now(UTC)
        webhook = Webhook(key)
        secret = standard_secret(key)
        time = datetime.fromtimestamp(int(now.timestamp()) + offset, UTC)
        signature = f"{webhook.sign('msg_1', time, body)} v1a,x"
        headers = {
            "webhook-id": f"msg_1{change.strip()}",
            "webhook-timestamp": str(int(time.timestamp())),
            "webhook-signature": signature,
        }
        try:
            webhook.verify(body, headers, json_parse=False)
            expected = True
        except WebhookVerificationError:
            expected = False
        verification = standard_webhooks(secret="env:A")
        self.assertIs(accepted(verification, headers, body, secret, now.timestamp()), expected)

    @given(st.binary(min_size=1), BODIES)
    def test_signed_for_standard_webhooks(self, key: bytes, body: str) -> None:
        """standardwebhooks accepts what errklein has signed."""
        received = Received("POST", "", [], body.encode(), "", datetime.now(UTC).timestamp())
        signed = standard_webhooks(secret="env:A").sign(received, standard_secret(key).encode())
        Webhook(key).verify(body, {name.decode(): value.decode() for name, value in signed}, json_parse=False)


def standard_secret(key: bytes) -> str:
    """Return a key as a secret of Standard Webhooks."""
    return "whsec_" + b64encode(key).decode()

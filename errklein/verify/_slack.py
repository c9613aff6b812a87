"""Slack: https://docs.slack.dev/authentication/verifying-requests-from-slack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errklein.verify._delivery_ids import id_in_json, json_of
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody
from errklein.verify._values import ImmediateResponse, Received
from errklein.verify._verification import Verification


def slack(*, secret: Secrets, tolerance: float = 300.0) -> Verification:
    """Return the verification of Slack's requests, by the HMAC-SHA256 of time and body in `X-Slack-Signature`.

    Slack's challenge, with which it verifies a URL of the Events API, is returned to it.
    """
    form = SignedBody(
        (b"x-slack-signature",),
        prefix=b"v0=",
        signed=b"v0:{timestamp}:{body}",
        timestamp_header=b"x-slack-request-timestamp",
        tolerance=tolerance,
    )

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        form.check(received, secrets)
        event = json_of(received.body) if b"url_verification" in received.body else None
        challenge = (
            event.get("challenge") if isinstance(event, dict) and event.get("type") == "url_verification" else None
        )
        if not isinstance(challenge, str):
            return None
        return ImmediateResponse(
            200, [(b"content-type", b"text/plain; charset=utf-8")], challenge.encode("utf-8", "replace")
        )

    return replace(form.verification("slack", secret, id_in_json("event_id")), check=check)

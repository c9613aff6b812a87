"""Gitea, Forgejo and Gogs: who did what to what, for the events of repositories and organisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from errklein import verify
from errklein.sources._forges import branch, described_as_github, json_part
from errklein.sources._payloads import event_in, json_object, texts_beside
from errklein.verify import ImmediateResponse, Received, Refused, Verification
from errklein.webhooks.payload import BadPayload
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]


def _verification(*, secret: str | Sequence[str]) -> Verification:
    """Return the verification of the JSON, also if that is a field of a form: it is signed in either case."""
    verification = verify.gitea(secret=secret)

    def check(received: Received, secrets: Sequence[bytes]) -> ImmediateResponse | None:
        try:
            return verification.check(json_part(received), secrets)
        except BadPayload as error:
            raise Refused(error.detail, "malformed") from None

    return replace(verification, check=check)


_GITEA = Source(
    "gitea",
    "Gitea",
    partial(described_as_github, texts_beside(__file__)),
    _verification,
    event=event_in(b"x-gitea-event", b"x-forgejo-event", b"x-gogs-event"),
    # What is signed is what is read, also if a form has several fields.
    parse=lambda received: json_object(json_part(received)),
    values=branch,
    signs=True,
    setup=(
        "In the settings of the repository or organization, open Webhooks, select Add Webhook and then Gitea or Forgejo.",
        "Enter this URL as the target URL, and this secret. Keep the method POST.",
        "Select the events that you want in the room, and then Add Webhook.",
    ),
    example="push.json",
)

SOURCES = {"gitea": _GITEA, "forgejo": replace(_GITEA, name="forgejo", title="Forgejo")}

"""Gitea, Forgejo and Gogs: https://docs.gitea.com/usage/webhooks, https://forgejo.org/docs/latest/user/webhooks/."""

from __future__ import annotations

from errklein.verify._delivery_ids import id_in_header
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody
from errklein.verify._verification import Verification


def gitea(*, secret: Secrets) -> Verification:
    """Return the verification of webhooks of Gitea, Forgejo and Gogs, by the HMAC-SHA256 of the body.

    The three send the same signature, under several names of headers.
    """
    form = SignedBody((b"x-gitea-signature", b"x-forgejo-signature", b"x-gogs-signature"))
    return form.verification(
        "gitea", secret, id_in_header(b"x-gitea-delivery", b"x-forgejo-delivery", b"x-gogs-delivery")
    )

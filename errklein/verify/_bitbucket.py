"""Bitbucket and Jira: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/."""

from __future__ import annotations

from errklein.verify._delivery_ids import id_in_header
from errklein.verify._references import Secrets
from errklein.verify._signed_body import SignedBody
from errklein.verify._verification import Verification


def bitbucket(*, secret: Secrets) -> Verification:
    """Return the verification of Bitbucket's and Jira's webhooks, by the HMAC-SHA256 of the body in `X-Hub-Signature`.

    GitHub's header of this name has an HMAC-SHA1.
    """
    form = SignedBody((b"x-hub-signature",), prefix=b"sha256=")
    return form.verification("bitbucket", secret, id_in_header(b"x-request-uuid", b"x-request-id"))

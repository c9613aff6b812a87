"""GitLab: https://docs.gitlab.com/user/project/integrations/webhooks/."""

from __future__ import annotations

from errklein.verify._delivery_ids import id_in_header
from errklein.verify._references import Secrets
from errklein.verify._standard_webhooks import StandardWebhooks
from errklein.verify._tokens import token_in_header
from errklein.verify._verification import Verification


def gitlab(*, secret: Secrets, signed: bool = False, tolerance: float = 300.0) -> Verification:
    """Return the verification of GitLab's webhooks, by the secret token in `X-Gitlab-Token`, or by a signature.

    GitLab repeats the `Idempotency-Key` when it sends a delivery again.

    :param signed: The secret is a signing token, "whsec_…", instead of a secret token. The signature is that of Standard
        Webhooks.
    :param tolerance: The greatest difference of the signed time to the present time, in seconds.
    """
    if signed:
        return StandardWebhooks(tolerance).verification("gitlab", secret)
    return token_in_header("gitlab", b"x-gitlab-token", secret, id_in_header(b"idempotency-key"))

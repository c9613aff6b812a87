"""The headers that sources add to their requests, beside the signature, for requests that tests and operators send."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from errklein.verify._delivery_ids import HeaderId
from errklein.verify._verification import Verification

_EVENT_HEADERS = {
    "bitbucket": "X-Event-Key",
    "gitea": "X-Gitea-Event",
    "github": "X-GitHub-Event",
    "gitlab": "X-Gitlab-Event",
    "linear": "Linear-Event",
    "sentry": "Sentry-Hook-Resource",
    "shopify": "X-Shopify-Topic",
}
"""The headers with the name of the event. Other sources name it in the body."""


def source_headers(verification: Verification, event: str | None) -> Mapping[str, str]:
    """Return the headers with the name of the event, if one is given, and with an id of the delivery.

    :raises ValueError: The source has no header for the event.
    """
    scheme, headers = verification.scheme, {}
    if event is not None and scheme not in _EVENT_HEADERS:
        raise ValueError(f"{scheme} has no header for the event; leave out the event {event!r}")
    if event is not None:
        headers[_EVENT_HEADERS[scheme]] = event
    if isinstance(verification.delivery_id, HeaderId):
        headers[verification.delivery_id.names[0].decode()] = str(uuid4())
    return headers

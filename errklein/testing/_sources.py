"""Requests as the source of a webhook sends them: with its headers and its signature."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit
from uuid import uuid4

from errklein.config import SecretError
from errklein.verify import HeaderId
from errklein.web import WebServer

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

SENDS_FORMS = frozenset({"twilio"})
"""The sources whose bodies are forms. Those of others are JSON."""


def headers_of_source(
    web: WebServer, source: str, event: str | None, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """Return the headers with those that the source adds to a request: event, id of the delivery, and signature.

    Headers that the test gives are kept. Nothing is added if there is no webhook at the URL: the response is 404 or 405.

    :raises ValueError: The webhook doesn't verify this source, its secret is missing, or the source has no such header or signature.
    """
    parts = urlsplit(url)
    hook = web.webhook_at(method.upper(), parts.path)
    if hook is None:
        return dict(headers)
    verification, what = hook.declaration.verify, f"{method} {parts.path} with source={source!r}: {hook}"
    if verification is None:
        raise ValueError(
            f'{what} verifies no source; add verify={source}(secret="env:NAME") to @webhook, or to WEBHOOKS'
        )
    if verification.scheme != source:
        raise ValueError(f"{what} verifies {verification.scheme}; use source={verification.scheme!r}")
    if event is not None and source not in _EVENT_HEADERS:
        raise ValueError(f"{what}: {source} has no header for the event; leave out event={event!r}")
    added = {} if event is None else {_EVENT_HEADERS[source]: event}
    if isinstance(verification.delivery_id, HeaderId):
        added[verification.delivery_id.names[0].decode()] = str(uuid4())
    given = set(map(str.lower, headers))
    sent = {**headers, **{name: value for name, value in added.items() if name.lower() not in given}}
    pairs = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
    target = parts._replace(scheme="", netloc="", fragment="").geturl()
    try:
        signature = web.checks.sign(hook, method, target, pairs, body, parts.netloc or "localhost")
    except SecretError as error:
        raise ValueError(f'{what}: {error}; set it with secrets = {{"NAME": "…"}} on the test case') from None
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    return sent | {name.decode(): value.decode() for name, value in signature if name.decode() not in given}

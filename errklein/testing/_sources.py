"""Requests as the source of a webhook sends them: with its headers and its signature."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from errklein.config import SecretError
from errklein.web import WebServer

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
    try:
        added = verification.headers_of_source(event)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
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

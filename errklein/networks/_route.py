"""Requests with events of a network, such as Slack's and Telegram's: a webhook that belongs to no plugin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from errklein.running import on_reactor
from errklein.verify import SCHEMES, verification
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.declaration import normalise_rule

_REFERENCE = "env:NETWORK"


def route_of(
    owner: str, path: str, handler: Callable[[Any], Any], scheme: str, secrets: Sequence[bytes], **options: Any
) -> Hook:
    """Return the webhook for `NetworkContext.route`, whose parameters these are.

    :param owner: The owner of the webhook in the table of routes.
    :raises ValueError: The scheme or an option is invalid, or there are no secrets.
    """
    if not secrets or not all(secrets):
        raise ValueError("requests of a network must be verified: give its secret")
    if "secret" in inspect.signature(SCHEMES[scheme]).parameters:
        # Schemes take references, which are replaced by the secrets themselves.
        options["secret"] = _REFERENCE
    found = verification(scheme, **options)

    def check(received: Any, _: object, **checked: Any) -> Any:
        return found.check(received, secrets, **checked)

    def handle(request: Any) -> Any:
        return handler(request)

    declaration = HookDeclaration(
        normalise_rule(path),
        methods=("POST",),
        raw=True,
        verify=replace(found, check=check, secrets=()),
        methods_given=True,
        may_be_recorded=False,
    )
    return Hook(owner, path.strip("/"), declaration, on_reactor(handle))

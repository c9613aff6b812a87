"""Requests with events of a network: a webhook that belongs to no plugin, and that the journal doesn't record."""

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
    """Return the webhook; see `NetworkContext.route`. Raises ValueError without a secret, and for invalid options."""
    if not secrets or not all(secrets):
        raise ValueError("requests of a network must be verified: give its secret")
    if "secret" in inspect.signature(SCHEMES[scheme]).parameters:
        # Schemes take references to secrets, and the settings of a network may have the secrets themselves.
        options["secret"] = _REFERENCE
    found = verification(scheme, **options)
    handle = on_reactor(lambda request: handler(request))  # noqa: PLW0108 - a method can't be marked
    verify = replace(found, check=lambda received, _, **more: found.check(received, secrets, **more), secrets=())
    rule = normalise_rule(path)
    declaration = HookDeclaration(
        rule, methods=("POST",), raw=True, verify=verify, methods_given=True, may_be_recorded=False
    )
    return Hook(owner, rule.strip("/"), declaration, handle)

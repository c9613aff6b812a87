"""What administrators are told of webhooks that don't work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from errklein.running.rate_limit import RateLimit
from errklein.webhooks import Hook


class WebhookWarnings:
    """Tells administrators, by `warn`, what the web server tells of plugins' handlers."""

    def __init__(self, reactor: Any, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._limit = RateLimit(reactor.seconds)

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        """Admins get one line, at most once a minute for each hook."""
        self._warn_sometimes(
            ("failed", hook.key),
            f"The webhook {hook} ({hook.declaration.rule}) failed with {type(failure.value).__name__}; "
            f"the log has the details under request {request_id}.",
        )

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        """Admins get one line, at most once a minute for each hook."""
        self._warn_sometimes(
            ("overdue", hook.key),
            f"The webhook {hook} ({hook.declaration.rule}) has not answered in {seconds:g} s: its sender got 504, and "
            f"the handler still runs (request {request_id}).",
        )

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        """Admins learn which plugin keeps the URL."""
        self._warn(
            f"{hook.owner} and {by.owner} both want {hook.declaration.rule}: {by} keeps it, and {hook} takes over when "
            f"{by.owner} is deactivated."
        )

    def _warn_sometimes(self, subject: tuple[str, object], warning: str) -> None:
        if self._limit.allows(subject):
            self._warn(warning)

"""The events that the web server reports to the bot."""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from errklein.webhooks import Hook


class WebEvents(Protocol):
    """Receives the web server's events about plugins' handlers; implemented by the bot."""

    def handler_failed(self, hook: Hook, request_id: str, failure: Failure) -> None:
        """The handler raised an exception, or returned an invalid value. The response was 500."""

    def handler_overdue(self, hook: Hook, request_id: str, seconds: float) -> None:
        """The response was 504 after `seconds`; the handler is still running."""

    def hook_unusable(self, hook: Hook, reason: str) -> None:
        """Requests for the hook get 503, since its secret is missing."""

    def request_refused(self, hook: Hook, kind: str, reason: str, client: str) -> None:
        """A request for a webhook was refused, for a kind of reason such as "signature". `client` is its address or network."""

    def hook_shadowed(self, hook: Hook, by: Hook) -> None:
        """`hook` isn't reachable, since `by` was registered first for the same URL and method."""

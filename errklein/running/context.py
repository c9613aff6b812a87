"""What is known about the work in hand, wherever it runs: the context goes with a handler into its thread."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("errklein.request_id", default="-")
"""The id of the request or message being handled, as log lines show it; "-" outside of any."""

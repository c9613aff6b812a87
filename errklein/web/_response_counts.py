"""Counts of responses and of handlers' durations, for monitoring. They are kept in plain dicts, since each request changes them."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0)
"""The upper bounds in seconds of the classes in which durations are counted. The last class has no bound."""

OTHER = "other"
"""The webhook of requests that no webhook gets."""

REFUSALS = ("signature", "malformed", "time", "address", "rate", "size", "slow", "unavailable")
"""The kinds of reasons for which requests for webhooks are refused."""

_MOST = 2000
"""The number of webhooks with each of their statuses. Later ones are counted as OTHER."""


class Durations:
    """Durations in classes: `counts` has their number in each class, and `total` is their sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class ResponseCounts:
    """The responses by webhook and status, the durations of handlers by webhook and outcome, and refused requests by webhook and reason.

    The name is "Plugin:method" for a webhook and "Plugin:/path" for a mount. An outcome is "succeeded", "rejected" (4xx), "failed" (5xx) or "overdue" (504).
    """

    def __init__(self) -> None:
        self.responses: dict[tuple[str, int], int] = {}
        self.handlers: dict[tuple[str, str], Durations] = {}
        self.refused: dict[tuple[str, str], int] = {}

    def add_response(self, webhook: str, status: int) -> None:
        """Count a response."""
        key = webhook, status
        if key not in self.responses and len(self.responses) >= _MOST:
            key = OTHER, status
        self.responses[key] = self.responses.get(key, 0) + 1

    def add_refused(self, webhook: str, kind: str) -> None:
        """Count a request that was refused. `kind` is one of REFUSALS."""
        self.refused[webhook, kind] = self.refused.get((webhook, kind), 0) + 1

    def add_handler(self, webhook: str, status: int, seconds: float) -> None:
        """Count a handler that has ended."""
        key = webhook, "succeeded" if status < 400 else _outcome(status)
        durations = self.handlers.get(key)
        if durations is None:
            if len(self.handlers) >= _MOST:
                key = OTHER, key[1]
            durations = self.handlers.setdefault(key, Durations())
        durations.add(seconds)


def _outcome(status: int) -> str:
    if status == 504:
        return "overdue"
    return "failed" if status >= 500 else "rejected"

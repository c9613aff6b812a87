"""The status server: whether the process runs, whether the bot works, and its metrics, for monitoring."""

from errklein.status._server import StatusServer

__all__ = ["StatusServer"]

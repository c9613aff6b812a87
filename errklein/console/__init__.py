"""The console: pages that show what came and what became of it, and whose buttons perform the operations of administrators."""

from errklein.console._server import ConsoleServer

__all__ = ["ConsoleServer"]

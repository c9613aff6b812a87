"""Repositories of plugins: git repositories and archives, found by index or URL and installed in BOT_DATA_DIR."""

from errklein.plugins.repos.manager import BotRepoManager, Downloads, RepoEntry
from errklein.plugins.repos.sources import RepoException

__all__ = ["BotRepoManager", "Downloads", "RepoEntry", "RepoException"]

"""What `errbot.plugin_manager` and `errbot.repo_manager` offer for requirement files."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from errklein.compat._running_bots import running_bots
from errklein.plugins.distributions import examine
from errklein.plugins.packages import InstallError
from errklein.plugins.requirement_files import RequirementFile, UnreadableRequirements


def install_packages(req_path: Path) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Install the requirements of the file for the bot that was started last; returns sys.exc_info() if that fails, else None."""
    bot = running_bots.newest
    try:
        if bot is None:
            raise InstallError(f"{req_path} can't be installed: no bot runs, so BOT_DATA_DIR is unknown")
        bot.plugin_manager.packages.install(RequirementFile.read(Path(req_path)))
    except (InstallError, UnreadableRequirements) as error:
        return type(error), error, error.__traceback__
    return None


def check_dependencies(req_path: Path) -> tuple[str | None, list[str]]:
    """What is missing of what the file asks for: a sentence with all of it, or None, and the lines."""
    path = Path(req_path)
    if not path.is_file():
        return None, []
    examined = examine(RequirementFile.read(path))
    missing = [line.name_and_versions for line in (*examined.missing, *examined.conflicts)]
    return (f"{path} needs what isn't installed: {', '.join(missing)}" if missing else None), missing

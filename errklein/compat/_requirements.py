"""Functions of `errbot.plugin_manager` and `errbot.repo_manager` for requirements files."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from errklein.compat._running_bots import running_bots
from errklein.plugins.packages import InstallError
from errklein.plugins.requirement_files import RequirementFile, UnreadableRequirements, examine


def install_packages(req_path: Path) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Install the requirements in the file for the bot that was started last.

    :param req_path: The path of a requirements file.
    :returns: None, or if the installation failed, a tuple like that of `sys.exc_info()`.
    """
    bot = running_bots.newest
    try:
        if bot is None:
            raise InstallError(f"can't install {req_path}: BOT_DATA_DIR is unknown, since no bot is running")
        bot.plugin_manager.packages.install(RequirementFile.read(Path(req_path)))
    except (InstallError, UnreadableRequirements) as error:
        return type(error), error, error.__traceback__
    return None


def check_dependencies(req_path: Path) -> tuple[str | None, list[str]]:
    """Return which requirements in the file are not installed.

    :param req_path: The path of a requirements file; a missing file has no requirements.
    :returns: A pair of an error message, or None if nothing is missing, and a list of the missing requirements.
    """
    path = Path(req_path)
    if not path.is_file():
        return None, []
    examined = examine(RequirementFile.read(path))
    missing = [line.name_and_versions for line in (*examined.missing, *examined.conflicts)]
    return (f"{path} requires packages that are not installed: {', '.join(missing)}" if missing else None), missing

"""Setup of the process's log from the configuration and twistd's options."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from errklein import logs
from errklein.config import Config, ConfigError
from errklein.service._data_directory import DataDirectory
from errklein.service.startup_checks import TwistdOptions, uses_text


def set_up_log(config: Config, options: TwistdOptions, data: DataDirectory) -> None:
    """Set the log's destinations, level and format, and forward the logging module's records to it.

    Raises ConfigError if a log file can't be used.
    """
    log = logs.destinations
    log.level = config.BOT_LOG_LEVEL
    log.theme = config.TEXT_COLOR_THEME
    log.formatter = config.BOT_LOG_FORMATTER
    log.outputs = outputs(config, options, terminal=sys.stdin is not None and sys.stdin.isatty())
    log.owner = data.owner()
    for output in log.outputs:
        path = Path(output).absolute()
        if log.owner is not None and path.is_symlink():
            # The link's owner could make root write to any file.
            raise ConfigError(f"the log file {path} is a symbolic link, which isn't allowed if root starts errklein")
        if path.parent == data.path:
            log.prepare = data.prepare
        elif output not in {"-", "+"}:
            check_log_file(output, "BOT_LOG_FILE" if output == config.BOT_LOG_FILE else "--logfile", data)
    # As on errbot, BOT_LOG_FILE is rotated by the operator, for example with logrotate.
    log.rotated = config.BOT_LOG_FILE not in log.outputs
    log.handle_signal()
    logs.bridge_stdlib(config.BOT_LOG_LEVEL)


def check_log_file(output: str, setting: str, data: DataDirectory) -> None:
    """Raise ConfigError if the log file can't be written. A file in the data directory, which may be missing, is not checked.

    :param output: the path of the log file.
    :param setting: the setting or option that has the path, which begins the error.
    :param data: the data directory.
    """
    path = Path(output).absolute()
    if path.parent == data.path or os.access(path if path.exists() else path.parent, os.W_OK):
        return
    if not path.parent.is_dir():
        remedy = "" if path.parent.exists() else f"; create it with `mkdir -p {path.parent}`"
        raise ConfigError(f"{setting}: {path} can't be created, since {path.parent} isn't a directory{remedy}")
    raise ConfigError(f"{setting}: {path} isn't writable; check its owner and mode, and those of its directory")


def outputs(config: Config, options: TwistdOptions, *, terminal: bool) -> list[str]:
    """Return the log's destinations: --logfile, BOT_LOG_FILE or a default, but never the Text backend's standard output.

    :param terminal: whether standard input is a terminal.
    """
    text = uses_text(config)
    if options.log_file:
        return ["+"] if options.log_file == "-" and text else [options.log_file]
    also = [config.BOT_LOG_FILE] if config.BOT_LOG_FILE else []
    if options.daemon:
        return also or ["twistd.log"]
    if text and terminal:
        return also or [str(Path(config.BOT_DATA_DIR) / "errklein.log")]
    return ["+" if text else "-", *also]

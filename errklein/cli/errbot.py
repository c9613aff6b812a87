"""errbot's command line, for scripts and habits: each of its options is one of errklein's commands, or a run of the bot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from errklein._version import __version__
from errklein.cli import data
from errklein.config import Config
from errklein.service import DataDirectory, errors_end_program, load_with_options

_HERE = "."
_DEFAULT = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what errbot's command line asks, the program's own by default; without anything, run the bot.

    Returns the exit status, or raises SystemExit with a message of one line.
    """
    options = _parser().parse_args(arguments)
    # Imported late, since cli.py passes errbot's options on to this module.
    from errklein import cli

    if options.init is not None:
        return cli.init(Path(options.init))
    if options.new_plugin is not None:
        from errklein.cli.plugin_wizard import new_plugin_wizard

        new_plugin_wizard(options.new_plugin)
        return 0
    if options.list:
        return cli.backends(options.config)
    with errors_end_program():
        config = load_with_options(options.config)
        if options.restore is not None:
            return data.restore(config, Path(options.restore) if options.restore else None)
        if options.storage_get is not None:
            return data.storage_get(config, options.storage_get)
        if options.storage_set is not None:
            return data.storage_set(config, options.storage_set, sys.stdin.read())
        if options.storage_merge is not None:
            return data.storage_merge(config, options.storage_merge, sys.stdin.read())
        pid_file = _pid_file(config, options.pidfile) if options.daemon else None
    ours = [*(["--config", options.config] if options.config else []), *(["--backend", "Text"] if options.text else [])]
    return cli.run(None, ours, pid_file)


def _pid_file(config: Config, given: str | None) -> str:
    """Where the daemon's process id is written: by default into the data directory, as errbot does."""
    if given is not None:
        return given
    data = DataDirectory(Path(config.BOT_DATA_DIR))
    data.check()
    data.prepare()
    return str(data.path / "err.pid")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="errklein", description="Runs a bot with errbot's options.", allow_abbrev=False
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="the config.py; ./config.py if it is there")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("-v", "--version", action="version", version=f"errklein {__version__}")
    modes.add_argument(
        "-r", "--restore", metavar="FILE", nargs="?", const=_DEFAULT, help="put a backup into an empty bot"
    )
    modes.add_argument("-l", "--list", action="store_true", help="list the backends that there are")
    modes.add_argument("--new-plugin", metavar="DIR", nargs="?", const=_HERE, help="write a new plugin")
    modes.add_argument("-i", "--init", metavar="DIR", nargs="?", const=_HERE, help="write a config.py and an example")
    modes.add_argument("--storage-set", metavar="NAMESPACE", help="replace what is stored by a dict on standard input")
    modes.add_argument("--storage-merge", metavar="NAMESPACE", help="add a dict on standard input to what is stored")
    modes.add_argument("--storage-get", metavar="NAMESPACE", help="print what is stored as a dict")
    modes.add_argument("-T", "--text", action="store_true", help="talk on this terminal")
    parser.add_argument("-d", "--daemon", action="store_true", help="run in the background, as twistd does")
    parser.add_argument("-p", "--pidfile", metavar="FILE", help="the daemon's pid file; err.pid in the data directory")
    return parser

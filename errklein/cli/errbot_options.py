"""errbot's command line: each of its options calls one of errklein's commands, or runs the bot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from errklein._version import __version__
from errklein.cli._parser import Parser, add_arguments
from errklein.config import take_variables
from errklein.service import DataDirectory, errors_end_program, load_with_options

_OF_RUN = ["data-dir", "network", "no-import", "node", "plugin-dir", "processes", "role", "status", "watch", "web"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run errbot's command line, by default the process's, and return the exit status. Without an option, run the bot.
    Raises SystemExit with a message of one line for an error, or status 2 for an invalid command line."""
    options = _parser().parse_args(arguments)
    # Imported late, since errklein.cli passes errbot's options on to this module.
    from errklein import cli

    config = ["--config", options.config] if options.config else []
    if options.init is not None:
        return cli.main(["init", options.init])
    if options.new_plugin is not None:
        cli.new_plugin_wizard(options.new_plugin)
        return 0
    if options.list:
        return cli.main(["network", "list", *config])
    if options.restore is not None:
        return cli.main(["restore", *config, *([options.restore] if options.restore else [])])
    for action in ("get", "set", "merge"):
        namespace = getattr(options, f"storage_{action}")
        if namespace is not None:
            if action == "get":
                # errbot prints an empty dict for any name.
                return cli.main(["storage", "get", *config, "--missing-ok", namespace])
            _data_directory(options.config)
            return cli.main(["storage", action, *config, namespace])
    pid_file: str | None = options.pidfile if options.daemon else None
    if options.daemon and pid_file is None:
        pid_file = str(_data_directory(options.config) / "err.pid")
    return cli.run(None, [*config, *(["--network", "Text"] if options.text else [])], pid_file)


def _data_directory(config: str | None) -> Path:
    """Return the data directory, which is created if it is missing."""
    with errors_end_program():
        # The command that follows takes the variables from the environment.
        variables = take_variables(dict(os.environ))
        data = DataDirectory(Path(load_with_options(config, variables=variables).BOT_DATA_DIR))
        data.check()
        data.prepare()
    return data.path


def _parser() -> Parser:
    description = "Run a bot with errbot's options. `errklein --help` shows errklein's own commands."
    parser = Parser("errklein", description=description, allow_abbrev=False)
    parser.help_command, parser.options_elsewhere = (
        "errklein -T --help",
        {f"--{name}": "errklein run" for name in _OF_RUN},
    )
    add_arguments(parser, "@errbot")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("-v", "--version", action="version", version=f"errklein {__version__}")
    add_arguments(modes, "@errbot-modes")
    add_arguments(parser, "@errbot-daemon")
    return parser

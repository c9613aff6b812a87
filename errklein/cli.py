"""The command `errklein`: begin a bot, check one, run one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from errklein._version import __version__

_BEGINNING = {
    "config.py": "config.py.txt",
    "plugins/example/example.plug": "example.plug",
    "plugins/example/example.py": "example.py",
    "plugins/example/test_example.py": "test_example.py",
}
"""What `errklein init` writes, with the template of each file."""

_NEXT = """\
{directory} is ready. To talk to the bot on this terminal, and to post to it:

    cd {directory}
    errklein run --web tcp:3141:interface=127.0.0.1 --reload

and in another terminal:

    curl -d text=hello http://127.0.0.1:3141/example

The plugin is in plugins/example. To run its tests:

    trial plugins/example/test_example.py
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; returns the exit status, or raises SystemExit with a message."""
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    if known.command == "run":
        return run(known.reactor, rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if known.command == "check":
        from errklein.check import check

        check(known.config, known.plugin_dir, known.data_dir)
    return init(Path(known.directory))


def init(directory: Path) -> int:
    """Write a config.py and an example of a plugin with its tests into the directory; what is there is never overwritten."""
    for name in _BEGINNING:
        if (directory / name).exists():
            raise SystemExit(f"errklein: {directory / name} is there already; nothing was written")
    for name, template in _BEGINNING.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text((files("errklein") / "templates" / template).read_text("utf-8"), "utf-8")
        except OSError as error:
            raise SystemExit(f"errklein: {path} can't be written: {error.strerror}") from None
    sys.stdout.write(_NEXT.format(directory=directory))
    return 0


def run(reactor: str | None, arguments: Sequence[str]) -> int:
    """Run the bot in the foreground, as `twistd -n errklein` does, without a pid file."""
    from twisted.scripts import twistd

    sys.argv = ["twistd", "-n", "--pidfile=", *([f"--reactor={reactor}"] if reactor else []), "errklein", *arguments]
    twistd.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="errklein", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"errklein {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="init | check | run")
    beginning = commands.add_parser("init", help="write a commented config.py and an example of a plugin with tests")
    beginning.add_argument("directory", metavar="DIR", help="where to; made if it isn't there")
    checking = commands.add_parser("check", help="load configuration and plugins, say what is there, and exit")
    checking.add_argument("--config", "-c", metavar="FILE", help="the config.py; ./config.py if it is there")
    checking.add_argument("--plugin-dir", "-p", metavar="DIR", action="append", default=[], help="more plugins")
    checking.add_argument("--data-dir", "-d", metavar="DIR", help="instead of the configuration's BOT_DATA_DIR")
    running = commands.add_parser(
        "run",
        add_help=False,
        allow_abbrev=False,
        help="run in the foreground; takes the options of `twistd errklein`, and --reactor",
    )
    running.add_argument("--reactor", help=argparse.SUPPRESS)
    return parser

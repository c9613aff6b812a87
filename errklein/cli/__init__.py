"""The command `errklein`: begin a bot, check one, run one, and work on its data while it doesn't run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from errklein._version import __version__
from errklein.cli._new_files import read_template, write_new_files
from errklein.cli.plugin_wizard import new_plugin_wizard, write_plugin

__all__ = ["main"]

_BEGINNING = {
    "config.py": "config.py.txt",
    "plugins/example/example.plug": "example.plug",
    "plugins/example/example.py": "example.py",
    "plugins/example/test_example.py": "test_example.py",
}
"""What `errklein init` writes, with the template of each file."""

_NEXT = """\
Created {directory}/config.py, and an example of a plugin in {directory}/plugins/example.

Start the bot, chat with it on this terminal, and receive webhooks:

    {enter}errklein run --web tcp:3141:interface=127.0.0.1 --reload

Send it a webhook from another terminal:

    curl -d text=hello http://127.0.0.1:3141/example

Run the plugin's tests:

    {enter}trial plugins/example/test_example.py
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; returns the exit status, or raises SystemExit with a message.

    A command line that begins with an option of errbot's is understood as errbot does, and so is an empty one where there is a
    config.py.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else ""
    as_errbot = first.startswith("-") and first not in {"-h", "--help", "--version"}
    if as_errbot or (not arguments and Path("config.py").is_file()):
        from errklein.cli import errbot_options

        return errbot_options.main(arguments)
    parser = _parser()
    known, rest = parser.parse_known_args(arguments)
    if known.command == "run":
        return run(known.reactor, rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if known.command == "init":
        return init(Path(known.directory))
    if known.command == "config-template":
        sys.stdout.write((files("errklein") / "compat" / "errbot_package" / "config-template.py").read_text("utf-8"))
        return 0
    if known.command == "new-plugin":
        if known.name is None:
            new_plugin_wizard(known.directory)
        else:
            write_plugin(Path(known.directory), known.name, known.description)
        return 0
    if known.command == "check":
        check(known)
    if known.command == "backends":
        return backends(known.config)
    return work_on_data(known)


def check(known: argparse.Namespace) -> NoReturn:
    """Print the problems of errklein's environment first, since nothing else may work in a damaged one; then check the bot."""
    from errklein.plugins.environment import environment_problems

    problems = environment_problems()
    sys.stdout.write("".join(f"problem: {line}\n" for line in problems))
    from errklein.cli._check import check

    check(known.config, known.plugin_dir, known.data_dir, failed=bool(problems))


def backends(config_file: str | None) -> int:
    """Print the backends that there are, with those that are installed or where the configuration says."""
    from errklein.compat.backends.finding import network_plugs
    from errklein.config import BACKENDS
    from errklein.service import errors_end_program, load_with_options

    with errors_end_program():
        config = load_with_options(config_file)
    names = {*BACKENDS, *(plug.name for plug in network_plugs(config))}
    sys.stdout.write("".join(f"{name}\n" for name in sorted(names)))
    return 0


def work_on_data(known: argparse.Namespace) -> int:
    """Import, back up, restore, or show and change what is stored."""
    from errklein.cli import _data as data
    from errklein.plugins.packages import PackageDirectory
    from errklein.service import errors_end_program, load_with_options

    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir)
        # Stored values may be instances of classes that plugins' packages define.
        PackageDirectory(Path(config.BOT_DATA_DIR)).extend_path()
        if known.command == "import-errbot":
            return data.import_errbot(config, known.force, known.trust)
        if known.command == "backup":
            return data.backup(config)
        if known.command == "restore":
            return data.restore(config, Path(known.file) if known.file else None, known.force, known.trust)
        if known.what == "get":
            return data.storage_get(config, known.namespace, known.missing_ok)
        return data.storage_set(config, known.namespace, sys.stdin.read(), merge=known.what == "merge")


def init(directory: Path) -> int:
    """Create a config.py and an example of a plugin with tests in the directory, and print how to use them.

    Raises SystemExit, and creates nothing, if one of the files exists.
    """
    write_new_files({directory / name: read_template(template) for name, template in _BEGINNING.items()})
    enter = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    sys.stdout.write(_NEXT.format(directory=directory, enter=enter))
    return 0


def run(reactor: str | None, arguments: Sequence[str], pid_file: str | None = None) -> int:
    """Run the bot in the foreground, as `twistd -n errklein` does, without a pid file; with one, as a daemon."""
    from twisted.scripts import twistd

    mode = ["-n", "--pidfile="] if pid_file is None else [f"--pidfile={pid_file}"]
    sys.argv = ["twistd", *mode, *([f"--reactor={reactor}"] if reactor else []), "errklein", *arguments]
    twistd.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    config, data, trust = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    config.add_argument("--config", "-c", metavar="FILE", help="the config.py; ./config.py if it is there")
    data.add_argument("--data-dir", "-d", metavar="DIR", help="instead of the configuration's BOT_DATA_DIR")
    trust.add_argument(
        "--trust",
        metavar="NAME",
        action="append",
        default=[],
        type=_trusted_name,
        help="also let values use the class or function MODULE.NAME; may be given several times",
    )
    parser = argparse.ArgumentParser(
        prog="errklein",
        description=__doc__,
        epilog="errbot's options are understood too: errklein -c config.py -T, errklein --storage-get NAMESPACE, …",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"errklein {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, parents=parents)

    beginning = add("init", "write a commented config.py and an example of a plugin with tests")
    beginning.add_argument("directory", metavar="DIR", help="where to; made if it isn't there")
    add("config-template", "print a config.py with every setting, its default and its meaning")
    plugin = add("new-plugin", "write a plugin of your own with tests; asks for its name")
    plugin.add_argument("directory", metavar="DIR", nargs="?", default=".", help="where to; made if it isn't there")
    plugin.add_argument("--name", help="what it is called; then nothing is asked")
    plugin.add_argument("--description", default="", help="what it does, in one line")
    checking = add("check", "load configuration and plugins, say what is there, and exit", config, data)
    checking.add_argument("--plugin-dir", "-p", metavar="DIR", action="append", default=[], help="more plugins")
    running = commands.add_parser(
        "run",
        add_help=False,
        allow_abbrev=False,
        help="run in the foreground; takes the options of `twistd errklein`, and --reactor",
    )
    running.add_argument("--reactor", help=argparse.SUPPRESS)
    add("backends", "list the chat networks that there are", config)
    importing = add("import-errbot", "take over what errbot has stored in the data directory", config, data, trust)
    importing.add_argument("--force", action="store_true", help="also in place of what is stored already")
    add("backup", "write all that is stored into backup.jsonl in the data directory", config, data)
    restoring = add("restore", "put a backup, errklein's or errbot's, into an empty bot", config, data, trust)
    restoring.add_argument("file", metavar="FILE", nargs="?", help="backup.jsonl or backup.py in the data directory")
    restoring.add_argument("--force", action="store_true", help="also over what is stored already")
    storage = add("storage", "show or change what a plugin has stored")
    whats = storage.add_subparsers(dest="what", required=True, metavar="get | set | merge")
    for name, text in (
        ("get", "print it as a Python dict"),
        ("set", "replace it by the Python dict on standard input"),
        ("merge", "add the Python dict on standard input to it"),
    ):
        what = whats.add_parser(name, help=text, parents=[config, data])
        what.add_argument("namespace", metavar="NAMESPACE", help="the plugin's name, or `core`")
        if name == "get":
            what.add_argument("--missing-ok", action="store_true", help="print {} for an unknown namespace")
    return parser


def _trusted_name(text: str) -> str:
    if "" in text.split(".") or "." not in text:
        raise argparse.ArgumentTypeError(f"invalid name: {text!r}; expected module.name, such as pytz._UTC")
    return text

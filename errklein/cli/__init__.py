"""The command `errklein`: creates, checks and runs a bot, and works on the data of a stopped one."""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.resources import as_file, files
from os.path import lexists
from pathlib import Path
from string import Template
from typing import NoReturn

from errklein.cli._parser import RUN_EXAMPLES, make_parser, print_lines, unexpected

__all__ = ["main"]

_BEGINNING = {
    "config.py": "config.py.txt",
    "plugins/example/example.plug": "example.plug",
    "plugins/example/example.py": "example.py.txt",
    "plugins/example/test_example.py": "test_example.py.txt",
}
"""The files that `errklein init` creates, each with its template."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's, and return the exit status. A command line that begins with one
    of errbot's options is read as errbot's; so is an empty one, if the current directory has a config.py. Raises
    SystemExit with a message of one line for an error, or status 2 for an invalid command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    first = arguments[0] if arguments else ""
    as_errbot = first.startswith("-") and first not in {"-h", "--help", "--version"}
    if as_errbot or (not arguments and _has_config_file()):
        from errklein.cli import errbot_options

        return errbot_options.main(arguments)
    parser = make_parser()
    known, rest = parser.parse_known_args(arguments)
    if known.command == "run":
        check_run_options(rest)
        return run(known.reactor, rest)
    # Another user than the bot's may run the command, whose files in the folders of plugins the bot couldn't replace.
    sys.dont_write_bytecode = True
    if hasattr(known, "words") and not any(word.startswith("-") for word in rest):
        # Words after an option.
        known.words, rest = [*known.words, *rest], []
    if rest:
        known.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    command = f"{known.command} {known.what}" if "what" in known else known.command
    run_command = _COMMANDS.get(command) or _COMMANDS.get(known.command) or work_on_data
    return run_command(known) or 0


def _has_config_file() -> bool:
    """Return whether the current directory has a config.py, or can't be entered, which the start of a bot reports."""
    try:
        return Path("config.py").is_file()
    except PermissionError:
        return True


def _late(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """Return a function that runs a command by one of a module, which is imported then."""
    return lambda known: getattr(import_module(f"errklein.cli.{module}"), function)(known)  # noqa: PLW0108


def _check_or_list_networks(known: argparse.Namespace) -> int:
    from errklein.cli._check import check_networks, list_networks

    if known.what != "list":
        check_networks(known)
    return list_networks(known.config)


def _new_plugin(known: argparse.Namespace) -> None:
    if known.plugin is None:
        new_plugin_wizard()
    else:
        path = Path(known.plugin) if Path(known.plugin).name else Path(known.plugin).resolve()
        write_plugin(path.parent, path.name, known.description)


def check(known: argparse.Namespace) -> NoReturn:
    """Check errklein's environment, then the configuration and the plugins. The environment comes first, since the
    other checks may fail in a damaged one. Raises SystemExit."""
    from errklein.plugins.packages import environment_problems

    problems = environment_problems()
    sys.stdout.write("".join(f"problem: {line}\n" for line in problems))
    from errklein.cli._check import check

    check(known, len(problems))


def print_config_template(_: argparse.Namespace) -> None:
    sys.stdout.write((files("errklein") / "compat" / "errbot_package" / "config-template.py").read_text("utf-8"))


def show_config(known: argparse.Namespace) -> int:
    """Print each setting that is set, or with --all each one, with its value and its source. The options are those of `errklein run`."""
    from errklein.config.review import shown_settings
    from errklein.service import errors_end_program, load_with_options

    with errors_end_program():
        config = load_with_options(known.config, known.network, known.data_dir, known.plugin_dir)
    options = {
        "BACKEND": ("--network", known.network and config.BACKEND),
        "BOT_DATA_DIR": ("--data-dir", known.data_dir and config.BOT_DATA_DIR),
        "WEB": ("--web", known.web),
        "STATUS": ("--status", known.status),
        "CONSOLE": ("--console", known.console),
    }
    lines = [*shown_settings(config, options, with_defaults=known.all)]
    lines = lines or ["# each setting has its default, which --all prints"]
    # Secrets are masked already, and references to them stay.
    return print_lines(lines, mask=str)


def work_on_data(known: argparse.Namespace) -> int:
    """Run a command for the stored data by the function of `_data` with its name, and return the exit status."""
    from errklein.cli import _data
    from errklein.plugins.packages import PackageDirectory
    from errklein.service import DataDirectory, errors_end_program, load_with_options

    with errors_end_program():
        config = load_with_options(known.config, data_dir=known.data_dir)
        directory = DataDirectory(Path(config.BOT_DATA_DIR))
        name = "_".join([*known.command.split("-"), *([known.what] if "what" in known else [])])
        if name == "storage_get":
            directory.check_readable(missing_ok=True)
        else:
            directory.check_user()
        # Stored values may be instances of classes that plugins' packages define.
        PackageDirectory(Path(config.BOT_DATA_DIR)).extend_path()
        status: int = getattr(_data, name)(config, known)
        if name in _data.CHANGES:
            _data.note(config, known)
        return status


def init(directory: Path) -> None:
    """Create a config.py and an example of a plugin with tests in the directory, and print how to use them. Raises
    SystemExit, and creates nothing, if one of the files exists."""
    write_new_files({directory / name: read_template(template) for name, template in _BEGINNING.items()})
    enter = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    sys.stdout.write(read_template("next.txt").format(directory=directory, enter=enter))


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int | None]] = {
    "init": lambda known: init(Path(known.directory)),
    "examples": lambda known: write_examples(Path(known.directory)),
    "new-plugin": _new_plugin,
    "errbot-command": lambda known: write_errbot_command(Path(known.directory)),
    "check": check,
    "config check": check,
    "config reload": _late("_control", "reload_config"),
    "config show": show_config,
    "config template": print_config_template,
    "nodes": _late("_control", "list_nodes"),
    "drain": _late("_control", "drain"),
    "healthcheck": _late("_control", "check_health"),
    "network": _check_or_list_networks,
    "console-link": _late("_control", "print_console_link"),
    "person": _late("_control", "forget_person"),
    "report": _late("_report", "report"),
    "sign": _late("_webhooks", "sign"),
    "storage move": _late("_moving", "move"),
    "webhook": _late("_webhooks", "work_on_webhooks"),
    "delivery": _late("_webhooks", "work_on_deliveries"),
    "why": _late("_webhooks", "explain"),
    "audit": _late("_webhooks", "audit"),
}
"""The function that runs each command, by its name, or by its name and action; `work_on_data` runs the others."""


def run(reactor: str | None, arguments: Sequence[str], pid_file: str | None = None) -> int:
    """Run the bot as `twistd -n errklein` does, or as a daemon with the pid file given. `reactor` is the short name of
    a Twisted reactor, or None for errklein's default, and the arguments are the options of `twistd errklein`."""
    from twisted.scripts import twistd

    mode = ["-n", "--pidfile="] if pid_file is None else [f"--pidfile={pid_file}"]
    sys.argv = ["twistd", *mode, *([f"--reactor={reactor}"] if reactor else []), "errklein", *arguments]
    twistd.run()
    return 0


def check_run_options(arguments: Sequence[str]) -> None:
    """Check the options of `errklein run`, which are those of `twistd errklein`, without twistd's messages. Raises
    SystemExit for an invalid option, with status 2, and after --help and --version."""
    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins
    from twisted.python.usage import UsageError

    [options] = [maker.options() for maker in getPlugins(IServiceMaker) if maker.tapname == "errklein"]
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(f"Usage: errklein run [--reactor=NAME] [options]\n{options.getUsage()}{RUN_EXAMPLES}")
        raise SystemExit(0)
    # twistd parses the options again, and selects the reactor then.
    options.postOptions = options.check
    try:
        options.parseOptions(list(arguments))
    except UsageError as error:
        known = [f"--{option.rstrip('=')}" for option in options.longOpt]
        sys.stderr.write(f"errklein run: {_readable(str(error), known)}\n")
        raise SystemExit(2) from None


def _readable(message: str, options: list[str]) -> str:
    if found := re.match("option ([^ ]+) not recognized", message):
        return unexpected(found[1], options, "errklein run --help")
    if found := re.fullmatch("option (.*) requires argument", message):
        return f"the value of {found[1]} is missing; 'errklein run --help' describes it"
    return f"{message}; 'errklein run --help' shows the options"


# New files, of which none is ever overwritten: `errklein init`, `new-plugin` and `examples`, and the command `errbot`.

_ERRBOT = """\
#!/bin/sh
# errbot's command line, run by errklein. Written by `errklein errbot-command`.
exec {python} -P -c 'import sys; from errklein.cli.errbot_options import main; sys.exit(main())' "$@"
"""


def write_errbot_command(directory: Path) -> None:
    """Write a command `errbot` that runs errklein, and print its path. Raises SystemExit with one line if one exists."""
    path = directory / "errbot"
    if not directory.is_dir():
        raise SystemExit(f"errklein: {directory} is not a directory; name one of PATH, such as /usr/local/bin")
    write_new_files({path: _ERRBOT.format(python=shlex.quote(sys.executable))})
    path.chmod(0o755)
    sys.stdout.write(f"{path} runs errklein with errbot's options\n")


def read_template(name: str) -> str:
    return (files("errklein.cli") / "templates" / name).read_text("utf-8")


def write_new_files(texts: Mapping[Path, str], *, keep_same: bool = False) -> list[Path]:
    """Create the files and their directories, and return their paths. Raises SystemExit with one line if a file exists, and
    creates none then, or if one can't be written. With `keep_same`, a file that exists with the same text is left."""
    new = []
    try:
        for path, text in texts.items():
            if not lexists(path):
                new.append(path)
            elif not keep_same or path.read_bytes() != text.encode():
                differs = " and differs" if keep_same else ""
                raise SystemExit(f"errklein: {path} exists already{differs}; no file was written")
        for path in new:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(texts[path].encode())
    except OSError as error:
        raise SystemExit(f"errklein: {error.filename} can't be written: {error.strerror}") from None
    return new


def write_examples(directory: Path) -> None:
    """Write the files for servers, proxies and monitoring to the directory, and print the paths of the new ones. Raises
    SystemExit with one line, and writes nothing, if a file exists with another content."""
    with as_file(files("errklein") / "examples") as source:
        found = [path for path in sorted(source.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
        texts = {directory / path.relative_to(source): path.read_text("utf-8") for path in found}
        new = write_new_files(texts, keep_same=True)
    sys.stdout.write("".join(f"{path}\n" for path in new) or f"{directory} has all examples already\n")


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]*")
_EXPECTED = "expected a letter, followed by letters, digits, spaces, '-' and '_'"


def plugin_files(name: str, description: str = "") -> tuple[str, dict[str, str]]:
    """Return the name of a new plugin's module, and the texts of its files by name: the .plug file, the module, the tests.
    Raises ValueError with one line for an invalid name or description."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"invalid name {name!r}: {_EXPECTED}")
    if not description.isprintable():
        raise ValueError(f"invalid description {description!r}: expected one line of printable text")
    words = [word for word in re.split("[ _-]+", name) if word]
    module, cls = "_".join(words).lower(), "".join(word[:1].upper() + word[1:] for word in words)
    # The name of the module is also that of its folder, and part of its command.
    module = f"{module}_plugin" if keyword.iskeyword(module) else module
    class_name = f"{cls}Plugin" if keyword.iskeyword(cls) or cls == "BotPlugin" else cls
    description = description or f"The plugin {name}."
    values = {"name": name, "module": module, "class_name": class_name, "description": description}
    # The modules have the description in a docstring.
    escaped = {**values, "description": description.replace("\\", "\\\\").replace('"', '\\"')}
    return module, {
        f"{module}.plug": Template(read_template("new_plugin.plug.txt")).substitute(values),
        f"{module}.py": Template(read_template("new_plugin.py.txt")).substitute(escaped),
        f"test_{module}.py": Template(read_template("test_new_plugin.py.txt")).substitute(escaped),
    }


def new_plugin_wizard(directory: str | Path | None = None, ask: Callable[[str], str] | None = None) -> None:
    """Ask for a name and a description, and write the plugin as `write_plugin` does, by default in the current directory.
    `ask` returns the reply to a question, as `input` does. Raises SystemExit with one line if the input ends."""
    ask = ask or input
    directory = Path(directory or ".")
    sys.stdout.write(f"Creates a plugin in {directory.absolute()}.\n")
    try:
        while not _NAME.fullmatch(name := ask("Name: ").strip()):
            sys.stdout.write(f"invalid name {name!r}: {_EXPECTED}\n")
        description = "".join(filter(str.isprintable, ask("Description, one line: "))).strip()
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("errklein: no plugin was created, since the input ended") from None
    write_plugin(directory, name, description)


def write_plugin(directory: Path, name: str, description: str = "") -> None:
    """Write the plugin into a folder of its own in the directory, and print how to run its tests. The folder has the
    name of the plugin's module; a directory of that name is used itself. Raises SystemExit with one line if the name or
    the description is invalid, if the folder has other plugins, or if a file exists or can't be written."""
    try:
        module, files = plugin_files(name, description)
    except ValueError as error:
        raise SystemExit(f"errklein: {error}") from None
    folder = directory if directory.resolve().name == module else directory / module
    if any(folder.glob("*/*.plug")):
        raise SystemExit(
            f"errklein: {folder} is a directory of plugins; append the name of the new one: errklein new-plugin {folder}/NAME"
        )
    texts = {folder / file: text for file, text in files.items()}
    write_new_files(texts)
    *_, tests = texts
    # trial takes an argument without a slash for the name of a module.
    command = shlex.join(["trial", str(tests) if "/" in str(tests) else f"./{tests}"])
    sys.stdout.write(
        "".join(f"{path}\n" for path in texts)
        + f"\nThe plugin has a command, !hello_{module}, and a webhook, /{module}.\n"
        f"The bot loads it if its folder is below BOT_EXTRA_PLUGIN_DIR. To run its tests:\n\n    {command}\n"
    )

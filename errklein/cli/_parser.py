"""The command line of `errklein` as an argparse parser, with the help of each command and errors of one line, and lines that commands print."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from errklein._version import __version__
from errklein.logs import escape
from errklein.text.masking import masker
from errklein.text.suggestions import did_you_mean
from errklein.webhooks.delivery_words import parse_ids


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line. The exit status is 2, as argparse's. Parsed arguments have the
    parser of the command as `parser`, which reports errors that are found later."""

    help_command = ""  # the command line that prints the help; by default the parser's, with --help
    options_elsewhere: Mapping[str, str] = {}  # options of other commands, with the commands

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {self._readable(message)}\n")

    def _readable(self, message: str) -> str:
        help_command = self.help_command or f"{self.prog} --help"
        if found := re.match(r"argument (COMMAND|ACTION): invalid choice: '(.*?)'", message):
            kind = found[1].lower()
            listed = self._expected() if kind == "action" else ""
            meant = did_you_mean(found[2], self._choices()) or f"{listed}."
            return f"unknown {kind} {found[2]!r}{meant} '{help_command}' lists the {kind}s."
        if found := re.match("unrecognized arguments: (.*)", message):
            options = [option for action in self._actions for option in action.option_strings]
            return unexpected(found[1].split(" ")[0], options, help_command, self.options_elsewhere)
        if found := re.match(r"the following arguments are required: (COMMAND|ACTION)$", message):
            kind = found[1].lower()
            hint = "'errklein init bot' creates a bot in the folder bot, and " if kind == "command" else ""
            return f"the {kind} is missing{self._expected() if kind == 'action' else ''}; {hint}'{help_command}' lists the {kind}s"
        if found := re.match("the following arguments are required: (.*)", message):
            usage = " ".join(self.format_usage().split()).removeprefix("usage: ")
            return f"the argument {found[1]} is missing; usage: {usage}"
        if found := re.match("argument ([^ ]+): expected one argument", message):
            option = max(found[1].split("/"), key=len)
            return f"the value of {option} is missing; '{help_command}' describes it"
        return f"{message}; '{help_command}' shows the arguments"

    def _expected(self) -> str:
        return f"; expected one of {', '.join(self._choices())}"

    def _choices(self) -> list[str]:
        return [name for action in self._actions if isinstance(action.choices, dict) for name in action.choices]


def unexpected(
    argument: str, options: Collection[str], help_command: str, elsewhere: Mapping[str, str] | None = None
) -> str:
    """Return the error about an unknown option, with a suggestion, or about an argument that isn't an option."""
    option = argument.partition("=")[0]
    if not option.startswith("-"):
        return f"unexpected argument {argument!r}; '{help_command}' shows the arguments"
    if elsewhere and option in elsewhere:
        return f"unknown option {option!r}; it is an option of '{elsewhere[option]}'"
    meant = did_you_mean(option, [known for known in options if known.startswith("--")]) if option[1:2] == "-" else ""
    return f"unknown option {option!r}{meant or '.'} '{help_command}' lists the options."


class _Section(NamedTuple):
    """A part of `templates/commands.txt`: a command, an action of one, or arguments that several share."""

    summary: str
    description: str
    arguments: Sequence[str]
    examples: str


def _sections() -> Iterator[tuple[str, _Section]]:
    text = (Path(__file__).parent / "templates" / "commands.txt").read_text("utf-8")
    for section in text.split("\n# ")[1:]:
        title, _, rest = section.rstrip().partition("\n")
        name, _, summary = title.partition(": ")
        rest, heading, examples = rest.partition("examples:\n")
        description, _, arguments = rest.partition("arguments:\n")
        yield name, _Section(summary, description, arguments.strip("\n").splitlines(), heading + examples)


_SECTIONS = dict(_sections())

RUN_EXAMPLES = f"\n{_SECTIONS['run'].examples}\n"
"""Printed after the options of `errklein run`, which are those of `twistd errklein`."""


def make_parser() -> Parser:
    raw, whole = argparse.RawDescriptionHelpFormatter, _SECTIONS["errklein"]
    parser = Parser("errklein", None, whole.summary, whole.examples, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"errklein {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    actions: dict[str, Any] = {}
    for name, (summary, description, _, examples) in _SECTIONS.items():
        command, _, action = name.partition(" ")
        if action:
            text = f"{summary[0].upper()}{summary[1:]}."
            made = actions[command].add_parser(action, help=summary, description=text)
        elif name == "errklein" or name.startswith("@"):
            continue
        else:
            texts: dict[str, Any] = {"help": summary, "description": description, "epilog": examples}
            if name == "run":
                # The options are those of twistd.
                texts |= {"add_help": False, "allow_abbrev": False}
            made = commands.add_parser(name, formatter_class=raw, **texts)
            if any(other.startswith(f"{name} ") for other in _SECTIONS):
                actions[name] = made.add_subparsers(dest="what", required=True, metavar="ACTION", title="actions")
        add_arguments(made, name)
    commands.choices["run"].add_argument("--reactor", help=argparse.SUPPRESS)
    # By default, the source decides.
    actions["webhook"].choices["new"].set_defaults(signed=None)
    return parser


def add_arguments(parser: argparse._ActionsContainer, section: str) -> None:
    """Add the arguments of a section of `templates/commands.txt`, which describes how they are written."""
    for line in _SECTIONS[section].arguments:
        written, _, text = line.strip().partition("  ")
        if written.startswith("@"):
            for name in written.split():
                add_arguments(parser, name)
            continue
        written, equals, default = written.partition(" =")
        settings: dict[str, Any] = {"help": text, **({"default": default.strip()} if equals else {})}
        is_option = written.startswith("-")
        names, _, shown = re.sub(", -", ",-", written).partition(" " if is_option else ":")
        count = shown[-1:] if shown[-1:] in ("?", "*", "+") else ""
        if shown:
            settings |= {"metavar": shown.removesuffix(count)} | ({"nargs": count} if count else {})
        else:
            settings["action"] = "store_true"
        if is_option and count == "*":
            settings |= {"action": "append", "default": [], "nargs": None}
        elif is_option and count == "?":
            settings |= {"const": default.strip(), "default": None}
        if (kind := _TYPES.get(names)) is not None:
            settings["type"] = kind
        parser.add_argument(*names.split(","), **settings)


def _delivery_id(text: str) -> int:
    ids = parse_ids([text])
    if ids is None:
        raise argparse.ArgumentTypeError(f"invalid id of a delivery: {text!r}; expected a number")
    return ids[0]


def _trusted_name(text: str) -> str:
    if "" in text.split(".") or "." not in text:
        raise argparse.ArgumentTypeError(f"invalid name: {text!r}; expected module.name, such as pytz._UTC")
    return text


_TYPES = {"--deliveries": _delivery_id, "ids": _delivery_id, "--trust": _trusted_name, "--wait": float}
"""Functions that read the values of arguments; others are texts."""


def print_lines(lines: Iterable[str], mask: Callable[[str], str] = masker) -> int:
    sys.stdout.write("".join(f"{escape(mask(line))}\n" for line in lines))
    return 0


def complain(lines: Iterable[str]) -> int:
    """Print the lines to standard error. Return the exit status: 1, or 0 if there are none."""
    text = "".join(f"errklein: {escape(masker(line))}\n" for line in lines)
    sys.stderr.write(text)
    return 1 if text else 0

"""The command line of `errklein` as an argparse parser, with the help of each command and errors of one line, and lines that commands print."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

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


_COMMANDS = (Path(__file__).parent / "templates" / "commands.txt").read_text("utf-8")
"""The summary, the description and the examples of each command."""


def _texts(name: str) -> dict[str, Any]:
    summary, _, details = _COMMANDS.partition(f"\n# {name}: ")[2].partition("\n\n#")[0].partition("\n")
    description, heading, examples = details.partition("examples:\n")
    texts = {"help": summary, "description": description, "epilog": heading + examples}
    return {**texts, "formatter_class": argparse.RawDescriptionHelpFormatter}


RUN_EXAMPLES = f"\n{_texts('run')['epilog']}\n"
"""Printed after the options of `errklein run`, which are those of `twistd errklein`."""


def make_parser() -> Parser:
    texts = _texts("errklein")
    texts["description"] = texts.pop("help")
    parser = Parser(prog="errklein", allow_abbrev=False, **texts)
    parser.add_argument("--version", action="version", version=f"errklein {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def add(name: str, *parents: Any, **settings: Any) -> Parser:
        return commands.add_parser(name, parents=parents, **_texts(name), **settings)

    for add_commands in (_add_new_files, _add_running, _add_webhooks, _add_deliveries, _add_questions, _add_data):
        add_commands(add)
    return parser


def _add_actions(command: Parser, *common: Any) -> Callable[..., Parser]:
    """Return a function that adds an action of the command: its name, the summary, and parents with options."""
    actions = command.add_subparsers(dest="what", required=True, metavar="ACTION", title="actions")

    def add(name: str, text: str, *parents: Any) -> Parser:
        description, parents = f"{text[0].upper()}{text[1:]}.", (*parents, *common)
        return actions.add_parser(name, help=text, description=description, parents=parents)

    return add


def _flag(parser: argparse.ArgumentParser, *names: str, text: str, **settings: Any) -> None:
    parser.add_argument(*names, action="store_true", help=text, **settings)


def _add_new_files(add: Callable[..., Parser]) -> None:
    for name in ("init", "examples"):
        add(name).add_argument("directory", metavar="DIR", help="the directory; created if it is missing")
    plugin = add("new-plugin")
    characters = "letters, digits, spaces, '-' and '_'"
    plugin_help = (
        f"the name of the plugin, from {characters}, after the directory of your plugins: watch, plugins/watch"
    )
    plugin.add_argument("plugin", metavar="NAME", nargs="?", help=plugin_help)
    plugin.add_argument("--description", default="", metavar="TEXT", help="the purpose of the plugin, in one line")


def _add_running(add: Callable[..., Parser]) -> None:
    add("check", _CONFIG, _DATA, _PLUGINS, _CHECK)
    add("report", _CONFIG, _DATA)
    add("run", add_help=False, allow_abbrev=False).add_argument("--reactor", help=argparse.SUPPRESS)
    status_help = "the endpoint, instead of STATUS in the configuration"
    add("healthcheck", _CONFIG).add_argument("--status", metavar="ENDPOINT", help=status_help)
    add_action = _add_actions(add("network"), _CONFIG)
    add_action("list", "print the networks that are configured, available, or can be installed")
    checking = add_action("check", "connect to networks, print what is missing or wrong, and disconnect", _DATA)
    name_help = "the network's name in NETWORKS, or BACKEND (default: all)"
    checking.add_argument("name", metavar="NAME", nargs="?", help=name_help)
    pushing = add_action("push-commands", "make the bot's commands known to a network that lists them", _DATA, _PLUGINS)
    pushing.add_argument("name", metavar="NAME", help="the network's name in NETWORKS, or BACKEND")
    _flag(pushing, "--dry-run", text="print what would change, and change nothing")
    add_action = _add_actions(add("config"))
    show_text = "print each setting that is set, with its value and its source"
    showing = add_action("show", show_text, _CONFIG, _DATA, _PLUGINS)
    _flag(showing, "--all", "-a", text="print the settings with their default, too")
    showing.add_argument("--network", "-n", metavar="NAME", help="as of `errklein run`")
    showing.add_argument("--web", "-w", metavar="ENDPOINT", action="append", default=[], help="as of `errklein run`")
    showing.add_argument("--status", metavar="ENDPOINT", help="as of `errklein run`")
    showing.add_argument("--console", metavar="ENDPOINT", help="as of `errklein run`")
    add_action("check", "check the configuration and the plugins", _CONFIG, _DATA, _PLUGINS, _CHECK)
    reload_text = "let the running bot read its configuration again, and print what has changed"
    forced = "also remove the last administrator of a network, or the verification of a webhook"
    _flag(add_action("reload", reload_text, _CONFIG, _DATA), "--force", text=forced)
    add_action("template", "print a config.py with all settings, their defaults and their meaning")


def _add_webhooks(add: Callable[..., Parser]) -> None:
    sign = add("sign", _SIGNED)
    sign.add_argument("scheme", metavar="SCHEME", help="the name of the scheme, such as github or standard_webhooks")
    sign.add_argument("file", metavar="FILE", help="the file with the body")
    url_help = "the URL of the webhook, which Twilio signs (default: %(default)s)"
    sign.add_argument("--url", default="http://127.0.0.1:3141/", help=url_help)
    option_help = "an option of the scheme; may be given several times"
    sign.add_argument("--option", metavar="NAME=VALUE", help=option_help, **_SEVERAL)
    _flag(sign, "--json", text="print the headers as JSON instead of a command")
    name_help = "the webhook as Plugin:method, Plugin for all of a plugin, or the name of a webhook of a room"
    name = _parent("name", metavar="WEBHOOK", help=name_help)
    of_room = _parent("name", metavar="NAME", help="the name of a webhook of a room")
    room = _parent("room", metavar="ROOM", help="the room, in quotes; of one of several networks as 'libera:#ops'")
    add = _add_actions(add("webhook"), _CONFIG, _DATA)
    add("list", "print the webhooks, each in one line")
    only_url = "print only the URL of a webhook of a room, with its token if that is in the configuration"
    _flag(add("show", "print a webhook, its last request, and what has become of it", name), "--url", text=only_url)
    source = _parent("source", metavar="SOURCE", help="the service; !webhook new lists them")
    new = add("new", "make a webhook that shows in a room what a service sends, and print its address", source, room)
    new.add_argument("name", metavar="NAME", nargs="?", default="", help="its name (default: that of the source)")
    _flag(new, "--signed", text="let the source sign its requests, instead of a token in the address", default=None)
    new.add_argument("--expires", metavar="TIME", default="", help="when it expires, such as 90d or 2027-01-31")
    setting = add("set", "change an option of a webhook of a room, or read its secret from standard input", of_room)
    setting.add_argument("option", metavar="OPTION", help="events, expires, messages, rate, secret or text")
    setting.add_argument("value", metavar="VALUE", nargs="?", help="the value; none for a secret")
    add("rotate", "make a new address or secret, and print it; the one before stays valid for a day", of_room)
    add("move", "send the messages of a webhook to another room from now on", of_room, room)
    add("remove", "remove a webhook of a room", of_room)
    test = add("test", "send a POST request to a running bot, and print the response", _SIGNED)
    test.add_argument("target", metavar="URL|WEBHOOK", help="the URL of the webhook, or its name as Plugin:method")
    body_help = "the file with the body (default: the example of its source, or {})"
    test.add_argument("file", metavar="FILE", nargs="?", help=body_help)
    address_help = "the address of the bot, for a webhook that is named (default: %(default)s)"
    test.add_argument("--address", metavar="URL", default="http://127.0.0.1:3141", help=address_help)
    source_help = "sign as this source does; a webhook that is named has its own verification"
    test.add_argument("--source", metavar="SCHEME", help=source_help)
    test.add_argument("--event", metavar="NAME", help="the name of the event, if the source sends it in a header")
    add("pause", "let the deliveries of a webhook wait", name)
    add("resume", "run the deliveries of a paused webhook", name)


def _add_deliveries(add: Callable[..., Parser]) -> None:
    as_json = _parent("--json", action="store_true", help="print each delivery as a line of JSON")
    ids = _parent("ids", metavar="ID", nargs="+", type=_delivery_id, help="the id of a delivery")
    add = _add_actions(add("delivery"), _CONFIG, _DATA)
    words = (
        "Plugin:method or Plugin; states; since TIME, until TIME, status STATUS, reason TEXT, source-id ID, before ID, "
        "limit COUNT"
    )
    listing = add("list", "print the latest deliveries, each in one line", as_json)
    listing.add_argument("words", metavar="WORD", nargs="*", help=words)
    _flag(listing, "--grouped", text="print the deliveries with the same reason together, with what to do about them")
    add("show", "print deliveries with their attempts, headers and bodies", ids, as_json)
    replay = add("replay", "run deliveries once more, and wait for their outcome")
    replay.add_argument("words", metavar="ID|WORD", nargs="+", help=f"ids of deliveries, or {words}")
    _flag(replay, "--force", text="replay also those that the source has repeated meanwhile")
    wait_help = "the time to wait for the outcome (default: 10)"
    replay.add_argument("--wait", metavar="SECONDS", type=float, default=10.0, help=wait_help)
    export = add("export", "write deliveries to files delivery-ID.json, which tests can replay", ids)
    export.add_argument("--directory", metavar="DIR", default=".", help="the directory (default: the current one)")


def _add_questions(add: Callable[..., Parser]) -> None:
    subjects = (
        "the id of a delivery, a room, a webhook as Plugin:method or Plugin, or refused for the last refused request"
    )
    add("why", _CONFIG, _DATA).add_argument("subject", metavar="ID|ROOM|WEBHOOK|refused", help=subjects)
    times = "since TIME, until TIME; by default, all that is kept"
    add("audit", _CONFIG, _DATA).add_argument("words", metavar="WORD", nargs="*", help=times)
    forget = _add_actions(add("person"), _CONFIG, _DATA)("forget", "remove what is stored of a person")
    forget.add_argument("person", metavar="PERSON", help="the person, on one of several networks as NETWORK:PERSON")
    removed = "remove the headers and bodies of these deliveries instead"
    forget.add_argument("--deliveries", metavar="ID", nargs="+", type=_delivery_id, help=removed)
    add("console-link", _CONFIG, _DATA)


def _add_data(add: Callable[..., Parser]) -> None:
    _flag(add("import-errbot", _CONFIG, _DATA, _TRUST), "--force", text="replace values that are stored already")
    add("errbot-command").add_argument("directory", metavar="DIR", help="a directory of PATH, such as /usr/local/bin")
    exporting = add("export-errbot", _CONFIG, _DATA)
    shelves_help = "the directory of the shelves (default: the data directory)"
    exporting.add_argument("--directory", metavar="DIR", type=Path, help=shelves_help)
    _flag(exporting, "--force", text="move existing shelves to the directory before-export-1 first")
    with_secrets = "also write the secrets of webhooks, to backup.secrets.json"
    _flag(add("backup", _CONFIG, _DATA), "--with-secrets", text=with_secrets)
    restoring = add("restore", _CONFIG, _DATA, _TRUST)
    file_help = "the backup (default: backup.jsonl, or backup.py, in the data directory)"
    restoring.add_argument("file", metavar="FILE", nargs="?", type=Path, help=file_help)
    _flag(restoring, "--force", text="replace values of the same name; a backup of them is written first")
    _flag(restoring, "--with-deliveries", text="also restore deliveries and messages, paused")
    add("release-messages", _CONFIG, _DATA)
    add = _add_actions(add("storage"), _CONFIG, _DATA)
    namespace = _parent("namespace", metavar="NAMESPACE", help="the name of the plugin; core for the bot's own values")
    getting = add("get", "print the values as a Python dict", namespace)
    _flag(getting, "--missing-ok", text="print {} for an unknown namespace")
    add("set", "replace all values by those of the Python dict on standard input", namespace)
    add("merge", "add the values of the Python dict on standard input, and merge dicts with stored dicts", namespace)


def _parent(*names: str, **settings: Any) -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(*names, **settings)
    return parent


def _delivery_id(text: str) -> int:
    ids = parse_ids([text])
    if ids is None:
        raise argparse.ArgumentTypeError(f"invalid id of a delivery: {text!r}; expected a number")
    return ids[0]


def _trusted_name(text: str) -> str:
    if "" in text.split(".") or "." not in text:
        raise argparse.ArgumentTypeError(f"invalid name: {text!r}; expected module.name, such as pytz._UTC")
    return text


_CONFIGURED = "the configuration (default: ./config.py, or the built-in defaults)"
_CONFIG = _parent("--config", "-c", metavar="FILE", help=_CONFIGURED)
_DATA = _parent("--data-dir", "-d", metavar="DIR", help="the data directory (default: BOT_DATA_DIR)")
_SEVERAL: Any = {"action": "append", "default": []}
_MORE = "a directory with more plugins; may be given several times"
_PLUGINS = _parent("--plugin-dir", "-p", metavar="DIR", help=_MORE, **_SEVERAL)
_CHECK = _parent("--strict", action="store_true", help="exit with status 1 if there is a warning, too")
_flag(_CHECK, "--verbose", "-v", text="print core plugins, too")
_SIGNED = _parent("--secret", metavar="REF", help="the secret: env:NAME, file:/path or credential:NAME")
_SENT = "a header of the request; may be given several times"
_SIGNED.add_argument("--header", metavar="'NAME: VALUE'", help=_SENT, **_SEVERAL)
_TRUSTED = "allow values to use this class or function, as module.name; may be given several times"
_TRUST = _parent("--trust", metavar="NAME", type=_trusted_name, help=_TRUSTED, **_SEVERAL)


def print_lines(lines: Iterable[str], mask: Callable[[str], str] = masker) -> int:
    sys.stdout.write("".join(f"{escape(mask(line))}\n" for line in lines))
    return 0


def complain(lines: Iterable[str]) -> int:
    """Print the lines to standard error. Return the exit status: 1, or 0 if there are none."""
    text = "".join(f"errklein: {escape(masker(line))}\n" for line in lines)
    sys.stderr.write(text)
    return 1 if text else 0

"""Declarations of commands, the decorators that store them in the attributes of a plugin's methods, and parsers of arguments."""

from __future__ import annotations

import argparse
import inspect
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial, wraps
from typing import Any, NoReturn, TypedDict, TypeVar, Unpack, overload

ARG_BOTCMD_CHARACTER_REPLACEMENTS = {"—": "--", "“": '"', "”": '"', "‘": "'", "’": "'"}
"""Typographic characters that telephones insert, with the plain characters that replace them."""


class ArgParserBase(ABC):
    """Base class of parsers for the option `split_args_with` of `botcmd`.

    For example, this command handles `!set colour=red`::

        class Pair(ArgParserBase):
            def parse_args(self, args):
                key, equals, value = args.partition("=")
                if not equals:
                    raise ValueError("expected KEY=VALUE")
                return key, value


        class Settings(BotPlugin):
            @botcmd(split_args_with=Pair())
            def set(self, msg, args):
                key, value = args
                return f"{key} is {value}."
    """

    @abstractmethod
    def parse_args(self, args: str) -> Any:
        """Return the arguments that the command's method gets, given the text after the command. Any exception stops the
        command; the reply contains its text."""


class SeparatorArgParser(ArgParserBase):
    """A parser that splits arguments at a separator, with the parameters of `str.split`."""

    def __init__(self, separator: str | None = None, maxsplit: int = -1) -> None:
        self.separator, self.maxsplit = separator, maxsplit

    def parse_args(self, args: str) -> list[str]:
        return args.split(self.separator, self.maxsplit)


class ShlexArgParser(ArgParserBase):
    """A parser that splits arguments into words as a shell does: quotes keep words together."""

    def parse_args(self, args: str) -> list[str]:
        """Return the words. Raises ValueError if a quote isn't closed."""
        return shlex.split(args)


class ArgumentParseError(Exception):
    """The arguments are invalid; the text is argparse's message."""


class HelpRequested(Exception):
    """The arguments request the help, which is the text."""


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that raises exceptions in place of printing to the terminal and exiting."""

    # Python 3.14 colours the help by default.
    color = False

    def error(self, message: str) -> NoReturn:
        raise ArgumentParseError(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise ArgumentParseError(message or "")

    def print_help(self, file: Any = None) -> NoReturn:
        raise HelpRequested(self.format_help())

    def _print_message(self, message: str, file: Any = None) -> NoReturn:
        # Only actions print otherwise, such as action="version".
        raise HelpRequested(message)


def words_of(text: str) -> Sequence[str]:
    for character, plain in ARG_BOTCMD_CHARACTER_REPLACEMENTS.items():
        text = text.replace(character, plain)
    return shlex.split(text)


F = TypeVar("F", bound=Callable[..., Any])

_COMMAND = re.compile(r"(?<![^\s(\"'`*_])!(?=\w)")


class CommandError(Exception):
    """An exception whose text is the reply to a command. It isn't logged as an error.

    Raise it for invalid arguments and other mistakes of the sender::

        class Tickets(BotPlugin):
            @botcmd
            def close(self, msg, args):
                "Close a ticket: !close NUMBER"
                if not args.isdecimal():
                    raise CommandError("Usage: !close NUMBER")
                return f"Ticket {args} closed."

    Everyone in the room can read the text, so it should contain no internals. The text of any other exception is sent to
    administrators in private only; everyone else gets an error id, under which the exception is logged.

    :param reason: the text of the reply, in Markdown; with `template`, a dict with the template's values.
    :param template: the name of a file in the plugin's directory `templates`, without `.md`, which is rendered with
        `reason`.
    """

    def __init__(self, reason: Any, template: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.template = reason, template

    def __str__(self) -> str:
        return str(self.reason)


@dataclass(frozen=True)
class CommandDeclaration:
    """The options of a command, as its decorator declared them.

    `name` and `aliases` contain underscores in place of spaces. `split_args_with` is "" for arguments as one string,
    else a separator, None for whitespace, a callable, or an object with `parse_args`. A command with a `pattern` runs
    for messages in which the pattern is found: after a prefix if `prefixed`, else in any message. With `matchall` its
    handler gets all matches. `re_cmd_name_help` replaces the pattern in help. See `botcmd` for the other options.
    """

    name: str
    split_args_with: Any = ""
    admin_only: bool = False
    historize: bool = True
    template: str | None = None
    syntax: str | None = None
    hidden: bool = False
    flow_only: bool = False
    aliases: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    matchall: bool = False
    prefixed: bool = True
    re_cmd_name_help: str | None = None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CommandDeclaration | None:
        """Return the declaration in the function's attributes, which are those of errbot's decorators, which plugins and tests
        read and write. None if it isn't a command."""
        if not getattr(function, "_err_command", False):
            return None
        values = {name: getattr(function, attribute) for name, attribute in _DECLARED if hasattr(function, attribute)}
        if not getattr(function, "_err_re_command", False):
            values["pattern"] = None
        name = joined(values.pop("name", None) or function.__name__)
        return cls(name, aliases=tuple(map(joined, values.pop("aliases", ()))), **values)

    @property
    def splits_synchronously(self) -> bool:
        """True if `split` never blocks; a plugin's own splitter may block."""
        splitter = self.split_args_with
        known = (str, type(None), SeparatorArgParser, ShlexArgParser)
        return splitter is shlex.split or type(splitter) in known

    def split(self, args: str) -> Any:
        """Return the arguments as the handler expects them. An exception of the splitter is raised as it is."""
        splitter = self.split_args_with
        if splitter == "":
            return args
        if splitter is None or isinstance(splitter, str):
            return args.split(splitter)
        if hasattr(splitter, "parse_args"):
            return splitter.parse_args(args)
        return splitter(args)

    def match(self, text: str) -> Any:
        """Return the match, or with `matchall` the list of matches, of the pattern in the text; None without a match."""
        if self.pattern is None:
            return None
        return (list(self.pattern.finditer(text)) or None) if self.matchall else self.pattern.search(text)


def _marker(attribute: str) -> Callable[[F], F]:
    def mark(function: F) -> F:
        setattr(function, attribute, True)
        return function

    return mark


concurrent = _marker("_errklein_concurrent")
"""Marks an admin-only command that doesn't wait for others, as one that stops the bot must not wait for one that hangs."""

admin_by_default = _marker("_errklein_admin_by_default")
"""Marks a command as one for administrators, unless `allowusers` in a rule of ACCESS_CONTROLS allows it to others."""

also_in_rooms = _marker("_errklein_also_in_rooms")
"""Marks a command whose replies are for all: administrators may use it in rooms, too, unless ACCESS_CONTROLS forbids it."""


def is_admin_by_default(handler: Callable[..., Any]) -> bool:
    return bool(getattr(handler, "_errklein_admin_by_default", False))


def joined(name: str) -> str:
    return "_".join(name.split())


_ATTRIBUTES = {
    "name": "_err_command_name",
    "split_args_with": "_err_command_split_args_with",
    "admin_only": "_err_command_admin_only",
    "historize": "_err_command_historize",
    "template": "_err_command_template",
    "syntax": "_err_command_syntax",
    "hidden": "_err_command_hidden",
    "flow_only": "_err_command_flow_only",
    "aliases": "_errklein_aliases",
    "threaded": "_errklein_threaded",
    "pattern": "_err_command_re_pattern",
    "matchall": "_err_command_matchall",
    "prefixed": "_err_command_prefix_required",
    "re_cmd_name_help": "_err_command_re_name_help",
    "unpack_args": "_errklein_unpack_args",
}
"""The attributes of a function that contain the options of its decorator."""

# The options that a declaration has, with the attributes of the function that contain them.
_DECLARED = [(field.name, _ATTRIBUTES[field.name]) for field in fields(CommandDeclaration)]

_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("name", "template", "syntax", "hidden", "threaded")),
    "split_args_with": "",
    "admin_only": False,
    "historize": True,
    "flow_only": False,
    "aliases": (),
}
"""The options that all decorators of commands have."""


def mark(function: F, kind: str = "", **options: Any) -> F:
    """Store a declaration in the function's attributes, and return the function. `kind` is "re" for a command with a pattern,
    "arg" for one with argparse's arguments."""
    given = {**_DEFAULTS, **options}
    given["name"] = given["name"] or function.__name__
    if isinstance(given["aliases"], str):
        aliases = f"aliases=({given['aliases']!r},)"
        raise TypeError(f"{function.__qualname__}: aliases must be several, not a text; write {aliases}")
    if given["hidden"] is None:
        given["hidden"] = given["flow_only"]
    if given["threaded"] is None:
        del given["threaded"]
    attributes = {"_err_command": True, "_err_re_command": kind == "re", "_err_arg_command": kind == "arg"}
    attributes.update({_ATTRIBUTES[name]: value for name, value in given.items()})
    for attribute, value in attributes.items():
        setattr(function, attribute, value)
    return function


def check_options(decorator: str, options: Iterable[str], *, other_than: Collection[str] = ()) -> None:
    for option in options:
        if option not in _DEFAULTS or option in other_than:
            raise TypeError(f"{decorator}() got an unexpected keyword argument {option!r}")


def documentation(handler: Callable[..., Any]) -> str:
    return inspect.getdoc(handler) or ""


def with_prefix(text: str, prefix: str) -> str:
    """Return a docstring in which the "!" before commands is replaced by the bot's prefix."""
    return _COMMAND.sub(lambda _: prefix, text)


def applied(decorator: str, given: Sequence[Any], declare: Callable[[Any], Any], example: str = "") -> Any:
    """Return the decorated function, or without one the decorator. Raises TypeError for other positional arguments; `example`
    has options of a valid call, for the error."""
    if not given:
        return declare
    if len(given) == 1 and (callable(given[0]) or isinstance(given[0], classmethod)):
        return declare(given[0])
    others = ", ".join(repr(one) for one in given if not callable(one))
    call = f"@{decorator}{example and f'({example})'}"
    raise TypeError(f"@{decorator}: unexpected argument {others}; options have names; write {call}")


class CommandOptions(TypedDict, total=False):
    """The options that `botcmd`, `arg_botcmd`, `re_botcmd` and `botmatch` have in common."""

    hidden: bool | None
    name: str | None
    admin_only: bool
    historize: bool
    template: str | None
    flow_only: bool
    threaded: bool | None


class BotcmdOptions(CommandOptions, total=False):
    """The options of `botcmd`."""

    split_args_with: Any
    syntax: str | None
    aliases: Iterable[str]


_PATTERN_OPTIONS = frozenset(("flags", "matchall", "re_cmd_name_help"))  # of `botmatch`, and not of `botcmd`


@overload
def botcmd(function: F, /) -> F: ...


@overload
def botcmd(**options: Unpack[BotcmdOptions]) -> Callable[[F], F]: ...


def botcmd(*functions: Any, **options: Any) -> Any:
    """Turn a method of a plugin into a chat command.

    Use the decorator bare or with options::

        class Greeter(BotPlugin):
            @botcmd
            def hello(self, msg, args):
                "Greet a person."
                return f"Hello, {msg.frm.person}!"

            @botcmd(split_args_with=None, aliases=("plus",))
            def add_up(self, msg, args):
                "Add up numbers: !add up 1 2 3"
                return sum(int(number) for number in args)

    `!hello` replies "Hello, alice!", and `!add up 1 2 3` or `!plus 1 2 3` replies "6".

    The method is called with the message, a `Message`, and the arguments. The arguments are the text after the command,
    as one string unless `split_args_with` is given. The first paragraph of the docstring describes the command in `!help`.

    The method returns the reply, or yields several if it is a generator. It may be `async`. Replies are Markdown. An
    empty value, such as `None` or `""`, sends nothing. To reply with an error, raise `CommandError`. Any other exception
    is logged, and its text is sent to administrators in private only.

    :param name: the name of the command; by default that of the method. Underscores match spaces: `add_up` handles
        `!add up` and `!add_up`.
    :param aliases: a tuple of other names of the command.
    :param split_args_with: a separator, `None` for whitespace, a callable, or an object with a `parse_args` method. The
        method gets what it returns. If it raises an exception, that is the reply and the method isn't called.
    :param admin_only: whether only administrators (`BOT_ADMINS`) may use the command.
    :param hidden: whether lists in `!help` and `!apropos` omit the command; by default the value of `flow_only`.
    :param historize: whether the history contains the command. Use False if its arguments are secret.
    :param template: the name of a file in the plugin's directory `templates`, without `.md`. If the method returns a
        dict, the reply is that template rendered with it.
    :param flow_only: whether the command is ignored outside of flows.
    :param syntax: the arguments as flows show them, such as `"[NAME]"`.
    :param threaded: True runs the method in a thread, False on the reactor. By default its code decides; `errklein
        check` prints where each command runs.
    :raises TypeError: if an option is unknown.
    """
    check_options("botcmd", options)
    return applied("botcmd", functions, partial(mark, **options), "name='add up'")


def re_botcmd(
    *functions: Any,
    pattern: str | re.Pattern[str] | None = None,
    flags: int = 0,
    matchall: bool = False,
    prefixed: bool = True,
    re_cmd_name_help: str | None = None,
    **options: Unpack[CommandOptions],
) -> Any:
    r"""Turn a method of a plugin into a command that a regular expression finds.

    For example, this command handles `!close #12` and `!reopen #12`::

        class Tickets(BotPlugin):
            @re_botcmd(pattern=r"^(close|reopen) #(\d+)$", re_cmd_name_help="close|reopen #NUMBER")
            def change(self, msg, match):
                "Close or reopen a ticket."
                verb, number = match.groups()
                return f"Ticket {number}: {verb}"

    The method is called with the message, a `Message`, and the `re.Match`. The pattern is searched anywhere in the text
    after the prefix; use `^` and `$` to anchor it. Messages that are a command with a name aren't searched. If several
    patterns are found, each of their commands runs.

    Other options are those of `botcmd`: `name`, `admin_only`, `hidden`, `historize`, `template`, `flow_only` and
    `threaded`.

    :param pattern: a regular expression, as a string or compiled. It is required.
    :param flags: flags for `re.compile`, such as `re.IGNORECASE`.
    :param matchall: whether the method gets a list of all matches in place of the first one.
    :param prefixed: whether the message must begin with a prefix. False also finds the pattern in ordinary messages.
    :param re_cmd_name_help: the text that `!help` shows in place of the pattern.
    :raises ValueError: if `pattern` is missing.
    :raises re.error: if `pattern` isn't a valid regular expression.
    :raises TypeError: if an option is unknown.
    """
    check_options("re_botcmd", options, other_than=("syntax",))
    own = {"matchall": matchall, "prefixed": prefixed, "re_cmd_name_help": re_cmd_name_help}
    declare = partial(_declare_pattern, "re_botcmd", pattern, flags, {**own, **options})
    return applied("re_botcmd", functions, declare, "pattern=r'…'")


def _declare_pattern(decorator: str, pattern: Any, flags: int, options: Mapping[str, Any], function: Any) -> Any:
    if pattern is None:
        raise ValueError(
            f"@{decorator} on {function.__qualname__}: the pattern is missing; write @{decorator}(pattern=r'…')"
        )
    compiled = re.compile(pattern, flags)
    return mark(function, "re", pattern=compiled, syntax=compiled.pattern, **options)


def botmatch(*args: Any, **options: Any) -> Any:
    r"""Turn a method of a plugin into a command for any message in which a regular expression is found.

    For example, this command replies to "See ticket 7, please."::

        class Links(BotPlugin):
            @botmatch(r"\bticket (\d+)\b")
            def link(self, msg, match):
                "Link the ticket that a message mentions."
                return f"https://tickets.example/{match[1]}"

    The message needs no prefix. Otherwise this decorator is `re_botcmd` with `prefixed=False`, and takes its options.
    `botmatch(function, pattern)` decorates the function directly.

    :param args: the pattern, a string or a compiled regular expression; before it the function, if it is decorated
        directly.
    :param options: options of `re_botcmd`; `pattern=` may also be given here.
    :raises ValueError: if there isn't exactly one pattern.
    :raises re.error: if the pattern isn't a valid regular expression.
    :raises TypeError: if an option is unknown.
    """
    functions = [given for given in args[:1] if callable(given)]
    patterns = [*args[len(functions) :], *([options.pop("pattern")] if "pattern" in options else [])]
    if len(patterns) != 1:
        raise ValueError("botmatch requires exactly one pattern: @botmatch(r'…')")
    check_options("botmatch", options.keys() - _PATTERN_OPTIONS, other_than=("syntax",))
    flags = options.pop("flags", 0)
    options = {"matchall": False, "re_cmd_name_help": None, **options, "prefixed": False}
    return applied("botmatch", functions, partial(_declare_pattern, "botmatch", patterns[0], flags, options))


def cmdfilter(*functions: Any, catch_unprocessed: bool = False, threaded: bool | None = None) -> Any:
    """Turn a method of a plugin into a filter, which sees every command before it runs.

    For example, this filter blocks `!deploy`::

        class Freeze(BotPlugin):
            frozen = True

            @cmdfilter
            def no_deploys(self, msg, cmd, args, dry_run):
                if cmd == "deploy" and self.frozen:
                    if not dry_run:
                        self.send(msg.frm, "Deployments are frozen.")
                    return None, None, None
                return msg, cmd, args

            @botcmd
            def deploy(self, msg, args):
                return "Deploying."

    The filter is called with the message, the command's name, its arguments as one unsplit string, and `dry_run`. It
    returns `(msg, cmd, args)`, changed or not. A message of `None` blocks the command; an exception does, too, and is
    logged. The sender gets no reply then, except one that the filter sends.

    Filters run in the order in which their plugins were activated, after the access rules. Access rules are checked
    again for what a filter has changed. With HIDE_RESTRICTED_COMMANDS, `!help` calls filters with `dry_run=True` and
    `args=None` to find out which commands to show; a filter must send nothing then.

    :param catch_unprocessed: whether the filter is also called for messages that begin with a prefix and match no
        command. The method must accept `emptycmd`, which is True then; `cmd` is `None`, and `args` is the text. A
        truthy return value is the reply.
    :param threaded: True runs the method in a thread, False on the reactor. By default its code decides.
    """

    def declare(function: Any) -> Any:
        function._err_command_filter = True
        function.catch_unprocessed = catch_unprocessed
        if threaded is not None:
            function._errklein_threaded = threaded
        return function

    return applied("cmdfilter", functions, declare, "catch_unprocessed=True")


_ARGPARSE_OPTIONS = {*CommandOptions.__annotations__, "aliases"}


def arg_botcmd(*args: Any, unpack_args: bool = True, **kwargs: Any) -> Any:
    """Turn a method of a plugin into a command, and declare one of its arguments as argparse does.

    Stack one decorator per argument. The lowest one declares the first positional argument::

        class Deployer(BotPlugin):
            @arg_botcmd("--dry-run", action="store_true", help="only show what would happen")
            @arg_botcmd("servers", type=int, help="number of servers")
            @arg_botcmd("branch", help="branch to deploy")
            def deploy(self, msg, branch, servers, dry_run):
                "Deploy a branch."
                return f"{branch} on {servers} servers" + (" (dry run)" if dry_run else "")

    `!deploy main 3 --dry-run` calls `deploy(msg, branch="main", servers=3, dry_run=True)`. Arguments are split as in a
    shell: quotes keep words together. Curly quotes and long dashes, which telephones insert, count as plain ones. If the
    arguments are invalid, the reply is the error and the usage, and the method isn't called. `--help` replies with the
    help of all arguments.

    :param args: the name of a positional argument, or flags such as `"-n", "--dry-run"`; see
        `argparse.ArgumentParser.add_argument`.
    :param unpack_args: whether the method gets each argument by name. With False it gets one `argparse.Namespace`.
    :param kwargs: keyword arguments of `add_argument`. The lowest decorator also takes these options of `botcmd`: `name`,
        `aliases`, `admin_only`, `hidden`, `historize`, `template`, `flow_only` and `threaded`. Those of other decorators are
        ignored, and so is their `unpack_args`.
    :returns: a generator function that parses the arguments and calls the method.
    :raises TypeError: if a keyword argument is unknown.
    :raises ValueError: if argparse rejects the argument's declaration.
    """
    functions = [given for given in args[:1] if callable(given)]
    names = args[len(functions) :]
    options = {option: kwargs.pop(option) for option in _ARGPARSE_OPTIONS if option in kwargs}

    def declare(function: Any) -> Any:
        if not hasattr(function, "_err_command_parser"):
            parser = ArgumentParser(prog=options.get("name") or function.__name__, description=function.__doc__)
            function = mark(_parsing(function, parser, unpack_args), "arg", unpack_args=unpack_args, **options)
            function._err_command_parser = parser
        append_argument(function, names, kwargs)
        return function

    return declare(functions[0]) if functions else declare


def append_argument(function: Any, args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    """Add an argument to a command that `arg_botcmd` created. Raises ValueError for any other command."""
    parser = getattr(function, "_err_command_parser", None)
    if parser is None:
        raise ValueError(f"{function.__name__} has no argument parser; arguments can only be added to an arg_botcmd")
    args = tuple(args)
    if args or kwargs:
        try:
            if not all(isinstance(name, str) for name in args):
                raise TypeError("the name of an argument must be a text, such as 'servers' or '--dry-run'")
            parser.add_argument(*args, **kwargs)
        except (TypeError, ValueError) as error:
            shown = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
            raise type(error)(f"@arg_botcmd({shown}) on {function.__qualname__}: {error}") from None
    function.__doc__ = parser.format_help()
    function._err_command_syntax = parser.format_usage().removeprefix(f"usage: {parser.prog} ").strip()


def _parsing(function: Any, parser: ArgumentParser, unpack_args: bool) -> Any:
    """Return a generator function, async if `function` is, that parses the arguments and yields the function's replies."""

    def call(plugin: Any, msg: Any, given: argparse.Namespace) -> Any:
        return function(plugin, msg, **vars(given)) if unpack_args else function(plugin, msg, given)

    wrapper: Callable[..., Any]
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        items = inspect.isasyncgenfunction(function)

        @wraps(function)
        async def wrapper(plugin: Any, msg: Any, args: str | None) -> AsyncIterator[Any]:
            given, replies = _parsed(parser, args or "")
            for reply in replies:
                yield reply
            if given is None:
                return
            if items:
                async for item in call(plugin, msg, given):
                    yield item
            else:
                yield await call(plugin, msg, given)

    else:
        generates = inspect.isgeneratorfunction(function)

        @wraps(function)
        def wrapper(plugin: Any, msg: Any, args: str | None) -> Iterator[Any]:
            given, replies = _parsed(parser, args or "")
            yield from replies
            if given is not None and generates:
                yield from call(plugin, msg, given)
            elif given is not None:
                yield call(plugin, msg, given)

    return wrapper


def _parsed(parser: ArgumentParser, text: str) -> tuple[argparse.Namespace | None, list[str]]:
    """Return the parsed arguments and no replies, or None and the replies to an error or to `--help`."""
    try:
        return parser.parse_args(words_of(text)), []
    except ArgumentParseError as error:
        return None, [f"I couldn't parse the arguments; {error}", parser.format_usage()]
    except HelpRequested as requested:
        return None, [str(requested)]
    except ValueError as error:
        return None, [f"I couldn't parse this command; {error}", parser.format_help()]


class Command:
    """A command for a plugin created at run time, with `BotPlugin.create_dynamic_plugin`.

    For example, `!count sheep` creates the command `!sheep`::

        class Counters(BotPlugin):
            @botcmd
            def count(self, msg, args):
                "Create a command that counts: !count NAME"
                total = 0

                def increment(plugin, msg, args):
                    nonlocal total
                    total += 1
                    return f"{args or 'total'}: {total}"

                self.create_dynamic_plugin(args, [Command(increment, name=args, doc="Count.")])
                return f"Try !{args}."

    The function's first argument is the dynamic plugin; the others are those of the command type. The function itself
    gets the name and the docstring.

    :param function: the function that handles the command.
    :param cmd_type: the decorator, such as `arg_botcmd` or `botmatch`; by default `botcmd`.
    :param cmd_args: positional arguments for the decorator, after the function.
    :param cmd_kwargs: keyword arguments for the decorator.
    :param name: the name of the command; by default that of the function. It is required for a lambda.
    :param doc: the docstring of the command.
    :raises ValueError: if the function is a lambda and `name` is missing.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        cmd_type: Callable[..., Any] | None = None,
        cmd_args: Iterable[Any] = (),
        cmd_kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        doc: str | None = None,
    ) -> None:
        if name is None:
            if function.__name__ == "<lambda>":
                raise ValueError("Command requires a name for a lambda: Command(lambda …, name='hello')")
            name = function.__name__
        self.name = name
        function.__name__ = name
        if doc is not None:
            function.__doc__ = doc
        self.definition: Callable[..., Any] = (cmd_type or botcmd)(function, *cmd_args, **(cmd_kwargs or {}))

    def append_args(self, args: Iterable[Any], kwargs: Mapping[str, Any]) -> None:
        """Declare another argument of a command with `cmd_type=arg_botcmd`, by the arguments of
        `argparse.ArgumentParser.add_argument`. Raises ValueError if the command is of another type."""
        append_argument(self.definition, args, dict(kwargs))

"""Error messages: the error of invalid settings, the texts of exceptions, the lines of code that raised them without the secrets in them, and remedies for common ones."""

from __future__ import annotations

import builtins
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import packages_distributions
from pathlib import Path
from traceback import walk_tb

from errklein.text.masking import MASK, is_secret, masker
from errklein.text.suggestions import most_similar

_MOST_CAUSES = 100


class InvalidValue(Exception):
    """A setting is invalid. `expected` describes valid values; `given` is the invalid part, or None for the whole value."""

    def __init__(self, expected: str, given: str | None = None) -> None:
        super().__init__(expected, given)
        self.expected, self.given = expected, given


def error_text(error: BaseException) -> str:
    """Return the exception's message, or its type if the message is empty or `__str__` raises."""
    with suppress(Exception):
        return str(error) or type(error).__name__
    return type(error).__name__


def one_line(error: BaseException) -> str:
    """Return the same as `error_text`, on one line."""
    return " ".join(error_text(error).split()) or type(error).__name__


def line_in(directory: Path, error: BaseException) -> tuple[Path, int | None] | None:
    """Return the file below the directory, and its line, that raised the exception or called the code that raised it, else its cause,
    the cause of that, and so on. Returns None if the directory's code isn't involved. A syntax error has the line of the mistake."""
    seen = set[int]()
    one: BaseException | None = error
    # `raise error from error` makes an exception its own cause.
    while one is not None and id(one) not in seen and len(seen) < _MOST_CAUSES:
        if isinstance(one, SyntaxError) and Path(one.filename or "").is_relative_to(directory):
            return Path(one.filename or ""), one.lineno
        found = [(file, line) for file, line in _lines(one) if file.is_relative_to(directory)]
        if found:
            return found[-1]
        seen.add(id(one))
        one = one.__cause__
    return None


def line_outside(directories: Iterable[Path], error: BaseException) -> tuple[Path, int] | None:
    """Return the last file and line in the exception's traceback that isn't below one of the directories; None if all are."""
    lines = [(file, line) for file, line in _lines(error) if not any(map(file.is_relative_to, directories))]
    return lines[-1] if lines else None


def _lines(error: BaseException) -> Iterator[tuple[Path, int]]:
    for frame, line in walk_tb(error.__traceback__):
        yield Path(frame.f_code.co_filename), line


# Names that are often used without their import, with their modules.
_MEMBERS = {
    "Decimal": "decimal",
    "OrderedDict": "collections",
    "Path": "pathlib",
    "defaultdict": "collections",
    "environ": "os",
    "getenv": "os",
    "timedelta": "datetime",
    **dict.fromkeys(("BotFlow", "BotPlugin", "FlowRoot", "Message", "arg_botcmd", "botcmd", "botflow"), "errbot"),
    **dict.fromkeys(("botmatch", "cmdfilter", "re_botcmd", "webhook"), "errbot"),
}
_PROVIDED = ("errbot", "errklein", "flask")  # packages that are always there; only a module in them can be missing
_UNKNOWN_IMPORT = re.compile(r"cannot import name '(\w+)' from")
_CONSTANTS = {"false": "False", "none": "None", "null": "None", "true": "True"}


def remedy(error: BaseException, *, quote: bool = False) -> str:
    """Return how to correct the code that raised the error, in one sentence without a full stop; "" if unknown. `quote`
    states that an unknown name is probably a string without quotes, as in a config.py."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    scope = {**frames[-1].f_globals, **frames[-1].f_locals} if frames else {}
    if isinstance(error, ModuleNotFoundError):
        top = (error.name or "").partition(".")[0]
        if not top or top in sys.stdlib_module_names or top in _PROVIDED:
            return ""
        similar = most_similar(top, {*sys.stdlib_module_names, *packages_distributions()} - {top})
        meant = f"did you mean {similar}? Otherwise " if similar else ""
        return f"{meant}install the package that contains {top}, with `{sys.executable} -m pip install …`"
    if isinstance(error, ImportError):
        # From Python 3.12 on, the text of a traceback has a suggestion, but the exception's own text hasn't.
        unknown = _UNKNOWN_IMPORT.match(str(error))
        similar = most_similar(unknown[1], dir(sys.modules.get(error.name or ""))) if unknown else ""
        return f"did you mean {similar}?" if similar else ""
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        return _of_unknown_name(error.name or "", {name for name in scope if not name.startswith("__")}, quote)
    if isinstance(error, KeyError) and error.args and scope.get("__name__") == "os":
        return f"set the environment variable {error.args[0]} before errklein starts"
    return ""


def explained_source(path: Path, line: int | None, error: BaseException, *, quote: bool = False) -> str:
    """Return the line of the file that raised the error, and below it the remedy; "" if neither is known."""
    column = error.offset if isinstance(error, SyntaxError) else None
    excerpt, advice = source_excerpt(path, line, column) if line else "", remedy(error, quote=quote)
    sentence = advice and f"    {advice[0].upper()}{advice[1:]}{'' if advice.endswith('?') else '.'}"
    return "\n".join(filter(None, (excerpt, sentence)))


def _of_unknown_name(name: str, defined: Iterable[str], quote: bool) -> str:
    if not name:
        return ""
    if name in sys.stdlib_module_names:
        return f"add `import {name}` at the top of the file"
    if name in _MEMBERS:
        return f"add `from {_MEMBERS[name]} import {name}` at the top of the file"
    similar = _CONSTANTS.get(name) or most_similar(name, {*defined, *dir(builtins)} - {name})
    if similar:
        return f"did you mean {similar}?"
    return f"write '{name}' in quotes if it is text" if quote else ""


_LONGEST = 120
_STRING = re.compile(r"""(?P<quote>"{3}|'{3}|["'])(?P<content>(?:\\.|(?!(?P=quote)).)*+)(?P<end>(?P=quote)|$)""")
_ASSIGNMENT = re.compile(r"\s*(?P<name>\w+)\s*(?::[^=]*)?=(?!=)\s*(?P<value>[^\s#].*)")


def source_excerpt(path: Path, line: int, column: int | None = None) -> str:
    """Return a line of a file with its number, such as " 3 | BOT_LOG_LEVEL = logging.INFO"; "" if it can't be read.
    With the column, counted from 1, a second line has a caret below it. MASK replaces the contents of strings, except
    for keys, and the value of a variable with a secret name. A line within a string of several lines isn't returned."""
    try:
        source = path.read_text("utf-8-sig")
    except (OSError, ValueError):
        return ""
    lines = source.split("\n")
    if not 0 < line <= len(lines) or _is_within_string(source, line):
        return ""
    text = lines[line - 1].rstrip().replace("\t", " ")
    if not text.isprintable():
        return ""
    number, shown = f"    {line} | ", _masked(text)[:_LONGEST]
    position = min(len(_masked(text[: max(column or 0, 1) - 1])), len(shown))
    caret = f"\n{' ' * (len(number) - 2)}| {' ' * position}^" if column and column > 0 else ""
    return f"{number}{shown}{caret}"


def _masked(text: str) -> str:
    assignment = _ASSIGNMENT.match(text)
    if assignment is not None and is_secret(assignment["name"]):
        return text[: assignment.start("value")] + MASK

    def masked(found: re.Match[str]) -> str:
        before, after = text[max(found.start() - 2, 0) : found.start()], text[found.end() :]
        is_key = re.match(r"\s*:", after) or (re.fullmatch(r"[\w)\]]\[", before) and after.startswith("]"))
        content = found["content"] if is_key or not found["content"] else MASK
        return f"{found['quote']}{content}{found['end']}"

    return masker(_STRING.sub(masked, text))


def _is_within_string(source: str, line: int) -> bool:
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.start[0] > line:
                return False
            if token.start[0] < line <= token.end[0] and token.type != tokenize.NEWLINE:
                return True
    except (SyntaxError, tokenize.TokenError) as error:
        # Python reports where an unclosed string begins; the lines after it may belong to it.
        begins = error.args[1][0] if isinstance(error, tokenize.TokenError) else error.lineno or 0
        return "string" in str(error.args[0]) and begins < line
    return False

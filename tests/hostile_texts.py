"""Finds the patterns of errklein, and texts that are likely to take more than linear time with them.

As a program, it compares the CPU time of each pattern and function for texts of 4 kB and 256 kB, and prints one line for each
that is too slow. Before each comparison it prints what is compared, so that the last line names what exceeded a CPU limit.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import resource
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from itertools import combinations, islice, product
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

SMALL, MIDDLE, LARGE = 4 * 1024, 16 * 1024, 256 * 1024

MOST = 128
"""How many times as long the large text may take as the small one: 64 is linear, 4,096 quadratic."""

TRIED = 1024
"""The size of the texts that choose which are compared."""

IN_NO_TIME = 0.03
"""Seconds for a large text that need no comparison: a quadratic search takes a thousand times as long."""

MOST_FOR_PATTERN = 600
"""About how many texts are tried with a pattern."""

CPU_LIMIT = 180
"""The seconds of CPU time for all comparisons, which take about 20."""

SLOWEST = 3
"""The number of texts that are compared for each pattern and function: those that took longest at the size TRIED."""

_METHODS = {"match", "fullmatch", "search", "finditer", "findall", "sub", "subn", "split"}
_CATEGORIES = {
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}
_REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
_COMMON = "a0A _-.=:/%\"'\n\té"
_ENDS = ("", "\0", "\n", "!")


class FoundPattern(NamedTuple):
    """A pattern, where it is defined, and the methods with which it is used."""

    place: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]


class Source(NamedTuple):
    """A text that is repeated between two others."""

    before: str
    unit: str
    after: str

    def of_size(self, size: int) -> str:
        """Return the text with as many repetitions as the size allows, and at least one."""
        room = size - len(self.before) - len(self.after)
        return self.before + self.unit * max(1, room // len(self.unit)) + self.after


# Finding patterns.


def modules() -> list[ModuleType]:
    """Import all modules of errklein, and return them."""
    import errklein

    names = (found.name for found in pkgutil.walk_packages(errklein.__path__, "errklein."))
    return [import_module(name) for name in names if not name.endswith("__main__")]


def patterns(of: Sequence[ModuleType]) -> list[FoundPattern]:
    """Return the patterns in globals, classes, containers and objects of the modules, and in their calls of `re`."""
    found: dict[tuple[Any, int, str], FoundPattern] = {}
    for module in of:
        place = module.__name__
        for name, value in vars(module).items():
            for path, pattern in _in_value(value, name, place, set()):
                if name in _imported(module):
                    break
                last = path.rpartition(".")[2]
                users = [
                    other for other in of if other is module or (last in _source(other) and name in _imported(other))
                ]
                methods: set[str] = set().union(*(_uses(other).get(last, ()) for other in users))
                key = (pattern.pattern, pattern.flags, place)
                found[key] = FoundPattern(f"{place}.{path}", pattern, frozenset(methods & _METHODS or _METHODS))
        for line, method, pattern in _inline(module) if "re." in _source(module) else ():
            key = (pattern.pattern, pattern.flags, place)
            methods = {method} if method in _METHODS else _METHODS
            found.setdefault(key, FoundPattern(f"{place}:{line}", pattern, frozenset(methods)))
    return sorted(found.values(), key=lambda one: one.place)


@lru_cache(None)
def _source(module: ModuleType) -> str:
    return inspect.getsource(module) if Path(module.__file__ or "").stat().st_size else ""


@lru_cache(None)
def _nodes(module: ModuleType) -> Sequence[ast.AST]:
    return list(ast.walk(ast.parse(_source(module))))


@lru_cache(None)
def _imported(module: ModuleType) -> frozenset[str]:
    return frozenset(
        alias.asname or alias.name
        for node in _nodes(module)
        if isinstance(node, (ast.ImportFrom, ast.Import))
        for alias in node.names
    )


@lru_cache(None)
def _uses(module: ModuleType) -> dict[str, set[str]]:
    """Return the methods that are called on each name. A name that is used in another way has all methods."""
    found: dict[str, set[str]] = {}
    called: set[int] = set()
    for node in _nodes(module):
        if isinstance(node, ast.Attribute) and node.attr in _METHODS | {"pattern", "flags"}:
            called.add(id(node.value))
            if (name := _last_name(node.value)) is not None:
                found.setdefault(name, set()).add(node.attr)
    for node in _nodes(module):
        name = _last_name(node)
        if name is not None and id(node) not in called and isinstance(getattr(node, "ctx", None), ast.Load):
            found.setdefault(name, set()).update(_METHODS)
    return found


def _last_name(node: ast.AST) -> str | None:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _in_value(value: Any, path: str, module: str, seen: set[int]) -> Iterator[tuple[str, re.Pattern[Any]]]:
    if isinstance(value, re.Pattern):
        yield path, value
    if isinstance(value, (str, bytes, int, float)) or id(value) in seen or len(seen) > 5000:
        return
    seen.add(id(value))
    if isinstance(value, Mapping) and not isinstance(value, type):
        inner: Iterable[tuple[str, Any]] = [(path, item) for pair in list(value.items()) for item in pair]
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        inner = [(path, item) for item in list(value)]
    elif isinstance(value, (staticmethod, classmethod, property)):
        return
    elif inspect.isfunction(value) and value.__module__ == module:
        given = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *vars(value).values())
        inner = [(f"{path}()", item) for item in given]
    elif getattr(value if isinstance(value, type) else type(value), "__module__", "") == module:
        inner = [(f"{path}.{name}", item) for name, item in list(getattr(value, "__dict__", {}).items())]
    else:
        return
    for name, item in inner:
        yield from _in_value(item, name, module, seen)


def _inline(module: ModuleType) -> Iterator[tuple[int, str, re.Pattern[Any]]]:
    """Yield the patterns of calls such as `re.sub("a+", …)`. One that is built at run time is compiled by the caller."""
    for node in _nodes(module):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and _last_name(node.func.value) == "re"
            and node.func.attr in _METHODS | {"compile"}
        ):
            flags = [word.value for word in node.keywords if word.arg == "flags"]
            position = {"compile": 1, "sub": 4, "subn": 4, "split": 3}.get(node.func.attr, 2)
            flags += node.args[position : position + 1]
            try:
                pattern, *rest = (_evaluated(part, module) for part in (node.args[0], *flags))
            except NameError:
                if (module.__name__, ast.unparse(node.args[0])) not in AT_RUN_TIME:
                    raise LookupError(
                        f"{module.__name__}:{node.lineno}: {ast.unparse(node)}: the pattern is made at run time, so it isn't "
                        "tested; make it a constant, or add it to AT_RUN_TIME with the reason"
                    ) from None
                continue
            yield node.lineno, node.func.attr, re.compile(pattern, *rest)


_RECALL = "f'(?<!\\\\S){re.escape(prefix)}\\\\s*(?:\\\\d{{1,4}}|{re.escape(prefix.strip())})(?!\\\\S)'"


def _evaluated(expression: ast.expr, module: ModuleType) -> Any:
    """Return the value of an expression with the names of the module and of its classes."""
    names: dict[str, Any] = {}
    for value in vars(module).values():
        if isinstance(value, type) and value.__module__ == module.__name__:
            names |= {name: item for name, item in vars(value).items() if not callable(item)}
    return eval(compile(ast.Expression(expression), "", "eval"), names | vars(module))


AT_RUN_TIME = {
    ("errklein.chat.features", r"f'(?<!\\w){re.escape(name)}(?!\\w)'"): "one name, and nothing repeated",
    ("errklein.networks.text", r"f'\\n(?={prefix})'"): "it begins with one character, and repeats nothing",
    ("errklein.chat.identifiers", "translate(pattern)"): "fnmatch makes linear patterns, with atomic groups",
    ("errklein.commands._declaration", "pattern"): "the author of a plugin chooses it",
    ("errklein.dispatch._finding", _RECALL): "it begins with the prefix, and spaces are not part of it",
    (
        "errklein.text.masking",
        "''.join(map(_percent_or_not, part))",
    ): "one character of a secret after the other, none repeated",
    (
        "errklein.networks.slack._client",
        "_LINK + re.escape(name)",
    ): "a name, or what begins with one character and ends before the next of them",
    (
        "errklein.networks.telegram._backend",
        r"f'<{name}\\b[^<>]*>([^<]*+(?:<(?!/?{name}\\b)[^<]*+)*+)</{name}>'",
    ): "tested as _TABLE, _ROW and _CELL",
    ("errklein.config.networks", "pattern"): "it reads the configuration",
    (
        "errklein.networks.telegram._backend",
        r"f'(?<![\\w&]){re.escape(shown)}(?!\\w)(?![^<]*(?:>|</(?:a|code|pre)>))'",
    ): "a message of at most 4,096 characters",
    ("errklein.listening._listeners", "pattern"): "errors of Twisted about endpoints of the configuration",
}
"""Calls of `re` with patterns that aren't constants, by module and expression, each with the reason that it is safe."""

NOT_FROM_OUTSIDE = {
    "errklein.commands.access._WILDCARD": "patterns of the configuration",
    "errklein.config.review:": "patterns of the configuration",
    "errklein.listening._listeners._PART": "endpoints of the configuration",
    "errklein.testing.": "texts of a plugin's own tests",
    "errklein.webhooks.declaration._VARIABLE": "rules in the code of plugins",
}
"""Beginnings of places of patterns that may take more than linear time, each with what they read."""

# Making texts.


def texts_for(pattern: re.Pattern[Any], most: int) -> list[Source]:
    """Return about `most` texts for a pattern: parts of what it matches, and its characters, repeated, with several ends."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = parser.parse(text, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    own = list(dict.fromkeys(_characters(tree)))
    alphabet = "".join(dict.fromkeys([*own, *_COMMON]))
    sequences = [pieces[:40] for pieces in islice(_sequences(tree, alphabet, {}), 24)]
    first = [Source("", character, "") for character in alphabet]
    rest = []
    for pieces in sequences:
        for begin, end in combinations(range(len(pieces) + 1), 2):
            if end - begin <= 8:
                before, after = _first(pieces[:begin]), _first(pieces[end:])
                units = list(_variants(pieces[begin:end]))
                first += [Source(before, units[0], ""), Source("", units[0], after)]
                rest += [Source(*around) for unit in units[1:] for around in ((before, unit, ""), ("", unit, after))]
    for character in alphabet:
        befores = ("", *map(_first, sequences[:2]))
        rest += [Source(before, character, end) for before in befores for end in ("", "\0")]
    for one, other in product(own[:12], [*own[:12], "a"]):
        rest += [Source("", one + other, ""), Source("", one, other)]
    return _some(list(dict.fromkeys(first)), most // 2) + _some(list(dict.fromkeys(rest)), most // 2)


def texts_of_literals(module: ModuleType) -> list[Source]:
    """Return texts from the short strings in a module's code: each repeated, and in pairs."""
    literals: dict[str, None] = {}
    for node in _nodes(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)) and 0 < len(node.value) <= 8:
            literals[node.value if isinstance(node.value, str) else node.value.decode("latin-1")] = None
    short = [text for text in literals if len(text) <= 3 and not text.isalnum()][:16]
    units = [*literals, *(one + other for one in short for other in [*short, "a"])]
    return [Source("", unit, end) for unit in units for end in ("", "\0")]


def _first(pieces: Sequence[Sequence[str]]) -> str:
    return "".join(piece[0] for piece in pieces)


def _variants(pieces: Sequence[Sequence[str]]) -> Iterator[str]:
    yield _first(pieces)
    for place, piece in enumerate(pieces):
        for other in piece[1:]:
            yield _first(pieces[:place]) + other + _first(pieces[place + 1 :])


def _characters(tree: Any) -> Iterator[str]:
    """Yield the literals of a pattern, and the ends of its ranges."""
    for code, value in tree:
        if code in (codes.LITERAL, codes.NOT_LITERAL):
            yield chr(value)
        elif code is codes.IN:
            yield from _characters(value)
        elif code is codes.RANGE:
            yield from (chr(value[0]), chr(value[1]))
        elif code in _REPEATS:
            yield from _characters(value[2])
        elif code is codes.SUBPATTERN:
            yield from _characters(value[3])
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from _characters(branch)
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _characters(value[1])
        elif code is codes.ATOMIC_GROUP:
            yield from _characters(value)


def _sequences(tree: Any, alphabet: str, groups: dict[int, list[Sequence[str]]]) -> Iterator[list[Sequence[str]]]:
    """Yield lists of pieces that together match the pattern, as far as its assertions allow; one for each branch.

    A piece is a list of alternatives, each a short text.
    """
    results: list[list[Sequence[str]]] = [[]]
    for code, value in tree:
        options: list[list[Sequence[str]]] = [[]]
        if code is codes.LITERAL:
            options = [[[chr(value)]]]
        elif code in (codes.NOT_LITERAL, codes.ANY, codes.IN):
            among = [(code, value)] if code is not codes.IN else value
            options = [[[one for one in alphabet if code is codes.ANY or _is_in(one, among)][:6] or ["x"]]]
        elif code in _REPEATS:
            least, _, inner = value
            options = [pieces * max(1, min(least, 16)) for pieces in _sequences(inner, alphabet, groups)]
        elif code is codes.SUBPATTERN:
            options = list(_sequences(value[3], alphabet, groups))
            groups[value[0]] = options[0]
        elif code is codes.ATOMIC_GROUP or (code is codes.ASSERT and value[0] < 0):
            options = list(_sequences(value if code is codes.ATOMIC_GROUP else value[1], alphabet, groups))
        elif code is codes.BRANCH:
            options = [pieces for branch in value[1] for pieces in _sequences(branch, alphabet, groups)]
        elif code is codes.GROUPREF:
            options = [groups.get(value, [])]
        # Each option once, and the first one in all other places.
        results = [*(result + options[0] for result in results), *(results[0] + option for option in options[1:])][:48]
    yield from results


def _is_in(character: str, among: Any) -> bool:
    negated = False
    for code, value in among:
        if code is codes.NEGATE:
            negated = True
        elif code is codes.NOT_LITERAL:
            return ord(character) != value
        elif (
            (code is codes.LITERAL and ord(character) == value)
            or (code is codes.RANGE and value[0] <= ord(character) <= value[1])
            or (code is codes.CATEGORY and re.match(_CATEGORIES[value], character) is not None)
        ):
            return not negated
    return negated


# Comparing times.


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of a call in this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def slow(function: Callable[[str], object], sources: Collection[Source]) -> str:
    """Return which text takes a function more than linear time, or ""."""
    timed = []
    for source in filter(lambda source: source.unit, sources):
        text = source.of_size(TRIED)
        timed.append((seconds(lambda text=text: function(text)), source))  # type: ignore[misc]
    for _, source in sorted(timed, reverse=True)[:SLOWEST]:
        for size in (MIDDLE, LARGE):
            text, small, times = source.of_size(size), source.of_size(SMALL), min(5, size // SMALL)
            took = seconds(lambda text=text: function(text))  # type: ignore[misc]
            if took < IN_NO_TIME:
                continue
            # A time varies, since other programs and other machines share the processor. The small text is repeated, so that
            # such pauses fall into both times. What takes much too long, as quadratic time does, needs fewer attempts.
            left = 10.0
            while left > 0:
                base = seconds(lambda text=small, times=times: [function(text) for _ in range(times)]) / times  # type: ignore[misc]
                if took <= MOST * size / LARGE * base:
                    break
                left -= 1.0 if took < 1.5 * MOST * size / LARGE * base else 2.5
                took = seconds(lambda text=text: function(text))  # type: ignore[misc]
            else:
                return f"{source!r}: {took / base:.0f} times as long for {size // SMALL} times the size"
    return ""


def uses_of(found: FoundPattern) -> Callable[[str], object]:
    """Return a function that applies a pattern to a text as errklein does."""
    pattern = found.pattern
    calls: list[Callable[[Any], object]] = []
    if found.methods & {"search", "finditer", "findall", "sub", "subn", "split"}:
        calls.append(lambda text: deque(pattern.finditer(text), 0))
    calls += [getattr(pattern, name) for name in ("match", "fullmatch") if name in found.methods]
    as_bytes = isinstance(pattern.pattern, bytes)

    def apply(text: str) -> None:
        given = text.encode("latin-1", "replace") if as_bytes else text
        for call in calls:
            call(given)

    return apply


# Functions that use patterns repeatedly, or other means than patterns.


class Tested(NamedTuple):
    """A function that reads texts from outside.

    `modules` are those whose patterns and strings make the texts; `before` precedes each.
    """

    name: str
    call: Callable[[str], object]
    modules: Sequence[str]
    before: str = ""


MOST_FOR_FUNCTION = 100
"""About how many texts of each pattern and module are tried with a function."""


def functions() -> list[Tested]:
    """Return the functions that are compared as a whole."""
    from errklein.chat.identifiers import compiled
    from errklein.commands._declaration import words_of
    from errklein.commands._registry import find_command, unknown_command
    from errklein.dispatch._finding import contains_recall, strip_prefix
    from errklein.journal._redaction import Redaction, redacted_head
    from errklein.logs import escape, format_line
    from errklein.networks.irc._lines import _FORMATTING, parse_tags, split_lines, strip_controls
    from errklein.networks.irc._protocol import decode_line
    from errklein.text import code, fenced, folded, plain, sanitize, split_message
    from errklein.text.masking import Masker, masker, secrets_in
    from errklein.text.neutralising import without_effects, without_mentions, without_people, without_unsafe_links
    from errklein.text.rendering import md_escape, to_md, to_plain, to_xhtml
    from errklein.text.styles import strip_styles, styles_to_ansi, styles_to_irc
    from errklein.web._http1 import _framing
    from errklein.web.request import clean_path, split_target
    from errklein.webhooks.deliveries import StoredRequest
    from errklein.webhooks.delivery_words import parse_list
    from errklein.webhooks.exported import read_request
    from errklein.webhooks.forwarding import TrustedProxies, is_base_path, is_host, parse_node
    from errklein.webhooks.payload import check_multipart, decode_payload, parse_urlencoded
    from errklein.webhooks.source import InvalidOption, Markdown, check_text, message, render, value

    learned = Masker()
    learned.learn(learned, "test", ["hunter2-of-the-bot", "aaaaaa", "ab;ab;ab=", "=?&=?&=?&"])
    hints = "token= Authorization: cookie: x-api-key: basic bearer ghp_ :// @ %40 "
    proxies = TrustedProxies(
        {"192.0.2.0/24": ("Forwarded",), "198.51.100.0/24": ("X-Forwarded-For", "X-Forwarded-Host")}
    )
    settings = SimpleNamespace(
        BOT_PREFIX="!",
        BOT_ALT_PREFIXES=("errklein",),
        BOT_ALT_PREFIX_SEPARATORS=(":", ","),
        BOT_ALT_PREFIX_CASEINSENSITIVE=True,
    )

    def request(target: str = "/", headers: Sequence[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
        redacted_head(StoredRequest("POST", target, headers, body))
        Redaction("bodies", frozenset({"pin"})).body(body)

    def check_or_refuse(text: str) -> None:
        with suppress(InvalidOption):
            check_text(text)

    def raw(text: str) -> bytes:
        return text.encode("latin-1", "replace")

    def body_as(media_type: str) -> Callable[[str], object]:
        return lambda text: decode_payload(raw(text), media_type)

    def forwarded(peer: str, name: bytes) -> Callable[[str], object]:
        return lambda text: proxies.forwarded(peer, False, [(name, raw(text))])

    masking, redaction, forwarding = (
        ["errklein.text.masking"],
        ["errklein.journal._redaction"],
        ["errklein.webhooks.forwarding"],
    )
    markdown = ["errklein.text.rendering", "errklein.text.layout", "errklein.text.xhtml"]
    irc = ["errklein.networks.irc._lines", "errklein.networks.irc._lines", "errklein.text.styles"]
    commands = ["errklein.commands._registry", "errklein.commands._declaration", "errklein.dispatch._finding"]
    return [
        Tested("masker", masker, masking),
        Tested("masker", learned, masking, hints),
        Tested("masker.known", learned.known, masking, hints),
        Tested("secrets_in", lambda text: secrets_in({"database_password": text}), masking),
        Tested("Redaction of a target", request, redaction, "/?"),
        Tested("Redaction of a header", lambda text: request(headers=[(b"referer", raw(text))]), redaction, "?@//"),
        Tested("Redaction of a body", lambda text: request(body=raw(text)), redaction),
        Tested("Redaction of a body with the field", lambda text: request(body=raw(text)), redaction, "pin=1&"),
        Tested("log line", lambda text: format_line({"log_format": "{text}", "text": text}), ["errklein.logs"]),
        Tested("escape", escape, ["errklein.logs"]),
        Tested("Forwarded", forwarded("192.0.2.1", b"forwarded"), forwarding),
        Tested("X-Forwarded-For", forwarded("198.51.100.1", b"x-forwarded-for"), forwarding),
        Tested("X-Forwarded-Host", forwarded("198.51.100.1", b"x-forwarded-host"), ["errklein.webhooks.forwarding"]),
        Tested("parse_node", lambda text: parse_node(raw(text)), forwarding),
        Tested("is_host", lambda text: is_host(raw(text)), ["errklein.webhooks.forwarding"]),
        Tested("is_base_path", is_base_path, ["errklein.webhooks.forwarding"]),
        Tested("split_target", lambda text: clean_path(split_target(raw(text))[0]), ["errklein.web.request"], "/"),
        Tested("codings", lambda text: _framing((b"transfer-encoding",), (raw(text),), False), ["errklein.web._http1"]),
        Tested("parse_urlencoded", lambda text: parse_urlencoded(raw(text)), ["errklein.webhooks.payload"]),
        Tested("multipart", body_as("multipart/form-data; boundary=-"), ["errklein.webhooks.payload"], "---\r\n"),
        Tested("check_multipart", lambda text: check_multipart(raw(text), b"a"), ["errklein.webhooks.payload"]),
        Tested("urlencoded", body_as("application/x-www-form-urlencoded"), ["errklein.webhooks.payload"]),
        Tested("JSON", body_as("application/json"), ["errklein.webhooks.payload"]),
        Tested(
            "media type", lambda text: decode_payload(b"1", f"text/plain{text}"), ["errklein.webhooks.payload"], ";"
        ),
        Tested("exported delivery", read_request, ["errklein.webhooks.payload"]),
        Tested(
            "words of !delivery list", lambda text: parse_list(text.split(), 0.0), ["errklein.webhooks.delivery_words"]
        ),
        *(Tested(function.__name__, function, markdown) for function in (to_plain, to_md, to_xhtml, md_escape)),
        Tested("plain", plain, ["errklein.text._quoting"]),
        Tested("code", code, ["errklein.text._quoting"]),
        Tested("fenced", fenced, ["errklein.text._quoting"]),
        Tested("folded", folded, ["errklein.text._quoting"]),
        Tested("sanitize", sanitize, ["errklein.text._quoting"]),
        Tested("split_message", lambda text: split_message(text, 400), ["errklein.text._splitting"]),
        Tested("without_mentions", without_mentions, ["errklein.text.neutralising"]),
        Tested("without_unsafe_links", without_unsafe_links, ["errklein.text.neutralising"]),
        Tested("without_effects", without_effects, ["errklein.text.neutralising"]),
        Tested("without_people", lambda text: without_people(text, ["a", "0"]), ["errklein.text.neutralising"]),
        Tested("value", lambda text: value(text, len(text)), ["errklein.webhooks.source"]),
        Tested("message", lambda text: message([Markdown(text)], len(text)), ["errklein.webhooks.source"]),
        Tested(
            "link of a value", lambda text: render("[{a}]({a})", {"a": text}), ["errklein.webhooks.source"], "http://h/"
        ),
        # Longer texts are refused.
        Tested("text with placeholders", lambda text: check_or_refuse(text[:2000]), ["errklein.webhooks.source"]),
        Tested("strip_styles", strip_styles, irc),
        Tested("styles_to_ansi", styles_to_ansi, irc),
        Tested("styles_to_irc", styles_to_irc, irc),
        Tested("decode_line", lambda text: decode_line(raw(text)), irc),
        Tested("parse_tags", parse_tags, irc),
        Tested("split_lines", lambda text: split_lines(text, 400), irc),
        Tested("strip_controls", strip_controls, irc),
        Tested("formatting", lambda text: _FORMATTING.sub("", text), irc),
        Tested("strip_prefix", lambda text: strip_prefix(text, settings), commands, "!"),
        Tested("find_command", lambda text: find_command(text, {"help", "help me"}, 3), commands),
        Tested("unknown_command", lambda text: unknown_command(text, ["help"], "!"), commands),
        Tested("contains_recall", lambda text: contains_recall(text, "!"), commands),
        # Messages of chat networks are no longer. `shlex` copies the word at each character.
        Tested("words_of", lambda text: words_of(text[:40_000]), commands),
        Tested(
            "pattern of the configuration",
            lambda text: compiled("*a*b?*[cd]*!*@*").match(text),
            ["errklein.chat.identifiers"],
        ),
    ]


def texts_of_function(tested: Tested, found: Sequence[FoundPattern]) -> list[Source]:
    """Return texts from the patterns and strings in the modules of a function."""
    places = tuple(f"{name}{end}" for name in tested.modules for end in ".:")
    sources = [
        source for one in found if one.place.startswith(places) for source in texts_for(one.pattern, MOST_FOR_FUNCTION)
    ]
    for name in tested.modules:
        sources += _some(texts_of_literals(import_module(name)), MOST_FOR_FUNCTION)
    return [source._replace(before=tested.before + source.before) for source in sources]


def _some(sources: Sequence[Source], most: int) -> list[Source]:
    return list(sources[:: 1 + len(sources) // most])


def main() -> None:
    """Compare all patterns and functions, and print those that are too slow."""
    # A quadratic search of 256 kB takes minutes, and an exponential one forever.
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
    found = patterns(modules())
    for one in found:
        if not one.place.startswith(tuple(NOT_FROM_OUTSIDE)):
            _compare(one.place, uses_of(one), texts_for(one.pattern, MOST_FOR_PATTERN))
    for tested in functions():
        _compare(tested.name, without_errors(tested.call), texts_of_function(tested, found))
    print("compared all", flush=True)


def without_errors(call: Callable[[str], object]) -> Callable[[str], object]:
    """Return the function, without its exceptions for invalid texts."""

    def called(text: str) -> None:
        with suppress(Exception):
            call(text)

    return called


def _compare(name: str, call: Callable[[str], object], sources: Sequence[Source]) -> None:
    print(f"comparing {name}", flush=True)
    if problem := slow(call, sources):
        print(f"too slow: {name}: {problem}", flush=True)


if __name__ == "__main__":
    main()

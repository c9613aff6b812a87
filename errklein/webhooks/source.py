"""Sources of webhooks: how GitHub, Alertmanager and others sign, name and describe what they send, and the response they expect.

They describe events by texts with placeholders, such as `{alerts.0.labels.alertname|title}`, and values that have no effect in them. A
text is Markdown that the author of a source or an administrator wrote. A value comes from a payload, so it is shown literally: it adds
no address, mention or style. Rendering takes linear time, and the size of its result is limited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import quote

from errklein.text import code, plain_lines, sanitize, truncated, without_mentions
from errklein.text.neutralising import ZERO_WIDTH_SPACE, without_effects, without_people
from errklein.verify import ImmediateResponse, Received, Verification
from errklein.webhooks.option_values import InvalidOption
from errklein.webhooks.payload import decode_payload

# Maximum numbers of characters and placeholders in a text, and of filters of a placeholder.
LENGTH_CAP, PLACEHOLDERS_CAP, FILTERS_CAP = 2_000, 100, 5
# Maximum numbers of characters of a value and of an address, which isn't linked if it is longer, and of items of a list.
VALUE_CAP, ADDRESS_CAP, ITEMS_CAP = 200, 500, 5
# Characters of a value that are examined: white space and control characters among them aren't shown.
_READ_CAP = 4_000

# An empty value, and the edge of another one, while a line is put together. No text contains them: `sanitize` removes them.
_EMPTY, _EDGE = "\ufdd0", "\ufdd1"


class Markdown(str):
    """Markdown that code has written, with all values in it escaped. No decoded payload contains one."""

    __slots__ = ()


# Reading texts.

_QUOTED = r"'[^'{}]*+'|\"[^\"{}]*+\""
_INSIDE = rf"(?:{_QUOTED}|[^'\"{{}}])*+"
_PIECE = re.compile(
    rf"(?<![`\\])`\{{(?P<code>{_INSIDE})\}}`(?!`)"
    rf"|(?P<text>(?:[^\\`{{}}\[\])]|\\.|\{{\{{|\}}\}}|\}})++)"
    rf"|\{{(?P<placeholder>{_INSIDE})\}}"
    r"|(?P<sign>\]\(|[\[\])])"
    r"|(?P<character>.)",
    re.DOTALL,
)
_NAME, _KEY = r"[^\s.\[\]|'\"]++", r"\[[^\[\]'\"]++\]"
_TERM = rf"(?:{_QUOTED}|(?:{_NAME}|{_KEY})(?:\.{_NAME}|{_KEY})*+)"
_TERMS = re.compile(rf"(?<!\s)\s++or\s++({_TERM})")
_PLACEHOLDER = re.compile(rf"\s*+(?P<terms>{_TERM}(?:\s+or\s+{_TERM})*+)(?P<filters>(?:\s*+\|\s*+[a-z]++)*+)\s*+")
_STEP = re.compile(r"\.?(?:\[([^\[\]]++)\]|([^.\[\]]++))")
_OPEN_TAG = re.compile(r"<(?![^<>]*+>)")
_BLOCK = re.compile(r"\A[#>+-]")
_INDEX = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class _Placeholder:
    # The paths of values, and texts in quotes: the first one with a text is shown.
    terms: tuple[tuple[str, ...] | str, ...]
    filters: tuple[str, ...]  # those that it passes through
    is_code: bool = False

    def texts(self, values: object) -> Iterator[str]:
        for term in self.terms:
            given = term if isinstance(term, str) else found(values, term)
            for name in self.filters:
                given = FILTERS[name](given)
            if text := _text(given):
                yield text

    def shown(self, values: object) -> str:
        text = next(self.texts(values), "")
        if self.filters[-1:] == ("link",):
            return linked(text)
        if self.is_code:
            return code(literal) if (literal := _neutral(text, VALUE_CAP)) else ""
        return value(text)


@dataclass(frozen=True, slots=True)
class _Link:
    label: tuple[_Part, ...]
    address: tuple[_Part, ...]

    def shown(self, values: object) -> str:
        """Return the link; without an address, the label if it has a value, and without a label, the address if it has one."""
        label, address = _joined(self.label, values), self._destination(values)
        if label and address:
            return f"[{label}]({address})"
        if not any(map(_is_given, self.label if label else self.address)):
            return ""
        # At the beginning of a line, such a label would be a heading, a quote or an item of a list.
        return _BLOCK.sub(r"\\\g<0>", label) if label else address and f"<{address}>"

    def _destination(self, values: object) -> str:
        if not any(map(_is_given, self.address)):
            return "".join(map(str, self.address))
        if len(self.address) == 1 and isinstance(only := self.address[0], _Placeholder):
            return next(filter(None, map(_address, only.texts(values))), "")
        parts = [
            part if isinstance(part, str) else quote(next(part.texts(values), ""), errors="replace")
            for part in self.address
            if not isinstance(part, _Link) and part != ZERO_WIDTH_SPACE
        ]
        return _address("".join(parts)) if all(parts) else ""


_Part = str | _Placeholder | _Link


def _is_given(part: _Part) -> bool:
    return not isinstance(part, str)


def check_text(text: str) -> str:
    """Return the text. Raises InvalidOption: `render` can't use it."""
    _lines_of(text)
    return text


def _invalid(expected: str, given: str) -> InvalidOption:
    return InvalidOption(expected, truncated(given, 60))


@lru_cache(1024)
def _lines_of(text: str) -> tuple[tuple[_Part, ...], ...]:
    if len(text) > LENGTH_CAP:
        raise InvalidOption(f"a text of at most {LENGTH_CAP} characters", len(text))
    if text.count("{") > PLACEHOLDERS_CAP:
        raise _invalid(f"a text with at most {PLACEHOLDERS_CAP} placeholders", text)
    return tuple(_parts(line) for line in sanitize(text).split("\n"))


def _parts(line: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    # Where the last label begins, and the address after it.
    label = address = -1
    for piece in _PIECE.finditer(line):
        kind, text = str(piece.lastgroup), piece[0]
        if kind in ("placeholder", "code"):
            if parts and (not isinstance(last := parts[-1], str) or last in (":", ":/")):
                # Two values together could be an address or a mention, too.
                parts.append(ZERO_WIDTH_SPACE)
            parts.append(_placeholder(piece[kind], is_code=kind == "code"))
            continue
        if text == "{":
            raise _invalid("a placeholder such as {name} in the text, or {{ for a brace", line[piece.start() :])
        if text == "[":
            if parts and not isinstance(parts[-1], str):
                # After an exclamation mark, a link would be an image.
                parts.append(ZERO_WIDTH_SPACE)
            label, address = len(parts), -1
        elif text == "](" and label >= 0:
            address = len(parts)
        elif text == ")" and address >= 0:
            link = _Link(tuple(parts[label + 1 : address]), tuple(parts[address + 1 :]))
            if any(map(_is_given, (*link.label, *link.address))):
                parts[label:] = [link]
                label = address = -1
                continue
            label = address = -1
        if kind == "text":
            # A value in angle brackets could be a tag.
            text = _OPEN_TAG.sub("&#60;", text.replace("{{", "{").replace("}}", "}"))
        elif text == "]" and line[piece.end() :].lstrip(" ").startswith(":"):
            # Else it would be the definition of a link, which isn't shown.
            text = "&#93;"
        parts.append(text)
    if address >= 0 and any(map(_is_given, parts[address:])):
        raise _invalid("a ) after the address of a link", line)
    if any(isinstance(part, str) and "`" in part for part in parts):
        # Code begins or ends somewhere else, so the value may be outside of it.
        for number, part in reversed(list(enumerate(parts))):
            if isinstance(part, _Placeholder) and part.is_code:
                parts[number : number + 1] = "`", replace(part, is_code=False), "`"
    return tuple(parts)


def _placeholder(text: str, *, is_code: bool) -> _Placeholder:
    found = _PLACEHOLDER.fullmatch(text)
    if found is None:
        raise _invalid("a placeholder such as {name}, {a.b or 'text'} or {name|title}", f"{{{text}}}")
    filters = tuple(found["filters"].replace("|", " ").split())
    if unknown := [name for name in filters if name not in FILTERS]:
        raise InvalidOption(f"filters among {', '.join(FILTERS)}", unknown[0])
    if len(filters) > FILTERS_CAP:
        raise _invalid(f"at most {FILTERS_CAP} filters", f"{{{text}}}")
    terms = (
        term[1:-1] if term[0] in "'\"" else tuple(step[1] or step[2] for step in _STEP.finditer(term))
        for term in _TERMS.findall(f" or {found['terms']}")
    )
    return _Placeholder(tuple(terms), filters, is_code)


# Rendering texts.


def render(text: str, values: object) -> Markdown:
    """Return the text with values for its placeholders. A missing value is "". A line whose placeholders are all empty is left
    out, and so are brackets around an empty value and separators beside it. Raises InvalidOption; see `check_text`."""
    return Markdown("\n".join(line for parts in _lines_of(text) if (line := _joined(parts, values))))


def filled(text: str, values: object) -> str:
    """Return the text with values as they are. It may only be compared with known texts."""
    parts = (part for line in _lines_of(text) for part in line)
    return "".join(
        part if isinstance(part, str) else next(part.texts(values), "") for part in parts if not isinstance(part, _Link)
    )


_PAIRS = ("****", "____", "~~~~", "**", "__", "``", '""', "''", "()", "[]", "“”", "‘’", "«»")
_OPENERS, _CLOSERS = tuple("([*_“‘«>"), tuple(")]*_~`\"'”’»")
_SEPARATORS = " :,;/-–—·|#@→"


def _joined(parts: Sequence[_Part], values: object) -> str:
    """Return the parts as one line. Without any value, it is empty unless it has no placeholders."""
    pieces = [part if isinstance(part, str) else _edged(part.shown(values)) for part in parts]
    if _EMPTY in pieces and not any(piece.startswith(_EDGE) for piece in pieces):
        return ""
    line, *others = "".join(pieces).split(_EMPTY)
    for after in others:
        line = _without_gap(line, after)
    return line.replace(_EDGE, "").strip()


def _edged(shown: str) -> str:
    return f"{_EDGE}{text}{_EDGE}" if (text := sanitize(shown)) else _EMPTY


def _without_gap(before: str, after: str) -> str:
    """Return the texts before and after an empty value as one, without brackets around it and a separator too many."""
    pairs = [(pair[: len(pair) // 2], pair[len(pair) // 2 :]) for pair in _PAIRS]
    while True:
        text = before.rstrip(" ")
        rest = after.lstrip(_SEPARATORS if text == before else " ")
        pair = next((one for one in pairs if text.endswith(one[0]) and rest.startswith(one[1])), None)
        if pair is None:
            break
        before, after = text.removesuffix(pair[0]), rest.removeprefix(pair[1])
    text, rest = before.rstrip(_SEPARATORS), after.lstrip(_SEPARATORS)
    following = after[: len(after) - len(rest)]
    if not text or text.endswith(_OPENERS):
        # A sign of a list stays.
        return (before if before.endswith(" ") else text) + rest
    if not rest or (rest.startswith(_CLOSERS) and not following.strip(" ")):
        return text + after * bool(rest)
    # Of two separators that would meet, the one that belongs to the text after it stays.
    return text + after if following.endswith(" ") or text == before else before + rest


# Values.


def value(given: object, most: int = VALUE_CAP) -> Markdown:
    """Return a value of a payload as Markdown on one line that shows at most `most` characters of it literally. Markdown is
    returned as it is. A list shows its first scalars; null, booleans, mappings and other objects are empty."""
    if isinstance(given, Markdown):
        return given
    shown = plain_lines(_neutral(_text(given), most))
    return Markdown(_WITH_NEXT.sub(lambda found: f"&#{ord(found[0][-1])};", shown))


def linked(given: object) -> Markdown:
    """Return an address as Markdown that is a link to it; another value as `value`."""
    return Markdown(f"<{address}>") if (address := _address(_text(given))) else value(given)


# After a bracket that a text opens, `]:` would define the address of a link. The others could be a part of a tag, an entity
# or the fence of a block of code.
_WITH_NEXT = re.compile(r"\\\](?= ?(?::|$))|[<&]$|^~(?=~)")

_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they change the direction of the text after the value


def _neutral(text: str, most: int) -> str:
    """Return at most so many characters of the text on one line, without addresses and mentions."""
    line = " ".join(_DIRECTIONS.sub("", sanitize(text[:_READ_CAP])).split())
    return without_effects(truncated(line, most))


def _text(given: object) -> str:
    """Return the text of a scalar, and of scalars in a list; else ""."""
    if isinstance(given, str):
        return given
    if isinstance(given, float):
        return f"{given:.15g}" if isfinite(given) else ""
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given) if abs(given) < 10**100 else ""
    if isinstance(given, (list, tuple)):
        scalars = [item for item in given[: 2 * ITEMS_CAP] if isinstance(item, (str, int, float))]
        return ", ".join(filter(None, map(_text, scalars[:ITEMS_CAP])))
    return ""


def found(values: object, path: Iterable[str]) -> object:
    """Return the value at a path of names and numbers; None if there is none."""
    given = values
    for step in path:
        if isinstance(given, Mapping):
            given = given.get(step)
        elif isinstance(given, (list, tuple)) and _INDEX.fullmatch(step) and -len(given) <= int(step) < len(given):
            given = given[int(step)]
        else:
            return None
    return given


_ADDRESS = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
# Everything else is percent-encoded: it ends an address in Markdown, has a meaning there, or isn't visible.
_IN_ADDRESS = re.compile(r"[^\w\-.~:/?#!$&+,;=%]")
_ENTITY = re.compile(r"&(?=#?\w+;)")


def _address(text: str) -> str:
    address = sanitize(text[: ADDRESS_CAP + 1]).strip()
    if len(address) > ADDRESS_CAP or not _ADDRESS.match(address):
        return ""
    quoted = _IN_ADDRESS.sub(lambda character: quote(character[0], safe=""), address)
    return _ENTITY.sub("&amp;", quoted)


_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.IGNORECASE)


def _short(given: object) -> str:
    text = _text(given)
    return text[:7] if _COMMIT.fullmatch(text) else truncated(text[:_READ_CAP].strip(), 60)


def _date(given: object) -> str:
    """Return the date and time in UTC of a text in ISO 8601, or of a Unix time in seconds or milliseconds."""
    text = _text(given)[:40].strip()
    try:
        try:
            seconds = float(text)
            date = datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
        except ValueError:
            date = datetime.fromisoformat(text)
        date = date.astimezone(UTC) if date.tzinfo else date
    except (ValueError, OverflowError, OSError):
        return text
    # Go writes a missing time as the year 1.
    return f"{date:%Y-%m-%d %H:%M}{' UTC' * (date.tzinfo is not None)}" if date.year > 1 else ""


FILTERS: Mapping[str, Callable[[object], str]] = {
    "count": lambda given: str(len(given)) if isinstance(given, (list, tuple, Mapping)) else "",
    "date": _date,
    "line": lambda given: next(iter(_text(given)[:_READ_CAP].strip().splitlines()), ""),
    "link": _text,
    "lower": lambda given: _text(given)[:_READ_CAP].lower(),
    "short": _short,
    "title": lambda given: " ".join(word[:1].upper() + word[1:] for word in _text(given)[:_READ_CAP].split()),
    "upper": lambda given: _text(given)[:_READ_CAP].upper(),
}
"""The filters of placeholders by name."""


# Messages.

# Characters of a message for its last line, and for the end of a block of code.
_ROOM = 100
_FENCE = re.compile(r" {0,3}(`{3,40}+|~{3,40}+)")


def message(lines: Iterable[Markdown], most: int, size: int = 4_000) -> Markdown:
    """Return a message of at most `most` lines and `size` characters, without mentions. Empty lines are left out. If it
    would be longer, its last line is the number of those that are left out."""
    shown = [line.rstrip() for text in lines for line in text.split("\n") if line.strip()]
    if not shown:
        return Markdown("")
    # A block of code may need a line that ends it.
    room = most - any(map(_FENCE.match, shown))
    text = "\n".join(shown if len(shown) <= room else shown[: room - 1])
    kept = without_mentions(without_people(text[:size])).split("\n")
    length, left = 0, size - _ROOM
    for number, line in enumerate(kept):
        length += len(line) + 1
        if length > left:
            kept = kept[:number] or [truncated(line, left)]
            break
    fence = ""
    for line in kept:
        if (found := _FENCE.match(line)) and (not fence or line.strip() == fence):
            fence = "" if fence else found[1]
    rest = len(shown) - len(kept)
    ending = [fence] * bool(fence) + [f"… and {rest} more line{'s' * (rest != 1)}"] * bool(rest)
    return Markdown("\n".join([*kept, *ending]))


_LONGEST_EVENT = 100


@dataclass(frozen=True, slots=True)
class Event:
    """What a source reports in one request: the first argument of a handler of `@webhook(…, source="github")`.

    `name` is the source's name of the kind of event, such as "pull_request.opened" or "firing"; empty if the source has none.
    `payload` is the decoded body. `values` are what placeholders such as `{sender.login}` refer to: the keys of the payload,
    those that the source adds, and `event`, which is the name unless the payload has such a key.
    """

    name: str
    payload: Any
    source: Source = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    def text(self) -> Markdown:
        """Return the source's message for a room: who did what to what, with a link. Empty for an event that isn't worth one."""
        lines = (render(line, self.values) for line in self.source.lines(self.name, self.payload))
        return message(lines, self.source.most_lines)


def header(received: Received, name: bytes) -> str:
    """Return the value of a header, or ""."""
    return next((value.decode("latin-1") for key, value in received.headers if key == name), "")


def decoded(received: Received) -> Any:
    """Return the payload of a request, which is decoded by its Content-Type as for handlers of `@webhook`. Raises BadPayload."""
    kind, coding = header(received, b"content-type"), header(received, b"content-encoding")
    return decode_payload(received.body, kind, content_encoding=coding)


ACCEPTED = ImmediateResponse(202, (), b"")


@dataclass(frozen=True, eq=False)
class Source:
    """What errklein knows of a service that sends webhooks."""

    name: str  # the name in commands and settings, such as "github"
    title: str  # the name for people, such as "GitHub"
    # Called with the name of an event and its payload; returns the lines of the message as texts with placeholders, such as
    # `"**{sender.login}** opened [{issue.title}]({issue.html_url})"`. Values never get into a text in another way, so each is
    # escaped. Empty lines are left out.
    lines: Callable[[str, Any], Sequence[str]]
    verification: Callable[..., Verification]  # returns the verification for `secret=` references
    event: Callable[[Received, Any], str] = lambda received, payload: ""  # returns the name of the event of a request
    parse: Callable[[Received], Any] = decoded  # returns the payload of a request; raises BadPayload
    values: Callable[[Any], Mapping[str, Any]] = lambda payload: {}  # returns what placeholders may refer to, too
    signs: bool = False  # whether the service signs its requests; if not, the address of a webhook contains a token
    issues_secret: bool = False  # whether the service makes the secret and shows it when the address is entered there
    # The response to a request that was recorded.
    response: ImmediateResponse | Callable[[Received], ImmediateResponse] = ACCEPTED
    # Returns the response for a status and a reason, for services that expect errors in a form of their own.
    refusal: Callable[[int, str], ImmediateResponse] | None = None
    # Returns the service's id of a delivery that it repeats; by default that of the verification.
    delivery_id: Callable[[Received], str | None] | None = None
    short_url: bool = False  # whether an address is the prefix and the token, without the webhook's name
    suffixes: tuple[str, ...] = ()  # segments that the service appends to the address
    most_lines: int = 10  # the number of lines of a message
    # At most three lines that tell what to do at the service, with `{url}`, `{secret}`, `{token}`, `{host}` (with port and base path)
    # and `{s}` ("s" with TLS).
    setup: Sequence[str] = ()
    example: str = ""  # the file of an example in the source's folder `payloads`

    def read(self, received: Received) -> Event:
        """Return the event that a request reports. Raises BadPayload: the body can't be parsed."""
        payload = self.parse(received)
        own = payload if isinstance(payload, Mapping) else {}
        name = "".join(self.event(received, payload).split())[:_LONGEST_EVENT]
        return Event(name, payload, self, {"event": name, **own, **self.values(payload)})

    def respond(self, received: Received) -> ImmediateResponse:
        """Return the response to a request that was recorded, or that no handler takes."""
        return self.response if isinstance(self.response, ImmediateResponse) else self.response(received)


def wanted(event: str, patterns: Sequence[str]) -> bool:
    """Return whether the name of an event is one of `patterns`, such as "push" or "pull_request.*"; without patterns, all
    are. "pull_request" also means "pull_request.opened" and all others of its kind."""
    return not patterns or any(fnmatchcase(event, pattern) or event.startswith(f"{pattern}.") for pattern in patterns)


FindSource = Callable[[str], Source]  # returns the source of a name, or raises HookError, with a suggestion

"""Decoding of request bodies into payloads, as the table in docs/reference/webhooks.md says."""

from __future__ import annotations

import codecs
import encodings
import json
import pkgutil
import re
from binascii import a2b_qp
from collections.abc import Iterator, Mapping
from contextlib import suppress
from encodings.aliases import aliases
from functools import cache, lru_cache
from io import BytesIO, StringIO
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

MAX_DEPTH = 500  # the nesting of JSON; Python's own limit depends on its version and on the depth of the stack
# The values in JSON: its commas and opening brackets, also those in strings, are counted, which is fast. A value takes up to a
# hundred bytes of memory, and slows the garbage collector, during which all threads wait.
MAX_VALUES = 1_500_000
MAX_KEYS = 250_000  # of an object in JSON of more than 64 KiB, since building the dict blocks all other threads
UNNAMED_PART = "a part of the multipart body has no name"  # RFC 7578, 4.2: a Content-Disposition without `name`
MAX_FIELDS = 1000  # the maximal number of fields of a form
# The invalid escapes and invalid bytes in a form, and unescaped parts in another charset than that of the escapes: each takes time.
MAX_STRAYS = 5000
MAX_PART_HEADERS = 256 * 1024  # the maximal size of the headers of all parts of a form, in bytes
FORM_SLICE = 64 * 1024  # the number of bytes of a form that are decoded in one piece

_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SPACES = bytes.maketrans(b"+", b" ")
_RUN = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
# Werkzeug accepts each of these.
_BLANK_LINE = re.compile(rb"\r\n\r\n|\r\r|\n\n")
_LINE_END = re.compile(rb"[^\S\r\n]*(?:\r\n|\r|\n)")
_SMALL, _SLICE = 64 * 1024, 1024 * 1024
_MANY = 200_000
_MOST_NAMES, _LONGEST_NAME = 10, 60
_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_NOT_IN_NAMES = re.compile("[^a-z0-9]+")
# Not charsets of text, or with a decoder that takes quadratic time.
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"})


class BadPayload(Exception):
    """A body can't be decoded, or exceeds a limit. `status` is that of the response, 400, 413 or 415, and `detail` the reason."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def decode_payload(
    body: bytes, content_type: str = "", *, form_param: str | None = None, content_encoding: str = ""
) -> object:
    """Return the payload for a body; the table in the module's docstring has the rules. Raises BadPayload."""
    if content_encoding and content_encoding.strip().lower() != "identity":
        text = f"Content-Encoding {_shortened(content_encoding)} is not supported; send the body uncompressed"
        raise BadPayload(415, text)
    media_type, options = _read_content_type(content_type)
    if media_type in (_URLENCODED, _MULTIPART):
        read = _read_urlencoded if media_type == _URLENCODED else _read_multipart
        fields: dict[str, str] = {}
        for name, value in read(body, options):
            fields.setdefault(name, value)
        if form_param is None:
            return fields if body else ""
        if form_param not in fields:
            raise BadPayload(400, f"the form has no field {form_param!a}; it has {_names_of(fields)}")
        return _json_or_text(fields[form_param], False)
    if form_param is not None:
        kind = f"it is {_shortened(media_type)}" if media_type else "its Content-Type is missing"
        given = kind if body else "the request has no body"
        form = f"a form ({_URLENCODED} or {_MULTIPART}) with a field {form_param!a}"
        raise BadPayload(400, f"the body must be {form}; {given}")
    if not body:
        return ""
    is_json = media_type == "application/json" or media_type.endswith("+json")
    return _json_or_text(_read_text(body, options.get("charset", "")), is_json)


def decode_text(body: bytes, content_type: str = "") -> str:
    """Return the text of a body in the charset that its Content-Type declares, by default UTF-8. Raises BadPayload."""
    return _read_text(body, _read_content_type(content_type)[1].get("charset", ""))


def _names_of(fields: Mapping[str, str]) -> str:
    if not fields:
        return "no fields"
    shown = ", ".join(map(_shortened, list(fields)[:_MOST_NAMES]))
    more = len(fields) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _shortened(text: str) -> str:
    return ascii(text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}...")


@lru_cache(64)
def _read_content_type(content_type: str) -> tuple[str, Mapping[str, str]]:
    if content_type in ("", "application/json"):
        return content_type, {}
    media_type, options = parse_options_header(content_type)
    return media_type.strip().lower(), options


def _read_text(body: bytes, charset: str) -> str:
    name = _charset_named(charset)
    try:
        # Other decoders than that of UTF-8 would block all other threads for long.
        slices = (body[start : start + _SLICE] for start in range(0, len(body), _SLICE))
        is_quick = name == "utf-8" or len(body) <= _SLICE
        text = body.decode(name) if is_quick else "".join(codecs.iterdecode(slices, name))
    except UnicodeError as error:
        position = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) and error.object == body else ""
        raise BadPayload(400, f"the body is not {name}{position}") from None
    return text[1:] if text[:1] == "\ufeff" else text


def _charset_named(charset: str) -> str:
    if not charset:
        return "utf-8"
    asked = _NOT_IN_NAMES.sub("_", charset.lower()).strip("_")
    name = ""
    # Python caches every name that is looked up and never forgets it, so unknown names aren't looked up.
    if asked in _encodings():
        with suppress(LookupError, ValueError):
            "".encode(asked)
            name = codecs.lookup(asked).name
    if not name or name.replace("_", "-") in _NO_CHARSETS:
        raise BadPayload(415, f"unknown charset {_shortened(charset)}; expected one such as 'utf-8'")
    return name


@cache
def _encodings() -> frozenset[str]:
    """The names of Python's encodings, in lower case with underscores."""
    modules = [module.name for module in pkgutil.iter_modules(encodings.__path__)]
    return frozenset((*modules, *aliases, *aliases.values()))


def _json_or_text(text: str, must_be_json: bool) -> object:
    try:
        return read_json(text)
    except json.JSONDecodeError as error:
        if must_be_json:
            where = f"line {error.lineno}, column {error.colno} (character {error.pos})"
            raise BadPayload(400, f"the body is not JSON: {error.msg} at {where}") from None
        return text


def read_json(text: str) -> Any:
    """Return the value of JSON. Raises JSONDecodeError and BadPayload."""
    try:
        value = _loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        # Python rejects integers of more than 4,300 digits, since their conversion takes quadratic time.
        raise BadPayload(400, "the JSON has a number with too many digits") from None
    level = [value]
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return value
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in (dict, list)
        ]
        if not level:
            return value
    raise _too_deep()


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise BadPayload(413, f"an object of the JSON has more than {MAX_KEYS} keys")
    return dict(pairs)


def _int_of(digits: str) -> int:
    return int(digits)


def _float_of(digits: str) -> float:
    return float(digits)


def _loads(text: str) -> Any:
    if len(text) <= _SMALL or text.lstrip()[:1] not in ("[", "{"):
        return json.loads(text)
    if _count(text, ",[{", MAX_VALUES) > MAX_VALUES:
        raise BadPayload(413, f"the JSON has more than {MAX_VALUES} values")
    # Each call of a function written in Python is an opportunity for other threads.
    decoder = json.JSONDecoder(object_pairs_hook=_object_of, parse_int=_int_of, parse_float=_float_of)
    if _count(text, '["\\', _MANY) > _MANY:
        # For many lists, strings or escapes, it decodes in Python rather than in C, which is much slower.
        decoder.scan_once = py_make_scanner(decoder)  # type: ignore[attr-defined]
    return decoder.decode(text)


def _count(text: str, characters: str, limit: int) -> int:
    """Return how often the characters occur; if more often than `limit`, any larger number."""
    count = 0
    # Counting in all of a large text would block other threads.
    for start in range(0, len(text), _SLICE):
        piece = text[start : start + _SLICE]
        count += sum(map(piece.count, characters))
        if count > limit:
            break
    return count


def _too_deep() -> BadPayload:
    return BadPayload(400, f"the JSON is nested more than {MAX_DEPTH} levels deep")


def _read_urlencoded(body: bytes, options: Mapping[str, str]) -> list[tuple[str, str]]:
    charset = options.get("charset", "")
    name = _charset_named(charset)
    try:
        return parse_urlencoded(_read_text(body, charset).encode("utf-8", "surrogatepass"), name)
    except UnicodeError:
        raise BadPayload(400, f"a field of the form is not {name}") from None


def _read_multipart(body: bytes, options: Mapping[str, str]) -> list[tuple[str, str]]:
    boundary = options.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise BadPayload(400, "the multipart body has no boundary")
    # Only raw handlers get files, since names of files come from the client and need checks.
    parser = FormDataParser(lambda *args, **kwargs: BytesIO(), len(body), max_form_parts=MAX_FIELDS, silent=False)
    try:
        check_multipart(body, boundary.encode("ascii"))
        _, fields, files = parser.parse(BytesIO(body), _MULTIPART, len(body), dict(options))
    except (HTTPException, ValueError, LookupError):
        raise BadPayload(400, "the multipart body is malformed") from None
    if None in fields or None in files:
        raise BadPayload(400, UNNAMED_PART)
    return list(fields.items(multi=True))


def parse_urlencoded(form: bytes, encoding: str = "utf-8", errors: str = "strict") -> list[tuple[str, str]]:
    """Return the names and values of an urlencoded form, as `urllib.parse.parse_qsl` does, for forms of any size. Raises
    BadPayload: the form exceeds a limit. UnicodeError: a byte is invalid in the charset, with `errors="strict"`. The standard
    library creates an object for each escape, and joins millions of them while all other threads wait: a form of 24 MB takes
    gigabytes of memory. This parser decodes escapes in C, in slices between which other threads run."""
    if form.count(b"&") >= MAX_FIELDS:
        raise BadPayload(413, f"the form has more than {MAX_FIELDS} fields")
    reader = _FormReader(form, encoding, errors)
    pairs = []
    start = 0
    while start < len(form):
        end = _found(form, b"&", start, len(form))
        if start < end:
            name_end = _found(form, b"=", start, end)
            pairs.append((reader.read(start, name_end), reader.read(name_end + 1, end)))
        start = end + 1
    return pairs


def _found(form: bytes, sign: bytes, start: int, end: int) -> int:
    index = form.find(sign, start, end)
    return end if index < 0 else index


class _FormReader:
    def __init__(self, form: bytes, encoding: str, errors: str) -> None:
        self._form, self._encoding, self._errors = form, encoding, errors
        self._strays = 0

    def read(self, start: int, end: int) -> str:
        form = self._form
        if form.find(b"%", start, end) < 0:
            return form[start:end].translate(_SPACES).decode("utf-8", "surrogatepass")
        if self._encoding == "utf-8" or form[start:end].isascii():
            return self._decode(self._unquote(start, end))
        # `encoding` applies to ASCII runs only, which contain the escapes.
        text = StringIO()
        for run in _RUN.finditer(form, start, end):
            if run[0].isascii():
                text.write(self._decode(self._unquote(*run.span())))
            else:
                self._count(1)
                text.write(run[0].decode("utf-8", "surrogatepass"))
        return text.getvalue()

    def _unquote(self, start: int, end: int) -> bytearray:
        unquoted = bytearray()
        while start < end:
            cut = start + FORM_SLICE
            if cut < end:
                # An escape that begins in the last two bytes is left for the next slice.
                cut = _found(self._form, b"%", cut - 2, cut)
            unquoted += self._unquote_slice(self._form[start : min(cut, end)].translate(_SPACES))
            start = cut
        return unquoted

    def _unquote_slice(self, data: bytes) -> bytes:
        # "=" is escaped below, which takes time too.
        self._count(data.count(b"=") // 1000)
        # Quoted-printable is the same encoding with "=" for "%", but removes a line end after the sign.
        if not (b"\n" in data and b"%\n" in data) and not (b"\r" in data and b"%\r" in data):
            unquoted = _from_quoted_printable(data)
            if len(data) - len(unquoted) == 2 * data.count(b"%"):
                return unquoted
        data, strays = _STRAY.subn(b"%25", data)
        self._count(strays)
        return _from_quoted_printable(data)

    def _decode(self, data: bytearray) -> str:
        try:
            return data.decode(self._encoding)
        except UnicodeDecodeError:
            if self._errors == "strict":
                raise
        self._count(len(data) - len(data.decode(self._encoding, "ignore").encode(self._encoding)))
        return data.decode(self._encoding, self._errors)

    def _count(self, strays: int) -> None:
        self._strays += strays
        if self._strays > MAX_STRAYS:
            raise BadPayload(413, f"the form has more than {MAX_STRAYS} invalid escapes or bytes")


def _from_quoted_printable(data: bytes) -> bytes:
    return a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))


def check_multipart(form: bytes, boundary: bytes) -> None:
    """Raise BadPayload if a multipart form has too many parts or too long headers, which Werkzeug's parser doesn't limit. Each
    occurrence of the boundary counts as a part, since parts must not contain it (RFC 2046, 5.1.1)."""
    left = MAX_PART_HEADERS
    for number, end in enumerate(_delimiters(form, b"--" + boundary) if boundary else ()):
        if number >= MAX_FIELDS:
            raise BadPayload(413, f"the form has more than {MAX_FIELDS} parts")
        line = _LINE_END.match(form, end, end + left)
        begin = line.end() if line else end
        blank = _BLANK_LINE.search(form, begin, begin + left)
        left -= (blank.start() if blank else len(form)) - begin
        if left < 0:
            raise BadPayload(413, f"the headers of the form's parts are longer than {MAX_PART_HEADERS} bytes")


def _delimiters(form: bytes, delimiter: bytes) -> Iterator[int]:
    """Yield the ends of all delimiters but closing ones. The form is searched in slices, between which other threads run."""
    start = 0
    while start < len(form):
        index = form.find(delimiter, start, start + FORM_SLICE + len(delimiter))
        if index < 0:
            start += FORM_SLICE
            continue
        start = index + len(delimiter)
        if not form.startswith(b"--", start):
            yield start

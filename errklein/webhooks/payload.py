"""From the body of a request to what the handler gets.

| body | payload |
|---|---|
| empty, of whatever type | `''` |
| a form, urlencoded or multipart | a dict of its fields; of a field given twice, the first value |
| with `form_param`: that field | its value, decoded if it is JSON, else as it is |
| JSON, whatever the media type says | the decoded value |
| malformed, of media type `application/json` or `…+json` | BadPayload, 400, with the position |
| anything else | the text |

Text is decoded by the declared charset, by default UTF-8; a byte order mark is dropped. `NaN`, `Infinity` and lone
surrogates are accepted, since senders send them; they must not be sent on as they are.
"""

from __future__ import annotations

import codecs
import encodings
import json
import pkgutil
import re
from collections.abc import Mapping
from contextlib import suppress
from encodings.aliases import aliases
from functools import cache
from io import BytesIO
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from errklein.webhooks.urlencoded import MAX_FIELDS, BadForm, parse_urlencoded

MAX_DEPTH = 500
"""How deep JSON may be nested. Python's own limit depends on its version and on the stack above the parser."""

MAX_CONTAINERS = 1_000_000
"""How many lists and objects JSON of more than a megabyte may have: each takes a hundred bytes of memory, and time of
every thread when garbage is collected."""

MAX_KEYS = 250_000
"""How many keys an object in such JSON may have: it is made of them in one piece, while all other threads wait."""

_LARGE = 1024 * 1024
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_NOT_IN_NAMES = re.compile("[^a-z0-9]+")
# Not encodings of text, or with a decoder that takes quadratic time.
_NO_CHARSETS = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"})


class BadPayload(Exception):
    """The body isn't what it says; `status` is the HTTP status, `detail` a sentence for the sender."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def decode_payload(
    body: bytes, content_type: str = "", *, form_param: str | None = None, content_encoding: str = ""
) -> object:
    """What a handler gets for a body, by the headers Content-Type and Content-Encoding. Raises BadPayload."""
    if content_encoding and content_encoding.strip().lower() != "identity":
        raise BadPayload(415, f"a body with Content-Encoding {content_encoding!a} is not accepted; send it as it is")
    media_type, options = _read_content_type(content_type)
    if media_type in (_URLENCODED, _MULTIPART):
        fields = _read_form(body, media_type, options)
        if form_param is None:
            return fields if body else ""
        if form_param not in fields:
            raise BadPayload(400, f"the form has no field {form_param!a}")
        return _json_or_text(fields[form_param], False)
    if form_param is not None:
        raise BadPayload(400, f"the body must be a form with the field {form_param!a}")
    if not body:
        return ""
    is_json = media_type == "application/json" or media_type.endswith("+json")
    return _json_or_text(_read_text(body, options.get("charset", "")), is_json)


def _read_content_type(content_type: str) -> tuple[str, Mapping[str, str]]:
    if content_type in ("", "application/json"):
        return content_type, {}
    media_type, options = parse_options_header(content_type)
    return media_type.strip().lower(), options


def _read_text(body: bytes, charset: str) -> str:
    name = _charset_named(charset)
    try:
        text = body.decode(name)
    except UnicodeError as error:
        position = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise BadPayload(400, f"the body is not {name}{position}") from None
    return text[1:] if text[:1] == "\ufeff" else text


def _charset_named(charset: str) -> str:
    if not charset:
        return "utf-8"
    asked = _NOT_IN_NAMES.sub("_", charset.lower()).strip("_")
    name = ""
    # Python remembers for ever each name that it was asked for, so it is asked only for those that there are.
    if asked in _encodings():
        with suppress(LookupError, ValueError):
            "".encode(asked)
            name = codecs.lookup(asked).name
    if not name or name.replace("_", "-") in _NO_CHARSETS:
        raise BadPayload(415, f"the charset {charset!a} is not known")
    return name


@cache
def _encodings() -> frozenset[str]:
    """The names by which Python knows encodings, in small letters with underscores."""
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


def read_json(text: str, *, patient: bool = True) -> Any:
    """The value that the JSON says. Raises JSONDecodeError, and BadPayload if there is more of something than may be.

    If `patient`, other threads have their turns while large JSON is read, which takes longer.
    """
    try:
        value = _loads(text, patient)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        # Python refuses to convert integers of more than 4,300 digits, since that takes quadratic time.
        raise BadPayload(400, "the JSON has a number with too many digits") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise _too_deep()
    return value


class _PatientDecoder(json.JSONDecoder):
    """Decodes in Python rather than in C: slower, but other threads have their turns meanwhile."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_object_of)
        self.scan_once = py_make_scanner(self)


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise BadPayload(413, f"an object of the JSON has more than {MAX_KEYS} keys")
    return dict(pairs)


def _loads(text: str, patient: bool) -> Any:
    if len(text) <= _LARGE:
        return json.loads(text)
    if text.lstrip()[:1] in ("[", "{") and text.count("[") + text.count("{") > MAX_CONTAINERS:
        raise BadPayload(413, f"the JSON has more than {MAX_CONTAINERS} lists and objects")
    return _PatientDecoder().decode(text) if patient else json.loads(text, object_pairs_hook=_object_of)


def _too_deep() -> BadPayload:
    return BadPayload(400, f"the JSON is nested more than {MAX_DEPTH} levels deep")


def _deeper_than(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) in (dict, list)
        ]
        if not level:
            return False
    return True


def _read_form(body: bytes, media_type: str, options: Mapping[str, str]) -> dict[str, str]:
    if media_type == _URLENCODED:
        pairs = _read_urlencoded(body, options.get("charset", ""))
    else:
        pairs = _read_multipart(body, options)
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def _read_urlencoded(body: bytes, charset: str) -> list[tuple[str, str]]:
    name = _charset_named(charset)
    try:
        return parse_urlencoded(_read_text(body, charset).encode("utf-8", "surrogatepass"), name)
    except BadForm as error:
        raise BadPayload(400, str(error)) from None
    except UnicodeError:
        raise BadPayload(400, f"a field of the form is not {name}") from None


def _read_multipart(body: bytes, options: Mapping[str, str]) -> list[tuple[str, str]]:
    if not options.get("boundary"):
        raise BadPayload(400, "the multipart body has no boundary")
    # Files come with the raw request only, since their names are nothing to trust.
    parser = FormDataParser(
        stream_factory=lambda *args, **kwargs: BytesIO(),
        max_form_memory_size=len(body),
        max_form_parts=MAX_FIELDS,
        silent=False,
    )
    try:
        _, fields, _ = parser.parse(BytesIO(body), _MULTIPART, len(body), dict(options))
    except (HTTPException, ValueError, LookupError):
        raise BadPayload(400, f"the multipart body is malformed, or has more than {MAX_FIELDS} parts") from None
    return list(fields.items(multi=True))

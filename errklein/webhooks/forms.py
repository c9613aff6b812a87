"""A parser of urlencoded forms with the results of `urllib.parse.parse_qsl`, for forms of any size, and a check of multipart forms.

The standard library creates an object for each escape, and joins millions of them while all other threads wait: a form of
24 MB takes gigabytes of memory. This parser decodes escapes in C, in slices between which other threads run.

Werkzeug parses multipart forms. Its parser limits their fields, but not the headers of their parts, so they are checked before.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Iterator
from io import StringIO

MAX_FIELDS = 1000
"""The maximal number of fields of a form."""

MAX_STRAYS = 5000
"""The maximal number of invalid escapes and invalid bytes in a form, and of unescaped parts in another charset than that of the escapes,
since each takes time."""

SLICE = 64 * 1024
"""The number of bytes that are decoded in one piece."""

_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SPACES = bytes.maketrans(b"+", b" ")
_RUN = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")

MAX_PART_HEADERS = 256 * 1024
"""The maximal size of the headers of all parts of a form, in bytes."""

# Werkzeug accepts each of these.
_BLANK_LINE = re.compile(rb"\r\n\r\n|\r\r|\n\n")
_LINE_END = re.compile(rb"[^\S\r\n]*(?:\r\n|\r|\n)")


class BadForm(ValueError):
    """A form has too many fields, or too many invalid escapes and bytes."""


def parse_urlencoded(form: bytes, encoding: str = "utf-8", errors: str = "strict") -> list[tuple[str, str]]:
    """Return the names and values of a form.

    :param form: The body, in UTF-8.
    :param encoding: The charset of the escapes.
    :param errors: The error handler for bytes that are invalid in the charset.
    :raises BadForm: The form exceeds a limit.
    :raises UnicodeError: A byte is invalid in the charset, with `errors="strict"`.
    """
    if form.count(b"&") >= MAX_FIELDS:
        raise BadForm(f"the form has more than {MAX_FIELDS} fields")
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
    """Decodes the names and values of one form, and counts invalid escapes and bytes."""

    def __init__(self, form: bytes, encoding: str, errors: str) -> None:
        self._form = form
        self._encoding = encoding
        self._errors = errors
        self._strays = 0

    def read(self, start: int, end: int) -> str:
        """Return the name or value at this position as text."""
        form = self._form
        if form.find(b"%", start, end) < 0:
            return form[start:end].translate(_SPACES).decode("utf-8", "surrogatepass")
        if self._encoding == "utf-8" or form[start:end].isascii():
            return self._decode(self._unquote(start, end))
        # `encoding` applies to ASCII runs only, which contain the escapes.
        text = StringIO()
        for run in _RUN.finditer(form, start, end):
            ascii_only = run[0].isascii()
            self._count(not ascii_only)
            text.write(
                self._decode(self._unquote(*run.span())) if ascii_only else run[0].decode("utf-8", "surrogatepass")
            )
        return text.getvalue()

    def _unquote(self, start: int, end: int) -> bytearray:
        unquoted = bytearray()
        while start < end:
            cut = start + SLICE
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
            raise BadForm(f"the form has more than {MAX_STRAYS} invalid escapes or bytes")


def _from_quoted_printable(data: bytes) -> bytes:
    return a2b_qp(data.replace(b"=", b"=3D").replace(b"%", b"="))


def check_multipart(form: bytes, boundary: bytes) -> None:
    """Check the number of a form's parts and the size of their headers.

    Each occurrence of the boundary counts as a part, since parts must not contain it (RFC 2046, 5.1.1).

    :param form: The body.
    :param boundary: The parameter of its Content-Type. A form without one isn't checked, since it can't be parsed.
    :raises BadForm: The form exceeds a limit.
    """
    left = MAX_PART_HEADERS
    for number, end in enumerate(_delimiters(form, b"--" + boundary) if boundary else ()):
        if number >= MAX_FIELDS:
            raise BadForm(f"the form has more than {MAX_FIELDS} parts")
        line = _LINE_END.match(form, end, end + left)
        begin = line.end() if line else end
        blank = _BLANK_LINE.search(form, begin, begin + left)
        left -= (blank.start() if blank else len(form)) - begin
        if left < 0:
            raise BadForm(f"the headers of the form's parts are longer than {MAX_PART_HEADERS} bytes")


def _delimiters(form: bytes, delimiter: bytes) -> Iterator[int]:
    """Yield the ends of all delimiters but closing ones. The form is searched in slices, between which other threads run."""
    start = 0
    while start < len(form):
        index = form.find(delimiter, start, start + SLICE + len(delimiter))
        if index < 0:
            start += SLICE
            continue
        start = index + len(delimiter)
        if not form.startswith(b"--", start):
            yield start

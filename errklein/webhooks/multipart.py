"""A check of multipart forms before Werkzeug parses them: its parser limits their fields, but not the headers of their parts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from errklein.webhooks.urlencoded import MAX_FIELDS, SLICE, BadForm

MAX_PART_HEADERS = 256 * 1024
"""The maximal size of the headers of all parts of a form, in bytes."""

# Werkzeug accepts each of these.
_BLANK_LINE = re.compile(rb"\r\n\r\n|\r\r|\n\n")
_LINE_END = re.compile(rb"[^\S\r\n]*(?:\r\n|\r|\n)")


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

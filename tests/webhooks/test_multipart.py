"""Tests for the check of multipart forms."""

from __future__ import annotations

import contextlib
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from werkzeug.sansio.multipart import Epilogue, MultipartDecoder, NeedData

from errklein.webhooks import payload as parsers
from errklein.webhooks.payload import FORM_SLICE, MAX_FIELDS, BadPayload, check_multipart

# Of what multipart forms are made, and of what may be mistaken for it.
_PARTS = (
    "--b|--|b|-|\r\n|\r|\n| |\t|--b\r\n|--b--|\r\n--b\r\n|\n\n|X: y\r\n|z|Content-Disposition: form-data; name=a\r\n"
)
forms = st.lists(st.sampled_from(_PARTS.split("|")), max_size=30).map(lambda parts: "".join(parts).encode())


def headers_of(form: bytes) -> list[int]:
    """Return the sizes of the header sections that Werkzeug parses, until it finds an error."""
    sizes: list[int] = []
    decoder = MultipartDecoder(b"b")
    parse = decoder._parse_headers

    def measured(data: bytes | bytearray) -> object:
        sizes.append(len(data))
        return parse(data)

    decoder.receive_data(form)
    decoder.receive_data(None)
    with mock.patch.object(decoder, "_parse_headers", measured), contextlib.suppress(ValueError, AttributeError):
        while not isinstance(decoder.next_event(), (Epilogue, NeedData)):
            pass
    return sizes


class CheckTests(SynchronousTestCase):
    """Forms that would take long to parse are rejected, and no others."""

    def refused(self, form: bytes, boundary: bytes = b"b") -> str:
        """Return the reason of the rejection."""
        return str(self.assertRaises(BadPayload, check_multipart, form, boundary))

    @given(forms, st.integers(0, 40))
    def test_no_headers_escape(self, form: bytes, limit: int) -> None:
        """Werkzeug never parses more headers than the limit in a form that passes, whatever its line ends are."""
        with mock.patch.object(parsers, "MAX_PART_HEADERS", limit), mock.patch.object(parsers, "FORM_SLICE", 3):
            try:
                check_multipart(form, b"b")
            except BadPayload:
                return
        self.assertLessEqual(sum(headers_of(form)), limit)

    def test_usual_forms(self) -> None:
        """A form with the maximal number of parts, and with content of several megabytes, passes."""
        part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="some name.txt"\r\nContent-Type: text/plain\r\n\r\n'
        check_multipart((part + b"x\r\n") * MAX_FIELDS + b"--b--\r\n", b"b")
        check_multipart(part + b"--\r\n" * 1_000_000 + b"\r\n--b--\r\n", b"b")
        check_multipart(b"", b"b")
        check_multipart(b"--\r\n\r\n" * (MAX_FIELDS + 1), b"")

    def test_parts(self) -> None:
        """One part more than the maximum is rejected, also if it is only a delimiter within a line."""
        self.assertIn("parts", self.refused(b"--b\r\nX: y\r\n\r\n" * (MAX_FIELDS + 1)))
        self.assertIn("parts", self.refused(b"--b.\r\n\r\n" * (MAX_FIELDS + 1)))

    def test_headers(self) -> None:
        """Headers of one part or of all parts that exceed the limit are rejected, with and without a line end."""
        for headers in (b"X: y\r\n", b"X: y\n", b"X", b"X: y\r\n z\r\n"):
            many = headers * (parsers.MAX_PART_HEADERS // len(headers) + 1)
            self.assertIn("headers", self.refused(b"--b\r\n" + many + b"\r\n\r\n"))
            self.assertIn("headers", self.refused(b"--b\r\n" + many))
            self.assertIn("headers", self.refused((b"--b\r\n" + many[: len(many) // 3] + b"\r\n\r\n") * 4))
        self.assertIn("headers", self.refused(b"--b" + b" " * (parsers.MAX_PART_HEADERS + 1) + b"\r\n"))

    def test_boundary_across_slices(self) -> None:
        """A delimiter is found at every position of a slice, also if it is longer than a slice."""
        for boundary in (b"b" * 70, b"b" * FORM_SLICE * 2):
            for shift in (0, 1, len(boundary) // 2, len(boundary), len(boundary) + 1):
                form = b"x" * (FORM_SLICE - shift) + b"--" + boundary + b"\r\n" + b"X" * (parsers.MAX_PART_HEADERS + 1)
                self.assertIn("headers", self.refused(form, boundary))

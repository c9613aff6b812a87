"""Tests for the parser of urlencoded forms."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus

import werkzeug.urls  # noqa: F401 - it has the way that errors are told of in the facade.
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks import payload as parsers
from errklein.webhooks.payload import FORM_SLICE, MAX_FIELDS, MAX_STRAYS, BadPayload, parse_urlencoded

# Of what forms are made, and of what may be mistaken for it.
_PARTS = "% = & + 4 1 f x \n \r %41 %3d %25 %0A %% %\n %= é 😀 \0 %C3 %A9 %E2%82%AC %F0%9F%98%80 %ff %82%A0"
forms = st.lists(st.sampled_from(_PARTS.split(" ")), max_size=40).map("".join)


def as_python_reads(form: str, encoding: str, errors: str) -> list[tuple[str, str]] | None:
    """Return the fields as urllib parses them; None if it can't."""
    try:
        return parse_qsl(form, keep_blank_values=True, encoding=encoding, errors=errors)
    except UnicodeError:
        return None


class SmallSliceTests(SynchronousTestCase):
    """A form is parsed to the same result for every slice size."""

    def setUp(self) -> None:
        """Use slices of a few bytes."""
        self.patch(parsers, "FORM_SLICE", 3)

    @given(
        forms,
        st.sampled_from(["utf-8", "iso8859-1", "ascii", "shift_jis", "utf-16-le", "utf-8-sig"]),
        st.sampled_from(["strict", "werkzeug.url_quote"]),
    )
    def test_as_python(self, form: str, encoding: str, errors: str) -> None:
        """Names, values and errors are those of urllib."""
        expected = as_python_reads(form, encoding, errors)
        if expected is None:
            self.assertRaises(UnicodeError, parse_urlencoded, form.encode(), encoding, errors)
        else:
            self.assertEqual(parse_urlencoded(form.encode(), encoding, errors), expected)


class SliceTests(SynchronousTestCase):
    """No step blocks other threads for long."""

    def test_slices(self) -> None:
        """A large value is decoded in slices that never split an escape."""
        pieces: list[int] = []
        decode = parsers.a2b_qp

        def counted(data: bytes) -> bytes:
            pieces.append(len(data))
            return decode(data)

        self.patch(parsers, "a2b_qp", counted)
        text = "é=x\n" * FORM_SLICE
        for shift in range(3):
            form = "a" * shift + "=" + quote_plus(text)
            pieces.clear()
            self.assertEqual(parse_urlencoded(form.encode()), [("a" * shift, text)])
            self.assertGreaterEqual(len(pieces), len(form) // FORM_SLICE)
            self.assertLessEqual(max(pieces), FORM_SLICE)


class TooMuchTests(SynchronousTestCase):
    """Forms that take too long are rejected."""

    def refused(self, form: bytes, errors: str = "strict") -> str:
        """Return the reason of the rejection."""
        return str(self.assertRaises(BadPayload, parse_urlencoded, form, "utf-8", errors))

    def test_fields(self) -> None:
        """The maximal number of fields is accepted, and one more is rejected."""
        form = b"&".join([b"a=1"] * MAX_FIELDS)
        self.assertEqual(len(parse_urlencoded(form)), MAX_FIELDS)
        self.assertIn("fields", self.refused(form + b"&"))

    def test_strays(self) -> None:
        """The maximal number of invalid escapes in all fields is accepted, and one more is rejected."""
        for stray in (b"%", b"%x", b"%\n", b"%\r"):
            half = stray * (MAX_STRAYS // 2)
            value = half.decode()
            self.assertEqual(parse_urlencoded(b"a=" + half + b"&b=" + half), [("a", value), ("b", value)])
            self.assertIn("invalid escapes", self.refused(b"a=" + half + b"&b=%" + half))

    def test_text_between_escapes_of_another_charset(self) -> None:
        """Thousands of unescaped parts, between escapes of another charset than UTF-8, are rejected."""
        form = "%E9é".encode() * MAX_STRAYS
        self.assertEqual(parse_urlencoded(form, "latin-1"), [("éé" * MAX_STRAYS, "")])
        self.assertRaises(BadPayload, parse_urlencoded, form + "a%41é".encode(), "latin-1")

    def test_bytes_that_are_no_text(self) -> None:
        """The maximal number of invalid bytes is kept as escapes, and one more is rejected."""
        form = b"%ff" * MAX_STRAYS
        self.assertEqual(parse_urlencoded(form, errors="werkzeug.url_quote"), [("%FF" * MAX_STRAYS, "")])
        self.assertIn("bytes", self.refused(form + b"%ff", "werkzeug.url_quote"))
        self.assertRaises(UnicodeError, parse_urlencoded, b"%ff")

    def test_equals_signs(self) -> None:
        """Millions of equals signs among escapes are rejected; without escapes they are decoded."""
        signs = b"=" * (MAX_STRAYS * 1001 + FORM_SLICE)
        self.assertIn("invalid escapes", self.refused(signs + b"%41"))
        self.assertEqual(parse_urlencoded(signs), [("", signs[1:].decode())])

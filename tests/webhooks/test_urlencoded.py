"""Tests for how urlencoded forms are read."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus

import werkzeug.urls  # noqa: F401 - it has the way that errors are told of in the facade.
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks import urlencoded
from errklein.webhooks.urlencoded import MAX_FIELDS, MAX_STRAYS, SLICE, BadForm, parse_urlencoded

# Of what forms are made, and of what may be mistaken for it.
_PARTS = "% = & + 4 1 f x \n \r %41 %3d %25 %0A %% %\n %= é 😀 \0 %C3 %A9 %E2%82%AC %F0%9F%98%80 %ff %82%A0"
forms = st.lists(st.sampled_from(_PARTS.split(" ")), max_size=40).map("".join)


def as_python_reads(form: str, encoding: str, errors: str) -> list[tuple[str, str]] | None:
    """What urllib makes of a form; None if it can't read it."""
    try:
        return parse_qsl(form, keep_blank_values=True, encoding=encoding, errors=errors)
    except UnicodeError:
        return None


class SmallSliceTests(SynchronousTestCase):
    """However a form is cut, it reads the same."""

    def setUp(self) -> None:
        """Cut everywhere."""
        self.patch(urlencoded, "SLICE", 3)

    @given(
        forms,
        st.sampled_from(["utf-8", "iso8859-1", "ascii", "shift_jis", "utf-16-le", "utf-8-sig"]),
        st.sampled_from(["strict", "werkzeug.url_quote"]),
    )
    def test_as_python(self, form: str, encoding: str, errors: str) -> None:
        """Names and values are those that urllib reads, right or wrong, and errors the same."""
        expected = as_python_reads(form, encoding, errors)
        if expected is None:
            self.assertRaises(UnicodeError, parse_urlencoded, form.encode(), encoding, errors)
        else:
            self.assertEqual(parse_urlencoded(form.encode(), encoding, errors), expected)


class SliceTests(SynchronousTestCase):
    """What holds every other thread up is short."""

    def test_slices(self) -> None:
        """A large value is decoded in pieces, which end between escapes wherever these are."""
        pieces: list[int] = []
        decode = urlencoded.a2b_qp

        def counted(data: bytes) -> bytes:
            pieces.append(len(data))
            return decode(data)

        self.patch(urlencoded, "a2b_qp", counted)
        text = "é=x\n" * SLICE
        for shift in range(3):
            form = "a" * shift + "=" + quote_plus(text)
            pieces.clear()
            self.assertEqual(parse_urlencoded(form.encode()), [("a" * shift, text)])
            self.assertGreaterEqual(len(pieces), len(form) // SLICE)
            self.assertLessEqual(max(pieces), SLICE)


class TooMuchTests(SynchronousTestCase):
    """What takes too long is refused."""

    def refused(self, form: bytes, errors: str = "strict") -> str:
        """The reason."""
        return str(self.assertRaises(BadForm, parse_urlencoded, form, "utf-8", errors))

    def test_fields(self) -> None:
        """So many, and not one more."""
        form = b"&".join([b"a=1"] * MAX_FIELDS)
        self.assertEqual(len(parse_urlencoded(form)), MAX_FIELDS)
        self.assertIn("fields", self.refused(form + b"&"))

    def test_strays(self) -> None:
        """Percent signs of no escape: so many in all fields together, and not one more, with lines' ends and without."""
        for stray in (b"%", b"%x", b"%\n", b"%\r"):
            half = stray * (MAX_STRAYS // 2)
            value = half.decode()
            self.assertEqual(parse_urlencoded(b"a=" + half + b"&b=" + half), [("a", value), ("b", value)])
            self.assertIn("invalid escapes", self.refused(b"a=" + half + b"&b=%" + half))

    def test_bytes_that_are_no_text(self) -> None:
        """So many are kept as escapes, where they are kept at all."""
        form = b"%ff" * MAX_STRAYS
        self.assertEqual(parse_urlencoded(form, errors="werkzeug.url_quote"), [("%FF" * MAX_STRAYS, "")])
        self.assertIn("bytes", self.refused(form + b"%ff", "werkzeug.url_quote"))
        self.assertRaises(UnicodeError, parse_urlencoded, b"%ff")

    def test_equals_signs(self) -> None:
        """Millions of them among escapes are no form; without escapes they take no time."""
        signs = b"=" * (MAX_STRAYS * 1001 + SLICE)
        self.assertIn("invalid escapes", self.refused(signs + b"%41"))
        self.assertEqual(parse_urlencoded(signs), [("", signs[1:].decode())])

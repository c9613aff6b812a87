"""Tests for the payloads that handlers get."""

from __future__ import annotations

import encodings
import json
import math
import sys
from typing import Any
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.webhooks.payload import (
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_KEYS,
    MAX_PART_HEADERS,
    MAX_STRAYS,
    MAX_VALUES,
    BadPayload,
    decode_payload,
)
from tests import takes_long

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def multipart(*parts: tuple[str, str], boundary: str = "b") -> bytes:
    """Return a multipart body of (disposition parameters, content) pairs."""
    lines = [f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n" for head, content in parts]
    return ("".join(lines) + f"--{boundary}--\r\n").encode()


class PayloadCase(SynchronousTestCase):
    """Shared assertions."""

    def refused(self, status: int, body: bytes, content_type: str = "", **options: Any) -> str:
        """Fail unless the body is rejected with this status. Return the reason."""
        error = self.assertRaises(BadPayload, decode_payload, body, content_type, **options)
        self.assertEqual(error.status, status)
        self.assertEqual(str(error), error.detail)
        return error.detail


class JSONTests(PayloadCase):
    """JSON is decoded, with any media type."""

    @given(json_values, st.sampled_from([JSON, "", "text/plain", "application/vnd.github+json; charset=utf-8"]))
    def test_any_value_arrives(self, value: Any, content_type: str) -> None:
        """Every JSON value is decoded as by json.loads, with any media type."""
        self.assertEqual(decode_payload(json.dumps(value).encode(), content_type), value)

    @given(st.binary(max_size=200), st.sampled_from([JSON, "", "text/plain", FORM, "multipart/form-data; boundary=b"]))
    def test_no_body_does_harm(self, body: bytes, content_type: str) -> None:
        """Any bytes result in a payload or in BadPayload."""
        try:
            decode_payload(body, content_type)
        except BadPayload as error:
            self.assertIn(error.status, (400, 415))

    @given(st.text(max_size=30))
    def test_no_content_type_does_harm(self, content_type: str) -> None:
        """Any Content-Type results in a payload or in BadPayload."""
        try:
            decode_payload(b'{"a": 1}', content_type)
        except BadPayload as error:
            self.assertIn(error.status, (400, 415))

    def test_numbers_that_are_none(self) -> None:
        """NaN and Infinity are accepted, as on errbot."""
        value: Any = decode_payload(b"[NaN, Infinity]", JSON)
        self.assertTrue(math.isnan(value[0]))
        self.assertEqual(value[1], math.inf)

    def test_lone_surrogates(self) -> None:
        """Lone surrogates are accepted."""
        self.assertEqual(decode_payload(b'"\\ud800"', JSON), "\ud800")

    def test_nesting(self) -> None:
        """JSON at the nesting limit is decoded, and one level more is rejected, on every Python."""

        def nested(levels: int) -> bytes:
            return b"[" * levels + b"]" * levels

        decode_payload(nested(MAX_DEPTH), JSON)
        for levels in (MAX_DEPTH + 1, 100_000):
            self.assertIn("deep", self.refused(400, nested(levels), JSON))
        self.refused(400, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, JSON)

    def test_many_brackets_are_not_deep(self) -> None:
        """Brackets side by side, or in strings, don't count as nesting."""
        value = [[] for _ in range(2 * MAX_DEPTH)] + ["[" * 2 * MAX_DEPTH, '"[\\']
        self.assertEqual(decode_payload(json.dumps(value).encode(), JSON), value)

    def test_large_json(self) -> None:
        """Several megabytes of JSON are decoded correctly, with few lists and strings and with many."""
        for value in (
            [{"a": [1, 2.5, None, "é\n"], "b": {"c": True}}] * 20_000,
            [{"a": 12345678901234567890, "b": -1.5e300, "c": "é\n" * 100}] * 2_000,
        ):
            body = json.dumps(value).encode()
            self.assertEqual(decode_payload(body, JSON), value)
            self.assertIn("character", self.refused(400, body[:-1], JSON))
        self.refused(400, b"[" * 2_000 + b" " * 2_000_000, JSON)

    def test_large_json_lets_threads_run(self) -> None:
        """Other threads run while JSON of about a megabyte is decoded that would take long in one piece."""
        for item in (b"1" * 4000, b"1.5", b"[]", b'{"a": 1}', b'"a"'):
            body = b"[" + (item + b",") * (1_200_000 // (len(item) + 1)) + b"1]"
            calls = 0

            def traced(frame: object, event: str, argument: object) -> None:
                nonlocal calls
                calls += event == "call"

            sys.setprofile(traced)
            try:
                decode_payload(body, JSON)
            finally:
                sys.setprofile(None)
            self.assertGreater(calls, 280, item)

    def test_too_many_values(self) -> None:
        """JSON with too many values of any kind is rejected; text that isn't JSON may have as many commas."""
        for item in (b"1", b"[]", b"{}"):
            body = b"[" + (item + b",") * MAX_VALUES + b"1]"
            self.assertIn("values", self.refused(413, body, JSON))
        self.assertEqual(decode_payload(b"x" + body, "text/plain"), "x" + body.decode())
        body = b"[" + b"1," * (MAX_VALUES - 1) + b"1]"
        self.assertEqual(decode_payload(body, JSON), [1] * MAX_VALUES)

    def test_too_many_keys(self) -> None:
        """An object with too many keys is rejected; several smaller ones are not."""
        takes_long()
        keys = {f"number {number}": number for number in range(MAX_KEYS)}
        self.assertEqual(decode_payload(json.dumps(keys).encode(), JSON), keys)
        half = {f"number {number}": number for number in range(MAX_KEYS // 2 + 1)}
        self.assertEqual(decode_payload(json.dumps([half, half]).encode(), JSON), [half, half])
        keys["one more"] = 1
        self.assertIn("keys", self.refused(413, json.dumps(keys).encode(), JSON))

    def test_many_digits(self) -> None:
        """An integer with more digits than Python converts is rejected."""
        self.assertIn("digits", self.refused(400, b"1" * 5000, JSON))


class TextTests(PayloadCase):
    """Text is decoded by its declared charset."""

    def test_declared_charset(self) -> None:
        """The declared charset is used for JSON and for text."""
        self.assertEqual(decode_payload('"é"'.encode("latin-1"), f"{JSON}; charset=iso-8859-1"), "é")
        self.assertEqual(decode_payload("é".encode("utf-16"), "text/plain; charset=utf-16"), "é")
        self.assertEqual(decode_payload(b"x=\xe9", f"{FORM}; charset=latin-1", form_param="x"), "é")

    def test_large_text(self) -> None:
        """Text of several megabytes is decoded in every charset, and rejected if it ends within a character."""
        text = "é漢字" * 400_000
        for charset in ("utf-8", "utf-16", "utf-16-le", "utf-7", "gb18030", "iso2022_jp_2"):
            self.assertEqual(decode_payload(text.encode(charset), f"text/plain; charset={charset}"), text)
        for charset in ("utf-8", "utf-16-le", "gb18030"):
            self.refused(400, text.encode(charset)[:-1], f"text/plain; charset={charset}")
        self.assertIn("at byte 2000001", self.refused(400, b"x" * 2_000_001 + b"\xff", "text/plain"))

    def test_unknown_charset(self) -> None:
        """An unknown charset, or a codec that isn't a charset, is rejected with 415."""
        for charset in ("klingon", "hex", "rot13", "idna", "unicode_escape", "undefined"):
            self.assertIn(charset, self.refused(415, b"{}", f"{JSON}; charset={charset}"))

    def test_charsets_cost_no_memory(self) -> None:
        """Unknown charset names, and other spellings of known ones, aren't cached."""
        known = len(encodings._cache)  # type: ignore[attr-defined]
        for number in range(50):
            self.refused(415, b"x", f"text/plain; charset=klingon{number}")
            self.assertEqual(decode_payload(b"\xe9", f"text/plain; charset=Latin{'-' * number}1"), "é")
        self.assertLess(len(encodings._cache), known + 5)  # type: ignore[attr-defined]

    def test_names_of_charsets(self) -> None:
        """The usual spellings of a charset are accepted."""
        for charset in (
            "UTF8",
            "utf-8",
            "ISO-8859-1",
            "iso_8859-1:1987",
            "windows-1252",
            "us-ascii",
            "Shift_JIS",
            "UTF-16LE",
        ):
            self.assertEqual(decode_payload("a".encode(charset), f"text/plain; charset={charset}"), "a")

    def test_invalid_utf8(self) -> None:
        """Invalid UTF-8 is rejected with the position."""
        self.assertIn("at byte 1", self.refused(400, b'"\xff"', JSON))
        self.refused(400, b"\xff", "text/plain")
        self.refused(400, b"a=%ff", FORM)
        self.refused(400, b"a=\xff", FORM)

    def test_compressed(self) -> None:
        """A compressed body is rejected; `identity` is accepted."""
        self.refused(415, b"\x1f\x8b", JSON, content_encoding="gzip")
        for detail in (
            self.refused(415, b"1", JSON, content_encoding="x" * 10_000),
            self.refused(415, b"1", f"{JSON}; charset={'x' * 10_000}"),
        ):
            self.assertLess(len(detail), 200)
        self.assertEqual(decode_payload(b"1", JSON, content_encoding="identity"), 1)


class FormTests(PayloadCase):
    """A form becomes a dict of its fields."""

    @given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"))))
    def test_any_field_arrives(self, fields: dict[str, str]) -> None:
        """A urlencoded form becomes a dict of its fields."""
        expected = fields if fields else ""
        self.assertEqual(decode_payload(urlencode(fields).encode(), FORM), expected)

    def test_first_value(self) -> None:
        """Of a repeated field, the first value is used, also if it is empty."""
        self.assertEqual(decode_payload(b"a=1&a=2&b=", FORM), {"a": "1", "b": ""})

    def test_multipart(self) -> None:
        """A multipart form becomes a dict of its fields, without the files."""
        body = multipart(('name="a"', "1"), ('name="f"; filename="../../x"', "file"), ('name="a"', "2"))
        self.assertEqual(decode_payload(body, "multipart/form-data; boundary=b"), {"a": "1"})

    def test_too_many_fields(self) -> None:
        """A form with too many fields is rejected."""
        fields = "&".join(f"f{number}=1" for number in range(MAX_FIELDS + 1)).encode()
        self.assertEqual(self.refused(413, fields, FORM), "the form has more than 1000 fields")
        self.assertEqual(len(decode_payload(fields.rpartition(b"&")[0], FORM)), MAX_FIELDS)  # type: ignore[arg-type]
        parts = [(f'name="f{number}"', "1") for number in range(MAX_FIELDS + 1)]
        detail = self.refused(413, multipart(*parts), "multipart/form-data; boundary=b")
        self.assertEqual(detail, "the form has more than 1000 parts")
        form: Any = decode_payload(multipart(*parts[1:]), "multipart/form-data; boundary=b")
        self.assertEqual(len(form), MAX_FIELDS)

    def test_headers_of_parts(self) -> None:
        """A form whose parts have too long headers is rejected."""
        body = multipart(('name="a"\r\nX: ' + "y" * MAX_PART_HEADERS, "1"))
        detail = self.refused(413, body, "multipart/form-data; boundary=b")
        self.assertEqual(detail, "the headers of the form's parts are longer than 262144 bytes")

    def test_malformed_multipart(self) -> None:
        """A multipart form without a boundary, a delimiter or a name of a field is rejected."""
        for body, content_type in (
            (multipart(('name="a"', "1")), "multipart/form-data"),
            (multipart(('name="a"', "1")), "multipart/form-data; boundary=\xe9"),
            (b"text", "multipart/form-data; boundary=b"),
            (multipart(("", "1")), "multipart/form-data; boundary=b"),
        ):
            self.assertIn("multipart", self.refused(400, body, content_type))

    def test_missing_field(self) -> None:
        """The error has the names of at most ten fields, shortened, and no values."""
        for body, fields in (
            (b"a=secret&b=2", "it has 'a', 'b'"),
            (b"", "it has no fields"),
            ("é".encode() + b"=1&" + b"n" * 100 + b"=2", f"it has '\\xe9', '{'n' * 60}...'"),
            (
                b"&".join(b"f%d=secret" % number for number in range(13)),
                f"it has {str([f'f{n}' for n in range(10)])[1:-1]} and 3 more",
            ),
        ):
            error = self.assertRaises(BadPayload, decode_payload, body, FORM, form_param="payload")
            self.assertEqual((error.status, error.detail), (400, f"the form has no field 'payload'; {fields}"))

    def test_not_a_form(self) -> None:
        """If the body isn't a form, the error has its type."""
        for body, content_type, reason in (
            (b"{}", "application/json; charset=utf-8", "it is 'application/json'"),
            (b"{}", "", "its Content-Type is missing"),
            (b"", "", "the request has no body"),
        ):
            error = self.assertRaises(BadPayload, decode_payload, body, content_type, form_param="payload")
            self.assertEqual(
                error.detail,
                "the body must be a form (application/x-www-form-urlencoded or multipart/form-data) with a field 'payload'; "
                f"{reason}",
            )

    def test_large_field(self) -> None:
        """A field of several megabytes is decoded."""
        text = 'é{"a": "100% = 1"}\n' * 100_000
        self.assertEqual(decode_payload(urlencode({"payload": text}).encode(), FORM, form_param="payload"), text)
        for charset in ("utf-8", "latin-1"):
            body = urlencode({"payload": text}, encoding=charset).encode()
            self.assertEqual(decode_payload(body, f"{FORM}; charset={charset}"), {"payload": text})

    def test_no_form(self) -> None:
        """A body of percent signs is rejected."""
        self.assertIn("invalid escapes", self.refused(413, b"%" * (MAX_STRAYS + 1), FORM))
        self.assertEqual(decode_payload(b"a=100%&b=%zz", FORM), {"a": "100%", "b": "%zz"})

    def test_unnamed_parts_are_rejected(self) -> None:
        """A part of a multipart form without a name, whether field or file, is rejected."""
        for head in ('filename="x"', "x=y"):
            reason = self.refused(400, multipart(('name="a"', "1"), (head, "2")), "multipart/form-data; boundary=b")
            self.assertIn("no name", reason)

    def test_large_multipart_field(self) -> None:
        """A multipart field of several megabytes is decoded."""
        text = "x" * 3_000_000
        body = multipart(('name="payload"', text))
        self.assertEqual(decode_payload(body, "multipart/form-data; boundary=b", form_param="payload"), text)

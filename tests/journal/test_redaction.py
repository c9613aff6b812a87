"""Redaction of logged requests."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.journal._reading import request_of
from errklein.journal._redaction import MASK, MAX_TARGET, Redaction, is_secret_header, redacted_head
from errklein.journal._writing import head_of
from errklein.text.masking import masker
from errklein.webhooks.deliveries import StoredRequest

_SECRET = """
authorization proxy-authorization cookie set-cookie x-api-key api-key x-apikey x-auth-token x-hub-signature
x-hub-signature-256 stripe-signature x-slack-signature webhook-signature svix-signature x-gitea-signature x-gogs-signature
x-gitlab-token x-telegram-bot-api-secret-token x-signature-ed25519 x-pagerduty-signature sentry-hook-signature
x-twilio-signature linear-signature x-shopify-hmac-sha256 x-password x-client-secret x-csrf-token cf-access-jwt-assertion
x-sign x-amzn-oidc-data x-session-id x-private-key x-aws-access-key x_auth auth x-custom-pass x-key x-otp x-client-cert
x-ssl-client-cert x-arr-clientcert x-pass x-hub-key x-key-id x-totp x-sig
"""
SECRET_HEADERS = (*_SECRET.split(), "x" * 101)

_OTHER = """
host user-agent accept content-type content-length x-github-event x-github-delivery x-event-key idempotency-key
x-gitlab-event x-slack-request-timestamp webhook-id x-author webhook-timestamp x-request-id x-forwarded-for design
x-authority x-github-hook-id x-monkey x-keyboard x-compass x-hotkeys x-passenger x-shopify-topic surrogate-key x-issue-key
x-atlassian-webhook-identifier x-hook-uuid svix-id sec-fetch-site x-signal x-pinned
"""
OTHER_HEADERS = (*_OTHER.split(), "x" * 100)

TEXT = st.text(max_size=8)
NAMES = frozenset({"pin", "Answer"})
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.sampled_from(["Pin", "answer"]), inner, max_size=4)
    ),
    max_leaves=12,
)
SECRET = "5ecre7"


def request(target: str = "/", body: bytes | None = b"", **headers: str) -> StoredRequest:
    """Return a request with these headers."""
    return StoredRequest("POST", target, [(name.encode(), value.encode()) for name, value in headers.items()], body)


def with_masks(value: Any) -> Any:
    """Return the JSON value as it is expected."""
    if isinstance(value, dict):
        return {key: MASK if key.lower() in ("pin", "answer") else with_masks(item) for key, item in value.items()}
    return [with_masks(item) for item in value] if isinstance(value, list) else value


def masked(body: bytes) -> bytes | None:
    """Return the body with its fields masked."""
    return Redaction(mask_fields=NAMES).body(body)


class HeaderTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Headers that authenticate are recognised by their names, and others kept."""
        self.assertEqual([name for name in SECRET_HEADERS if not is_secret_header(name.encode())], [])
        self.assertEqual([name for name in OTHER_HEADERS if is_secret_header(name.encode())], [])

    @given(st.lists(st.tuples(st.sampled_from(SECRET_HEADERS + OTHER_HEADERS + ("x-check",)), st.binary(max_size=9))))
    def test_only_secret_headers_are_left_out(self, headers: list[tuple[str, bytes]]) -> None:
        """The other headers keep their order and values, repeated ones too."""
        values = [(name.encode(), value.replace(b"?", b"").replace(b"@", b"")) for name, value in headers]
        stored = StoredRequest("POST", "/", values, b"", secret_headers=frozenset({b"x-check"}))
        expected = [(name, value) for name, value in values if name.decode() in OTHER_HEADERS]
        self.assertEqual(redacted_head(stored)[1], expected)

    def test_urls_in_headers(self) -> None:
        """Secrets in URLs are masked in every header."""
        headers = {"referer": f"https://ann:{SECRET}@host/a?token={SECRET}&b=1", "x-original-uri": f"/a?key={SECRET}"}
        values = [value.decode() for _, value in redacted_head(request(**headers))[1]]
        self.assertEqual(values, [f"https://{MASK}@host/a?token={MASK}&b=1", f"/a?key={MASK}"])
        for url, expected in (
            (f"https://ann:{SECRET}@host/", f"https://{MASK}@host/"),
            (f"/a?key={SECRET}", f"/a?key={MASK}"),
        ):
            self.assertEqual(redacted_head(request(referer=url))[1], [(b"referer", expected.encode())])


class TargetTests(SynchronousTestCase):
    def target(self, target: str) -> str:
        """Return the redacted target."""
        return redacted_head(request(target))[0]

    def test_secret_parameters(self) -> None:
        """Values of secret parameters are masked, however the name is written; others are unchanged."""
        for name in (
            "token",
            "access_token",
            "api_key",
            "key",
            "secret",
            "password",
            "sig",
            "Signature",
            "hmac",
            "code",
        ):
            for written in (name, name.upper(), "%" + f"{ord(name[0]):x}" + name[1:], f"hook[{name}]"):
                target = f"/hook?a=1&{written}={SECRET}&b=2;{written}={SECRET}&c"
                expected = f"/hook?a=1&{written}={MASK}&b=2;{written}={MASK}&c"
                self.assertEqual(self.target(target), expected)
        for target in (
            "/a?page=1&sort=name&ref=refs/heads/a",
            "/@user?a",
            "/token=1",
            "/a?=&&=",
            "/a?tokens",
            "/?page=token&b=secret",
            "*",
        ):
            self.assertEqual(self.target(target), target)
        self.assertEqual(self.target("/?" + "x" * 101 + f"={SECRET}"), "/?" + "x" * 101 + f"={MASK}")
        self.assertEqual(self.target("/?" + "x" * 100 + "=1"), "/?" + "x" * 100 + "=1")

    def test_signs(self) -> None:
        """A parameter ends at `&`, `;`, `#` and white space, and begins after these or `?`; other signs are part of it."""
        signs = "%'\"$:<>!@/?"
        for target, expected in (
            (f"/a?token={signs}=x&b=token", f"/a?token={MASK}&b=token"),
            (f"/a?b#token={SECRET}#c=1", f"/a?b#token={MASK}#c=1"),
            (f"/a?token={SECRET} b=1 token=2", f"/a?token={MASK} b=1 token=2"),
            (f"/a?token={SECRET};b=1", f"/a?token={MASK};b=1"),
            ("/a?a;b#c d=e&token&f=1;token", "/a?a;b#c d=e&token&f=1;token"),
            ("/a?token=&b=1", "/a?token=&b=1"),
        ):
            self.assertEqual(self.target(target), expected)
        for sign in signs:
            self.assertEqual(self.target(f"/a?{sign}token={SECRET}"), f"/a?{sign}token={MASK}")
            if sign != "?":
                self.assertEqual(self.target(f"/a{sign}token=1?b=2"), f"/a{sign}token=1?b=2")
        self.assertEqual(self.target(f"/a?next=/b?token={SECRET}"), f"/a?next=/b?token={MASK}")

    def test_user_and_password(self) -> None:
        """User and password of an absolute target are masked."""
        self.assertEqual(self.target(f'http://st"$>.0:{SECRET}@host/'), f"http://{MASK}@host/")
        self.assertEqual(self.target("http://@host/"), f"http://{MASK}@host/")
        for target in ("http://host?a=@b", "http://host#@b", "http://host/@b", "http://host b@c", "ann@b//c"):
            self.assertEqual(self.target(target), target)
        self.assertEqual(self.target(f"http://ann:{SECRET}@host/a@b"), f"http://{MASK}@host/a@b")
        self.assertEqual(self.target(f"http://{SECRET}@x@host/"), f"http://{MASK}@host/")

    def test_long_values(self) -> None:
        """Of a long target and header, the beginning is stored, without the beginning of a known secret at its end."""
        masker.learn(self, "test", ["wörd-of-the-day"])
        for written in ("wörd-of-the-day", quote_plus("wörd-of-the-day")):
            for size in range(MAX_TARGET - len(written), MAX_TARGET + 1):
                text = "/" + "x" * (size - 1)
                stored = request(text + written + "z" * 99, referer=text + written + "z" * 99)
                expected = (text + MASK)[:MAX_TARGET] if size > MAX_TARGET - len(written) else text + MASK
                target, headers = redacted_head(
                    stored._replace(headers=[(b"referer", stored.target.encode("latin-1"))])
                )
                self.assertEqual((target, headers[0][1].decode("latin-1")), (expected, expected))
        self.assertEqual(self.target("/" + "x" * 5000), "/" + "x" * (MAX_TARGET - 1))

    @given(st.text(max_size=20), st.text("&;#?=/@:%ab", max_size=20), st.sampled_from(["token", "api_key", "sig"]))
    def test_no_secret_is_left(self, other: str, signs: str, name: str) -> None:
        """The value of a secret parameter isn't in the result, whatever surrounds it; a second redaction changes nothing."""
        target = f"/{other}?{signs}&{name}={SECRET}&{signs}"
        result = self.target(target)
        self.assertNotIn(SECRET, result)
        self.assertEqual(self.target(result), result)


class BodyTests(SynchronousTestCase):
    def test_size(self) -> None:
        """Bodies over a megabyte are left out."""
        self.assertEqual(Redaction().body(b"x" * 1_000_000), b"x" * 1_000_000)
        self.assertIsNone(Redaction().body(b"x" * 1_000_001))
        self.assertIsNone(Redaction().body(None))

    def test_levels(self) -> None:
        """With "heads" and "off", bodies are left out."""
        self.assertEqual(
            [Redaction(level).body(b"body") for level in ("bodies", "heads", "off")], [b"body", None, None]
        )

    @given(ANY_JSON)
    def test_json_fields(self, value: Any) -> None:
        """In JSON, the values of masked fields are replaced at any depth; everything else is equal."""
        body = json.dumps(value).encode()
        result = masked(body)
        assert result is not None
        self.assertEqual(json.loads(result), with_masks(value))
        if with_masks(value) == value:
            self.assertEqual(result, body)

    @given(
        st.lists(
            st.tuples(
                TEXT | st.sampled_from(["PIN", "a[pin]", "answer", "x.pin"]),
                # What may be JSON is read as JSON.
                TEXT.filter(lambda value: not value.lstrip().startswith(("{", "["))),
            ),
            min_size=1,
        )
    )
    def test_form_fields(self, fields: list[tuple[str, str]]) -> None:
        """In an urlencoded form, the values of masked fields are replaced, those in brackets too."""
        result = masked(urlencode(fields).encode())
        assert result is not None
        secret = ("pin", "answer", "a[pin]", "x.pin")
        expected = [(name, MASK if name.lower() in secret else value) for name, value in fields]
        self.assertEqual(parse_qsl(result.decode(), keep_blank_values=True), expected)

    def test_json_in_a_form(self) -> None:
        """JSON in a field of a form is masked; JSON that can't be read is masked as a whole."""
        result = masked(b"payload=" + quote_plus(json.dumps({"a": [{"pin": SECRET}], "b": "+&"})).encode() + b"&c=1")
        assert result is not None
        self.assertEqual(dict(parse_qsl(result.decode()))["payload"], '{"a": [{"pin": "***"}], "b": "+&"}')
        self.assertTrue(result.endswith(b"&c=1"))
        self.assertEqual(masked(b"payload=%7B%22pin%22%3A1&c=%7B1"), b"payload=***&c=%7B1")
        self.assertEqual(masked(b"payload=%7B%22a%22%3A1%7D&pin=1"), b"payload=%7B%22a%22%3A1%7D&pin=***")

    def test_many_fields(self) -> None:
        """A form with more than 1,000 fields, which no handler gets, is left out."""
        self.assertEqual(masked(b"&".join([b"pin=1"] * 1000)), b"&".join([b"pin=***"] * 1000))
        self.assertIsNone(masked(b"&".join([b"pin=1"] * 1001)))

    def test_signs_in_forms(self) -> None:
        """A form has no spaces, control characters, quotes, braces, angle brackets, backslashes and characters beyond ASCII."""
        for sign in '\0\x1f "<>\\{}\x7f\xff':
            for text in (f"pin{sign}=1", f"a=1&pin={sign}x", f"{sign}a=1&pin=1"):
                self.assertIsNone(masked(f"x{text}x".encode("latin-1")), text)
        signs = "!#$'()*+,-./09:;?@AZ[]^_`az|~"
        for sign in signs:
            self.assertEqual(masked(f"{sign}a={sign}=&pin={sign}".encode()), f"{sign}a={sign}=&pin={MASK}".encode())

    def test_other_bodies(self) -> None:
        """A body that may have a masked field, and is neither JSON nor a form, is left out; others are unchanged."""
        left_out = (
            b'{"pin": 1, "u": "a=b"',
            b'{"pin":1,"u":"a=b"',
            b'{"\\u0070in": 1',
            b'--x\r\nContent-Disposition: form-data; name="pin"\r\n\r\n1\r\n--x--',
            b"<pin>1</pin>",
            b"\x1f\x8b\xff",
            '{"a": '.encode("utf-16") + b"\xff",
            b"[" * 100_000 + b'{"pin": 1}',
            b"my PIN = 1",
            b"p%69n = 1",
        )
        self.assertEqual([body for body in left_out if masked(body) is not None], [])
        for body in (b"", b"5", b"text", b'{"a": 1', b"<a>1</a>", "Grüße".encode()):
            self.assertEqual(masked(body), body)
        self.assertEqual(masked('{"pin": 1}'.encode("utf-16")), b'{"pin": "***"}')
        self.assertEqual(masked(b"pin=1\n"), b"pin=***")
        self.assertEqual(masked(b'{"p\\u0069n": 1}'), b'{"pin": "***"}')
        self.assertEqual(Redaction().body(b'{"pin": 1'), b'{"pin": 1')


LATIN = st.binary(max_size=10).map(lambda data: data.replace(b"\n", b" "))
LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=()), max_size=10)


class HeadTests(SynchronousTestCase):
    @given(
        LINE,
        LINE,
        st.lists(st.tuples(LATIN, LATIN), max_size=5),
        LINE,
        st.booleans(),
        LINE,
        st.integers(0, 65535),
        LINE,
    )
    def test_round_trip(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        client: str,
        secure: bool,
        host: str,
        port: int,
        base: str,
    ) -> None:
        """Any request without line ends is read as it was stored."""
        stored = StoredRequest(method, target, headers, b"x", client, secure, (host, port), base)
        self.assertEqual(request_of(head_of(stored, target, headers), b"x"), stored)

    def test_line_ends(self) -> None:
        """Line ends within fields become spaces, and don't move other fields."""
        for stored, expected in (
            (
                StoredRequest("GET\n", "/\n", [(b"a\nb", b"c\n"), (b"d", b"e")], None),
                StoredRequest("GET ", "/ ", [(b"a b", b"c "), (b"d", b"e")], None),
            ),
            (
                StoredRequest("GET", "/", [(b"a", b"b\nc")], None),
                StoredRequest("GET", "/", [(b"a", b"b c")], None),
            ),
        ):
            self.assertEqual(request_of(head_of(stored, stored.target, stored.headers), None), expected)

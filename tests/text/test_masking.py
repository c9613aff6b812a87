"""Masking of secrets in texts."""

from __future__ import annotations

import gc
import json
import re
import time
from base64 import b64encode, urlsafe_b64encode
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from hypothesis import assume, example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein.text.masking import MASK, SHORTEST, Masker, is_secret, mask_values, secrets_in
from tests import takes_long

SECRETS = st.text(min_size=SHORTEST, max_size=60)
URL_CHARACTERS = st.characters(blacklist_characters="/@", blacklist_categories=("Z", "Cc", "Cs"))


class Owner:
    """An owner of secrets."""


class MaskingCase(SynchronousTestCase):
    """Has a masker for each test."""

    def masker(self, *secrets: str) -> Masker:
        """Return a masker that knows the secrets until the test ends."""
        masker = Masker()
        self.owner = Owner()
        masker.learn(self.owner, "test", secrets)
        return masker


class KnownSecretsTests(MaskingCase):
    """Secrets of the configuration."""

    @given(SECRETS, st.text(), st.text())
    @example("secret\\n1", "", "")
    @example("•" * 7, "•", "••")
    @example("•abcd", "abcde", "abcd")
    @example("aaaaa", "aa", "aaaa")
    def test_never_in_the_text(self, secret: str, before: str, after: str) -> None:
        """A secret of the configuration isn't in the masked text, whatever surrounds it."""
        secrets = secrets_in({"password": secret})
        assume(secret in secrets)
        self.assertNotIn(secret, self.masker(*secrets)(f"{before}{secret}{after}"))

    @given(st.lists(SECRETS, min_size=1, max_size=4), st.text(max_size=5), st.data())
    def test_several(self, secrets: list[str], between: str, data: st.DataObject) -> None:
        """Secrets that contain or overlap each other are all masked, in any order."""
        secrets += [secret[:SHORTEST] for secret in secrets] + [secrets[0][2:] + between * SHORTEST]
        known = secrets_in({"tokens": secrets})
        text = between.join(data.draw(st.permutations([*secrets, between])))
        masked = self.masker(*known)(text)
        self.assertEqual([secret for secret in known if secret in masked], [])

    @given(SECRETS, st.text(max_size=20))
    @example("a\nb'c\"d\\e", "")
    @example("naïve pässword", "")
    def test_printed_configuration(self, secret: str, value: str) -> None:
        """A configuration in the text of an exception, as `str`, `repr` or JSON, shows no secret."""
        secrets = secrets_in({"password": secret})
        assume(secret in secrets)
        masker = self.masker(*secrets)
        printed = str(["x", secret])
        for text in (
            printed,
            repr(printed),
            repr(f"{printed}'"),
            ascii(["x", secret]),
            json.dumps(["x", secret]),
            json.dumps(["x", secret], ensure_ascii=False),
            repr(["x", secret.encode()]),
            json.dumps(printed),
        ):
            hidden = [repr(secret)[1:-1], json.dumps(secret)[1:-1], secret]
            masked = masker(text)
            self.assertIn(MASK, masked)
            self.assertEqual([form for form in hidden if form in masked], [], text)

    @given(SECRETS)
    @example("a b&c=d/é?")
    @example("000 0")
    def test_encoded(self, secret: str) -> None:
        """A secret is also masked percent-encoded, in HTML, in Base64, and in headers with Basic authentication."""
        secrets = secrets_in({"password": secret})
        assume(secret in secrets)
        masker = self.masker(*secrets)
        for form in (
            quote(secret),
            quote(secret, ""),
            re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(secret, "")),
            quote_plus(secret),
            escape(secret),
            escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
            json.dumps(secret)[1:-1].replace("/", "\\/"),
        ):
            self.assertNotIn(form, masker(f"-{form}-"), form)
        for encode in (b64encode, urlsafe_b64encode):
            encoded = encode(secret.encode()).decode()
            self.assertEqual(masker(f"<{encoded}>").replace("=", ""), f"<{MASK}>")
            for user in ("", "x", "me", "bob"):
                encoded = encode(f"{user}:{secret}".encode()).decode()
                for text in (f"Authorization: Basic {encoded}", f"{{'authorization': 'Basic {encoded}'}}"):
                    self.assertNotIn(encoded.rstrip("="), masker(text))

    def test_percent_encoding_of_any_client(self) -> None:
        """Whichever characters of a secret a client percent-encodes, it is masked: JavaScript, for example, leaves `!'()*~`."""
        secret = "s3 <ré>!'()*~=/+&"
        masker = self.masker(secret)
        for safe in ("!'()*", "*", "<>", "=/", "/+&", "!$&'()*,+@/:;=", "é"):
            encoded = "".join(letter if letter in safe else quote(letter, "") for letter in secret)
            for text in (encoded, encoded.replace("~", "%7e"), encoded.replace("%20", "+")):
                self.assertEqual(masker(f"GET /a/{text}/b"), f"GET /a/{MASK}/b", text)

    def test_multi_line(self) -> None:
        """A private key is masked as a whole, with indented lines, joined by spaces, and line by line."""
        key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n"
        masker = self.masker(*secrets_in({"private_key": key}))
        for text in (key, key.replace("\n", "\n\t"), " ".join(key.split()), "line MIIEvQIBADANBg only", repr(key)):
            masked = masker(text)
            self.assertNotIn("MIIEvQIBADANBg", masked)
            self.assertNotIn("kqhkiG9w0BAQEF", masked)

    def test_rest_of_the_text(self) -> None:
        """The rest of the text is unchanged, and so is a text without secrets."""
        masker = self.masker("hunter2")
        self.assertEqual(masker("no login with hunter2 at db"), f"no login with {MASK} at db")
        for text in ("nothing here", "sorted(x, key=len)", "Token expired", "mail bob@example.org", "a?b=c&d=e", ""):
            self.assertEqual(masker(text), text)

    def test_texts_for_people(self) -> None:
        """`known` keeps examples readable; known secrets and those in URLs are masked."""
        text = "https://me:pw@host says no to hunter2, expected {'token': 'abc'} as in /x?key=abc"
        expected = f"https://{MASK}@host says no to {MASK}, expected {{'token': 'abc'}} as in /x?key=abc"
        self.assertEqual(self.masker("hunter2").known(text), expected)

    def test_cut_texts(self) -> None:
        """A text is cut before it is masked, and the beginning of a secret at the cut is masked all the same."""
        masker = self.masker("hunter2")
        for before, secret, after in (
            ("no login with ", "hunter2", " at db"),
            ("no login with <", "aHVudGVyMg", "==>"),
            ("https://", "me:pw-12", "@host"),
            ("/a?token=", "abcdef", "&b=1"),
        ):
            for end in range(1, len(secret) + 1):
                cut = masker.cut(before + secret + after, len(before) + end)
                self.assertEqual(masker(cut).rstrip("…"), before + MASK)
                self.assertNotIn(secret[:2], cut)
        self.assertEqual(masker.cut("x" * 20, 20), "x" * 20)
        self.assertEqual(masker.cut("x" * 21, 20), "x" * 20 + "…")

    @given(st.text("abc'\n", min_size=SHORTEST), st.text("xyz"), st.text("xyz"), st.data())
    def test_parts(self, secret: str, before: str, after: str, data: st.DataObject) -> None:
        """Both ends of a part of a text lack the secret that they cut."""
        inside = len(before) + data.draw(st.integers(1, len(secret) - 1))
        text, masker = before + secret + after, self.masker(secret)
        self.assertTrue(masker.part(text, 0, inside).endswith(MASK))
        self.assertTrue(masker.part(text, inside, len(text)).startswith(MASK))

    def test_learning_again(self) -> None:
        """New secrets replace those under the same name; those of a collected owner are dropped."""
        takes_long()
        masker, owner = Masker(), Owner()
        masker.learn(owner, "a", {"first-secret"})
        masker.learn(owner, "b", {"other-secret"})
        masker.learn(owner, "a", {"second-secret"})
        text = "first-secret other-secret second-secret"
        self.assertEqual(masker(text), f"first-secret {MASK} {MASK}")
        del owner
        gc.collect()
        self.assertEqual(masker(text), text)

    def test_values(self) -> None:
        """Texts in lists and mappings are masked, also in keys."""
        masked: Any = self.masker("hunter2").values({"a hunter2": ["x", ("hunter2", 1)], "b": None})
        self.assertEqual(masked, {f"a {MASK}": ["x", [MASK, 1]], "b": None})


class SurroundingsTests(MaskingCase):
    """Secrets that their surroundings identify."""

    @given(st.text(URL_CHARACTERS, min_size=1), st.text(URL_CHARACTERS, min_size=1), st.text(), st.text())
    def test_userinfo(self, user: str, password: str, before: str, after: str) -> None:
        """User and password of a URL are masked."""
        masked = self.masker()(f"{before}https://{user}:{password}@host/path{after}")
        self.assertNotIn(f"://{user}:{password}@", masked)
        self.assertIn(MASK, masked)

    def test_urls(self) -> None:
        """The host of a URL stays readable, for any scheme and encoding."""
        for text, expected in (
            ("git: https://ghp_abc@github.com/a/b.git", f"git: https://{MASK}@github.com/a/b.git"),
            ("postgres://u:p%40ss@db/x", f"postgres://{MASK}@db/x"),
            ("redis://:p@ss@db", f"redis://{MASK}@db"),
            (r'{"url": "https:\/\/u:p@host\/x"}', r'{"url": "https:\/\/•••@host\/x"}'),
            ("next=https%3A%2F%2Fu%3Ap%40host%2F", f"next=https%3A%2F%2F{MASK}%40host%2F"),
            ("https://host/@user and bob@host", "https://host/@user and bob@host"),
        ):
            self.assertEqual(self.masker()(text), expected)

    def test_parameters(self) -> None:
        """Query parameters with secret names are masked, and others aren't."""
        for text, expected in (
            ("GET /x?token=abc&page=2", f"GET /x?token={MASK}&page=2"),
            ("/x?page=2&access_token=a.b-c#top", f"/x?page=2&access_token={MASK}#top"),
            ("/x?key=1&api_key=2&sig=3", f"/x?key={MASK}&api_key={MASK}&sig={MASK}"),
            ("client_secret=abc&x=1", f"client_secret={MASK}&x=1"),
            ("url: '/x?password=abc'", f"url: '/x?password={MASK}'"),
            ("/x?keyword=abc&author=bob", "/x?keyword=abc&author=bob"),
        ):
            self.assertEqual(self.masker()(text), expected)

    def test_assignments(self) -> None:
        """Values of secret names are masked after any text and in quotes; code and numbers of tokens stay readable."""
        for text, expected in (
            ("no login with token=abc now", f"no login with token={MASK} now"),
            ("Client(api_key='a b', room='#ops')", f"Client(api_key='{MASK}', room='#ops')"),
            ('secret="abc", n=1', f'secret="{MASK}", n=1'),
            ("connect(user=bob, db_password=abc)", f"connect(user=bob, db_password={MASK}"),
            ("Options(passwd=b'abc')", f"Options(passwd=b'{MASK}')"),
            (r"{\"error\": \"apiKey='x y'\"}", rf"{{\"error\": \"apiKey='{MASK}'\"}}"),
            ("    PASSWORD = 'abc'", f"    PASSWORD = '{MASK}'"),
            ("run --token=abc", f"run --token={MASK}"),
            ("secret='never closed", f"secret='{MASK}"),
            ("line 3: Client(token=self.token)", "line 3: Client(token=self.token)"),
            ("def f(token=None, password=config.PASSWORD)", "def f(token=None, password=config.PASSWORD)"),
            ("used prompt_tokens=1024 total_tokens=2048", "used prompt_tokens=1024 total_tokens=2048"),
            ("sorted(rows, key=len, primary_key=True)", "sorted(rows, key=len, primary_key=True)"),
            ("if token=='abc': token = next(x)", "if token=='abc': token = next(x)"),
        ):
            self.assertEqual(self.masker()(text), expected)

    def test_tokens(self) -> None:
        """Tokens whose beginning shows what they are for are masked anywhere."""
        digits = "1234567890" * 4
        for token in (
            *(f"gh{kind}_{digits[:36]}" for kind in "opsur"),
            f"github_pat_{digits[:22]}_{digits}",
            "glpat-abcDEF_123-456789xyz",
            "xoxb-123456789012-abcDEF",
            "xoxp-123-456-789-abcdef",
            "sk_live_abcDEF123456",
        ):
            for text in (f"401 for {token}: no", f"/x/{token}/y", f"(['{token}'])", f"error{{{token}}}"):
                self.assertEqual(self.masker()(text), text.replace(token, MASK))
        url = "https://hooks.slack.com/services/T0000/B0000/abcDEF123"
        self.assertEqual(self.masker()(f"POST {url} failed"), f"POST https://hooks.slack.com/{MASK} failed")
        for text in ("xoxb-1", "a ghp_short", "the prefix github_pat_", "hooks.slack.com/docs", "myghp_" + digits):
            self.assertEqual(self.masker()(text), text)

    @given(st.from_regex(r"ghp_[A-Za-z0-9]{36}|xoxb-[0-9]{12}-[a-z]{12}|glpat-[\w-]{20}", fullmatch=True), st.text())
    def test_token_after_any_text(self, token: str, before: str) -> None:
        """A token is masked after any text."""
        self.assertNotIn(token, self.masker()(f"{before} {token}"))

    @given(
        st.sampled_from(("token", "api_key", "clientSecret", "DB_PASSWORD")),
        st.text(URL_CHARACTERS, min_size=1).filter(lambda text: not set("&\"'<>#\\") & set(text)),
        st.text(),
    )
    def test_value_after_any_text(self, name: str, value: str, before: str) -> None:
        """The value of a secret name is masked after any text, without and with quotes."""
        for written in (f"{name}='{value}'", f'{name}="{value}"'):
            self.assertNotIn(written, self.masker()(f"{before} {written} after"))

    def test_own_secrets(self) -> None:
        """Tokens and secrets that errklein has made are found without being known, wherever they are."""
        masker = self.masker()
        for secret in ("ekt" + "a2" * 13, "eks" + "z7" * 16):
            for before in ("", "/hooks/", "https%3A%2F%2Fa%2Fhooks%2F", "hooks%2f", "Secret: `", "\\n", "x=1&y=", "3"):
                self.assertEqual(masker(f"{before}{secret}/slack"), f"{before}{MASK}/slack")
            for most in range(len("GET /hooks/") + 1, 40):
                self.assertNotIn(secret[:8], masker.cut(f"GET /hooks/{secret}/slack", most))
        words = "Projektmanagementausbildungslehrgang, ekt, ektoplasma"
        self.assertEqual(masker(words), words)

    def test_headers(self) -> None:
        """Values of headers with credentials are masked, in any way that headers are printed."""
        for text in (
            "Authorization: Bearer s3cr3t",
            "authorization: s3cr3t",
            "Proxy-Authorization: Basic s3cr3t==",
            "{'Authorization': 'token s3cr3t'}",
            "('Authorization', 'Bearer s3cr3t')",
            "{b'authorization': [b'Basic s3cr3t']}",
            'Authorization: Digest username="bob", response="s3cr3t"',
            "X-Api-Key: s3cr3t",
            "X-Gitlab-Token: s3cr3t",
            "{'X-Hub-Signature-Secret': 's3cr3t'}",
            "Cookie: session=s3cr3t; theme=dark",
            "Set-Cookie: a=s3cr3t",
            "401 for Basic dXNlcjpzM2NyM3Q9PT0",
            '{"password": "s3cr3t"}',
            "{'api_token': 's3cr3t', 'room': '#ops'}",
            r"{\"token\": \"s3cr3t\"}",
            "{'secret': b's3cr3t",
            """{'note': "it isn't closed, 'password': 's3cr3t'}""",
            "my-x-auth-token: s3cr3t",
            "my-api-key: s3cr3t",
        ):
            masked = self.masker()(text)
            self.assertNotIn("s3cr3t", masked)
            self.assertNotIn("dXNlcjpzM2NyM3Q9PT0", masked)
            self.assertIn(MASK, masked)
        self.assertIn("'room': '#ops'", self.masker()("{'api_token': 's3cr3t', 'room': '#ops'}"))
        self.assertEqual(self.masker()("Basic authentication failed"), "Basic authentication failed")

    def test_odd_repetitions(self) -> None:
        """Untrusted text of 0.2 MB with repeated beginnings of patterns is masked in a fraction of a second."""
        masker = self.masker("hunter2")
        size = 200_000
        for part, before, after in (
            (" ", "authorization:", ""),
            ("[ ", "authorization:", ""),
            ("authorization:", "", ""),
            (" ", "cookie: ", ""),
            ("x-", "", ""),
            ("x-", "", "token"),
            ("token", "x-", ""),
            ("'a':\"", "", "token"),
            ("://a:b", "", "@"),
            ("token=", "", ""),
            ("token='", "", ""),
            ('token="', "", "'"),
            ("token ", "", "="),
            ("token", "", "="),
            ("a", "", "=token"),
            ("token.-", "", " ="),
            ("a=", "", "token"),
            ("\\", "token='", ""),
            ("xoxb-", "", ""),
            ("ghp_", "", ""),
            ("hooks.slack.com/services/", "", ""),
        ):
            text = before + part * (size // len(part)) + after
            began = time.process_time()
            masker(text)
            self.assertLess(time.process_time() - began, 5, text[:40])

    @given(st.text())
    def test_again(self, text: str) -> None:
        """Masking a masked text changes nothing."""
        masker = self.masker("hunter2")
        masked = masker(text)
        self.assertEqual(masker(masked), masked)


class NamesTests(SynchronousTestCase):
    """Names of secrets."""

    def test_names(self) -> None:
        """Names of passwords, tokens and keys are recognised in any spelling; ordinary words are not."""
        for name in (
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "pass",
            "mypass",
            "API-KEY",
            "apikey",
            "APIKey",
            "sshkey",
            "keys",
            "token",
            "GITHUB_TOKENS",
            "client secret",
            "auth",
            "Authorization",
            "authentication",
            "credentials",
            "private",
            "pwd",
            "X-Custom-Pass",
            "X-Key",
            "X-Otp",
            "X-Client-Cert",
            "Set-Cookie",
            "session_id",
            "sig",
            "hmac",
            "event_key_secret",
        ):
            self.assertTrue(is_secret(name), name)
        for name in (
            *("keywords", "author", "authors", "monkey", "compass", "passenger", "room", "server", ""),
            *("keyboard", "hotkeys", "X-Event-Key", "Idempotency-Key", "publicKey", "primary_keys", "design", "signal"),
        ):
            self.assertFalse(is_secret(name), name)

    @given(
        st.from_regex(
            r"[A-Za-z_-]{0,6}(?:[Kk]ey|[Ss]ig|[Cc]ookie|[Oo]tp|[Cc]ert|[Pp]ass|HMAC)[A-Za-z_-]{0,6}", fullmatch=True
        )
    )
    def test_hints(self, name: str) -> None:
        """The value of each secret name is masked in a query and in JSON, whatever the rest of the text is."""
        if is_secret(name):
            for text in (f"/x?{name}=abc", f'{{"{name}": "abc"}}'):
                self.assertIn(MASK, Masker()(text), text)

    def test_secrets_of_a_configuration(self) -> None:
        """Values under secret names and passwords in URLs count; short values, paths and logins do not."""
        configuration: dict[str, Any] = {
            "TOKEN": "xoxb-1",
            "credentials": {"user": "somebody", "pin": 1234567, "raw": [b"\xffbytes", True, None]},
            "database": "postgres://me:pa%2Fss@db/x",
            "dsn": "someone:let-me-in@db",
            "auth": "digest",
            "key": "/etc/ssl/bot.pem",
            "other_key": str(Path(self.mktemp()).absolute()),
            "api_key": "/abc+d/efg",
            "password": "abc",
            "room": "#general",
            "admins": ("libera:somebody!user@host", "xmpp:somebody-else@host"),
        }
        configuration["itself"] = configuration
        self.assertEqual(
            secrets_in(configuration),
            {"xoxb-1", "/abc+d/efg", "1234567", "\\xffbytes", "pa%2Fss", "pa/ss", "let-me-in"},
        )

    def test_masked_values(self) -> None:
        """A configuration is shown with its secrets masked, also those inside a secret."""
        shown = mask_values({"token": "abc", "room": "#ops", "keys": {"a": ["x", ""]}, "list": [{"pwd": 1}]})
        self.assertEqual(shown, {"token": MASK, "room": "#ops", "keys": {"a": [MASK, ""]}, "list": [{"pwd": MASK}]})
        self.assertEqual(mask_values(["a", {"b": "c"}], secret=True), [MASK, {"b": MASK}])

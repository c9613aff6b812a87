"""Masking of secrets in log lines, error texts and replies.

`masker` replaces three kinds of secrets by `MASK`:

- Known secrets of this process: values under names such as `password` or `API_TOKEN` in the configuration and in plugins'
  configurations. They are found anywhere in a text, also escaped, percent-encoded or in Base64 by themselves.
- Values that their surroundings identify as secrets: user and password in a URL, query parameters such as `token=`, values of
  headers such as Authorization, quoted values under secret names in a printed dict or JSON, and assignments such as `password='…'`.
- Tokens that begin with their kind, such as GitHub's `ghp_…` and those of errklein's own webhooks.
"""

from __future__ import annotations

import json
import posixpath
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from html import escape as html_escape
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from errklein.text._quoting import plain, plain_but_html

MASK = "•••"  # the replacement for a secret
SHORTEST = 5  # Minimum length of a known secret. Shorter values aren't replaced, since they occur in ordinary words.
SHOWN_TARGET = 1024  # the number of characters of a request's target that are displayed
SHOWN_VALUE = 4096  # the number of characters of a header's value that are displayed
SHOWN_TEXT = 10_000  # the number of characters of a notice, or of an exception's text in a reply, that are displayed

# Values that are not secrets: names of authentication methods, and placeholders from examples.
_NO_SECRETS = frozenset({"basic", "bearer", "digest", "oauth", "oauth2"}) | frozenset(
    {"changeme", "false", "password", "private", "public", "secret", "token", "username"}
)
_PARTS = re.compile(
    "apikey|clientcert|cookie|credential|hmac|passphrase|passcode|passw|psw|pwd|secret|session|signature|token"
)
_WORDS = frozenset({"cred", "creds", "jwt", "oidc", "otp", "pass", "private", "pw", "sig", "sign", "signed", "totp"})
_ENDINGS = ("auth", "key", "keys", "pass")
_OTHERS = re.compile("(?:by|com|encom|over|sur|tres|under)pass|(?:don|flun|hoc|hot|joc|lac|mon|tur|turn|whis)keys?")
# Names of keys that identify something, such as X-Event-Key of Bitbucket.
_PUBLIC_KEYS = re.compile("(?:cache|event|foreign|idempotency|issue|partition|primary|public|sort|surrogate)_keys?")
# Substrings of secret names: each name for which `is_secret` is true contains one of them in lower case.
_HINTS = (
    *("auth", "cert", "cookie", "cred", "hmac", "jwt", "key", "oidc", "otp", "pass", "private", "psw", "pw", "secret"),
    *("session", "sig", "token"),
)
# Matches in the lower case of each text with an assignment to a secret name.
_ASSIGNED = re.compile(rf"(?:{'|'.join(_HINTS)})[\w.~%\[\] -]{{0,64}}=")
_FILE = re.compile(r"(?:~|\.{0,2})/[^\0\n]*\.\w{1,6}")

# The slashes of a URL may be escaped, as in PHP's JSON, or the whole URL percent-encoded.
_URL = re.compile(r":(?:\\?/){2}(?P<secret>[^/\s]+)@")
_ENCODED_URL = re.compile(r"%3a(?:%2f){2}(?P<secret>(?:(?!%2f)[^\s/&])+)%40", re.IGNORECASE)
_USER_INFO = re.compile(r"://[^:/@]*+:(?P<password>.+)", re.DOTALL)
_BARE_USER_INFO = re.compile(r"\A[^:/@]++:(?P<password>[^/].*)", re.DOTALL)
# Parts of names whose values are addresses, which may begin with a user and password without a scheme.
_ADDRESS = re.compile("conn|database|dsn|proxy")

# A name is found first, and its value only read if the name is secret: values may extend to the end of the text.
_PARAMETER = re.compile(r"(?:(?<=[?&;\"'])|\A)(?P<name>[\w.~%\[\]-]{1,64}+)=")
_VALUE = re.compile(r"[^&\s\"'<>#]+")
# The quotes may be escaped, as in JSON within JSON, and the end may be cut off.
_ITEM = re.compile(r"(?P<quote>\\{0,3}[\"'])(?P<name>[\w. -]{1,64})(?P=quote)\s*+:\s*+b?(?=\\{0,3}[\"'])")
_QUOTED = re.compile(r"(?P<quote>\\{0,3}[\"'])(?P<secret>(?:(?!(?P=quote))\\?.)++)", re.DOTALL)

# Possessive quantifiers prevent backtracking, so that no untrusted text takes more than linear time.
_BEGINNING = r"[\"']?\s*+[:=,]\s*+(?:[\[(]++\s*+)?(?:b(?=[\"']))?[\"']?"
_AUTHORIZATION = re.compile(
    rf"\bauthorization{_BEGINNING}(?:"
    r"(?:apikey|basic|bearer|negotiate|ntlm|token)\s++(?P<secret>[^\s\"',]+)"
    r"|(?:aws4-hmac-sha256|digest|hawk|hmac|oauth)\s++(?P<all>[^\r\n]+)"
    r"|(?P<bare>[^\s\"',]+))",
    re.IGNORECASE,
)
_COOKIE = re.compile(rf"\b(?:set-)?cookie{_BEGINNING}(?P<secret>[^\s\"'][^\r\n\"']*)", re.IGNORECASE)
_HEADER = re.compile(
    r"(?:(?<![\w-])(?>[\w-]*?\bx-)(?=[\w-]*?(?:token|key|secret|auth|password))[\w-]*+|\bapi-key)"
    rf"{_BEGINNING}(?P<secret>[^\s\"',]+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(
    r"\b(?:[Bb]asic|BASIC|[Bb]earer|BEARER)\s++(?P<secret>(?=[a-z._~+/-]*[0-9A-Z=])[A-Za-z0-9+/=._~-]{16,})"
)

# As in `token=…` or `password='…'` after any text. Only names that leave no doubt, since `key=len` is code. The value of an
# argument in a traceback, such as `token=self.token`, is code too.
_ASSIGNMENT = re.compile(
    r"(?<![\w.-])(?=[\w.-]++ ?=)[\w.-]{0,40}(?:api[_-]?key|credential|passphrase|passcode|passw|psw|pwd|secret|token)"
    r"[\w.-]{0,20}(?: ?= ?b?(?P<quote>\\{0,3}[\"'])(?P<quoted>(?:(?!(?P=quote))\\?.)++)"
    r"|=(?!=|(?:cls|config|false|none|os|self|true)\b|(?<=tokens=)\d+\b)(?P<secret>[^&\s\"'<>#]+))",
    re.DOTALL | re.IGNORECASE,
)

# Tokens of GitHub, GitLab, Slack and Stripe, which begin with their kind, and the paths of Slack's webhooks.
_TOKEN = re.compile(
    r"(?<![^\W_])(?:gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{8,}"
    r"|[rs]k_live_[A-Za-z0-9]{8,}|(?<=hooks\.slack\.com/)services/[\w/]+)"
)
# Tokens and signing secrets of webhooks that errklein makes: a pattern finds thousands of them in constant time. No long word of
# German is one; an escaped slash or line end may come before.
OWN_SECRET = re.compile(r"(?:(?<![a-z])|(?<=%2f)|(?<=\\[nrt]))ek(?:t[a-z2-7]{26}|s[a-z2-7]{32})")
# Every text with a token contains one of these.
_TOKEN_HINTS = ("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_", "hooks.slack.com/")
# Patterns of secrets, each with a lower-case string that every text with a match contains.
_PATTERNS = (
    ("authorization", _AUTHORIZATION),
    ("cookie", _COOKIE),
    ("x-", _HEADER),
    ("api-key", _HEADER),
    ("basic", _SCHEME),
    ("bearer", _SCHEME),
    ("ekt", OWN_SECRET),
    ("eks", OWN_SECRET),
)
_AROUND, _BEFORE = 256, 4096  # characters around a cut in which a secret begins and ends, and before a part of a text
_UNRESERVED = re.compile("[A-Za-z0-9_.-]+")  # the characters that no client percent-encodes
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Names of values that aren't secrets even below a secret name, as in `{"auth": {"user": "deploy", "port": 15432}}`.
_OPEN = frozenset({"host", "hostname", "login", "method", "port", "scheme", "server", "type", "user", "username"})

Span = tuple[int, int]


@lru_cache(1024)
def is_secret(name: str) -> bool:
    """Return whether a setting, header, parameter or key of that name is a secret, such as `DB_PASSWORD`, `X-Otp` or `apiKey`."""
    words = re.findall("[a-z]+", re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    words = _PUBLIC_KEYS.sub("", "_".join(words)).split("_")
    return _PARTS.search("".join(words)) is not None or any(
        word in _WORDS
        or (word.endswith(_ENDINGS) and _OTHERS.fullmatch(word) is None)
        or (word.startswith("auth") and (not word.startswith("author") or word.startswith("authoriz")))
        for word in words
    )


def mask_values(value: Any, secret: bool = False) -> Any:
    """Return a copy of the value in which MASK replaces each value under a secret name, or all values if `secret` is true."""
    if isinstance(value, Mapping):
        return {key: mask_values(item, secret or is_secret(str(key))) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [mask_values(item, secret) for item in value]
    return MASK if secret and value else value


def secrets_in(value: Any, secret: bool = False) -> set[str]:
    """Return the secrets in a configuration: strings, bytes and numbers under secret names, and passwords in URLs, without short
    values, paths of files, and user names and hosts below a secret name. `secret` states that the value itself has a secret
    name."""
    found, seen = set[str](), set[int]()
    waiting = [(value, secret, False)]
    while waiting:
        item, is_one, is_address = waiting.pop()
        if isinstance(item, (Mapping, list, tuple, set, frozenset)):
            if id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, Mapping):
                for key, inner in item.items():
                    name = str(key)
                    below = is_secret(name) or (is_one and name.lower() not in _OPEN)
                    waiting.append((inner, below, _ADDRESS.search(name.lower()) is not None))
            else:
                waiting += [(inner, is_one, is_address) for inner in item]
        elif isinstance(item, bytes):
            waiting.append((item.decode("utf-8", "backslashreplace"), is_one, is_address))
        elif isinstance(item, int) and not isinstance(item, bool) and is_one and item.bit_length() < 2048:
            found.add(str(item))
        elif isinstance(item, str):
            found.update(_in_text(str(item), is_one, is_address))
    return {text for text in found if len(text) >= SHORTEST and text.lower() not in _NO_SECRETS}


def _in_text(text: str, secret: bool, address: bool) -> Iterator[str]:
    if secret and not _is_path(text):
        yield text
    if "@" in text:
        for word in text.split():
            # The password ends before the last "@".
            before = word.rpartition("@")[0]
            info = _USER_INFO.search(before) or (_BARE_USER_INFO.match(before) if address else None)
            if info is not None:
                yield from (info["password"], unquote(info["password"]))


def _is_path(text: str) -> bool:
    """Return whether the text is the path of a file, which isn't a secret. A text without a file name extension counts
    as a path only if its directory exists, since a key in Base64 may begin with a slash."""
    if len(text) > 4096 or "/" not in text or "\0" in text:
        return False
    directory = posixpath.dirname(text)
    return _FILE.fullmatch(text) is not None or (text[0] == "/" and directory != "/" and Path(directory).is_dir())


class Masker:
    """Replaces secrets in texts. May be used from any thread. Call it with a text to get the masked text."""

    def __init__(self) -> None:
        self._learned: WeakKeyDictionary[Any, dict[str, frozenset[str]]] = WeakKeyDictionary()
        self._lock = Lock()
        self._written: dict[str, tuple[frozenset[str], frozenset[re.Pattern[str]]]] = {}
        self._forms: tuple[str, ...] = ()
        self._encoded: tuple[re.Pattern[str], ...] = ()
        self._owners = self._longest = 0

    def learn(self, owner: object, name: str, secrets: Iterable[str]) -> None:
        """Replace the known secrets of an owner and name. They are dropped when `owner` is garbage collected."""
        learned = frozenset(secrets)
        with self._lock:
            known = self._learned.setdefault(owner, {})
            if known.get(name, frozenset()) == learned:
                return
            known[name] = learned
            self._refresh()

    def _refresh(self) -> None:
        self._owners = len(self._learned)
        every = {secret for names in self._learned.values() for group in names.values() for secret in group}
        self._written = {
            secret: self._written.get(secret) or (frozenset(forms_of(secret)), frozenset(_percent_encoded(secret)))
            for secret in every
        }
        self._forms = tuple(sorted({form for forms, _ in self._written.values() for form in forms}))
        self._encoded = tuple({pattern for _, patterns in self._written.values() for pattern in patterns})
        encoded = (3 * len(secret.encode("utf-8", "replace")) for secret in self._written)
        self._longest = max((*map(len, self._forms), *encoded), default=0)

    def __call__(self, text: str) -> str:
        """Return the text with each secret masked, known or identified by its surroundings."""
        return self._masked(text, _by_surroundings(text))

    def cut(self, text: str, most: int, ellipsis: str = "…") -> str:
        """Return the text, or if it is longer, its first `most` characters, masked, and an ellipsis."""
        return text if len(text) <= most else self.part(text, 0, most) + ellipsis

    def part(self, text: str, begin: int, end: int) -> str:
        """Return the characters between these positions, masked with regard to those around them."""
        self._forget_collected()
        spans = []
        for before, after, find in (
            (self._longest + _AROUND, self._longest + _AROUND, self._known),
            (_BEFORE, _AROUND, _by_surroundings),
        ):
            first = max(0, begin - before)
            found = ((one + first - begin, end + first - begin) for one, end in find(text[first : end + after]))
            spans += [(max(0, one), min(other, end - begin)) for one, other in found if one < end - begin and other > 0]
        return self._replaced(text[begin:end], spans)

    def known(self, text: str) -> str:
        """Return the text with known secrets and user info of URLs masked. Examples of parameters stay readable."""
        return self._masked(text, _in_urls(text))

    def _masked(self, text: str, spans: Iterator[Span]) -> str:
        self._forget_collected()
        return self._replaced(text, [*self._known(text), *spans])

    def _forget_collected(self) -> None:
        if len(self._learned) != self._owners:
            with self._lock:
                self._refresh()

    def _replaced(self, text: str, spans: list[Span]) -> str:
        masked = _replaced(text, spans)
        # Masking may join parts of the text into another secret. Each secret is longer than MASK, so the loop ends.
        while masked != text and (left := list(self._known(masked))):
            masked = _replaced(masked, left)
        return masked

    def values(self, value: Any, name: str = "") -> Any:
        """Return a text, or a mapping or sequence of texts, with the secrets in its keys and values masked. `name` is
        that of the field with the value. A text, or a list of texts, under a secret name is a secret."""
        if isinstance(value, str):
            return MASK if value and is_secret(name) else self(value)
        if isinstance(value, Mapping):
            return {self.values(key): self.values(item, str(key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.values(item, name) for item in value]
        return value

    def _known(self, text: str) -> Iterator[Span]:
        for form in [form for form in self._forms if form in text]:
            at = text.find(form)
            while at >= 0:
                yield at, at + len(form)
                at = text.find(form, at + len(form))
        if "%" in text or "+" in text:
            for pattern in self._encoded:
                yield from (found.span() for found in pattern.finditer(text))


# The masker of this process. It is global, as Twisted's log is: all bots of a process share the log's observers, which mask with it,
# and twistd creates its observer before a bot exists. Secrets belong to an owner (a configuration, a bot or a storage).
masker = Masker()


def _replaced(text: str, spans: list[Span]) -> str:
    if not spans:
        return text
    pieces: list[str] = []
    end = 0
    for begin, stop in sorted(spans):
        if begin > end or not pieces:
            pieces += [text[end:begin], MASK]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])


def _in_urls(text: str) -> Iterator[Span]:
    if "@" in text:
        yield from (found.span("secret") for found in _URL.finditer(text))
    if "%40" in text:
        yield from (found.span("secret") for found in _ENCODED_URL.finditer(text))


def _by_surroundings(text: str) -> Iterator[Span]:
    yield from _in_urls(text)
    small = text.lower()
    # The patterns are slow, and most texts contain no hint.
    for pattern in [pattern for needle, pattern in _PATTERNS if needle in small]:
        yield from (found.span(found.lastgroup or 0) for found in pattern.finditer(text))
    if [hint for hint in _TOKEN_HINTS if hint in small]:
        yield from (found.span() for found in _TOKEN.finditer(text))
    if [hint for hint in _HINTS if hint in small]:
        is_assigned = _ASSIGNED.search(small) is not None
        if is_assigned:
            assigned = _ASSIGNMENT.finditer(text)
            yield from (found.span("secret" if found["quoted"] is None else "quoted") for found in assigned)
        for may_occur, name, value in ((is_assigned, _PARAMETER, _VALUE), (":" in text, _ITEM, _QUOTED)):
            end = 0
            for found in name.finditer(text) if may_occur else ():
                # A name within the value of another one also ends there.
                if found.start() >= end and is_secret(found["name"]) and (secret := value.match(text, found.end())):
                    yield secret.span(secret.lastgroup or 0)
                    end = secret.end()


def forms_of(secret: str) -> set[str]:
    """Return the spellings of a secret: unchanged, escaped once or twice, as in HTML, Markdown and Base64, and its lines."""
    encoded = b64encode(secret.encode("utf-8", "replace")).decode("ascii").rstrip("=")
    forms = {encoded, encoded.replace("+", "-").replace("/", "_")}
    for part in _parts(secret):
        escaped = _escaped(part)
        forms |= {part, *escaped, *(form for once in escaped for form in _escaped(once))}
        forms |= {html_escape(part), html_escape(part, quote=False), plain(part), plain_but_html(part)}
        # Jinja2 writes other entities for quotes.
        forms.add(html_escape(part).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"))
    return forms


def _parts(secret: str) -> set[str]:
    """Return the secret, without white space at its ends, on one line, and its lines, if they aren't too short."""
    parts = {secret, secret.strip(), " ".join(secret.split()), *(line.strip() for line in secret.splitlines())}
    return {part for part in parts if len(part) >= SHORTEST}


def _percent_encoded(secret: str) -> Iterator[re.Pattern[str]]:
    """Yield patterns of the secret as in URLs. Which characters are percent-encoded differs between clients."""
    for part in _parts(secret):
        if _UNRESERVED.fullmatch(part) is None:
            yield re.compile("".join(map(_percent_or_not, part)))


def _percent_or_not(character: str) -> str:
    if _UNRESERVED.fullmatch(character):
        return re.escape(character)
    digits = (f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))
    encoded = re.sub("[a-f]", lambda digit: f"[{digit[0]}{digit[0].upper()}]", "".join(digits))
    return f"(?:{re.escape(character)}|{encoded}{'|[+]' * (character == ' ')})"


def _escaped(text: str) -> set[str]:
    """Return the spellings by `repr`, `ascii` and JSON, within either kind of quotes, and as escaped in the log."""
    forms = {json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]}
    # PHP's JSON escapes slashes.
    forms |= {form.replace("/", "\\/") for form in forms}
    forms.add(_CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text))
    # The repr of bytes equals that of a text with the same code points.
    for written in (text, text.encode("utf-8", "replace").decode("latin-1")):
        # If the text contains both kinds of quotes, repr uses single quotes and escapes them.
        single = repr("'\"" + written)[4:-1]
        unquoted = single.replace("\\'", "'")
        for form in (single, unquoted, unquoted.replace('"', '\\"')):
            forms |= {form, form.encode("ascii", "backslashreplace").decode("ascii")}
    return forms

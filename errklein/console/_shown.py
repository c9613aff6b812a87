"""Requests of deliveries for use elsewhere: as a curl command, as the file of a test, and their bodies. None has secrets."""

from __future__ import annotations

import json
import re
from shlex import quote

from errklein.text.masking import MASK, is_secret, masker
from errklein.verify import Verification
from errklein.webhooks.deliveries import StoredDelivery, StoredRequest
from errklein.webhooks.exported import as_values, body_text

MOST = 20_000  # the characters of a body on a page, and in a command
_STORED_MASK = "***"  # what the journal stores in place of a secret of a URL
_BY_CURL = ("connection", "content-length", "expect", "host", "transfer-encoding")


def headers(request: StoredRequest) -> list[tuple[str, str]]:
    texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    return [(masker(name), MASK if is_secret(name) else masker(value)) for name, value in texts]


def body(request: StoredRequest) -> bytes:
    content = request.body or b""
    try:
        return _masked(content.decode()).encode()
    except UnicodeDecodeError:
        return _plainly(_masked(content.decode("latin-1")))


def beginning(request: StoredRequest) -> tuple[str, str]:
    """Return a description of the body, and its beginning if it is text."""
    described, text = body_text(request)
    return described, masker.part(text, 0, MOST)


def exported(delivery: StoredDelivery) -> bytes:
    """Return a delivery as `errklein delivery export` writes it, which tests can replay."""
    if (request := delivery.request) is not None:
        pairs = [(_plainly(name), _plainly(value)) for name, value in headers(request)]
        target = _plainly(masker(request.target)).decode("latin-1")
        request = request._replace(target=target, headers=pairs, body=request.body and body(request))
    return json.dumps(as_values(delivery._replace(request=request, key=masker(delivery.key))), indent=2).encode()


def curl(request: StoredRequest, site: str, verification: Verification | None, file: str) -> str:
    """Return a command that sends the request to a site. Secrets, also those of the verification, which are never
    stored, are variables of the shell, without which it ends. A body that can't be in the command is in the file."""
    url = f"{site}{masker(request.target).replace(_STORED_MASK, MASK)}"
    lines = [f"curl --globoff --path-as-is --request {quote(request.method)} {_word(url, 'SECRET')}"]
    signed = sorted(verification.secret_headers) if verification else ()
    pairs = [*headers(request), *((name.decode("latin-1"), MASK) for name in signed)]
    if "content-type" not in dict(pairs):
        lines.append("--header content-type:")  # else curl adds one
    sent = [(name, f"{name}: {value}" if value else f"{name};") for name, value in pairs if name not in _BY_CURL]
    lines += [f"--header {_word(line, f'HEADER_{name}')}" for name, line in sent]
    text = (request.body or b"").decode("utf-8", "surrogateescape")
    if len(text) > MOST or not all(one.isprintable() or one in "\n\t" for one in text):
        lines.append(f"--data-binary {quote(f'@{file}')}")
    elif text:
        # `--data-binary` would send the file that a text after "@" names.
        lines.append(f"--data-raw {_word(masker(text), 'BODY')}")
    return " \\\n  ".join(lines)


def _masked(text: str) -> str:
    # In parts, since a long search holds all threads.
    return "".join(masker.part(text, begin, begin + MOST) for begin in range(0, len(text), MOST))


def _plainly(text: str) -> bytes:
    return text.replace(MASK, _STORED_MASK).encode("latin-1", "replace")


def _word(text: str, variable: str) -> str:
    """Return the text as a word of the shell, with the value of the variable in place of each secret."""
    return quote(text).replace(MASK, f"'\"${{{re.sub('[^A-Z0-9]+', '_', variable.upper())}:?}}\"'")

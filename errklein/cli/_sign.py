"""The command `errklein sign`: signs a request as a source would, to test a webhook."""

from __future__ import annotations

import argparse
import ast
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errklein.config import SecretError, read_secret
from errklein.verify import Header, Received, verification


def sign(known: argparse.Namespace) -> int:
    """Print a curl command with a signed request, or its headers as JSON. Only a secret that is itself a token is among
    them. Raises SystemExit: an argument is invalid, or the file or the secret can't be read."""
    options = dict(_option(text) for text in known.option)
    if known.secret is not None:
        options["secret"] = known.secret
    try:
        scheme = verification(known.scheme, **options)
        headers = [parse_header(text) for text in known.header]
        body = read_body(known.file)
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", content_type_of(body)))
        secret = read_secret(scheme.secrets[0]) if scheme.signer and scheme.secrets else b""
        headers += scheme.sign(Received("POST", known.url, headers, body, "", time.time()), secret)
    except ValueError as error:
        known.parser.error(str(error).replace("'secret': 'env:NAME'", "--secret env:NAME"))
    except SecretError as error:
        raise SystemExit(f"errklein: {error}") from None
    texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    sys.stdout.write(json.dumps(dict(texts)) + "\n" if known.json else _curl(known.url, texts, known.file))
    return 0


def read_body(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise SystemExit(f"errklein: {file} can't be read: {error.strerror}") from None


def _curl(url: str, headers: Sequence[tuple[str, str]], file: str) -> str:
    lines = [shlex.join(["curl", "-i", url]), *(shlex.join(["-H", f"{name}: {value}"]) for name, value in headers)]
    return " \\\n  ".join([*lines, shlex.join(["--data-binary", f"@{file}"])]) + "\n"


def content_type_of(body: bytes) -> bytes:
    try:
        json.loads(body)
    except ValueError:
        return b"application/x-www-form-urlencoded"
    return b"application/json"


def parse_header(text: str) -> Header:
    """Return the header of a text such as `X-GitHub-Event: push`. Raises ValueError."""
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise ValueError(f"invalid header: {text!r}; expected 'Name: value'")
    return name.strip().lower().encode(), value.strip().encode()


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value

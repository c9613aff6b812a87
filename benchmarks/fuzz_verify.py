"""Verify generated malformed requests with each scheme.

Run `python benchmarks/fuzz_verify.py [--requests 100000]`, or with `--check` for a few thousand. Exits with 1 if one of these
expectations fails:

- A request is accepted, gets a response that its scheme requires, or is refused. There is no other exception.
- A request whose signature was replaced is refused, and so is one with another body and the old signature of the body.
- The reason of a refusal is one short line, and doesn't have the signature or token that would be accepted.
- The id of a delivery is a text of at most 255 characters, or None.

Each request is an authentic one of tests/verify/vectors.py with random changes. A part of the requests is signed after the change, so
that the checks behind the signature see malformed values, too. `--seed N` repeats one request and prints it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from errklein.verify import Received, Refused  # noqa: E402
from tests.verify.vectors import EVERY, VECTORS, Vector  # noqa: E402

NUMBERS = (
    b"NaN",
    b"inf",
    b"-1",
    b"0",
    b"1e400",
    b"9" * 5000,
    b"1" * 13,
    b"1_0",
    b"0x5",
    b" 1700000000",
    b"1700000000.5",
    b"+5",
)
SIGNS = (
    b"",
    b"=",
    b"==",
    b",",
    b" ",
    b"v1,",
    b"v1a,",
    b"v1=",
    b"v0=",
    b"t=",
    b"sha256=",
    b"Basic",
    b"Basic ",
    b"bearer x",
    b"\x00",
)
BODIES = (
    b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"a":' * 20_000, b"9" * 5000, b'"\\ud800"', b"\xff\xfe{}", b"a=b&" * 1500, b"%", b"=&=&",
    b'{"id":"%s"}' % (b"x" * 300), b'{"id":1e999,"event":[],"update_id":true}', b'{"event":{"id":{}}}', b'{"id":"\\u0000\\ud800"}',
    b'{"type":"url_verification"}', b'{"type":"url_verification","challenge":5}', b'{"type":"url_verification","challenge":"\\ud800"}',
    b'["url_verification"]', b'{"type":1.0}', b'{"type":true,"event":null}', b'{"webhookTimestamp":NaN}', b'{"webhookTimestamp":"5"}',
    b'{"webhookTimestamp":-1}', b'{"webhookTimestamp":%s}' % (b"9" * 4000), b'{"webhookTimestamp":1e3}', b'{"webhookTimestamp":true}',
)  # fmt: skip
URLS = (
    "",
    "/",
    "http://[",
    "http://h:99999/",
    "http://h:x/",
    "https://h/?bodySHA256=",
    "https://h/?bodySHA256=a&bodySHA256=b",
    "\udcff",
)
PEERS = (
    "",
    "unknown",
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "fe80::1%eth0",
    "2001:db8::1",
    "999.1.1.1",
    "192.0.2.1 ",
    "١.1.1.1",
    "x" * 5000,
)
REPLACED = "replaced signature"


def changed(vector: Vector, choose: random.Random) -> tuple[Received, str]:
    """Return a changed request of a vector, and the kind of the change."""
    received = vector.received
    kind = choose.choice(("header", "header", "body", "signed body", "url", "peer", REPLACED))
    if kind == "url":
        return replace(received, url=choose.choice((*URLS, received.url + junk(choose).decode("latin-1")))), kind
    if kind == "peer":
        return replace(received, peer=choose.choice(PEERS)), kind
    if "body" in kind:
        body = choose.choice((*BODIES, junk(choose), damaged(received.body, choose)))
        received = replace(received, body=body)
        if kind == "body" or vector.verification.signer is None:
            return received, "body"
        try:
            signed = vector.verification.sign(received, vector.secret)
        except ValueError:
            return received, "body"
        names = {name for name, _ in signed}
        return replace(received, headers=[*(one for one in received.headers if one[0] not in names), *signed]), kind
    if kind == REPLACED:
        headers = [(name, junk(choose) if name in vector.signature else value) for name, value in received.headers]
        return replace(received, headers=headers), kind if vector.signature else "header"
    headers = list(received.headers)
    for _ in range(choose.randint(1, 3)):
        if not headers:
            break
        at = choose.randrange(len(headers))
        name, value = headers[at]
        headers[at : at + 1] = choose.choice(
            (
                [],
                [(name, value), (name, value)],
                [(name, value), (name, junk(choose))],
                [(name, damaged(value, choose))],
                [(name, choose.choice(NUMBERS))],
                [(name, choose.choice(SIGNS) + choose.choice((b"", value, junk(choose))))],
                [(name, choose.choice((b",", b" ", b", ")).join([value[:80]] * choose.choice((2, 500))))],
            )
        )
    return replace(received, headers=headers), kind


def junk(choose: random.Random) -> bytes:
    """Return random bytes; those that aren't in ASCII are frequent."""
    return choose.randbytes(choose.choice((0, 1, 5, 44, 64, 300)))


def damaged(data: bytes, choose: random.Random) -> bytes:
    """Return bytes with some of them removed, inserted or replaced."""
    result = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randint(0, len(result))
        result[at : at + choose.randint(0, 3)] = junk(choose)[:3]
    return bytes(result)


def problems(vector: Vector, received: Received, kind: str, results: Counter[str]) -> Sequence[str]:
    """Verify the request, count the result, and return the expectations that fail."""
    found = []
    verification = vector.verification
    try:
        response = verification.verify(received, vector.secrets)
        results[f"{kind}, {'accepted' if response is None else 'immediate response'}"] += 1
        # Several spellings of a form are the same form.
        other_body = kind == "body" and received.body != vector.body and vector.scheme != "twilio"
        if kind == REPLACED or (other_body and vector in VECTORS):
            found.append("accepted")
    except Refused as refused:
        reason = str(refused)
        results[f"{kind}, refused"] += 1
        accepted = [vector.secret, *(value for _, value in vector.signature.items())]
        if verification.signer is not None:
            with suppress(ValueError):
                accepted += [value for _, value in verification.sign(received, vector.secret)]
        if not (reason.isprintable() and 0 < len(reason) < 120) or any(
            len(value) > 3 and value.decode("latin-1") in reason for value in accepted
        ):
            found.append(f"reason: {reason!r}")
    except Exception as error:  # the result that must not occur
        found.append(f"verify raised {error!r}")
    try:
        ident = verification.delivery_id(received) if verification.delivery_id else None
        if not (ident is None or (isinstance(ident, str) and 0 < len(ident) <= 255)):
            found.append(f"id: {ident!r}")
    except Exception as error:  # the result that must not occur
        found.append(f"delivery_id raised {error!r}")
    return found


def main() -> int:
    """Print the numbers of results and the failed expectations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    seeds = [arguments.seed] if arguments.seed is not None else range(3000 if arguments.check else arguments.requests)
    results: Counter[str] = Counter()
    failures = 0
    begun = time.process_time()
    for seed in seeds:
        vector = EVERY[seed % len(EVERY)]
        received, kind = changed(vector, random.Random(seed))
        if arguments.seed is not None:
            print(kind, received)
        for text in problems(vector, received, kind, results):
            failures += 1
            print(f"seed {seed}, {vector.name}: {text[:500]}")
    seconds = time.process_time() - begun
    print("\n".join(f"{count:7,} × {name}" for name, count in sorted(results.items())))
    print(f"{len(seeds):,} requests, {len(EVERY)} vectors, {failures} failed expectations, {seconds:.1f} s of CPU time")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

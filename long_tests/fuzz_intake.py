"""Send generated malformed requests to verified webhooks over connections in memory.

Run `python long_tests/fuzz_intake.py [--requests 100000]`, or with `--check` for a few thousand. Each authentic request of
tests/verify/vectors.py has webhooks with `ack="after"` and `ack="now"`, and with the raw request and the payload. Requests are changed
in headers, body, URL and peer, and some in their framing: their length, chunks, method, or bytes of the head. A part of the
requests is signed after the change, so that the checks behind the signature see malformed values, too. Exits with 1 if one of these
expectations fails:

- The status is 2xx or 4xx. 501 and 505 occur for the framing only.
- A request whose signature was replaced, or with another body than the signed one, gets 4xx, and its handler doesn't run.
- A handler runs after 2xx only, once for each response.
- The reason of a refusal is one short line, and doesn't have the signature or token that would be accepted.
- Nothing is logged as an error.

`--seed N` repeats one request and prints it.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_http import Malformed, bots, parse
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from errklein.journal import DeliveryQueue, Redaction, RetryPolicy, SQLiteJournal
from errklein.running import Runner, ThreadWaits, WorkerPool, register_reactor_thread
from errklein.verify import Received
from errklein.web import BotParts, WebServer, WebSettings
from errklein.webhooks import webhook
from tests.clocks import ThreadClock
from tests.journal.inline import INLINE
from tests.verify.vectors import EVERY, VECTORS, Vector
from tests.web.kit import Connection, Recorder, hooks_of

FRAMING = "framing"
MOST_BODY = 200_000
PAUSE = 10.0
"""The seconds between requests, after which their ids are forgotten."""
METHODS = (b"GET", b"PUT", b"post", b"HEAD", b"DELETE", b"", b"P\x00ST", b"POST " * 3)
LENGTHS = (b"-1", b"", b"x", b"1e3", b"+5", b"9" * 30, b"%d" % (MOST_BODY + 1), b"5, 6", b"0x10")
CODINGS = (b"chunked", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked")
ALLOWED = {501, 505}
NUMBERS = (
    b"NaN", b"inf", b"-1", b"0", b"1e400", b"9" * 5000, b"1" * 13, b"1_0", b"0x5", b" 1700000000", b"1700000000.5", b"+5",
)  # fmt: skip
SIGNS = (
    b"", b"=", b"==", b",", b" ", b"v1,", b"v1a,", b"v1=", b"v0=", b"t=", b"sha256=", b"Basic", b"Basic ", b"bearer x", b"\x00",
)  # fmt: skip
BODIES = (
    b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"a":' * 20_000, b"9" * 5000, b'"\\ud800"', b"\xff\xfe{}", b"a=b&" * 1500, b"%", b"=&=&",
    b'{"id":"%s"}' % (b"x" * 300), b'{"id":1e999,"event":[],"update_id":true}', b'{"event":{"id":{}}}', b'{"id":"\\u0000\\ud800"}',
    b'{"type":"url_verification"}', b'{"type":"url_verification","challenge":5}', b'{"type":"url_verification","challenge":"\\ud800"}',
    b'["url_verification"]', b'{"type":1.0}', b'{"type":true,"event":null}', b'{"webhookTimestamp":NaN}', b'{"webhookTimestamp":"5"}',
    b'{"webhookTimestamp":-1}', b'{"webhookTimestamp":%s}' % (b"9" * 4000), b'{"webhookTimestamp":1e3}', b'{"webhookTimestamp":true}',
)  # fmt: skip
URLS = (
    "", "/", "http://[", "http://h:99999/", "http://h:x/", "https://h/?bodySHA256=", "https://h/?bodySHA256=a&bodySHA256=b", "\udcff",
)  # fmt: skip
PEERS = (
    "", "unknown", "192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0", "2001:db8::1", "999.1.1.1", "192.0.2.1 ", "١.1.1.1", "x" * 5000,
)  # fmt: skip
REPLACED = "replaced signature"


class Target:
    """A webhook with a verification, on a server of its own."""

    def __init__(self, vector: Vector, ack: str, raw: bool, world: World) -> None:
        name = f"FUZZ_{EVERY.index(vector)}"
        os.environb[name.encode()] = vector.secret
        verification = vector.verification
        if verification.secrets:
            verification = replace(verification, secrets=(f"env:{name}",))
        options: dict[str, Any] = {"verify": verification, "ack": ack, "raw": raw}
        if verification.delivery_id is not None:
            options |= {"dedupe": "id", "dedupe_window": PAUSE / 2}
        site, path, _ = split(vector.url)
        self.bodies: list[bytes | None] = []

        async def hook(given: Any) -> None:
            self.bodies.append(given.get_data() if raw else None)

        self.hook = webhook(path, methods=["POST"], **options)(hook)
        settings = WebSettings(public_url=site, max_body=MOST_BODY, delivery_log="bodies")
        clock = world.clock
        path = world.directory / f"{name}-{ack}-{raw}"
        journal = SQLiteJournal(path, clock, clock.seconds, Redaction(), runs=INLINE)
        self.web = WebServer(
            clock,
            world.runner,
            settings,
            now=lambda: vector.now,
            bot=lambda: BotParts(world.events, journal, self.queue, ThreadWaits(clock)),
        )
        self.queue = queue = DeliveryQueue(
            clock, journal, self.web.run, lambda _: RetryPolicy(), lambda *_: None, now=clock.seconds
        )
        queue.start()
        self.web.routes.replace("Target", hooks_of(self))


class World:
    """What all servers share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ThreadClock()
        register_reactor_thread(self.clock)
        self.runner = Runner(self.clock, WorkerPool(self.clock, "webhook", 2, queue=10, wait=10))
        self.events = Recorder()
        self.errors: list[str] = []
        self.target = cache(self._target)
        globalLogPublisher.addObserver(self._observe)

    def _observe(self, event: Any) -> None:
        if "log_failure" in event or event["log_level"] in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            self.errors.append(f"{formatEvent(event)} {failure and failure.getTraceback()}")

    def _target(self, number: int, ack: str, raw: bool) -> Target:
        return Target(EVERY[number], ack, raw, self)

    def send(self, target: Target, raw: bytes, peer: str) -> bytes:
        """Return the bytes that the server sends."""
        connection = Connection(peerAddress=IPv4Address("TCP", peer, 4000))
        channel = connection.channel = target.web.site.buildProtocol(None)
        channel.makeConnection(connection)
        channel.dataReceived(raw)
        self._await(target.web.when_idle())
        self._await(target.queue.when_idle())
        self.clock.advance(PAUSE)
        channel.connectionLost(Failure(ConnectionDone()))
        return connection.received()

    def _await(self, idle: Deferred[None]) -> None:
        while not idle.called:
            self.clock.advance(0)
            if not idle.called:
                self.clock.turn(0.01)


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


def split(url: str) -> tuple[str, str, str]:
    """Return the scheme with the host, the path, and the query with its sign."""
    scheme, _, rest = url.partition("://")
    host, _, target = rest.partition("/")
    path, sign, query = target.partition("?")
    return f"{scheme}://{host}", f"/{path}", sign + query


def request(vector: Vector, seed: int) -> tuple[bytes, Received, str]:
    """Return the bytes of a changed request, the request, and the kind of the change."""
    choose = random.Random(seed)
    received, kind = changed(vector, choose)
    _, path, query = split(vector.url)
    if kind == "url":
        query = "?" + received.url
    method, body = b"POST", received.body
    headers = list(received.headers)
    framing = (b"content-length", b"%d" % len(body))
    if choose.random() < 0.2:
        kind = FRAMING if kind != REPLACED else kind
        change = choose.randrange(6)
        if change == 0:
            method = choose.choice(METHODS)
        elif change == 1:
            framing = (b"content-length", choose.choice((*LENGTHS, b"%d" % choose.randint(0, len(body) + 5))))
        elif change == 2:
            headers.append((b"content-length", choose.choice(LENGTHS)))
        elif change == 3:
            framing = (b"transfer-encoding", choose.choice(CODINGS))
            body = choose.choice((b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), damaged(body, choose), junk(choose)))
        elif change == 4:
            body += b"x" * choose.choice((1, MOST_BODY))
            framing = (b"content-length", b"%d" % len(body))
        else:
            headers.insert(choose.randint(0, len(headers)), (junk(choose), junk(choose)))
    target = (path + query).encode("utf-8", "surrogateescape")
    lines = [b"%b %b HTTP/1.1" % (method, target), b"host: localhost"]
    lines += [b"%b: %b" % header for header in (*headers, framing)]
    return b"\r\n".join([*lines, b"", b""]) + body, received, kind


def accepted_by(vector: Vector, received: Received) -> list[str]:
    """Return the values that would be accepted in a request: the secret, and signatures of it."""
    values = [vector.secret, *(value for _, value in vector.signature.items())]
    if vector.verification.signer is not None:
        with suppress(ValueError):
            values += [value for _, value in vector.verification.sign(received, vector.secret)]
    return [value.decode("latin-1") for value in values if len(value) > 3]


def problems(world: World, seed: int, results: Counter[str], show: bool) -> list[str]:
    """Send the request of a seed, count the result, and return the expectations that fail."""
    vector = EVERY[seed % len(EVERY)]
    place = seed // len(EVERY)
    target = world.target(seed % len(EVERY), ("after", "now")[place % 2], bool(place // 2 % 2))
    raw, received, kind = request(vector, seed)
    target.bodies.clear()
    answer = world.send(
        target, raw, received.peer if received.peer.count(".") == 3 and received.peer.isascii() else "192.0.2.7"
    )
    if show:
        print(f"{kind}: {raw!r}\n{answer!r}")
    try:
        statuses = parse(answer, raw.startswith(b"HEAD "))[0]
    except Malformed as error:
        return [f"malformed response: {error}"]
    results.update(f"{kind}, {status}" for status in statuses)
    results[f"{kind}, no response"] += not statuses
    found = []
    accepted = sum(200 <= status < 300 for status in statuses)
    if any(status >= 500 and not (kind in (FRAMING, REPLACED) and status in ALLOWED) for status in statuses):
        found.append(f"statuses {statuses}")
    if len(target.bodies) > accepted:
        found.append(f"{len(target.bodies)} runs after {statuses}")
    results[f"{kind}, run"] += len(target.bodies)
    if kind == REPLACED and (accepted or target.bodies):
        found.append(f"{statuses} with a replaced signature")
    signed = vector in VECTORS and vector.scheme != "twilio" and kind not in ("signed body", FRAMING)
    expected = {vector.body} if signed else {vector.body, received.body}
    if vector in VECTORS and vector.scheme != "twilio" and not set(target.bodies) <= {*expected, None}:
        found.append("another body than the signed one has run")
    if signed and received.body != vector.body and (accepted or target.bodies):
        found.append(f"{statuses} with another body")
    for _, _, reason, _ in world.events.refused:
        if not (reason.isprintable() and 0 < len(reason) < 120) or any(
            one in reason for one in accepted_by(vector, received)
        ):
            found.append(f"reason: {reason!r}")
    found += world.errors + [str(failed) for failed in world.events.failed]
    world.errors.clear()
    world.events.failed.clear()
    world.events.refused.clear()
    return found


def main() -> int:
    """Print the numbers of results and the failed expectations."""
    options = bots.arguments(__doc__, requests=100_000, check=False, seed=int)
    seeds = [options.seed] if options.seed is not None else range(3000 if options.check else options.requests)
    results: Counter[str] = Counter()
    failures = 0
    begun = time.process_time()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory if memory.is_dir() else None) as directory:
        world = World(Path(directory))
        for seed in seeds:
            for text in problems(world, seed, results, options.seed is not None):
                failures += 1
                if failures <= 20:
                    print(f"seed {seed}, {EVERY[seed % len(EVERY)].name}: {text[:2000]}")
        world.runner.pool.stop()
    seconds = time.process_time() - begun
    print("\n".join(f"{count:7,} × {name}" for name, count in sorted(results.items()) if count))
    print(
        f"{len(seeds):,} requests, {len(EVERY)} webhooks of 4 kinds, {failures} failed expectations, {seconds:.1f} s of CPU time"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Events that sources read from their examples, from the bodies in `payloads`, and from changed ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from errklein import sources
from errklein.verify import Received
from errklein.webhooks.source import Event

FOLDER = Path(sources.__file__).parent
ALERTA = Path(__file__).parent / "alerta"
PAYLOADS = Path(__file__).parent / "payloads"
NOW = 1_796_000_000.0

Sample = tuple[Mapping[str, str], bytes]


def body(source: str, file: str) -> bytes:
    """Return the source's example, or another body."""
    return next(path for path in paths(source) if path.name == file).read_bytes()


def paths(source: str) -> list[Path]:
    """Return the paths of the source's example and of other bodies, sorted by their names."""
    folders = FOLDER / source / "payloads", PAYLOADS / source
    return sorted((path for folder in folders for path in folder.glob("*.json")), key=lambda path: path.name)


def changed(source: str, file: str, *path: str | int, **values: Any) -> bytes:
    """Return the body with other values for keys of the object at a path."""
    payload = json.loads(body(source, file))
    place = payload
    for key in path:
        place = place[key]
    place.update(values)
    return json.dumps(payload).encode()


def received(given: bytes, headers: Mapping[str, str] | None = None) -> Received:
    """Return a request with this body, of JSON unless a header says something else."""
    all_headers = {"content-type": "application/json", **(headers or {})}
    pairs = [(name.lower().encode(), value.encode()) for name, value in all_headers.items()]
    return Received("POST", "https://bot.example.net/hooks/name", pairs, given, "192.0.2.1", NOW)


def read(source: str, given: bytes, headers: Mapping[str, str] | None = None) -> Event:
    """Return the event of a request with this body."""
    return sources.find_source(source).read(received(given, headers))


def lines(source: str, given: bytes, headers: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of the message for a request with this body."""
    return read(source, given, headers).text().split("\n")


def samples(source: str, *left_out: str) -> Iterator[Sample]:
    """Return requests with all bodies of the source; their names begin with the resource of Sentry's events."""
    for path in paths(source):
        if path.name.removesuffix(".json") not in left_out:
            yield {"Sentry-Hook-Resource": path.name.partition(".")[0]}, path.read_bytes()


def in_file(file: str, header: str = "X-Event") -> Iterator[Sample]:
    """Return the requests of a file of `payloads`: a header with the name of the event, and the body."""
    for one in json.loads((PAYLOADS / file).read_text(encoding="utf-8")):
        yield {header: one["event"]}, json.dumps(one["payload"]).encode()


def example(source: str, header: str = "X-Event") -> Sample:
    """Return the source's own example. The name of its file is the event."""
    found = sources.find_source(source)
    return {header: found.example.partition(".")[0]}, sources.example_of(found)


def as_form(sample: Sample) -> Sample:
    """Return the request with its body as the field `payload` of a form."""
    headers, given = sample
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    return form, urlencode({"payload": given.decode()}).encode()


def in_page(source: str) -> set[str]:
    """Return the lines of the message that the page of a source shows."""
    page = (FOLDER / source / "README.md").read_text(encoding="utf-8")
    return set(page.partition("```text\n")[2].partition("\n```")[0].split("\n"))


def without_links(source: str) -> set[str]:
    """Return the lines of all messages for the bodies of a source, as a page shows them."""
    texts = [read(source, given, headers).text() for headers, given in samples(source)]
    return {line for text in texts for line in re.sub(r"\]\([^)]*\)|\*\*|[\\\[]", "", text).split("\n")}

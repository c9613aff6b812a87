"""The requests in `payloads/` and in the folders of sources."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

from errklein import sources

Sample = tuple[Mapping[str, str], bytes]


def samples(file: str, header: str = "X-Event") -> Iterator[Sample]:
    """Return the requests of a file: a header with the name of the event, and the body."""
    path = Path(__file__).with_name("payloads") / file
    for one in json.loads(path.read_text(encoding="utf-8")):
        yield {header: one["event"]}, json.dumps(one["payload"]).encode()


def example(source: str, header: str = "X-Event") -> Sample:
    """Return the source's own example. The name of its file is the event."""
    name = sources.find_source(source).example
    body = (Path(sources.__file__).parent / source / "payloads" / name).read_bytes()
    return {header: name.partition(".")[0]}, body


def as_form(sample: Sample) -> Sample:
    """Return the request with its body as the field `payload` of a form."""
    headers, body = sample
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    return form, urlencode({"payload": body.decode()}).encode()

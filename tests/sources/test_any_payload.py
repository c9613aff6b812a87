"""No source relies on the form of a payload, or on the name of an event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from errklein import sources
from errklein.sources import find_source, known_sources
from errklein.verify import Received
from errklein.webhooks.payload import BadPayload


def keys_in(value: Any) -> Iterator[str]:
    """Yield the keys of all objects."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_in(inner)


@cache
def keys() -> list[str]:
    """Return the keys in the recorded bodies."""
    folders = Path(sources.__file__).parent, Path(__file__).parent / "payloads"
    bodies = (path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.json"))
    return sorted({key for body in bodies for key in keys_in(json.loads(body))})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
names = st.sampled_from(keys()) | st.text(max_size=8)
payloads = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6), max_leaves=30
)


class AnyPayloadTests(SynchronousTestCase):
    """All sources."""

    @given(st.sampled_from(known_sources()), payloads, st.sampled_from(keys()) | st.text(max_size=20))
    def test_no_error(self, name: str, payload: Any, event: str) -> None:
        """JSON of any form has a message of a limited size, or none, or is refused."""
        source = find_source(name)
        headers = [(b"x-github-event", event.encode("utf-8", "replace")), (b"content-type", b"application/json")]
        try:
            text = source.read(
                Received("POST", "https://bot.example", headers, json.dumps(payload).encode(), "", 0)
            ).text()
        except BadPayload:
            return
        self.assertLessEqual(len(text), 4_000)
        self.assertLessEqual(len(text.splitlines()), source.most_lines)

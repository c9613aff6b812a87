"""GitHub: who did what to what, for the events of repositories, organisations and apps."""

from __future__ import annotations

from functools import partial

from errklein import verify
from errklein.sources._forges import branch, described_as_github, json_part
from errklein.sources._payloads import event_in, json_object, texts_beside
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_TEXTS = texts_beside(__file__)

SOURCES = {
    "github": Source(
        "github",
        "GitHub",
        partial(described_as_github, _TEXTS),
        verify.github,
        event=partial(event_in, [b"x-github-event"]),
        parse=lambda received: json_object(json_part(received)),
        values=branch,
        signs=True,
        setup=_TEXTS["setup"],
        example="push.json",
    )
}

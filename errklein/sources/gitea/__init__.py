"""Gitea, Forgejo and Gogs: who did what to what, for the events of repositories and organisations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from errklein import verify
from errklein.sources._forges import branch, described_as_github, json_part
from errklein.sources._payloads import event_in, json_object, texts_beside
from errklein.verify import Verification
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_TEXTS = texts_beside(__file__)


def _verification(*, secret: str | Sequence[str]) -> Verification:
    """Return the verification of the JSON, also if that is a field of a form: it is signed in either case."""
    plain = verify.gitea(secret=secret)
    return replace(plain, check=lambda received, secrets: plain.check(json_part(received), secrets))


_GITEA = Source(
    "gitea",
    "Gitea",
    partial(described_as_github, _TEXTS),
    _verification,
    event=partial(event_in, [b"x-gitea-event", b"x-forgejo-event", b"x-gogs-event"]),
    # What is signed is what is read, also if a form has several fields.
    parse=lambda received: json_object(json_part(received)),
    values=branch,
    signs=True,
    setup=_TEXTS["setup"],
    example="push.json",
)

SOURCES = {"gitea": _GITEA, "forgejo": replace(_GITEA, name="forgejo", title="Forgejo")}

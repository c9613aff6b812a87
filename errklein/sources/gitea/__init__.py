"""Gitea, Forgejo and Gogs: who did what to what, for the events of repositories and organisations."""

from collections.abc import Sequence
from dataclasses import replace

from errklein import verify
from errklein.sources._payloads import as_github, json_part, texts_beside
from errklein.verify import Verification

__all__ = ["SOURCES"]


def _verification(*, secret: str | Sequence[str]) -> Verification:
    """Return the verification of the JSON, also if that is a field of a form: it is signed in either case."""
    plain = verify.gitea(secret=secret)
    return replace(plain, check=lambda received, secrets: plain.check(json_part(received), secrets))


_EVENTS = (b"x-gitea-event", b"x-forgejo-event", b"x-gogs-event")

SOURCES = {
    name: as_github(name, title, texts_beside(__file__), _verification, *_EVENTS)
    for name, title in (("gitea", "Gitea"), ("forgejo", "Forgejo"))
}

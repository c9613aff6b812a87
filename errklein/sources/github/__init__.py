"""GitHub: who did what to what, for the events of repositories, organisations and apps."""

from errklein import verify
from errklein.sources._payloads import as_github, texts_beside

__all__ = ["SOURCES"]

SOURCES = {"github": as_github("github", "GitHub", texts_beside(__file__), verify.github, b"x-github-event")}

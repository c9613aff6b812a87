"""Downloads by HTTP, for the methods of the repository manager, which block."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from errklein.http_client import BodyTooLarge, HTTPClients
from errklein.plugins.repos.sources import RepoException, shown
from errklein.running import ThreadWaits


class Downloads:
    """Downloads files with limits of size and time."""

    def __init__(self, clients: HTTPClients, waits: ThreadWaits) -> None:
        self._clients = clients
        self._waits = waits

    def fetch(self, url: str, *, most: int, seconds: float) -> bytes:
        """Return the content of an https or http URL. Call it in a thread, which waits. Raises RepoException if it
        can't be downloaded, is larger than `most` bytes, or takes longer than `seconds`."""
        content: bytes = self._waits.result_of(self._fetch, url, most, seconds)
        return content

    async def _fetch(self, url: str, most: int, seconds: float) -> bytes:
        try:
            bare, user = _without_user(url)
            client = self._clients.client()
            response = await client.request("GET", bare, auth=user, max_body=most, timeout=seconds)
            content: bytes = await response.content()
        except BodyTooLarge as error:
            raise RepoException(f"{shown(url)} is larger than {most // 1_000_000} MB") from error
        except TimeoutError as error:
            raise RepoException(f"the download of {shown(url)} exceeded the timeout of {seconds:g} s") from error
        except Exception as error:
            raise RepoException(f"{shown(url)}: {_reason(error)}") from error
        if response.code != 200:
            phrase = response.phrase.decode("ascii", "replace")
            raise RepoException(f"{shown(url)}: the server responded with {response.code} {phrase}")
        return content


def _without_user(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return the URL without user name and password, and these. treq doesn't send them to another host after a redirect."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=host)), (unquote(name), unquote(password)) if at else None


def _reason(error: Any) -> str:
    """Return the exception's class and text; those of the cause if Twisted has wrapped it."""
    for failure in getattr(error, "reasons", ()):
        return _reason(failure.value)
    return f"{type(error).__name__}: {error}"

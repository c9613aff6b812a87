"""Fetches files by HTTP, in a thread, with limits of size and time."""

from __future__ import annotations

import http.client
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit
from urllib.request import OpenerDirector, Request

from errklein._version import __version__
from errklein.plugins.repos.sources import RepoException, shown

_CHUNK = 64 * 1024
# Neither for files nor for FTP, so that a redirection there is an error.
_HANDLERS = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)
_PAUSE = 20
"""For how many seconds a server may say nothing."""


def download(url: str, into: IO[bytes], *, most: int, seconds: float) -> None:
    """Write what is at an https or http URL; raises RepoException, also if it is more than `most` bytes, or takes longer."""
    deadline = time.monotonic() + seconds
    size = 0
    with _opened(url) as response:
        while chunk := response.read1(_CHUNK):
            size += len(chunk)
            if size > most:
                raise RepoException(f"{shown(url)} is larger than {most // 1_000_000} MB")
            if time.monotonic() > deadline:
                raise RepoException(f"{shown(url)} had not come to its end after {seconds:g} s")
            into.write(chunk)


@contextmanager
def _opened(url: str) -> Iterator[http.client.HTTPResponse]:
    opener = OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    try:
        with opener.open(_request(url), timeout=_PAUSE) as response:
            yield response
    except HTTPError as error:
        raise RepoException(f"{shown(url)}: the server answers {error.code} {error.reason}") from error
    except URLError as error:
        raise RepoException(f"{shown(url)}: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RepoException(f"{shown(url)}: {type(error).__name__}: {error}") from error


def _request(url: str) -> Request:
    """A request for the URL; a name and password in it are for that server alone, not for the one that it redirects to."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"User-Agent": f"errklein/{__version__}"}
    request = Request(urlunsplit(parts._replace(netloc=host)), headers=headers)  # noqa: S310  see above
    if at:
        credentials = unquote_to_bytes(user if ":" in user else f"{user}:")
        request.add_unredirected_header("Authorization", f"Basic {b64encode(credentials).decode('ascii')}")
    return request

"""Downloads files by HTTP with limits of size and time. For use in threads."""

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
# Without handlers for files and FTP, so that redirects to these are errors.
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
"""The timeout for each read from the server, in seconds."""


def download(url: str, into: IO[bytes], *, most: int, seconds: float) -> None:
    """Write the content of an https or http URL to a file.

    Raises RepoException if it can't be downloaded, is larger than `most` bytes, or takes longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    size = 0
    with _opened(url) as response:
        while chunk := response.read1(_CHUNK):
            size += len(chunk)
            if size > most:
                raise RepoException(f"{shown(url)} is larger than {most // 1_000_000} MB")
            if time.monotonic() > deadline:
                raise RepoException(f"the download of {shown(url)} exceeded the timeout of {seconds:g} s")
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
        raise RepoException(f"{shown(url)}: the server responded with {error.code} {error.reason}") from error
    except URLError as error:
        raise RepoException(f"{shown(url)}: {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RepoException(f"{shown(url)}: {type(error).__name__}: {error}") from error


def _request(url: str) -> Request:
    """Return a request for the URL. Its user name and password are sent only to its own host, not after a redirect."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    headers = {"User-Agent": f"errklein/{__version__}"}
    request = Request(urlunsplit(parts._replace(netloc=host)), headers=headers)  # noqa: S310  see above
    if at:
        credentials = unquote_to_bytes(user if ":" in user else f"{user}:")
        request.add_unredirected_header("Authorization", f"Basic {b64encode(credentials).decode('ascii')}")
    return request

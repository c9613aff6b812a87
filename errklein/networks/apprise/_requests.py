"""The HTTP requests of Apprise, with bounds that the library `requests` doesn't have."""

from __future__ import annotations

import sys
from functools import partial
from io import BytesIO
from time import monotonic
from types import SimpleNamespace
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

LARGEST = 1_000_000  # the bytes of the largest answer. Services give a few hundred.

LONGEST = 60.0  # the seconds after which an answer ends that comes bit by bit


class _BoundedAdapter(HTTPAdapter):
    """Reads answers up to LARGEST and LONGEST, whatever the caller reads of them."""

    def send(self, *args: Any, **options: Any) -> requests.Response:
        end, content = monotonic() + LONGEST, bytearray()
        response = super().send(*args, **options)
        # urllib3 1 has no `read1`, and fills the buffer before it returns.
        read = getattr(response.raw, "read1", response.raw.read)
        try:
            while data := read(65_536, decode_content=True):
                content += data
                if len(content) > LARGEST or monotonic() > end:
                    raise requests.ConnectionError(f"the answer has more than {LARGEST:,} bytes, or takes too long")
        except HTTPError as error:
            raise requests.ConnectionError(error) from None
        finally:
            response.raw.close()
        response.raw = BytesIO(content)
        return response


class _Session(requests.Session):
    """A session with bounds. It follows no redirects, which may lead to addresses that nobody has configured."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _BoundedAdapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _request(method: str, *args: Any, **options: Any) -> requests.Response:
    with _Session() as session:
        sent: requests.Response = getattr(session, method)(*args, **options)
        return sent


_METHODS = {name: partial(_request, name) for name in ("request", "get", "post", "put", "patch", "delete", "head")}
_BOUNDED = SimpleNamespace(**{**vars(requests), **_METHODS})


def bound_requests() -> None:
    """Let the services of Apprise that are loaded send requests with bounds. It has no setting for that."""
    for name, module in list(sys.modules.items()):
        if name.startswith("apprise.plugins.") and getattr(module, "requests", None) is requests:
            module.requests = _BOUNDED  # type: ignore[attr-defined]

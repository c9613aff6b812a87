"""Sends webhooks to a bot in memory, with calls that look like treq's."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred

from errklein.web import ClientResponse, MemoryClient

_UNSET: Any = object()


class WebhookClient:
    """The requests go through the real web server, without a socket; each method fires with the Answer."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    def get(self, url: str, **request: Any) -> Deferred[ClientResponse]:
        """GET the URL; see `request`."""
        return self.request("GET", url, **request)

    def post(self, url: str, **request: Any) -> Deferred[ClientResponse]:
        """POST to the URL; see `request`."""
        return self.request("POST", url, **request)

    def put(self, url: str, **request: Any) -> Deferred[ClientResponse]:
        """PUT to the URL; see `request`."""
        return self.request("PUT", url, **request)

    def delete(self, url: str, **request: Any) -> Deferred[ClientResponse]:
        """DELETE the URL; see `request`."""
        return self.request("DELETE", url, **request)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        json: Any = _UNSET,
        data: Mapping[str, str] | str | bytes | None = None,
    ) -> Deferred[ClientResponse]:
        """Send a request, and wait for the answer.

        `params` are added to the URL; `json` is sent as JSON; `data` is sent as a form if it is a mapping, else as it
        is. Raises TypeError if both `json` and `data` are given.
        """
        sent = dict(headers or {})
        content_type = ""
        body = b""
        if json is not _UNSET:
            if data is not None:
                raise TypeError("a request has either json or data")
            content_type, body = "application/json", json_module.dumps(json).encode()
        elif isinstance(data, Mapping):
            content_type, body = "application/x-www-form-urlencoded", urlencode(data).encode()
        elif data is not None:
            body = data.encode() if isinstance(data, str) else data
        if content_type and "content-type" not in map(str.lower, sent):
            sent["Content-Type"] = content_type
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params)
        return self._client.request(method, url, headers=sent, body=body)

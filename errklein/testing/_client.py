"""An HTTP client for webhooks of a bot in memory, with arguments like treq's."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred

from errklein.testing._requests import Requests
from errklein.web import ClientResponse, MemoryClient
from errklein.webhooks.deliveries import StoredRequest

_UNSET: Any = object()

_OF_THE_CONNECTION = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that describe the connection on which a recorded request arrived, and how its body was sent."""


class WebhookClient(Requests[Deferred[ClientResponse]]):
    """Sends requests through the real web server and its parser, without a socket.

    Each method returns a Deferred that fires with the response: `get`, `head`, `post`, `put`, `patch`, `delete` and
    `options` for one HTTP method each, and `request` for any. A `TestBot` has the same methods, and a `PluginTestCase`
    has them with the response itself as the result.

    :param client: The client of a web server, as `WebServer.client()` returns it.
    """

    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    def request(  # type: ignore[override]
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
        """Send a request, and return a Deferred that fires with the response.

        ::

            client.request("POST", "/build", json={"status": "ok"})
            client.request("GET", "/build", params={"id": "7"}, headers={"X-Token": "t"})

        :param method: The HTTP method, such as `"POST"`.
        :param url: The path, with or without a query; a scheme and a host are allowed.
        :param params: Parameters that are added to the query of the URL.
        :param headers: Headers. They replace those that errklein would add, such as Content-Type.
        :param cookies: Cookies, by name.
        :param json: A value that is sent as JSON, `None` included.
        :param data: A mapping, which is sent as a urlencoded form, or text or bytes, which are sent as they are.
        :raises TypeError: Both `json` and `data` are given.
        :raises ValueError: The method is invalid, or a header has more than one line.
        """
        sent = dict(headers or {})
        content_type = ""
        body = b""
        if json is not _UNSET:
            if data is not None:
                raise TypeError("json and data exclude each other; pass one of them as the body of the request")
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

    def _send_request(
        self, method: str, url: str, *, recorded: StoredRequest | None = None, **request: Any
    ) -> Deferred[ClientResponse]:
        if recorded is None:
            return self.request(method, url, **request)
        # `surrogateescape` keeps the bytes. The body may have another length than the original, if it is masked.
        headers = [
            (name.decode(), value.decode("utf-8", "surrogateescape"))
            for name, value in recorded.headers
            if name not in _OF_THE_CONNECTION
        ]
        below = url.removeprefix(recorded.base_path)
        url = below if below.startswith("/") else url
        return self._client.request(method, url, headers, recorded.body or b"", origin="replay")

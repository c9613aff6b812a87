"""An HTTP client for webhooks of a bot in memory, with arguments like treq's."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred

from errklein.testing._requests import UNSET, Requests
from errklein.testing._sources import SENDS_FORMS, headers_of_source
from errklein.web import ClientResponse, WebServer
from errklein.webhooks.deliveries import StoredRequest

_FORM = "application/x-www-form-urlencoded"

_OF_THE_CONNECTION = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that describe the connection on which a recorded request arrived, and how its body was sent."""


class WebhookClient(Requests[Deferred[ClientResponse]]):
    """Sends requests to a bot's webhooks as other services do, through the real web server and its parser, without a socket.

    ::

        client = WebhookClient(bot.web)
        waiting = client.post("/builds/7", {"status": "ok"})
        signed = client.request("POST", "/github", {"zen": "Keep it simple."}, source="github", event="ping")

    Each method returns a Deferred, which fires with the response when the webhook responds: `get`, `head`, `post`, `put`,
    `patch`, `delete` and `options` for one HTTP method each, and `request` for any. A `TestBot` has the same methods, and a
    `PluginTestCase` has them with the response itself as the result.

    :param web: The web server of a bot.
    """

    def __init__(self, web: WebServer) -> None:
        self._web = web
        self._client = web.client()

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: object = UNSET,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        json: Any = UNSET,
        data: Mapping[str, str] | str | bytes | None = None,
        source: str | None = None,
        event: str | None = None,
    ) -> Deferred[ClientResponse]:
        """Send a request, and return a Deferred that fires with the response.

        :param method: The HTTP method, such as `"POST"`.
        :param url: The path, with or without a query; a scheme and a host are allowed.
        :param body: The body: text or bytes, which are sent as they are, or a value, which is sent as JSON. Of the source
            `"twilio"`, a mapping is sent as a form.
        :param params: Parameters that are added to the query of the URL.
        :param headers: Headers. They replace those that errklein would add, such as Content-Type.
        :param cookies: Cookies, by name.
        :param json: A value that is sent as JSON, `None` included.
        :param data: A mapping, which is sent as a urlencoded form, or text or bytes, which are sent as they are.
        :param source: The service that the webhook verifies, such as `"github"`. The request gets the signature with the
            webhook's secret, and the media type and the id of the delivery as this source sends them. Headers in `headers` replace these.
        :param event: The name of the event, such as `"push"`, for the header in which the source sends it.
        :raises TypeError: Several of `body`, `json` and `data` are given.
        :raises ValueError: The method is invalid, a header has more than one line, or the webhook doesn't verify this source.
        """
        if (body is not UNSET) + (json is not UNSET) + (data is not None) > 1:
            raise TypeError("the body is given twice; pass it as the second argument, as json or as data")
        if isinstance(body, (str, bytes)) or (source in SENDS_FORMS and isinstance(body, Mapping)):
            data = body
        elif body is not UNSET:
            json = body
        sent = dict(headers or {})
        content_type, content = "", b""
        if json is not UNSET:
            if source == "linear" and isinstance(json, Mapping):
                json = {"webhookTimestamp": int(self._web.now() * 1000), **json}
            content_type, content = "application/json", json_module.dumps(json).encode()
        elif isinstance(data, Mapping):
            content_type, content = _FORM, urlencode(data).encode()
        elif data is not None:
            content = data.encode() if isinstance(data, str) else data
            content_type = "" if source is None else _FORM if source in SENDS_FORMS else "application/json"
        if content_type and "content-type" not in map(str.lower, sent):
            sent["Content-Type"] = content_type
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params)
        if source is not None:
            sent = headers_of_source(self._web, source, event, method, url, sent, content)
        elif event is not None:
            raise TypeError("event has no meaning without source, whose header it is")
        return self._client.request(method, url, headers=sent, body=content)

    def _send_request(
        self, method: str, url: str, body: object = UNSET, *, recorded: StoredRequest | None = None, **request: Any
    ) -> Deferred[ClientResponse]:
        if recorded is None:
            return self.request(method, url, body, **request)
        # `surrogateescape` keeps the bytes. The body may have another length than the original, if it is masked.
        headers = [
            (name.decode(), value.decode("utf-8", "surrogateescape"))
            for name, value in recorded.headers
            if name not in _OF_THE_CONNECTION
        ]
        below = url.removeprefix(recorded.base_path)
        url = below if below.startswith("/") else url
        return self._client.request(method, url, headers, recorded.body or b"", origin="replay")

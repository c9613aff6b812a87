"""Requests of tests to webhooks: as methods, signed as by a source, and over a connection in memory."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode, urlsplit

from twisted.internet.defer import Deferred

from errklein.config import SecretError
from errklein.verify import ADDRESS_SCHEME
from errklein.web import ClientResponse, WebServer
from errklein.webhooks.deliveries import StoredRequest
from errklein.webhooks.exported import InvalidExport, read_request

R_co = TypeVar("R_co", covariant=True)
UNSET: Any = object()  # the body of a request that has none
_STARTED_IN = Path.cwd()  # when tests are imported; trial changes it later, and names of files may be relative


class Requests(Generic[R_co]):
    """Base class of the objects that send requests to a bot under test. Every method takes a path, and these arguments::

        self.get("/builds", params={"branch": "main"})  # a query
        self.post("/builds/7", {"status": "ok"})  # a JSON body; the same as json={"status": "ok"}
        self.post("/github", {"ref": "refs/heads/main"}, source="github", event="push")  # signed as by GitHub
        self.post("/github", data={"payload": "{}"})  # a form
        self.put("/notes", "text or bytes", headers={"Content-Type": "text/plain"})
        self.delete("/builds/7", cookies={"session": "1"})

    The result is the response in a `PluginTestCase` and of the fixture `testbot`, and a Deferred of it in a `TestBot` and a
    `WebhookClient`."""

    def request(self, method: str, url: str, body: object = UNSET, **request: Any) -> R_co:
        """Send a request with any HTTP method, and return the response, or a Deferred of it. The body is text or bytes, or a
        value that is sent as JSON; `data` takes a form. `WebhookClient.request` has the further arguments."""
        return self._send_request(method, url, body, **request)

    def replay(self, file: Path | str) -> R_co:
        """Send the request of a delivery that `errklein delivery export` has written::

            def test_unknown_action(self):
                self.assertEqual(self.bot.replay("delivery-4711.json").status, 200)

        A relative path begins in the directory of the calling test. The source isn't verified, and the handler runs before
        the response, also with `ack="now"`. The origin of `request.delivery` is "replay". Raises ValueError: the file isn't
        an exported delivery, or the request's body isn't in it."""
        path = _directory_of_caller() / file
        try:
            request = read_request(path.read_bytes())
        except InvalidExport as error:
            raise ValueError(f"{path}: {error}") from None
        return self._send_request(request.method, request.target, recorded=request)

    def _send_request(self, method: str, url: str, body: object = UNSET, **request: Any) -> R_co:
        raise NotImplementedError

    def get(self, url: str, **request: Any) -> R_co:
        """Send a GET request; see `request`."""
        return self._send_request("GET", url, **request)

    def head(self, url: str, **request: Any) -> R_co:
        """Send a HEAD request, whose response has no body; see `request`."""
        return self._send_request("HEAD", url, **request)

    def post(self, url: str, body: object = UNSET, **request: Any) -> R_co:
        """Send a POST request, and return the response. With `source`, the request has the headers and the signature of
        the service that the webhook verifies. See `request`."""
        return self._send_request("POST", url, body, **request)

    def put(self, url: str, body: object = UNSET, **request: Any) -> R_co:
        """Send a PUT request; see `request`."""
        return self._send_request("PUT", url, body, **request)

    def patch(self, url: str, body: object = UNSET, **request: Any) -> R_co:
        """Send a PATCH request; see `request`."""
        return self._send_request("PATCH", url, body, **request)

    def delete(self, url: str, **request: Any) -> R_co:
        """Send a DELETE request; see `request`."""
        return self._send_request("DELETE", url, **request)

    def options(self, url: str, **request: Any) -> R_co:
        """Send an OPTIONS request; see `request`."""
        return self._send_request("OPTIONS", url, **request)


def _directory_of_caller() -> Path:
    frame = sys._getframe(1)
    while frame.f_back is not None and Path(frame.f_code.co_filename).parent == Path(__file__).parent:
        frame = frame.f_back
    return _STARTED_IN / Path(frame.f_code.co_filename).parent


SENDS_FORMS = frozenset({"twilio"})  # the sources whose bodies are forms; those of others are JSON


def headers_of_source(
    web: WebServer, source: str, event: str | None, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """Return the headers with event, id of the delivery, and signature of the source; those of the test are kept, and none are
    added without a webhook at the URL. Raises ValueError if it verifies another source, or its secret or a header is missing."""
    parts = urlsplit(url)
    if (hook := web.webhook_at(method.upper(), parts.path)) is None:
        return dict(headers)
    verification, what = hook.declaration.verify, f"{method} {parts.path} with source={source!r}: {hook}"
    if verification is None:
        raise ValueError(f'{what} verifies no source; add verify={source}(secret="env:NAME") to @webhook or WEBHOOKS')
    if verification.scheme == ADDRESS_SCHEME:
        raise ValueError(f"{what} verifies the {ADDRESS_SCHEME}; leave out source, and use the whole address")
    if verification.scheme != source:
        raise ValueError(f"{what} verifies {verification.scheme}; use source={verification.scheme!r}")
    try:
        added = verification.headers_of_source(event)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    given = set(map(str.lower, headers))
    sent = {**headers, **{name: value for name, value in added.items() if name.lower() not in given}}
    pairs = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
    target = parts._replace(scheme="", netloc="", fragment="").geturl()
    try:
        signature = web.services.checks.sign(hook, method, target, pairs, body, parts.netloc or "localhost")
    except SecretError as error:
        raise ValueError(f'{what}: {error}; set it with secrets = {{"NAME": "…"}} on the test case') from None
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    return sent | {name.decode(): value.decode() for name, value in signature if name.decode() not in given}


_FORM = "application/x-www-form-urlencoded"

_OF_THE_CONNECTION = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers that describe the connection on which a recorded request arrived, and how its body was sent."""


class WebhookClient(Requests[Deferred[ClientResponse]]):
    """Sends requests to a bot's webhooks as other services do, through the real web server and its parser, without a socket.
    Each method returns a Deferred, which fires with the response when the webhook responds. For example::

        waiting = WebhookClient(bot.web).post("/builds/7", {"status": "ok"})
    """

    def __init__(self, web: WebServer) -> None:
        self._web = web

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

        :param url: The path, with or without a query; a scheme and a host are allowed.
        :param body: The body: text or bytes, which are sent as they are, or a value, which is sent as JSON. Of the source
            `"twilio"`, a mapping is sent as a form.
        :param params: Parameters that are added to the query of the URL.
        :param headers: They replace those that errklein would add, such as Content-Type.
        :param json: A value that is sent as JSON, `None` included.
        :param data: A mapping, which is sent as a urlencoded form, or text or bytes, which are sent as they are.
        :param source: The service that the webhook verifies, such as `"github"`. The request gets the signature with the
            webhook's secret, and the media type and the id of the delivery as this source sends them. Headers in `headers` replace these.
        :param event: The name of the event, such as `"push"`, for the header in which the source sends it.
        :raises TypeError: Several of `body`, `json` and `data` are given.
        :raises ValueError: The method is invalid, a header has more than one line, or the webhook doesn't verify this source."""
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
        return self._web.request(method, url, headers=sent, body=content)

    def _send_request(
        self, method: str, url: str, body: object = UNSET, *, recorded: StoredRequest | None = None, **request: Any
    ) -> Deferred[ClientResponse]:
        if recorded is None:
            return self.request(method, url, body, **request)
        # `surrogateescape` keeps the bytes. The body may have another length than the original, if it is masked.
        kept = [(name, value) for name, value in recorded.headers if name not in _OF_THE_CONNECTION]
        headers = [(name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in kept]
        below = url.removeprefix(recorded.base_path)
        url = below if below.startswith("/") else url
        return self._web.request(method, url, headers, recorded.body or b"", origin="replay")

"""Methods that send webhook requests, one per HTTP method."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Generic, TypeVar

from errklein.webhooks.exported import InvalidExport, read_request

R_co = TypeVar("R_co", covariant=True)

UNSET: Any = object()
"""The body of a request that has none."""

_STARTED_IN = Path.cwd()
"""The current directory when tests are imported. trial changes it later, and the names of files may be relative to it."""


class Requests(Generic[R_co]):
    """Base class of the objects that send requests to a bot under test.

    Every method takes a path, with or without a query, and these arguments::

        self.get("/builds", params={"branch": "main"})  # a query
        self.post("/builds/7", {"status": "ok"})  # a JSON body; the same as json={"status": "ok"}
        self.post("/github", {"ref": "refs/heads/main"}, source="github", event="push")  # signed as by GitHub
        self.post("/github", data={"payload": "{}"})  # a form
        self.put("/notes", "text or bytes", headers={"Content-Type": "text/plain"})
        self.delete("/builds/7", cookies={"session": "1"})

    The result is the response in a `PluginTestCase` and of the fixture `testbot`, and a Deferred of it in a `TestBot` and a
    `WebhookClient`.
    """

    def request(self, method: str, url: str, body: object = UNSET, **request: Any) -> R_co:
        """Send a request with any HTTP method.

        :param method: The HTTP method, such as `"PATCH"`.
        :param url: The path, with or without a query.
        :param body: The body: text or bytes, or a value that is sent as JSON. `data` takes a form.
        :param request: The keyword arguments of `WebhookClient.request`, such as `headers` and `source`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request(method, url, body, **request)

    def replay(self, file: Path | str) -> R_co:
        """Send the request of a delivery that `errklein delivery export` has written.

        ::

            def test_unknown_action(self):
                self.assertEqual(self.bot.replay("delivery-4711.json").status, 200)

        The source isn't verified, and the handler runs before the response, also with `ack="now"`. The origin of
        `request.delivery` is "replay".

        :param file: The file. A relative path begins in the directory of the calling test.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        :raises ValueError: The file isn't an exported delivery, or the request's body isn't in it.
        """
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
        """Send a POST request, and return the response.

        ::

            response = self.post("/builds/7", {"status": "ok"})
            response = self.post("/github", {"zen": "Keep it simple."}, source="github", event="ping")

        With `source`, the request has the headers and the signature of the service that the webhook verifies.

        :param url: The path, with or without a query.
        :param body: The body: text or bytes, or a value that is sent as JSON. `data` takes a form.
        :param request: The keyword arguments of `WebhookClient.request`, such as `headers` and `source`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
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
    """Return the directory of the file that has called a method of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and Path(frame.f_code.co_filename).parent == Path(__file__).parent:
        frame = frame.f_back
    return _STARTED_IN / Path(frame.f_code.co_filename).parent

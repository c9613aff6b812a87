"""Methods that send webhook requests, one per HTTP method."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

R_co = TypeVar("R_co", covariant=True)


class Requests(Generic[R_co]):
    """Base class of the objects that send requests to a bot under test.

    Every method takes a path, with or without a query, and these keyword arguments::

        self.get("/builds", params={"branch": "main"})  # a query
        self.post("/builds/7", json={"status": "ok"})  # a JSON body
        self.post("/github", data={"payload": "{}"})  # a form
        self.put("/notes", data="text or bytes", headers={"Content-Type": "text/plain"})
        self.delete("/builds/7", cookies={"session": "1"})

    The result is the response in a `PluginTestCase` and of the fixture `testbot`, and a Deferred of it in a `TestBot` and a
    `WebhookClient`.
    """

    def request(self, method: str, url: str, **request: Any) -> R_co:
        """Send a request with any HTTP method.

        :param method: The HTTP method, such as `"PATCH"`.
        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request(method, url, **request)

    def _send_request(self, method: str, url: str, **request: Any) -> R_co:
        raise NotImplementedError

    def get(self, url: str, **request: Any) -> R_co:
        """Send a GET request.

        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request("GET", url, **request)

    def head(self, url: str, **request: Any) -> R_co:
        """Send a HEAD request, whose response has no body.

        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request("HEAD", url, **request)

    def post(self, url: str, **request: Any) -> R_co:
        """Send a POST request.

        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request("POST", url, **request)

    def put(self, url: str, **request: Any) -> R_co:
        """Send a PUT request.

        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request("PUT", url, **request)

    def patch(self, url: str, **request: Any) -> R_co:
        """Send a PATCH request.

        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request("PATCH", url, **request)

    def delete(self, url: str, **request: Any) -> R_co:
        """Send a DELETE request.

        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request("DELETE", url, **request)

    def options(self, url: str, **request: Any) -> R_co:
        """Send an OPTIONS request.

        :param url: The path, with or without a query.
        :param request: The keyword arguments of `WebhookClient.request`: `params`, `headers`, `cookies`, `json`, `data`.
        :returns: The response; in a `TestBot` or `WebhookClient`, a Deferred that fires with it.
        """
        return self._send_request("OPTIONS", url, **request)

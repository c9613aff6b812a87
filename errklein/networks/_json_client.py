"""A client for the HTTP interface of a network, whose errors tell the outbox what to do."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from errklein.http_client import BodyTooLarge
from errklein.networks._connection import describe_failure
from errklein.networks.outbox import NotConfirmed, RetryLater, Scope

if TYPE_CHECKING:
    from errklein.http_client import PluginHTTPClient

TIMEOUT = 30.0
"""The default timeout of a call, in seconds."""

LARGEST = 25_000_000
"""The size of the largest response, in bytes."""

_LATER = 5.0
"""The seconds after which to try again if the network doesn't say."""

_SLOWEST = 50_000
"""The bytes a second at which a file is sent or fetched at least."""

_LARGEST_ERROR = 65_536

_REDIRECTS = 5

ReadFailure = Callable[[int, Mapping[str, str], Any], Exception | None]
"""Gets status, headers with names in lower case, and the value of the JSON, None without one. Returns the exception to raise, if any."""


class RequestRefused(Exception):
    """The network refuses a request.

    :param status: The status of the response.
    :param code: The network's code of the error; "" if there is none.
    :param reason: The reason in the network's words.
    """

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason or code or f"the network has answered with status {status}")
        self.status, self.code, self.reason = status, code, reason


class File(NamedTuple):
    """A file to be uploaded. `field` is the name of its part of a form."""

    content: bytes
    name: str = "file"
    type: str = "application/octet-stream"
    field: str = "file"


class JSONClient:
    """Calls methods of a network's HTTP interface. Use it on the reactor.

    The Deferreds may be cancelled. Errors name the network's host, never the path, which may have a token.

    - RetryLater: status 429; or 503 with Retry-After or `retry_after_ms`.
    - RequestRefused: another status from 300 to 499.
    - NotConfirmed: there was no valid response, or one with another status from 500.

    :param base: The URL to which paths are added.
    :param headers: Headers of each request, such as Authorization; may be changed later.
    :param read_failure: Looks for an error in each response, also one with status 200, before the rules above.
    """

    def __init__(
        self,
        client: PluginHTTPClient,
        base: str,
        headers: Mapping[str, str] | None = None,
        read_failure: ReadFailure = lambda status, headers, body: None,
    ) -> None:
        self._client = client
        self._base = base.rstrip("/") + "/"
        self.host = urlsplit(base).netloc.rpartition("@")[2]
        self.headers = dict(headers or {})
        self._read_failure = read_failure

    def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        scope: Scope = "recipient",
    ) -> Deferred[Any]:
        """Make a request. The Deferred fires with the value of the response's JSON; None if the response is empty.

        :param path: The path below the base, quoted.
        :param scope: The scope of RetryLater for status 429.
        """
        options = {} if json is None else {"json": json}
        return self._call(method, path, scope, timeout=timeout, params=params or {}, **options)

    def upload(
        self,
        method: str,
        path: str,
        file: File,
        fields: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        scope: Scope = "recipient",
    ) -> Deferred[Any]:
        """Send a file, in a form with these fields, or as the body without any; return as `call`."""
        options: dict[str, Any] = {"data": file.content, "headers": {"Content-Type": file.type}}
        if fields is not None:
            files = {file.field: (file.name, file.type, BytesIO(file.content))}
            options = {"data": dict(fields), "files": files}
        timeout = TIMEOUT + len(file.content) / _SLOWEST
        return self._call(method, path, scope, timeout=timeout, params=params or {}, **options)

    def fetch(self, url: str, most: int, hosts: Collection[str] = ()) -> Deferred[bytes]:
        """Return a Deferred that fires with the content of a file.

        The headers, which may have a token, are sent to the network's host and to `hosts`; other hosts are refused, also in redirects.

        :param url: The URL, or a path below the base.
        :param most: The largest size in bytes.
        :raises BodyTooLarge: The file is larger.
        """
        return Deferred.fromCoroutine(self._fetch(urljoin(self._base, url), most, hosts))

    async def _fetch(self, url: str, most: int, hosts: Collection[str]) -> bytes:
        for _ in range(_REDIRECTS):
            parts = urlsplit(url)
            is_own = (parts.scheme, parts.netloc) == urlsplit(self._base)[:2]
            if not is_own and (parts.scheme != "https" or parts.netloc not in hosts):
                raise RequestRefused(0, "", "the file is at an address that the bot doesn't trust")
            options: dict[str, Any] = {"timeout": TIMEOUT + most / _SLOWEST, "max_body": max(most, _LARGEST_ERROR)}
            response = await self._request("GET", url, **options)
            location = response.headers.getRawHeaders("Location", [""])[0]
            if not (300 <= response.code < 400 and location):
                if response.code != 200:
                    await self._value(response, "recipient")
                    raise RequestRefused(response.code, "", "")
                content: bytes = await response.content()
                if len(content) > most:
                    raise BodyTooLarge(f"{self.host}: the file is larger than {most:,} bytes")
                return content
            url = urljoin(url, location)
        raise RequestRefused(0, "", "the file is behind too many redirects")

    def _call(self, method: str, path: str, scope: Scope, **options: Any) -> Deferred[Any]:
        async def call() -> Any:
            return await self._value(await self._request(method, self._base + path.lstrip("/"), **options), scope)

        return Deferred.fromCoroutine(call())

    async def _request(self, method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any) -> Any:
        options.setdefault("max_body", LARGEST)
        try:
            return await self._client.request(
                method, url, headers={**self.headers, **(headers or {})}, allow_redirects=False, **options
            )
        except BodyTooLarge:
            raise BodyTooLarge(f"{self.host}: the response is larger than {options['max_body']:,} bytes") from None
        except TimeoutError:
            reason = f"no response within {options['timeout']:g} s"
        except RuntimeError:
            # It was called in a thread.
            raise
        except Exception as error:
            failure = Failure()
            if failure.check(CancelledError) or any(
                isinstance(one, Failure) and one.check(CancelledError) for one in getattr(error, "reasons", None) or ()
            ):
                raise CancelledError from None
            reason = describe_failure(failure)
        raise NotConfirmed(f"{self.host}: {reason}")

    async def _value(self, response: Any, scope: Scope) -> Any:
        """Return the value of the response, or raise what it says."""
        status, content = response.code, await response.content()
        try:
            value = json_module.loads(content) if content else None
            is_valid = True
        except (ValueError, RecursionError):
            value, is_valid = None, False
        headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        if (error := self._read_failure(status, headers, value)) is not None:
            raise error
        seconds = _seconds(headers, value)
        if status == 429:
            raise RetryLater(_LATER if seconds is None else seconds, scope)
        if status == 503 and seconds is not None:
            raise RetryLater(seconds, "network")
        if status >= 500:
            raise NotConfirmed(f"{self.host} has answered with status {status}")
        if status >= 300:
            raise RequestRefused(status, *_words(value))
        if not is_valid:
            raise NotConfirmed(f"{self.host} has answered with something else than JSON")
        return value


def _seconds(headers: Mapping[str, str], value: Any) -> float | None:
    """Return the seconds after which a request may be repeated; None if the response doesn't say."""
    milliseconds = value.get("retry_after_ms") if isinstance(value, dict) else None
    if isinstance(milliseconds, (int, float)) and milliseconds >= 0:
        return milliseconds / 1000
    # It may also be a date.
    if text := headers.get("retry-after", "").strip():
        return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) else _LATER
    return None


def _words(value: Any) -> tuple[str, str]:
    """Return the code and the reason that most interfaces have in an error."""
    if not isinstance(value, dict):
        return "", ""
    code = value.get("errcode", value.get("error_code", value.get("code", "")))
    reason = value.get("error", value.get("description", value.get("message", "")))
    return str(code), " ".join(str(reason).split())[:300]

"""A client for the HTTP interface of a network, whose errors tell the outbox what to do."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from errklein.chat import Attachment
from errklein.http_client import BodyTooLarge
from errklein.networks._connection import describe_failure
from errklein.networks.outbox import NotConfirmed, RetryLater
from errklein.text import sanitize

if TYPE_CHECKING:
    from errklein.http_client import PluginHTTPClient

TIMEOUT = 30.0
LARGEST = 25_000_000  # the bytes of the largest response
_LATER = 5.0  # the seconds after which to try again if the network doesn't say
_SLOWEST = 50_000  # the bytes a second at which a file is sent or fetched at least
_LARGEST_ERROR, _REDIRECTS = 65_536, 5
_DEEPEST, _LONGEST = 100, 1000  # the levels, and the digits of a number, that are kept of JSON that Python can't read
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
ReadFailure = Callable[[int, Mapping[str, str], Any], Exception | None]
"""Gets status, headers with names in lower case, and the JSON, None without one. Returns the exception to raise, if any."""


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object as it is, and an empty one for anything else: servers pass on what others have made up."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the JSON objects of an array; none for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_of(value: Any) -> str:
    """Return a text as it is, and "" for anything else."""
    return value if isinstance(value, str) else ""


def at(value: Any, *path: str) -> str:
    """Return the text at a path of names in JSON; "" if there is none."""
    for name in path:
        value = mapping(value).get(name)
    return text_of(value)


def one_line(value: Any) -> str:
    """Return a text from outside as one line of at most 200 characters; "" for anything else."""
    return " ".join(sanitize(text_of(value)).split())[:200]


def attachment(name: str, type: Any, size: Any, fetch: Callable[[int], Any]) -> Attachment:
    """Return a file of a message; its type and size as others have made them up."""
    known = size if isinstance(size, int) and size > 0 else 0
    return Attachment(name or "file", one_line(type), known, fetch)


class RequestRefused(Exception):
    """The network refuses a request. `code` is its name of the error, "" without one, and `reason` the error in its words."""

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
    """Calls methods of a network's HTTP interface. Use it on the reactor. The Deferreds may be cancelled. Status 429, or 503 with
    Retry-After or `retry_after_ms`, is RetryLater; another one from 300 to 499 RequestRefused; another one, or no valid response,
    NotConfirmed. `read_failure` is asked before. Errors name the host, never the path, which may have a token."""

    log = Logger(namespace="errklein.networks")

    def __init__(
        self,
        client: PluginHTTPClient,
        base: str,
        headers: Mapping[str, str] = {},
        read_failure: ReadFailure | None = None,
    ) -> None:
        self._client, self._base, self.headers = client, base.rstrip("/") + "/", dict(headers or {})
        self.host = urlsplit(base).netloc.rpartition("@")[2]
        self._read_failure = read_failure or (lambda status, headers, body: None)

    def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: Mapping[str, str] = {},
        timeout: float = TIMEOUT,
        most: int = LARGEST,
    ) -> Deferred[Any]:
        """Return the value of the response's JSON, None if it is empty. The path is quoted. More than `most` bytes are BodyTooLarge."""
        options: dict[str, Any] = {} if json is None else {"json": json}
        options |= {"max_body": most, "timeout": timeout, "params": params}
        return Deferred.fromCoroutine(self._call(method, path, **options))

    def upload(
        self,
        method: str,
        path: str,
        file: File,
        fields: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] = {},
    ) -> Deferred[Any]:
        """Send a file, in a form with these fields, or as the body without any; return as `call`."""
        options: dict[str, Any] = {"data": file.content, "headers": {"Content-Type": file.type}}
        if fields is not None:
            options = {"data": dict(fields), "files": {file.field: (file.name, file.type, BytesIO(file.content))}}
        options |= {"timeout": TIMEOUT + len(file.content) / _SLOWEST, "params": params}
        return Deferred.fromCoroutine(self._call(method, path, **options))

    def fetch(self, url: str, most: int, hosts: Collection[str] = ()) -> Deferred[bytes]:
        """Return a Deferred of the content of a file; it fails with BodyTooLarge beyond `most` bytes. The headers,
        which may have a token, are sent to the network's host and to `hosts`; others are refused, also in redirects."""
        return Deferred.fromCoroutine(self._fetch(urljoin(self._base, url), most, hosts))

    async def _fetch(self, url: str, most: int, hosts: Collection[str]) -> bytes:
        options: dict[str, Any] = {"timeout": TIMEOUT + most / _SLOWEST, "max_body": max(most, _LARGEST_ERROR)}
        for _ in range(_REDIRECTS):
            parts = urlsplit(url)
            is_own = (parts.scheme, parts.netloc) == urlsplit(self._base)[:2]
            if not is_own and (parts.scheme != "https" or parts.netloc not in hosts):
                raise RequestRefused(0, "", "the file is at an address that the bot doesn't trust")
            response = await self._request("GET", url, **options)
            location = response.headers.getRawHeaders("Location", [""])[0]
            if location and response.code in range(300, 400):
                url = urljoin(url, location)
                continue
            content: bytes = await response.content()
            if response.code != 200:
                await self._value(response)
            if len(content) > most:
                raise BodyTooLarge(f"{self.host}: the file is larger than {most:,} bytes")
            return content
        raise RequestRefused(0, "", "the file is behind too many redirects")

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        return await self._value(await self._request(method, self._base + path.lstrip("/"), **options))

    async def _request(self, method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any) -> Any:
        options = {"max_body": LARGEST, "allow_redirects": False, **options}
        try:
            return await self._client.request(method, url, headers={**self.headers, **(headers or {})}, **options)
        except BodyTooLarge:
            raise BodyTooLarge(f"{self.host}: the response is larger than {options['max_body']:,} bytes") from None
        except TimeoutError:
            reason = f"no response within {options['timeout']:g} s"
        except RuntimeError:
            # It was called in a thread.
            raise
        except Exception as error:
            causes = [Failure(), *(getattr(error, "reasons", None) or ())]
            if any(isinstance(one, Failure) and one.check(CancelledError) for one in causes):
                raise CancelledError from None
            reason = describe_failure(causes[0])
        raise NotConfirmed(f"{self.host}: {reason}")

    async def _value(self, response: Any) -> Any:
        status, content, value, is_valid = response.code, await response.content(), None, True
        try:
            value = self._parsed(content) if content else None
        except ValueError:
            # A stored file has no JSON.
            is_valid = status == 201
        raw = response.headers.getAllRawHeaders()
        headers = {name.decode("latin-1").lower(): values[-1].decode("latin-1") for name, values in raw}
        if (error := self._read_failure(status, headers, value)) is not None:
            raise error
        answer = value if isinstance(value, dict) else {}
        seconds = _pause(headers, answer)
        if status == 429 or (status == 503 and seconds is not None):
            raise RetryLater(_LATER if seconds is None else seconds, "recipient" if status == 429 else "network")
        if status >= 500 or (status < 300 and not is_valid):
            what = "" if is_valid else ", and not with JSON"
            raise NotConfirmed(f"{self.host} has answered with status {status}{what}")
        if status >= 300:
            code = answer.get("errcode", answer.get("error_code", answer.get("code", "")))
            reason = answer.get("error", answer.get("description", answer.get("message", "")))
            raise RequestRefused(status, str(code)[:100], " ".join(str(reason).split())[:300])
        return value

    def _parsed(self, content: bytes) -> Any:
        """Return the value of JSON. In the place of what Python can't read, since somebody has nested it too deeply, is null."""
        try:
            return json_module.loads(content)
        except (ValueError, RecursionError) as error:
            if isinstance(error, (json_module.JSONDecodeError, UnicodeDecodeError)):
                raise
        self.log.warn("{host}: what is too deep or too long for Python in a response is ignored", host=self.host)
        kept, depth, begin = bytearray(), 0, 0
        for token in _TOKEN.finditer(content):
            if token[0] in (b"[", b"{"):
                depth += 1
                if depth == _DEEPEST:
                    kept += content[begin : token.start()] + b"null"
            elif token[0] in (b"]", b"}"):
                depth -= 1
                if depth == _DEEPEST - 1:
                    begin = token.end()
        return json_module.loads(bytes(kept + content[begin:]), parse_int=lambda digits: int(digits[:_LONGEST]))


def _pause(headers: Mapping[str, str], answer: Mapping[str, Any]) -> float | None:
    """Return the seconds after which a request may be repeated; None if the response doesn't say."""
    milliseconds = answer.get("retry_after_ms")
    if isinstance(milliseconds, (int, float)) and milliseconds >= 0:
        return min(milliseconds, 1e9) / 1000
    # It may also be a date.
    text = headers.get("retry-after", "").strip()
    seconds = float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) else _LATER
    return seconds if text else None

"""The bodies of errklein's own responses: errors as `application/problem+json` (RFC 9457) or HTML, and the page at `/`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from html import escape
from http.client import responses

from errklein.ports.outbox import OutboxFull
from errklein.webhooks.payload import BadPayload

_OUTBOX_RETRY = 30.0  # seconds after which a source repeats a request whose messages had no room in the outbox
Headers = list[tuple[bytes, bytes]]
_HTML = (b"Content-Type", b"text/html; charset=utf-8")
_START = "This is an errklein bot, and it is running. Its webhooks have addresses of their own."


@dataclass(eq=False)
class Problem(Exception):
    """An error response of errklein's own."""

    status: int
    detail: str  # the reason, for the response's body
    headers: tuple[tuple[bytes, bytes], ...] = ()  # additional headers, such as Retry-After
    kind: str = ""  # for a request that isn't authentic, the kind of the reason, as in `Refused`


def retry_after(seconds: float) -> tuple[tuple[bytes, bytes]]:
    return ((b"Retry-After", b"%d" % max(1, math.ceil(seconds))),)


STOPPING = Problem(503, "the service is stopping", retry_after(10.0))


def too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes")


def problem_of(error: BaseException | None) -> Problem | None:
    """Return the response to an error that isn't a fault of the handler; None for other errors."""
    if isinstance(error, BadPayload):
        return Problem(error.status, error.detail)
    if isinstance(error, OutboxFull):
        return Problem(503, "too many messages are waiting to be sent", retry_after(_OUTBOX_RETRY))
    return None


def error_page(problem: Problem, request_id: str, *, as_html: bool) -> tuple[Headers, bytes]:
    title = responses[problem.status]
    headers = problem.headers
    if not as_html:
        fields = {"type": "about:blank", "title": title, "status": problem.status, "detail": problem.detail}
        fields["request_id"] = request_id
        return [*headers, (b"Content-Type", b"application/problem+json")], json.dumps(fields).encode("ascii") + b"\n"
    paragraphs = f"<h1>{title}</h1>\n<p>{escape(problem.detail)}</p>\n<p>Request {request_id}</p>\n"
    return [*headers, _HTML], _page(f"{problem.status} {title}", paragraphs)


def start_page(*, as_html: bool) -> tuple[Headers, bytes]:
    """Return the headers and the body of the page at `/`, for people who open the address of the bot. It names no webhooks."""
    if as_html:
        return [_HTML], _page("errklein", f"<h1>errklein</h1>\n<p>{escape(_START)}</p>\n")
    return [(b"Content-Type", b"text/plain; charset=utf-8")], f"{_START}\n".encode()


def _page(title: str, paragraphs: str) -> bytes:
    return f"<!doctype html>\n<html lang=en>\n<title>{title}</title>\n{paragraphs}".encode("utf-8", "replace")

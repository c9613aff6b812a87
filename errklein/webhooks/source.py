"""Sources of webhooks: how GitHub, Alertmanager and others sign, name and describe what they send, and the response they expect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from errklein.verify import ImmediateResponse, Received, Verification
from errklein.webhooks.payload import decode_payload
from errklein.webhooks.texts import Markdown, message, render

_LONGEST_EVENT = 100


@dataclass(frozen=True, slots=True)
class Event:
    """What a source reports in one request: the first argument of a handler of `@webhook(…, source="github")`.

    `name` is the source's name of the kind of event, such as "pull_request.opened" or "firing"; empty if the source has none.
    `payload` is the decoded body. `values` are what placeholders such as `{sender.login}` refer to: the keys of the payload,
    those that the source adds, and `event`, which is the name unless the payload has such a key.
    """

    name: str
    payload: Any
    source: Source = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    def text(self) -> Markdown:
        """Return the source's message for a room: who did what to what, with a link. Empty for an event that isn't worth one."""
        lines = (render(line, self.values) for line in self.source.lines(self.name, self.payload))
        return message(lines, self.source.most_lines)


def header(received: Received, name: bytes) -> str:
    """Return the value of a header, or ""."""
    return next((value.decode("latin-1") for key, value in received.headers if key == name), "")


def decoded(received: Received) -> Any:
    """Return the payload of a request, which is decoded by its Content-Type as for handlers of `@webhook`. Raises BadPayload."""
    kind, coding = header(received, b"content-type"), header(received, b"content-encoding")
    return decode_payload(received.body, kind, content_encoding=coding)


ACCEPTED = ImmediateResponse(202, (), b"")


@dataclass(frozen=True, eq=False)
class Source:
    """What errklein knows of a service that sends webhooks."""

    name: str  # the name in commands and settings, such as "github"
    title: str  # the name for people, such as "GitHub"
    # Called with the name of an event and its payload; returns the lines of the message as texts with placeholders, such as
    # `"**{sender.login}** opened [{issue.title}]({issue.html_url})"`. Values never get into a text in another way, so each is
    # escaped. Empty lines are left out.
    lines: Callable[[str, Any], Sequence[str]]
    verification: Callable[..., Verification]  # returns the verification for `secret=` references
    event: Callable[[Received, Any], str] = lambda received, payload: ""  # returns the name of the event of a request
    parse: Callable[[Received], Any] = decoded  # returns the payload of a request; raises BadPayload
    values: Callable[[Any], Mapping[str, Any]] = lambda payload: {}  # returns what placeholders may refer to, too
    signs: bool = False  # whether the service signs its requests; if not, the address of a webhook contains a token
    issues_secret: bool = False  # whether the service makes the secret and shows it when the address is entered there
    # The response to a request that was recorded.
    response: ImmediateResponse | Callable[[Received], ImmediateResponse] = ACCEPTED
    # Returns the response for a status and a reason, for services that expect errors in a form of their own.
    refusal: Callable[[int, str], ImmediateResponse] | None = None
    # Returns the service's id of a delivery that it repeats; by default that of the verification.
    delivery_id: Callable[[Received], str | None] | None = None
    short_url: bool = False  # whether an address is the prefix and the token, without the webhook's name
    suffixes: tuple[str, ...] = ()  # segments that the service appends to the address
    most_lines: int = 10  # the number of lines of a message
    # At most three lines that tell what to do at the service, with `{url}`, `{secret}`, `{token}`, `{host}` (with port and base path)
    # and `{s}` ("s" with TLS).
    setup: Sequence[str] = ()
    example: str = ""  # the file of an example in the source's folder `payloads`

    def read(self, received: Received) -> Event:
        """Return the event that a request reports. Raises BadPayload: the body can't be parsed."""
        payload = self.parse(received)
        own = payload if isinstance(payload, Mapping) else {}
        name = "".join(self.event(received, payload).split())[:_LONGEST_EVENT]
        return Event(name, payload, self, {"event": name, **own, **self.values(payload)})

    def respond(self, received: Received) -> ImmediateResponse:
        """Return the response to a request that was recorded, or that no handler takes."""
        return self.response if isinstance(self.response, ImmediateResponse) else self.response(received)


def wanted(event: str, patterns: Sequence[str]) -> bool:
    """Return whether the name of an event is one of `patterns`, such as "push" or "pull_request.*"; without patterns, all
    are. "pull_request" also means "pull_request.opened" and all others of its kind."""
    return not patterns or any(fnmatchcase(event, pattern) or event.startswith(f"{pattern}.") for pattern in patterns)


FindSource = Callable[[str], Source]  # returns the source of a name, or raises HookError, with a suggestion

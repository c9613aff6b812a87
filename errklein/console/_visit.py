"""A request of a visitor, as pages and actions use it, and the tables of these."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs

from twisted.web.server import Request

from errklein.console._access import VisitorAccess
from errklein.console._sessions import Session

Values = Mapping[str, Any]


class OtherResponse(Exception):
    """A response other than a page: a status with a sentence, an address to go to, or the name of a file and a function that
    returns its content, which is called in a thread."""

    def __init__(
        self, status: int, text: str = "", to: str = "", file: tuple[str, Callable[[], bytes]] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.text, self.to, self.file = status, text, to, file


class Visit:
    """A request of a visitor, as pages use it."""

    def __init__(self, request: Request, session: Session, access: VisitorAccess) -> None:
        self.request, self.session, self.access = request, session, access
        self.bot, self.host = access.bot, access.bot.core_host
        self.path = re.sub("[?&]done=[0-9]+", "", request.uri.decode("ascii", "replace"))
        self._only_shows = request.method != b"POST"
        self.is_following = b"text/event-stream" in (request.getHeader(b"accept") or b"")

    @cached_property
    def _fields(self) -> Mapping[str, Sequence[str]]:
        query = self.request.uri.partition(b"?")[2]
        content: Any = self.request.content
        given = query if self._only_shows else content.read()
        try:
            return parse_qs(given.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            raise OtherResponse(400, "The form has too many fields.") from None

    def field(self, name: str) -> str:
        """Return the value of a field of the form, or of the address."""
        return next(iter(self.values(name)), "")

    def values(self, name: str) -> Sequence[str]:
        """Return the values of all fields of that name."""
        return self._fields.get(name, ())

    def fields(self, name: str) -> dict[str, str]:
        """Return the values of the fields `NAME.KEY` by their keys."""
        return {key.removeprefix(f"{name}."): self.field(key) for key in self._fields if key.startswith(f"{name}.")}

    @property
    def done(self) -> str:
        """The result of the last action; "" without one."""
        return self.session.results.get(self.field("done"), "")

    def operation(self, name: str) -> Callable[..., Any]:
        part, _, method = name.partition(".")
        found: Callable[..., Any] = getattr(getattr(self.host, part), method)
        return found

    def perform(self, name: str, /, **values: Any) -> Awaitable[Any]:
        """Return the result of an operation, named by its place in `bot.CoreHost`. Fails with NotPermitted."""
        return self.access.perform(self.session.visitor, self.operation(name), dry_run=self._only_shows, **values)

    async def may(self, name: str, /, **values: Any) -> bool:
        """Return whether the visitor may perform an operation."""
        return not await self.access.refusal(self.session.visitor, self.operation(name), dry_run=True, **values)


Action = Callable[[Visit, Any, Values], str]
"""Returns the sentence about the result of an operation, which had these arguments."""

ACTIONS: dict[str, Action] = {}
"""The operations that forms perform, by their place in `bot.CoreHost`. Pages add theirs."""


@dataclass(frozen=True)
class Page:
    """A page: its address as a rule of Klein, its template, and a function of a `Visit` and the parts of the address, which
    returns the values of the template."""

    rule: str
    template: str
    function: Callable[..., Awaitable[Values]]


PAGES: list[Page] = []  # All pages that visitors see


def page(rule: str, template: str) -> Callable[[Callable[..., Awaitable[Values]]], Callable[..., Awaitable[Values]]]:
    """Add the decorated function to the pages; see `Page`."""

    def add(function: Callable[..., Awaitable[Values]]) -> Callable[..., Awaitable[Values]]:
        PAGES.append(Page(rule, template, function))
        return function

    return add


def read_value(given: str, annotation: str) -> Any:
    """Return the value of a parameter with this annotation."""
    words = shlex.split(given) if annotation.startswith("Sequence") else []
    if "int" in annotation:
        return [int(word) for word in words] if annotation.startswith("Sequence") else int(given)
    return words if annotation.startswith("Sequence") else bool(given) if annotation.startswith("bool") else given

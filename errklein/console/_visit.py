"""The visits of people: links and sessions, the checks of requests, and operations by the access rules of the commands in chat."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.server import Request

from errklein.bot import Bot
from errklein.chat import Identifier, Message
from errklein.commands.operations import Guard
from errklein.config.networks import is_local
from errklein.ports.chat import Backend, KnowsHolders
from errklein.running.context import handled_network, origin, person_origin
from errklein.webhooks.forwarding import UNIX, TrustedProxies, is_host

_MOST_LINKS = 5  # the open links of a visitor
_MOST_RESULTS = 20  # the results of actions that a session remembers


@dataclass(frozen=True)
class Visitor:
    """Who uses the console: a person on a network, or without one the bot's user or root, who may do everything."""

    name: str
    network: str = ""
    person: Identifier | None = None


@dataclass(eq=False)
class Session:
    visitor: Visitor
    ends_at: float  # by the reactor
    form_token: str = field(default_factory=token_hex, repr=False)  # what each form must send
    results: dict[str, str] = field(default_factory=dict)  # of the latest actions, by number
    _number: int = 0

    def remember(self, result: str) -> int:
        """Keep the result of an action for the next page, and return its number."""
        self._number += 1
        self.results[str(self._number)] = result
        self.results.pop(str(self._number - _MOST_RESULTS), None)
        return self._number


class Sessions:
    """Links and sessions. Tokens are kept as hashes, so that a comparison takes no time that depends on them."""

    link_seconds, session_seconds = 120.0, 8 * 3600.0

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._links: dict[bytes, tuple[Visitor, float]] = {}
        self._sessions: dict[bytes, Session] = {}

    def invite(self, visitor: Visitor) -> str:
        """Return the token of a link that is valid once, for `link_seconds`."""
        self._forget_ended()
        own = [key for key, (other, _) in self._links.items() if other == visitor]
        for key in own[: max(0, len(own) + 1 - _MOST_LINKS)]:
            del self._links[key]
        # Only digits and letters: chat takes underscores for markup.
        token = token_hex(32)
        self._links[_hash(token)] = visitor, self._seconds() + self.link_seconds
        return token

    def enter(self, token: str) -> tuple[str, Session] | None:
        """Use up a link, and return the cookie and the session; None if it is unknown, was used, or is too old."""
        self._forget_ended()
        if (found := self._links.pop(_hash(token), None)) is None:
            return None
        cookie, session = token_hex(32), Session(found[0], self._seconds() + self.session_seconds)
        self._sessions[_hash(cookie)] = session
        return cookie, session

    def find(self, cookie: str) -> Session | None:
        session = self._sessions.get(_hash(cookie))
        return session if session is not None and session.ends_at > self._seconds() else None

    def end(self, session: Session) -> None:
        self._sessions = {key: one for key, one in self._sessions.items() if one is not session}

    def end_all(self) -> int:
        self._forget_ended()
        number, self._links, self._sessions = len(self._sessions), {}, {}
        return number

    def _forget_ended(self) -> None:
        now = self._seconds()
        self._links = {key: one for key, one in self._links.items() if one[1] > now}
        self._sessions = {key: one for key, one in self._sessions.items() if one.ends_at > now}


def _hash(token: str) -> bytes:
    return sha256(token.encode("utf-8", "replace")).digest()


class NotPermitted(Exception):
    """The visitor may not perform an operation. The text is the reason."""


class Left(Exception):
    """The visitor isn't who has got the link any more, or may not enter the console now. The text is the reason."""


class RequestChecks:
    """The checks that a request passes before the console answers it, whoever sends it, by CONSOLE_URL and TRUSTED_PROXIES."""

    def __init__(self, url: str, proxies: Any) -> None:
        self._url, self._proxies = urlsplit(url.lower()), TrustedProxies(proxies)

    def problem(self, request: Request) -> str:
        """Return why a request may not be answered; "" if it may."""
        host = _host(request)
        if not (
            is_host(host.encode()) and (host == self._url.netloc or is_local(urlsplit(f"//{host}").hostname or ""))
        ):
            return "the address isn't one of the console; CONSOLE_URL names it"
        peer, proxy = self._peer(request)
        from_here = proxy is None and (peer == UNIX or is_local(peer))
        if not (request.isSecure() or from_here or self._proxies.trusts(proxy or peer)):
            return "the console isn't served in clear over a network; use TLS, or a proxy of TRUSTED_PROXIES"
        try:
            unquote(request.path, errors="strict")
        except UnicodeDecodeError:
            # Klein would log a traceback.
            return "the path isn't UTF-8"
        return ""

    def is_secure(self, request: Request) -> bool:
        return bool(request.isSecure()) or (self._url.scheme == "https" and _host(request) == self._url.netloc)

    def is_own_form(self, request: Request) -> bool:
        own = f"{'https' if self.is_secure(request) else 'http'}://{_host(request)}"
        return request.requestHeaders.getRawHeaders(b"origin") == [own.encode()]

    def client(self, request: Request) -> str:
        """Return the address of the browser, as far as trusted proxies report it."""
        peer, proxy = self._peer(request)
        headers = [(name.lower(), one) for name, values in request.requestHeaders.getAllRawHeaders() for one in values]
        reported = self._proxies.forwarded(peer, request.isSecure(), headers, proxy).client
        return peer if reported is None else reported[0]

    def _peer(self, request: Request) -> tuple[str, str | None]:
        """Return the address of the client, and of the proxy that has reported it in a PROXY header."""
        address = request.getClientAddress()
        peer = UNIX if isinstance(address, UNIXAddress) else str(getattr(address, "host", ""))
        return peer, getattr(request.transport, "proxy", None)


def _host(request: Request) -> str:
    # Several values are invalid.
    return b",".join(request.requestHeaders.getRawHeaders(b"host", ())).decode("utf-8", "replace").lower()


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
    """A request of a visitor, as pages use it. Operations are performed by the rules and filters of the chat commands that guard them."""

    def __init__(self, request: Request, session: Session, bot: Bot) -> None:
        self.request, self.session, self.visitor = request, session, session.visitor
        self.bot, self.host = bot, bot.core_host
        self.path = re.sub("[?&]done=[0-9]+", "", request.uri.decode("ascii", "replace"))
        self._only_shows = request.method != b"POST"
        self.is_following = b"text/event-stream" in (request.getHeader(b"accept") or b"")

    def check(self) -> None:
        """Raise Left unless the visitor is still an administrator who is known by more than a name that others can take."""
        visitor, dispatcher = self.visitor, self.bot.dispatcher
        if visitor.person is None:
            return
        backend = self._backend()
        holder: Any = _holder(backend, visitor.person)
        if holder is None or getattr(holder, "client", None) != getattr(visitor.person, "client", None):
            raise Left(f"{backend.network} doesn't know you any more: stay connected, and in a room with the bot")
        if not dispatcher.disclosure.is_admin(backend, visitor.person):
            raise Left("you are no administrator any more")
        if not backend.is_certain(holder):
            raise Left("no entry of BOT_ADMINS names you by more than a name that others can take")
        command = self.bot.registry.find("console")
        if command is None or dispatcher.permissions.denial(backend, self._message("console"), command, "") is not None:
            raise Left("the access rules don't let you use !console any more")

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
        return next(iter(self.values(name)), "")

    def values(self, name: str) -> Sequence[str]:
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

    async def perform(self, name: str, /, **values: Any) -> Any:
        """Return the result of an operation, named by its place in `bot.CoreHost`. Raises NotPermitted."""
        if reason := await self._refusal(name, values, dry_run=self._only_shows):
            raise NotPermitted(reason)
        # Filters may have taken a while.
        self.check()
        by = self.host.by(self.visitor.name, "console", reads_details=True)
        return await self._in_context(lambda: maybeDeferred(self.operation(name), by, **values))

    async def may(self, name: str, /, **values: Any) -> bool:
        return not await self._refusal(name, values, dry_run=True)

    async def _refusal(self, name: str, values: Values, *, dry_run: bool) -> str:
        """Return why the visitor may not perform an operation; "" if nothing prevents it."""
        operation = self.operation(name)
        if (guard := Guard.of(operation)) is None:
            raise TypeError(f"{operation!r} isn't an operation")
        if self.visitor.person is None:
            return ""
        message = self._message(f"{guard.command.replace('_', ' ')} {guard.arguments(**values)}".strip())
        judging = self.bot.dispatcher.permissions.judge(message, operation, dry_run=dry_run, **values)
        found: str = await self._in_context(lambda: Deferred.fromCoroutine(judging))
        return found

    def _backend(self) -> Backend:
        backend = self.bot.backends.get(self.visitor.network)
        if backend is None:
            raise Left(f"the bot has no network {self.visitor.network} any more")
        return backend

    def _message(self, text: str) -> Message:
        backend, person = self._backend(), self.visitor.person
        message = backend.build_message(f"{self.bot.networks.config(backend).BOT_PREFIX}{text}")
        message.frm, message.to = person and _holder(backend, person), backend.bot_identifier
        return message

    def _in_context(self, start: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """Start something as if a message of the visitor were handled."""

        def begin() -> Awaitable[Any]:
            if self.visitor.person is not None:
                handled_network.set(self.visitor.network)
                origin.set(person_origin(self.visitor.network, self.visitor.person))
            return start()

        return copy_context().run(begin)


def _holder(backend: Backend, person: Identifier) -> Identifier | None:
    return backend.current_holder(person) if isinstance(backend, KnowsHolders) else person

"""Decides which requests the console answers, and who may do what, by the access rules and filters of the commands in chat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.server import Request

from errklein.bot import Bot
from errklein.chat import Identifier, Message
from errklein.commands.operations import Guard
from errklein.config.identity import is_local
from errklein.console._sessions import Visitor
from errklein.ports.chat import Backend, KnowsHolders
from errklein.running.context import handled_network, origin, person_origin
from errklein.webhooks.forwarding import UNIX, TrustedProxies, is_host


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
        is_own = is_host(host.encode()) and (host == self._url.netloc or is_local(urlsplit(f"//{host}").hostname or ""))
        if not is_own:
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
        """Return whether a form was sent from a page of the console."""
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


class VisitorAccess:
    """Performs operations of a bot for visitors, with the rules and filters of the chat commands that guard them."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot

    def check(self, visitor: Visitor) -> None:
        """Raise Left unless the visitor is still an administrator who is known by more than a name that others can take."""
        if visitor.person is None:
            return
        backend = self._backend(visitor)
        holder: Any = _holder(backend, visitor.person)
        if holder is None or getattr(holder, "client", None) != getattr(visitor.person, "client", None):
            raise Left(f"{backend.network} doesn't know you any more: stay connected, and in a room with the bot")
        if not self.bot.dispatcher.disclosure.is_admin(backend, visitor.person):
            raise Left("you are no administrator any more")
        if not backend.is_certain(holder):
            raise Left("no entry of BOT_ADMINS names you by more than a name that others can take")
        command, permissions = self.bot.registry.find("console"), self.bot.dispatcher.permissions
        if command is None or permissions.denial(backend, self._message(visitor, "console"), command, "") is not None:
            raise Left("the access rules don't let you use !console any more")

    async def perform(
        self, visitor: Visitor, operation: Callable[..., Any], *, dry_run: bool = False, **values: Any
    ) -> Any:
        """Return the result of an operation with these values. With `dry_run` it only shows something. Raises NotPermitted."""
        if reason := await self.refusal(visitor, operation, dry_run=dry_run, **values):
            raise NotPermitted(reason)
        # Filters may have taken a while.
        self.check(visitor)
        by = self.bot.core_host.by(visitor.name, "console", reads_details=True)
        return await self._in_context(visitor, lambda: maybeDeferred(operation, by, **values))

    async def refusal(self, visitor: Visitor, operation: Callable[..., Any], *, dry_run: bool, **values: Any) -> str:
        """Return why the visitor may not perform an operation with these values; "" if nothing prevents it."""
        guard = Guard.of(operation)
        if guard is None:
            raise TypeError(f"{operation!r} isn't an operation")
        if visitor.person is None:
            return ""
        message = self._message(visitor, f"{guard.command.replace('_', ' ')} {guard.arguments(**values)}".strip())
        judging = self.bot.dispatcher.permissions.judge(message, operation, dry_run=dry_run, **values)
        found: str = await self._in_context(visitor, lambda: Deferred.fromCoroutine(judging))
        return found

    def _backend(self, visitor: Visitor) -> Backend:
        backend = self.bot.backends.get(visitor.network)
        if backend is None:
            raise Left(f"the bot has no network {visitor.network} any more")
        return backend

    def _message(self, visitor: Visitor, text: str) -> Message:
        """Return a command as if the visitor had sent it in private."""
        backend = self._backend(visitor)
        message = backend.build_message(f"{self.bot.networks.config(backend).BOT_PREFIX}{text}")
        message.frm, message.to = visitor.person and _holder(backend, visitor.person), backend.bot_identifier
        return message

    def _in_context(self, visitor: Visitor, start: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """Start something as if a message of the visitor were handled."""

        def begin() -> Awaitable[Any]:
            if visitor.person is not None:
                handled_network.set(visitor.network)
                origin.set(person_origin(visitor.network, visitor.person))
            return start()

        return copy_context().run(begin)


def _holder(backend: Backend, person: Identifier) -> Identifier | None:
    return backend.current_holder(person) if isinstance(backend, KnowsHolders) else person

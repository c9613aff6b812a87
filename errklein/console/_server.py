"""The console's server: a site on an endpoint of its own, with the login, and streams of server-sent events for pages that follow what changes."""

from __future__ import annotations

import hmac
import re
import shlex
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property, partial
from hashlib import sha256
from inspect import signature
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException
from zope.interface import implementer

from errklein.bot import Bot
from errklein.chat import Identifier
from errklein.commands.operations import Actor, operation
from errklein.console._pages import ACTIONS, PAGES, PageFunction
from errklein.console._visit import Left, NotPermitted, OtherResponse, RequestChecks, Sessions, Values, Visit, Visitor
from errklein.listening import endpoint_url
from errklein.listening.side_server import SideServer
from errklein.running import Overloaded, WorkerPool
from errklein.text.errors import error_text
from errklein.text.masking import masker
from errklein.webhooks.exported import shown_time

_PART = 0.01  # the part of the time that rounds may take, about half of which is processor time
_INTERVAL = 0.2  # the seconds from one look for changes to the next
_SOONEST, _LATEST = 1.0, 5.0  # the seconds from a round to the next, with and without a change of the journal
_SILENT = 20.0  # the seconds after which something is sent, lest proxies close the connection
_STUCK = 30.0  # the seconds for which a browser may read nothing
_LONGEST = 600.0  # the seconds after which browsers connect anew


@implementer(IPushProducer)
class _Stream:
    """The stream of a browser, which ends with `ended`. `make_event` returns what its visitor may see of the page."""

    def __init__(self, request: Request, make_event: Callable[[], Awaitable[bytes]], now: float) -> None:
        self.request, self.make_event = request, make_event
        self.ended: Deferred[None] = Deferred()
        self.sent, self.ends_at = b"", now + _LONGEST
        self._sent_at, self._full = now, False
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("X-Accel-Buffering", "no")
        request.registerProducer(self, True)

    def send(self, event: bytes, now: float) -> None:
        """Send the content if the browser has another one. A browser that reads slowly gets a later one instead."""
        if self._full:
            if now - self._sent_at > _STUCK:
                self.request.channel.forceAbortClient()
        elif event != self.sent or now - self._sent_at > _SILENT:
            self.request.write(event if event != self.sent else b":\n\n")
            self.sent, self._sent_at = event, now

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False

    def stopProducing(self) -> None:
        """Do nothing, since Klein cancels the handler of a lost connection."""


class Live:
    """Sends visitors what has changed on the pages that they look at. In a round, each page is made once for each
    visitor who looks at it. A round begins soon after a change of the journal, and regularly for what isn't in the journal, but so
    late that rounds take at most `_PART` of the time. `check` raises OtherResponse if the session of a request has
    ended. `render` returns the live part of a template as HTML."""

    log = Logger(namespace="errklein.console")

    def __init__(
        self, reactor: Any, check: Callable[[Request], Visit], render: Callable[[str, Values], Awaitable[bytes]]
    ) -> None:
        self._reactor, self._check, self._render = reactor, check, render
        self._streams: list[_Stream] = []
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._looking.clock = reactor
        self._changed, self._soonest, self._latest = False, 0.0, 0.0

    def changed(self) -> None:
        """Begin a round soon. Called after each change of the journal."""
        self._changed = True

    def end(self) -> None:
        if self._looking.running:
            self._looking.stop()
        for stream in list(self._streams):
            stream.ended.cancel()

    async def follow(self, request: Request, make_values: Callable[[], Awaitable[Values]], template: str) -> bytes:
        """Send the live part of a page, and again after changes, until the stream ends."""

        async def make_event() -> bytes:
            html = await self._render(template, await make_values())
            # A carriage return ends a line of a stream, too.
            return b"".join(b"data: %b\n" % line for line in html.splitlines()) + b"\n"

        event, now = await make_event(), self._reactor.seconds()
        stream = _Stream(request, make_event, now)
        self._streams.append(stream)
        self.changed()  # perhaps while the content was made
        if not self._looking.running:
            self._looking.start(_INTERVAL, now=False)
        stream.send(event, now)
        with suppress(CancelledError):
            await stream.ended
        self._streams.remove(stream)
        if request.channel is not None:
            request.unregisterProducer()
        return b""

    async def _look(self) -> None:
        if not self._streams:
            self._looking.stop()
            return
        began = self._reactor.seconds()
        is_due = began >= (self._soonest if self._changed else self._latest)
        self._changed &= not is_due
        events: dict[object, bytes] = {}
        for stream in list(self._streams):
            page: object = None
            try:
                if is_due:
                    # Another visitor may be permitted less.
                    page = stream.request.uri, self._check(stream.request).session.visitor
                    events[page] = events.get(page) or await stream.make_event()
                if began > stream.ends_at:
                    stream.ended.cancel()
                elif not stream.ended.called:
                    stream.send(events.get(page, stream.sent), began)
            except Exception as error:
                # The browser connects once more, and gets the reason.
                stream.ended.cancel()
                if not isinstance(error, OtherResponse | NotPermitted):
                    self.log.failure("A page could not be shown again")
        if is_due:
            now = self._reactor.seconds()
            self._soonest = now + max(_SOONEST, (now - began) / _PART)
            self._latest = max(self._soonest, now + _LATEST)


_CONNECTIONS = 300  # most of them for pages that follow changes
_MOST_BYTES = 1_000_000  # the size of a form
_FILES = {path.name: path.read_bytes() for path in (Path(__file__).parent / "static").iterdir()}
_NAMES = {name: f"/{sha256(body).hexdigest()[:12]}-{name}" for name, body in _FILES.items()}
"""The addresses of the files by their names. They change with the content, so browsers may keep them."""

_TYPES = {"css": b"text/css; charset=utf-8", "js": b"text/javascript; charset=utf-8"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With "no-referrer", browsers send the Origin "null" with forms.
    "Referrer-Policy": "same-origin",
}


class ConsoleServer(SideServer):
    """Serves the console. `url` is CONSOLE_URL, the address by which people reach it, if that isn't the endpoint's.
    `proxies` are TRUSTED_PROXIES, which may forward requests in clear."""

    log = Logger(namespace="errklein.audit")
    app = Klein()
    _bot: Bot | None = None

    def __init__(
        self, reactor: Any, endpoint: str, url: str = "", proxies: Any = None, make_pool: Any = WorkerPool
    ) -> None:
        # Templates of long lists take milliseconds.
        pool = make_pool(reactor, "console", 1, queue=100)
        self.checks = RequestChecks(url, proxies or {})
        super().__init__(reactor, endpoint, _Checked(self), pool, _CONNECTIONS, _MOST_BYTES)
        self._url = url or endpoint_url(endpoint).partition(" ")[0]
        self.sessions, self._compiled = Sessions(reactor.seconds), set[str]()
        self.live = Live(reactor, self._enter, lambda name, values: self._fill(name, {**values, "only_live": True}))

    def watch(self, bot: Bot) -> None:
        super().watch(bot)
        bot.console = self
        bot.journal.watch(self.live.changed)

    def close(self) -> Deferred[None]:
        self.live.end()
        return super().close()

    # ConsoleLinks

    def link(self, name: str, network: str = "", person: Identifier | None = None) -> str:
        """Return a link by which a person enters; without one, the bot's user or root."""
        return f"{self._url}/enter/{self.sessions.invite(Visitor(name, network, person))}"

    @operation("console", changes=True)
    async def invite(self, by: Actor) -> str:
        """Return a link for the bot's user or root, who asks by the control socket."""
        return self.link(by.name)

    def end_all(self) -> int:
        return self.sessions.end_all()

    # Requests

    @cached_property
    def templates(self) -> Environment:
        loader = FileSystemLoader(Path(__file__).parent / "templates")
        made = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        values = {"visit": None, "done": "", "only_live": False, "static": _NAMES.__getitem__, "shown_time": shown_time}
        made.globals |= values
        made.filters["masked"] = masker
        made.globals |= vars(made.get_template("macros.html").module)
        return made

    async def render(self, request: Request, template: str, values: Values) -> bytes:
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        return await self._fill(template, values)

    async def _fill(self, template: str, values: Values) -> bytes:
        def fill() -> bytes:
            # The first use of a template compiles it, which takes longer than most renderings.
            made = self.templates.get_template(template)
            if "only_live" in values and "live" not in made.blocks:
                raise OtherResponse(406, "This page doesn't follow changes.")
            text = made.render(values).encode("utf-8", "replace")
            self._compiled.add(template)
            return text

        if template in self._compiled and not {"visit", "only_live"} & values.keys():
            # Anybody may ask for it. It is small, and the thread is for visitors.
            return fill()
        return await self._pool.run(lambda: fill)

    def _enter(self, request: Request) -> Visit:
        bot = self._bot
        if bot is None:
            raise OtherResponse(503, "The bot is starting.")
        if not bot.owns:
            raise OtherResponse(503, "Another process of the bot has its plugins, and the console.")
        session = self.sessions.find((request.getCookie(self.cookie_name(request)) or b"").decode("ascii", "replace"))
        if session is None:
            text = "Ask the bot for a link by `!console`, or run `errklein console-link` on its machine."
            raise OtherResponse(401, text)
        visit = Visit(request, session, bot)
        try:
            visit.check()
        except Left as reason:
            self.sessions.end(session)
            self.log.info("{who} left the console: {reason}", who=session.visitor.name, reason=str(reason))
            raise OtherResponse(401, f"Your session has ended, since {reason}.") from None
        return visit

    def cookie_name(self, request: Request) -> bytes:
        return b"__Host-errklein" if self.checks.is_secure(request) else b"errklein"

    @app.handle_errors(Exception)  # type: ignore[arg-type]
    async def _failed(self, request: Request, failure: Failure) -> bytes:
        error: Any = failure.value
        if isinstance(error, OtherResponse):
            if error.file:
                name, make = error.file
                request.setHeader("Content-Type", "application/octet-stream")
                request.setHeader("Content-Disposition", f'attachment; filename="{name}"')
                return await self._pool.run(lambda: make)
            if error.to:
                request.setHeader("Location", error.to)
            status, text = error.status, error.text
        elif isinstance(error, NotPermitted):
            status, text = 403, f"You may not do that: {error}."
        elif isinstance(error, HTTPException):
            status, text = error.code or 500, error.description or ""
        elif type(error).__module__.startswith("errklein."):
            # errklein's own exceptions have texts for operators.
            status, text = 503 if isinstance(error, Overloaded) else 400, masker(error_text(error))
        else:
            self.log.failure("A page of the console failed", failure)
            status, text = 500, "The page failed; the bot's log says why."
        request.setResponseCode(status)
        return await self.render(request, "error.html", {"title": f"Error {status}", "text": text})

    # The login

    @app.route("/enter/<token>", methods=["GET"])
    async def ask(self, request: Request, token: str) -> bytes:
        """Show a button, since programs open links to show what they lead to."""
        return await self.render(request, "enter.html", {"title": "Enter", "token": token})

    @app.route("/enter/<token>", methods=["POST"])
    async def enter(self, request: Request, token: str) -> bytes:
        """Use up the link, and set the cookie of a session."""
        self.check_origin(request)
        found, bot = self.sessions.enter(token), self._bot
        if found is None or bot is None:
            text = "A link to the console was refused: unknown, used or older than {age:.0f} s"
            self.log.warn(text, age=self.sessions.link_seconds)
            raise OtherResponse(
                401, f"This link is unknown, was used, or is older than {self.sessions.link_seconds:.0f} s."
            )
        cookie, session = found
        try:
            Visit(request, session, bot).check()
        except Left as reason:
            self.sessions.end(session)
            raise OtherResponse(401, f"You can't enter, since {reason}.") from None
        name, secure = self.cookie_name(request).decode(), self.checks.is_secure(request)
        request.addCookie(name, cookie, path="/", secure=secure, httpOnly=True, sameSite="strict")
        who, address = session.visitor.name, self.checks.client(request)
        self.log.info("{who} entered the console from {address}", who=who, address=address)
        text = f"{who} entered the console from {address}. If that is wrong, !console end ends all sessions."
        # Not by a key: each login is told, also soon after another one.
        bot.tell_admins(text, "Somebody entered the console.")
        raise OtherResponse(303, to="/")

    def check_origin(self, request: Request) -> None:
        if not self.checks.is_own_form(request):
            raise OtherResponse(403, "The form wasn't sent from a page of the console.")

    @app.route("/leave", methods=["POST"])
    async def leave(self, request: Request) -> bytes:
        self.sessions.end(self.acting(request).session)
        raise OtherResponse(401, "You have left the console.")

    def acting(self, request: Request) -> Visit:
        """Return the visit of a request that changes something: its form comes from a page of the session."""
        self.check_origin(request)
        visit = self._enter(request)
        if not hmac.compare_digest(visit.field("form_token").encode(), visit.session.form_token.encode()):
            raise OtherResponse(403, "The form is of another session. Load the page again.")
        return visit

    @app.route("/do/<name>", methods=["POST"])
    async def act(self, request: Request, name: str) -> bytes:
        visit = self.acting(request)
        if (show := ACTIONS.get(name)) is None:
            raise OtherResponse(404, "There is no such action.")
        values: dict[str, Any] = {}
        for field, parameter in list(signature(visit.operation(name)).parameters.items())[1:]:
            annotation = str(parameter.annotation)
            given = " ".join(visit.values(field)[: None if annotation.startswith("Sequence") else 1])
            if annotation.startswith("Mapping"):
                values[field] = visit.fields(field) or given
            elif not given and parameter.default is not parameter.empty:
                values[field] = parameter.default
            else:
                try:
                    values[field] = _read_value(given, annotation)
                except ValueError as error:
                    raise OtherResponse(400, f"{field}: {error}.") from None
        number = visit.session.remember(show(visit, await visit.perform(name, **values), values))
        back = visit.field("back")
        path = back if re.fullmatch(r"/(?!/)[!-\[\]-~]*", back) else "/"
        raise OtherResponse(303, to=f"{path}{'&' if '?' in path else '?'}done={number}")

    for _rule, _template, _function in PAGES:

        @app.route(_rule, methods=["GET"], endpoint=_rule)
        async def _show(
            self, request: Request, _name: str = _template, _make: PageFunction = _function, **parts: Any
        ) -> bytes:
            visit = self._enter(request)
            make_values = partial(_make, visit, **parts)
            if visit.is_following:
                return await self.live.follow(request, make_values, _name)
            return await self.render(request, _name, {"visit": visit, "done": visit.done, **await make_values()})

    for _file in _FILES:

        @app.route(_NAMES[_file], methods=["GET"], endpoint=_file)
        def _send(self, request: Request, name: str = _file) -> bytes:
            request.setHeader("Content-Type", _TYPES[name.rpartition(".")[2]])
            request.setHeader("Cache-Control", "public, max-age=31536000, immutable")
            return _FILES[name]


def _read_value(given: str, annotation: str) -> Any:
    words = shlex.split(given) if annotation.startswith("Sequence") else []
    if "int" in annotation:
        return [int(word) for word in words] if annotation.startswith("Sequence") else int(given)
    return words if annotation.startswith("Sequence") else bool(given) if annotation.startswith("bool") else given


class _Checked(Resource):
    """Sets the headers of all responses, and passes requests on that may be answered."""

    isLeaf = True

    def __init__(self, server: ConsoleServer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._server, self._pages = server, server.app.resource()

    def render(self, request: Request) -> Any:
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        if self._server.checks.is_secure(request):
            request.setHeader("Strict-Transport-Security", "max-age=31536000")
        status, problem = 403, self._server.checks.problem(request)
        if not problem and getattr(request, "received", 0) > _MOST_BYTES:
            status, problem = 413, f"the form has over {_MOST_BYTES:,} bytes"
        if problem:
            request.setResponseCode(status)
            request.setHeader("Content-Type", "text/plain; charset=utf-8")
            return f"{status}: {problem}\n".encode()
        return self._pages.render(request)

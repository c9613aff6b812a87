"""The console's server: a site on an endpoint of its own, with the checks that each request passes, and the login."""

from __future__ import annotations

import hmac
import re
from functools import cached_property, partial
from hashlib import sha256
from inspect import signature
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException

from errklein.bot import Bot
from errklein.chat import Identifier
from errklein.commands.operations import Actor, operation

# They register their pages.
from errklein.console import _bot_pages, _delivery_pages, _overview  # noqa: F401
from errklein.console._access import Left, NotPermitted, RequestChecks, VisitorAccess
from errklein.console._live import Live
from errklein.console._sessions import LINK_SECONDS, Sessions, Visitor
from errklein.console._visit import ACTIONS, PAGES, OtherResponse, Page, Values, Visit, read_value
from errklein.listening import endpoint_url
from errklein.listening.side_server import SideServer
from errklein.running import Overloaded, WorkerPool
from errklein.text.errors import error_text
from errklein.text.masking import masker
from errklein.webhooks.exported import shown_time

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
        """Return a page as HTML."""
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
        """Return the visit of a request with a valid session."""
        bot = self._bot
        if bot is None:
            raise OtherResponse(503, "The bot is starting.")
        session = self.sessions.find((request.getCookie(self.cookie_name(request)) or b"").decode("ascii", "replace"))
        if session is None:
            raise OtherResponse(
                401, "Ask the bot for a link by `!console`, or run `errklein console-link` on its machine."
            )
        access = VisitorAccess(bot)
        try:
            access.check(session.visitor)
        except Left as reason:
            self.sessions.end(session)
            self.log.info("{who} left the console: {reason}", who=session.visitor.name, reason=str(reason))
            raise OtherResponse(401, f"Your session has ended, since {reason}.") from None
        return Visit(request, session, access)

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
            self.log.warn(
                "A link to the console was refused: unknown, used or older than {age:.0f} s", age=LINK_SECONDS
            )
            raise OtherResponse(401, f"This link is unknown, was used, or is older than {LINK_SECONDS:.0f} s.")
        cookie, session = found
        try:
            VisitorAccess(bot).check(session.visitor)
        except Left as reason:
            self.sessions.end(session)
            raise OtherResponse(401, f"You can't enter, since {reason}.") from None
        request.addCookie(
            self.cookie_name(request).decode(),
            cookie,
            path="/",
            secure=self.checks.is_secure(request),
            httpOnly=True,
            sameSite="strict",
        )
        who, address = session.visitor.name, self.checks.client(request)
        self.log.info("{who} entered the console from {address}", who=who, address=address)
        text = f"{who} entered the console from {address}. If that is wrong, !console end ends all sessions."
        # Not by a key: each login is told, also soon after another one.
        bot.tell_admins(text, "Somebody entered the console.")
        raise OtherResponse(303, to="/")

    def check_origin(self, request: Request) -> None:
        """Raise OtherResponse unless a form was sent from a page of the console."""
        if not self.checks.is_own_form(request):
            raise OtherResponse(403, "The form wasn't sent from a page of the console.")

    @app.route("/leave", methods=["POST"])
    async def leave(self, request: Request) -> bytes:
        visit = self.acting(request)
        self.sessions.end(visit.session)
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
        """Perform an operation, whose arguments are the fields of the form, and go back to the page."""
        visit = self.acting(request)
        if (show := ACTIONS.get(name)) is None:
            raise OtherResponse(404, "There is no such action.")
        operation, values = visit.operation(name), {}
        for parameter in list(signature(operation).parameters.values())[1:]:
            annotation = str(parameter.annotation)
            given = " ".join(visit.values(parameter.name)[: None if annotation.startswith("Sequence") else 1])
            if annotation.startswith("Mapping"):
                values[parameter.name] = visit.fields(parameter.name) or given
            elif given or parameter.default is parameter.empty:
                try:
                    values[parameter.name] = read_value(given, annotation)
                except ValueError as error:
                    raise OtherResponse(400, f"{parameter.name}: {error}.") from None
            else:
                values[parameter.name] = parameter.default
        number = visit.session.remember(show(visit, await visit.perform(name, **values), values))
        back = visit.field("back")
        path = back if re.fullmatch(r"/(?!/)[!-\[\]-~]*", back) else "/"
        raise OtherResponse(303, to=f"{path}{'&' if '?' in path else '?'}done={number}")

    for _page in PAGES:

        @app.route(_page.rule, methods=["GET"], endpoint=_page.rule)
        async def _show(self, request: Request, page: Page = _page, **parts: Any) -> bytes:
            visit = self._enter(request)
            make_values = partial(page.function, visit, **parts)
            if visit.is_following:
                return await self.live.follow(request, make_values, page.template)
            values = {"visit": visit, "done": visit.done, **await make_values()}
            return await self.render(request, page.template, values)

    for _file in _FILES:

        @app.route(_NAMES[_file], methods=["GET"], endpoint=_file)
        def _send(self, request: Request, name: str = _file) -> bytes:
            request.setHeader("Content-Type", _TYPES[name.rpartition(".")[2]])
            request.setHeader("Cache-Control", "public, max-age=31536000, immutable")
            return _FILES[name]


class _Checked(Resource):
    """Sets the headers of all responses, and passes requests on that may be answered."""

    isLeaf = True

    def __init__(self, server: ConsoleServer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._server, self._pages = server, server.app.resource()

    def render(self, request: Request) -> Any:
        """Respond. Called by Twisted."""
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

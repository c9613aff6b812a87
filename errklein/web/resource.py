"""The root resource of the site, which passes every request to a plugin's webhook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from errklein.ports import WebEvents
from errklein.running import InFlightCounter, Runner, TimeSlices, WorkerPool
from errklein.web._delivery import Delivery, problem_of
from errklein.web._error_pages import Problem
from errklein.web._paths import clean_path
from errklein.web._routes import Match, NoRoute, Rebuilding, Route, Routes
from errklein.web._settings import WebSettings
from errklein.web._shared_timer import DeadlineSweeper
from errklein.web.facade import Flask, endpoint_of
from errklein.web.request import HTTPRequest
from errklein.webhooks import Hook

_STOPPING = Problem(503, "the service is stopping", ((b"Retry-After", b"10"),))


class WebhookResource(Resource):
    """Passes requests to the webhooks of active plugins, and knows the requests without a response.

    :param pool: The threads of blocking handlers.
    :param decoding_pool: The threads that decode large bodies for handlers on the reactor.
    :param sweeper: Checks the deadlines of requests.
    """

    isLeaf = True
    log = Logger(namespace="errklein.web")

    def __init__(
        self,
        reactor: Any,
        runner: Runner,
        pool: WorkerPool,
        decoding_pool: WorkerPool,
        settings: WebSettings,
        sweeper: DeadlineSweeper,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.runner = runner
        self.pool = pool
        self.decoding_pool = decoding_pool
        self.time_slices = TimeSlices(reactor)
        """The time slice of each turn of the reactor, which streamed responses share."""
        self.settings = settings
        self.events: WebEvents | None = None
        self.app: Flask = Flask("errklein")
        self.routes = Routes(reactor, self._execute, self._shadowed)
        self._sweeper = sweeper
        self._open: dict[HTTPRequest, Delivery] = {}
        self.in_flight = InFlightCounter()
        """The number of requests without a response."""

    # Calls from connections.

    def check_headers(self, request: HTTPRequest, length: int | None, expects: bool) -> Problem | None:
        """Check a request before its body is read, and set its `body_limit`.

        :param length: The size of the body in bytes; None if it is unknown.
        :param expects: The client waits for "100 Continue" before it sends the body.
        :returns: The error response if the request is rejected, else None.
        """
        if request.site.stopping:
            return _STOPPING
        hook: Hook | None = None
        try:
            hook = self.match(request).route.hook
        except Rebuilding:
            pass
        except NoRoute as no_route:
            if expects:
                return problem_of(no_route, request.path, request.method)
        except Problem as problem:
            if expects:
                return problem
        if hook is not None and hook.declaration.max_body is not None:
            request.body_limit = hook.declaration.max_body
        if length is not None and length > request.body_limit:
            return Problem(413, f"the body is larger than {request.body_limit} bytes")
        return None

    def handle(self, request: HTTPRequest) -> None:
        """Handle a complete request."""
        if request.site.stopping:
            request.send_error(_STOPPING)
            return
        delivery = self._open[request] = Delivery(self, request)
        self.in_flight.enter()
        delivery.dispatch()
        if not delivery.responded:
            self._sweeper.watch(delivery)

    def render(self, request: IRequest) -> int:
        """Handle a request, as every resource does."""
        assert isinstance(request, HTTPRequest)
        self.handle(request)
        return NOT_DONE_YET

    # Calls from deliveries.

    def match(self, request: HTTPRequest) -> Match:
        """Return the route for a request.

        :raises Problem: The target of the request is malformed.
        :raises NoRoute: No route matches.
        :raises Rebuilding: The routes are being rebuilt.
        """
        match = self.routes.cached_match(request.path, request.method)
        if match is not None:
            return match
        if request.bad_target is not None:
            if request.uri == b"*" and request.method == b"OPTIONS":
                raise NoRoute(frozenset({"GET", "HEAD", "POST"}))
            raise request.bad_target
        return self.routes.match(request.path, clean_path(request.path), request.method)

    def _shadowed(self, hook: Hook, by: Hook) -> None:
        self.notify(lambda events: events.hook_shadowed(hook, by))

    def _execute(self, request: HTTPRequest, route: Route, captures: Mapping[str, Any]) -> None:
        self._open[request].run(route, captures)

    def settled(self, delivery: Delivery) -> None:
        """Forget a delivery that has responded. May be called several times."""
        if self._open.pop(delivery.request, None) is None:
            return
        self._sweeper.forget(delivery)
        self.in_flight.leave()

    def notify(self, call: Callable[[WebEvents], None]) -> None:
        """Call a method of `events`. Its errors are logged, so that they can't prevent a response."""
        try:
            if self.events is not None:
                call(self.events)
        except Exception:
            self.log.failure("Could not handle an event of the web server")

    def url_for(self, hook: Hook, endpoint: str, values: Mapping[str, Any]) -> str:
        """Return the path of a webhook; see `flask.url_for`.

        :param hook: The webhook that is being handled.
        :param endpoint: The name of a method of the same plugin, or "Plugin.method".
        :raises LookupError: There is no such webhook.
        """
        hooks = [info.hook for info in self.routes.hooks()]
        for candidate in sorted(hooks, key=lambda other: other.owner != hook.owner):
            short = candidate.name if candidate.owner == hook.owner else None
            if endpoint in (str(candidate), endpoint_of(candidate), short):
                url = self.routes.url_for(candidate.key, values)
                if url is not None:
                    return url
        raise LookupError(
            f"url_for: no webhook is named {endpoint!r}; use a method's name, or 'Plugin.method' for another plugin"
        )

"""The router, which finds the route for each request and starts its delivery."""

from __future__ import annotations

from collections.abc import Callable

from errklein.web._error_pages import Problem, start_page
from errklein.web._paths import clean_path, not_found
from errklein.web._responses import HTML
from errklein.web._routes import Match, NoRoute, Route, Routes
from errklein.web._stock_request import WebhookRequest
from errklein.web.request import HTTPRequest, accepts_html
from errklein.webhooks import Hook

_STOPPING = Problem(503, "the service is stopping", ((b"Retry-After", b"10"),))


class Router:
    """Passes each request to the endpoint of its route.

    It matches as Klein does, with stricter rules for ambiguous paths and a cache, and calls the same endpoints. Klein's own
    resource creates four Deferreds for each request, and a mapper bound to the request's host.

    :param refuse_hook: Responds to a webhook's request with an error.
    """

    def __init__(self, routes: Routes, refuse_hook: Callable[[Hook, HTTPRequest, Problem], None]) -> None:
        self.routes = routes
        self._refuse_hook = refuse_hook

    def refuse_early(self, request: HTTPRequest, problem: Problem) -> None:
        """Respond with an error before the body is complete, since it is too large or too late."""
        route = None if request.match is None else request.match.route
        if isinstance(route, Route) and route.hook is not None:
            self._refuse_hook(route.hook, request, problem)
        else:
            request.send_error(problem)

    def match_head(self, request: HTTPRequest, length: int | None, expects: bool) -> Problem | None:
        """Find the route of a request before its body is read, and set its `match` and `body_limit`.

        A request without a route is rejected here only if that saves the client from sending the body.

        :param length: The size of the body in bytes; None if it is unknown.
        :param expects: The client waits for "100 Continue" before it sends the body.
        :returns: The error response if the request is rejected, else None.
        """
        if request.site.stopping:
            return _STOPPING
        try:
            self._match(request)
        except NoRoute as no_route:
            if expects:
                return problem_of(no_route, request.path, request.method)
        except Problem as problem:
            if expects:
                return problem
        return too_large(request.body_limit) if length is not None and length > request.body_limit else None

    def handle(self, request: HTTPRequest) -> None:
        """Handle a complete request."""
        if request.site.stopping:
            request.send_error(_STOPPING)
        else:
            self.dispatch(request)

    def dispatch(self, request: WebhookRequest) -> None:
        """Start the delivery of a request."""
        match = request.match
        try:
            if match is None or match.version != self.routes.version:
                match = self._match(request)
                if request.body_size > request.body_limit:
                    raise too_large(request.body_limit)
        except NoRoute as no_route:
            self._refuse(request, no_route)
        except Problem as problem:
            request.send_error(problem)
        else:
            match.route.endpoint(request, **match.captures).render(request)

    def _match(self, request: WebhookRequest) -> Match:
        """Find the route for a request, and set the request's `match` and `body_limit`. Raises as `_find`."""
        match = request.match = self._find(request)
        request.body_limit = match.route.max_body or request.site.settings.max_body
        return match

    def _find(self, request: WebhookRequest) -> Match:
        """Return the route for a request.

        :raises Problem: The target of the request is malformed.
        :raises NoRoute: No route matches.
        """
        match = self.routes.cached_match(request.path, request.method)
        if match is not None:
            return match
        if request.bad_target is not None:
            if request.uri == b"*" and request.method == b"OPTIONS":
                raise NoRoute(frozenset({"GET", "HEAD", "POST"}))
            raise request.bad_target
        path = clean_path(request.path)
        try:
            return self.routes.match(request.path, path, request.method)
        except NoRoute:
            # Recorded requests wait for the handler, and those of `!webhook test` are only for it.
            is_new = request.recorded is None and not request.origin
            inactive = self.routes.match_inactive(path, request.method) if is_new else None
            if inactive is not None:
                return inactive
            mount = self.routes.mounts.find(path)
            if mount is None:
                raise
            return Match(mount, {}, self.routes.version)

    def _refuse(self, request: WebhookRequest, no_route: NoRoute) -> None:
        if request.path == b"/" and request.method in (b"GET", b"HEAD") and not no_route.allowed:
            request.send_response(200, *start_page(as_html=accepts_html(request)))
            return
        problem = problem_of(no_route, request.path, request.method)
        if request.method == b"OPTIONS" and no_route.allowed:
            request.send_response(200, [*HTML, *problem.headers], b"")
        else:
            request.send_error(problem)


def too_large(limit: int) -> Problem:
    """Return the error for a body of more than `limit` bytes."""
    return Problem(413, f"the body is larger than {limit} bytes")


def problem_of(no_route: NoRoute, path: bytes, method: bytes) -> Problem:
    """Return the error for a path without a matching route: 404, or 405 with the allowed methods."""
    if not no_route.allowed:
        return not_found(path)
    allowed = ", ".join(sorted(no_route.allowed | {"OPTIONS"}))
    detail = f"the method {method.decode('ascii')} is not allowed at this path; allowed: {allowed}"
    return Problem(405, detail, ((b"Allow", allowed.encode()),))

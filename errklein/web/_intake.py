"""The way of a request from its head to its delivery.

Plain webhooks: route → body → run → respond → log.
`ack="after"` with options: route → body → limits → verify → claim → run → respond → record.
`ack="now"`: route → body → limits → verify → record → respond with 202; then `run`, from the record.

While the plugin is inactive, verified webhooks of WEBHOOKS take these steps, too, but don't run: `ack="after"` gets 503.

In a process that doesn't own the plugins, requests with `ack="now"` are recorded in the same way. What only the owner can answer is
passed on: `ack="after"`, and paths without a webhook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from errklein.ports.journal import JournalError
from errklein.running import NEVER, Runner
from errklein.verify import ImmediateResponse
from errklein.web._checks import RecordedRequest
from errklein.web._delivery import Delivery, Lanes, WebServices
from errklein.web._error_pages import STOPPING, Problem, retry_after, start_page, too_large
from errklein.web._responses import HTML
from errklein.web._routes import Match, Mount, MountedResponse, NamedPath, NoRoute, Route, Routes
from errklein.web.facade.request import RequestContext
from errklein.web.request import HTTPRequest, WebhookRequest, accepts_html, clean_path, not_found
from errklein.webhooks import Hook
from errklein.webhooks.deliveries import REMOVED_WEBHOOK, Outcome, Postponed, StoredDelivery

if TYPE_CHECKING:
    from errklein.web._settings import WebSettings
    from errklein.web._site import Site

_INACTIVE = Postponed("the webhook is not active", 60.0)
_REMOVED = Outcome(410, REMOVED_WEBHOOK)


class Intake:
    """Takes each request to its route and through the checks of the route, and starts its delivery. It matches as Klein does,
    with stricter rules for ambiguous paths and a cache. Klein's own resource creates four Deferreds and a mapper for each
    request."""

    def __init__(
        self, make_services: Callable[[], WebServices], routes: Routes, recorded_runner: Runner, recorded_lanes: Lanes
    ) -> None:
        self._make_services, self.routes = make_services, routes
        self._recorded_runner, self._recorded_lanes = recorded_runner, recorded_lanes
        self._variables = copy_context()

    @cached_property
    def services(self) -> WebServices:
        return self._make_services()

    @cached_property
    def _recorded_services(self) -> WebServices:
        # Without messages: the end of a recorded delivery writes them itself.
        return replace(self.services, runner=self._recorded_runner, lanes=self._recorded_lanes, outbox_store=None)

    def use(self, settings: WebSettings) -> None:
        """Use other settings for the next requests. The limits of clients begin anew if they change."""
        if settings.client_rate != self.services.settings.client_rate:
            self.services.checks.limit_clients(settings.client_rate)
        vars(self)["services"] = replace(self.services, settings=settings)
        vars(self).pop("_recorded_services", None)

    def is_from_node(self, request: HTTPRequest) -> bool:
        """Return whether another process of the bot has passed the request on, and remove what shows it."""
        to_owner = self.services.bot.to_owner
        return to_owner is not None and to_owner.is_from_node(request)

    # Before the body is complete.

    def match_head(self, request: HTTPRequest, length: int | None, expects: bool) -> Problem | None:
        """Set the `match` and `body_limit` of a request before its body is read. Return the error if it is rejected: without a
        route only if that saves the client from sending the body."""
        problem = None
        try:
            self._match(request)
        except (NoRoute, Problem) as refused:
            problem = problem_of(refused, request)
        if request.site.stopping:
            return STOPPING
        if problem is not None and expects and not self._is_for_owner():
            return problem
        return too_large(request.body_limit) if length is not None and length > request.body_limit else None

    def refuse_early(self, request: HTTPRequest, problem: Problem) -> None:
        """Respond with an error before the body is complete, since it is too large or too late."""
        route = None if request.match is None else request.match.route
        if isinstance(route, Route) and route.hook is not None:
            self.refuse(route.hook, request, problem)
        else:
            request.send_error(problem)

    # The complete request.

    def route(self, request: WebhookRequest) -> None:
        """Pass a complete request to its present route, or respond that there is none."""
        try:
            self._route(request)
        except BaseException:
            request.processingFailed(Failure())

    def _route(self, request: WebhookRequest) -> None:
        match = request.match
        try:
            if match is None or match.version != self.routes.version:
                request.match = None
                match = self._match(request)
        except NoRoute as no_route:
            self._respond_without_route(request, no_route)
        except Problem as problem:
            request.send_error(problem)
        else:
            self.enter(match.route, request, match.captures)

    def enter(self, route: Route | Mount, request: WebhookRequest, captures: Mapping[str, Any]) -> None:
        """Begin what the route requires: the delivery, the checks before it, or the rendering of a mount."""
        services = self.services
        if self._is_for_owner(route):
            self._pass_on(request)
            return
        if isinstance(route, Mount):
            MountedResponse(services, route, request).start()
            return
        hook, recording = route.hook, services.recording
        assert hook is not None
        if not self._identify(request):
            return
        context = RequestContext(services, request, hook, captures)
        if (route.is_plain and route.label not in recording.paused) or self._needs_no_check(hook, request):
            Delivery(route, context).start()
        else:
            Admission(route, context).start()

    def _is_for_owner(self, route: Route | Mount | None = None) -> bool:
        """Return whether only another process can answer: this one has no active plugin for the route, and doesn't record it."""
        to_owner = self.services.bot.to_owner
        if to_owner is None:
            return False
        hook: Hook | None = getattr(route, "hook", None)
        if hook is None or not hook.elsewhere:
            return not (
                to_owner.owns() or (hook is not None and (hook.active or self.services.recording.runs_later(hook)))
            )
        # The owner may have the secret, and may just have become the owner.
        return not self.services.recording.runs_later(hook) or hook.full_name in self.services.checks.unusable

    def _pass_on(self, request: WebhookRequest) -> None:
        to_owner = self.services.bot.to_owner
        assert to_owner is not None
        to_owner.pass_on(request, self.services)

    def _identify(self, request: WebhookRequest) -> bool:
        """Give a request for a webhook the time and the id of its delivery. Both increase with each new request. Return False if
        there is no id, after an error response."""
        if request.received_at is None:
            recording = self.services.recording
            try:
                request.delivery_id = recording.next_id()
            except JournalError as error:
                request.send_error(recording.unavailable(error))
                return False
            request.received_at = recording.now()
        return True

    def _needs_no_check(self, hook: Hook, request: WebhookRequest) -> bool:
        if hook.owner in self.routes.held and not self.services.recording.runs_later(hook):
            # It waits, and is checked then, by the options that the webhook has then.
            return True
        # A test's source isn't verified, and a request that was admitted before a reload isn't verified again.
        return hook.active and not hook.elsewhere and bool(request.origin or request.admitted == hook.declaration)

    def run(self, recorded: StoredDelivery, site: Site) -> Deferred[Outcome | Postponed]:
        """Call the handler of a recorded delivery, whose request was verified earlier. Fires when the handler has ended."""
        # On the asyncio reactor, timers run in the context of what has set them.
        return self._variables.copy().run(self._run, RecordedRequest(site, recorded), recorded)

    def _run(self, request: RecordedRequest, recorded: StoredDelivery) -> Deferred[Outcome | Postponed]:
        services, webhook = self._recorded_services, recorded.webhook
        if recorded.id in services.recording.overdue:
            return succeed(Postponed("the handler is still running since the request", 10.0))
        try:
            route, captures, _ = self._match(request)
            if isinstance(route, Mount) or route.hook is None or route.label != webhook:
                raise Problem(404, "the URL of the request is another webhook's")
            if not route.hook.active or route.hook.elsewhere:
                return succeed(_INACTIVE)
            if recorded.received_at < route.hook.since and recorded.origin != "replay":
                return succeed(_REMOVED)
        except (NoRoute, Problem) as refused:
            problem = problem_of(refused, request)
            if self.routes.declaration(webhook) is not None:
                # Others of its deliveries must not wait for this one.
                return succeed(Outcome(problem.status, problem.detail))
            # An inactive plugin may return; a webhook of a room, whose name has no colon, was removed.
            return succeed(_INACTIVE if ":" in webhook else _REMOVED)
        ended: Deferred[Outcome | Postponed] = Deferred()

        def end(delivery: Delivery) -> None:
            postponed = delivery.retry_after and Postponed(delivery.reason, delivery.retry_after)
            ended.callback(postponed or delivery.outcome())

        Delivery(route, RequestContext(services, request, route.hook, captures), end).start()
        return ended

    # Routes.

    def _match(self, request: WebhookRequest) -> Match:
        """Find the route for a request. Raises NoRoute, and Problem, such as for a body that is too large for the route."""
        match = request.match = self._find(request)
        request.body_limit = match.route.max_body or request.site.settings.max_body
        if request.body_size > request.body_limit:
            raise too_large(request.body_limit)
        return match

    def _find(self, request: WebhookRequest) -> Match:
        match = self.routes.cached.get((request.path, request.method))
        if match is not None:
            return match
        if request.bad_target is not None:
            if request.uri == b"*" and request.method == b"OPTIONS":
                raise NoRoute(frozenset({"GET", "HEAD", "POST"}))
            raise request.bad_target
        path = clean_path(request.path)
        # Recorded requests wait for the handler, and those of `!webhook test` are only for it.
        is_new = request.recorded is None and not request.origin
        try:
            return self.routes.match(request.path, path, request.method, inactive=is_new)
        except NoRoute:
            if (named := self.routes.match_named(path)) is not None:
                return self._enter_room(request, named)
            mount = self.routes.mount_at(path)
            if mount is None:
                raise
            return Match(mount, {}, self.routes.version)

    def _enter_room(self, request: WebhookRequest, named: NamedPath) -> Match:
        """Return the match of a webhook of a room. The token leaves the address, so that nothing logs or records it."""
        if named.token:
            request.path_token = token = named.token
            # Some proxies add headers with the address as it was sent.
            sent = next((part for part in request.path.split(b"/") if unquote_to_bytes(part) == token), token)
            values = tuple(value.replace(sent, b"***").replace(token, b"***") for value in request.head.values)
            request.head = request.head._replace(values=values)
        elif named.route.needs_token and not (request.path_token or request.origin):
            # The token may be there by mistake. The request will be refused.
            request.query = b""
        request.readdress(named.path)
        if request.method.decode("ascii") not in named.route.methods:
            raise NoRoute(frozenset(named.route.methods))
        return Match(named.route, {}, self.routes.version)

    # Refusals.

    def refuse(self, hook: Hook, request: WebhookRequest, problem: Problem) -> None:
        if self._identify(request):
            self.services.checks.note_refusal(hook, request, problem)
            self.services.recording.log_refused(hook, request, problem)
            request.send_error(problem)

    def _respond_without_route(self, request: WebhookRequest, no_route: NoRoute) -> None:
        if request.bad_target is None and self._is_for_owner():
            self._pass_on(request)
            return
        problem = problem_of(no_route, request)
        if request.path == b"/" and request.method in (b"GET", b"HEAD") and not no_route.allowed:
            request.send_response(200, *start_page(as_html=accepts_html(request)))
        elif request.method == b"OPTIONS" and no_route.allowed:
            request.send_response(200, [*HTML, *problem.headers], b"")
        else:
            request.send_error(problem)


class Admission:
    """The checks of a request for a webhook that has options. They may wait for a thread or the disk, and a stop waits for them.
    A client that would wait for too long, such as for a disk that hangs, gets 503. What was begun goes on."""

    def __init__(self, route: Route, context: RequestContext) -> None:
        self._route, self._context = route, context
        self._services, self._request = context.services, context.incoming
        self.deadline = self._request.begun + self._services.settings.timeout

    def start(self) -> None:
        self._request.body_users += 1
        self._services.open_requests.watch(self)
        Deferred.fromCoroutine(self._admit()).addErrback(self._request.processingFailed).addBoth(self._ended)

    def deadline_passed(self) -> None:
        self.deadline = NEVER
        self._request.fail(Problem(503, "the request could not be recorded in time", retry_after(10.0)))

    def _ended(self, _: Any) -> None:
        self._request.drop_body()
        self._services.open_requests.forget(self)

    async def _admit(self) -> None:
        services, hook, request = self._services, self._context.hook, self._request
        checks, recording = services.checks, services.recording
        try:
            checks.client_rate(hook, request)
            checked = await checks.verify(hook, request)
            request.source_id, answer = checked.source_id, checked.answer
            checks.route_rate(hook)
            if checked.ignored and answer is not None:
                recording.log(hook, request, Outcome(answer.status, checked.ignored), lambda: checked.body)
            if answer is None and recording.runs_later(hook):
                answer = await recording.accept(hook, request, checked.body, checked.response)
            if answer is None and not hook.active:
                raise Problem(503, "the plugin of this webhook is not active", retry_after(60.0))
            # What stores the outcome, or also a response.
            when_ended = answer or await recording.claim(hook, request, checked.body)
        except Problem as problem:
            # Nothing is read for a client that sends too much.
            if not request.source_id and problem.status != 429:
                request.source_id = checks.source_id(hook, request)
            services.intake.refuse(hook, request, problem)
            return
        if isinstance(when_ended, ImmediateResponse):
            # The scheme's own, 202 for a recorded request, or that of a repeated one.
            request.send_response(when_ended.status, list(when_ended.headers), when_ended.body)
        else:
            request.admitted = hook.declaration
            Delivery(self._route, self._context, when_ended).start()


def problem_of(refused: NoRoute | Problem, request: WebhookRequest) -> Problem:
    """Return the error for a request without a matching route: 404, or 405 with the allowed methods."""
    if isinstance(refused, Problem):
        return refused
    if not refused.allowed:
        return not_found(request.path)
    allowed = ", ".join(sorted(refused.allowed | {"OPTIONS"}))
    detail = f"the method {request.method.decode('ascii')} is not allowed at this path; allowed: {allowed}"
    return Problem(405, detail, ((b"Allow", allowed.encode()),))

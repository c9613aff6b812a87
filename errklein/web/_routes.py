"""The route table, which maps URLs and methods to plugins' webhooks on one Klein application.

The endpoint of each route creates the delivery, a resource. The router renders it; under another site, Klein does.

Werkzeug's map accepts new rules at any time, but can't remove one, and silently prefers the first of two equal rules. So the
table stores the hooks of each plugin itself, and assigns each URL and method to the hook that claimed it first. When a plugin is
reloaded, a route with the same rule and methods stays and gets the new hook. Other new routes are added to the application.

Removed routes stay in the application's map until the map is rebuilt. It is rebuilt at once if it is small; otherwise when a
request matches no current route, or when more routes are removed than current. A large map is rebuilt in slices between which
the reactor runs. The requests that depend on it wait meanwhile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from errklein.running import place
from errklein.web._error_pages import Problem
from errklein.web._invalid_rules import rule_error
from errklein.web._mounts import Mount, Mounts
from errklein.web._paths import clean_path
from errklein.web._websockets import limit_messages
from errklein.web.facade.request import endpoint_of
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.errors import HookError
from errklein.webhooks.precedence import HookKey, RouteInfo, RoutePrecedence

# Only rules without variables are cached, so a client can add no more than other spellings of their paths.
_MATCH_CACHE_SIZE = 16 * 1024
_AT_ONCE = 24
_SLICE = 12
# Requests that wait keep their captures, which a call creates anew.
_NO_CAPTURES: Mapping[str, Any] = {}


class RuleError(HookError):
    """A hook's rule is invalid."""


class Route:
    """A rule and methods, with the hook that gets their requests. A removed route has no hook, and isn't `current`."""

    def __init__(self, name: str, hook: Hook, methods: frozenset[str], create_delivery: CreateDelivery) -> None:
        self.name = name
        self.rule = hook.declaration.rule
        self.methods = methods
        self.owner = hook.owner
        self.hook: Hook | None
        self._create_delivery = create_delivery
        self.take(hook)

    def endpoint(self, request: Any, /, **captures: Any) -> IResource:
        """Return the delivery of a request, whose `render` calls the handler. This is the route's endpoint in Klein."""
        return self._create_delivery(self, request, captures or _NO_CAPTURES)

    def take(self, hook: Hook) -> None:
        """Pass requests to this hook from now on."""
        self.hook = hook
        self.label = hook.full_name
        self.current = True
        declaration = hook.declaration
        self.max_body = declaration.max_body
        has_checks = declaration.verify or declaration.rate or declaration.dedupe
        self.is_plain = not has_checks and declaration.ack == "after" and declaration.recorded
        self.placement = place(hook.handler)


@dataclass(frozen=True, slots=True)
class Match:
    """The route or mount for a request, and the values of the rule's variables."""

    route: Route | Mount
    captures: Mapping[str, Any]


@dataclass(eq=False)
class NoRoute(Exception):
    """No route matches. `allowed` are the methods that are allowed at this path."""

    allowed: frozenset[str]


@dataclass(eq=False)
class Rebuilding(Exception):
    """The application is being rebuilt. `until` fires when the request can be matched."""

    until: Deferred[None]


CreateDelivery = Callable[[Any, Any, Mapping[str, Any]], IResource]
Shadowed = Callable[[Hook, Hook], None]


class RouteApp(Klein):
    """A Klein application whose routes can be replaced as a whole."""

    def take_routes(self, app: Klein) -> None:
        """Use the routes of another application from now on."""
        self._url_map, self._endpoints = app.url_map, app.endpoints


class Routes:
    """The routes of all plugins.

    :param create_delivery: Called with the route or mount, the request and the values of the rule's variables; returns the delivery.
    :param shadowed: Called with a hook whose URL and method another hook has, and with that hook.
    :param configure: Returns a hook of a plugin as the operator has configured it, or raises HookError.
    :param prepare: Called with each hook before its requests.
    """

    log = Logger(namespace="errklein.web")

    def __init__(
        self,
        reactor: IReactorTime,
        create_delivery: CreateDelivery,
        shadowed: Shadowed,
        configure: Callable[[Hook], Hook] = lambda hook: hook,
        prepare: Callable[[Hook], None] = lambda hook: None,
    ) -> None:
        self._reactor = reactor
        self._create_delivery = create_delivery
        self._shadowed = shadowed
        self.configure = configure
        self._prepare = prepare
        self.mounts = Mounts(create_delivery)
        """The resources that plugins have mounted."""
        self.streams: defaultdict[str, WeakSet[Any]] = defaultdict(WeakSet)
        """The streams and WebSockets of each plugin."""
        self._precedence = RoutePrecedence()
        self._routes: dict[str, Route] = {}
        self._of_hook: dict[HookKey, list[Route]] = {}
        self._number = 0
        self.app = RouteApp()
        """The application; `app.resource()` answers every webhook under any Twisted site."""
        self.app.handle_errors(NotFound, MethodNotAllowed)(self._enter_mount)
        self._adapter = self.app.url_map.bind("")
        self._standby: dict[str, Route] = {}
        self._standby_adapter = Klein().url_map.bind("")
        self._prepared: set[str] = set()
        self._match_cache: dict[tuple[bytes, bytes], Match] = {}
        self._stale = 0
        self._building: IDelayedCall | None = None
        self._rebuilt: list[tuple[Deferred[None], Context]] = []
        self._held: dict[str, list[tuple[Deferred[None], Context]]] = {}

    # Changes.

    def refused(self, hooks: Iterable[Hook]) -> list[str]:
        """Return the errors that `replace` would raise for the hooks, in one line each."""
        errors = []
        for hook in hooks:
            try:
                declared = self.configure(hook).declaration
                _bind(Klein(), hook, declared.rule, declared.methods, hook.name, hook.handler)
            except HookError as error:
                errors.append(str(error))
        return errors

    def replace(
        self,
        owner: str,
        hooks: Sequence[Hook],
        place: int | None = None,
        mounts: Mapping[str, IResource] = MappingProxyType({}),
    ) -> None:
        """Replace all of the owner's hooks and mounts in one step, and end a hold.

        Of two hooks that claim a URL and method, the one with the lower place gets the requests.

        :param place: The owner's number in the order of activation, by default the next one. It is ignored if the owner has
            hooks already; what these don't claim is then queued last.
        :param mounts: The owner's mounted resources, by path.
        :raises HookError: A rule is invalid, or the operator's options for a hook. Nothing is changed.
        """
        hooks = [self.configure(hook) for hook in hooks]
        old = self._precedence.of(owner)
        try:
            self._install(owner, hooks, place)
        except RuleError:
            self._install(owner, old)
            raise
        for hook, by in self._precedence.newly_shadowed(hooks, old):
            self._shadowed(hook, by)
        for hook in hooks:
            self._prepare(hook)
        self.mounts.replace(owner, mounts)
        self.release(owner)

    def _install(self, owner: str, hooks: Sequence[Hook], place: int | None = None) -> None:
        self._settle(self._precedence.replace(owner, hooks, place))

    def remove(self, owner: str) -> None:
        """Remove the owner's hooks and mounts, and end a hold."""
        self.replace(owner, ())

    def stand_by(self, hooks: Iterable[Hook]) -> None:
        """Accept requests for those of these webhooks that are verified when no other route matches: their plugins are inactive."""
        app, self._standby, self._prepared = Klein(), {}, set()
        for hook in hooks:
            try:
                hook = self.configure(hook)
                route = Route(hook.full_name, hook, frozenset(hook.declaration.methods), self._create_delivery)
                if hook.declaration.verify is not None:
                    _add(app, route)
            except HookError as error:
                self.log.error(
                    "{webhook} gets 404 while its plugin is inactive: {error}", webhook=hook.full_name, error=error
                )
            else:
                self._standby[route.name] = route
                # It is matched again when the body is complete, since the plugin may be active then.
                route.current = False
        self._standby_adapter = app.url_map.bind("")

    def hold(self, owner: str) -> None:
        """Make requests for the owner's routes wait until `replace`, `remove` or `release`."""
        self._held.setdefault(owner, [])

    def release(self, owner: str) -> None:
        """End a hold."""
        for waiting, context in self._held.pop(owner, ()):
            context.run(waiting.callback, None)

    def end_streams(self, owner: str) -> None:
        """End the owner's streams and WebSockets, since it is deactivated."""
        for stream in tuple(self.streams.pop(owner, ())):
            stream.end(Problem(503, "the plugin has been deactivated"))

    def end_event_streams(self) -> None:
        """End streams of events and WebSockets, for which a stop would wait until the end of the grace period."""
        for stream in [stream for streams in self.streams.values() for stream in streams if stream.endless]:
            stream.end(Problem(503, "the service is stopping"))

    # Queries.

    @property
    def largest_body(self) -> int:
        """The largest limit that a route has for bodies, in bytes; 0 if none has one."""
        return max((route.max_body or 0 for route in self._routes.values()), default=0)

    def held(self, owner: str) -> bool:
        """Return whether requests for the owner's routes must wait."""
        return owner in self._held

    def when_released(self, owner: str) -> Deferred[None]:
        """Return a Deferred that fires, in the caller's context, when the owner's hold ends. The owner must be held."""
        waiting: Deferred[None] = Deferred()
        self._held[owner].append((waiting, copy_context()))
        return waiting

    def hooks(self) -> Sequence[RouteInfo]:
        """Return all hooks with their current methods, by plugin in the order of activation."""
        return [self._precedence.info(hook) for hook in self._precedence.hooks()]

    def declarations(self) -> Mapping[str, HookDeclaration]:
        """Return the declarations of all webhooks by their names."""
        return {hook.full_name: hook.declaration for hook in self._precedence.hooks()}

    def declaration(self, route: str) -> HookDeclaration | None:
        """Return the declaration of a webhook that is named as "Plugin:method"; None if it is not active."""
        hook = self._precedence.named(route)
        return None if hook is None else hook.declaration

    def cached_match(self, path: bytes, method: bytes) -> Match | None:
        """Return the cached match of an escaped path, if a rule without variables has matched it before."""
        return self._match_cache.get((path, method))

    def match(self, raw_path: bytes, path: str, raw_method: bytes) -> Match:
        """Return the route for a path and method.

        :raises NoRoute: No route matches.
        :raises Rebuilding: The application must be rebuilt first.
        """
        # Methods are case-sensitive (RFC 9110, 9.1), but Werkzeug would take `get` for GET; no route has a method "-".
        method = raw_method.decode("ascii") if raw_method == raw_method.upper() else "-"
        allowed: frozenset[str] = frozenset()
        try:
            name, captures = self._adapter.match(path, method)
            route = self._routes.get(name)
            if route is not None and route.hook is not None:
                match = Match(route, captures)
                if not captures:
                    if len(self._match_cache) >= _MATCH_CACHE_SIZE:
                        self._match_cache.clear()
                    self._match_cache[raw_path, raw_method] = match
                return match
        except MethodNotAllowed as refused:
            allowed = frozenset(refused.valid_methods or ())
        except (NotFound, RequestRedirect):
            pass
        if self._stale:
            self._rebuild()
            rebuilt: Deferred[None] = Deferred()
            self._rebuilt.append((rebuilt, copy_context()))
            raise Rebuilding(rebuilt)
        raise NoRoute(allowed)

    def match_inactive(self, path: str, method: bytes) -> Match | None:
        """Return the route of a webhook whose plugin is inactive; None if there is none."""
        try:
            name, captures = self._standby_adapter.match(path, method.decode("ascii"))
        except (NotFound, MethodNotAllowed, RequestRedirect):
            return None
        route = self._standby[name]
        if name not in self._prepared and route.hook is not None:
            self._prepared.add(name)
            self._prepare(route.hook)
        return Match(route, captures)

    def url_for(self, owner: str, endpoint: str, values: Mapping[str, Any]) -> str:
        """Return the path of a webhook; see `flask.url_for`.

        :param owner: The plugin that asks.
        :param endpoint: The name of a method of the same plugin, or "Plugin:method".
        :raises LookupError: There is no such webhook.
        """
        for candidate in sorted(self._precedence.hooks(), key=lambda other: other.owner != owner):
            short = candidate.name if candidate.owner == owner else None
            if endpoint in (str(candidate), endpoint_of(candidate), short) and candidate.key in self._of_hook:
                return self._adapter.build(self._of_hook[candidate.key][0].name, values)
        raise LookupError(
            f"no webhook is named {endpoint!r}; use a method's name, or 'Plugin:method' for another plugin"
        )

    # The application.

    def _enter_mount(self, request: Any, failure: Failure) -> Any:
        """Return the resource for a request without a route, if there is one. Klein calls this under another site."""
        with suppress(Problem):
            path = clean_path(request.uri.partition(b"?")[0])
            if match := self.match_inactive(path, request.method):
                return match.route.endpoint(request, **match.captures)
            mount = self.mounts.find(path)
            if mount is not None:
                limit_messages(request.channel)
                return mount.enter(request)
        return failure

    def _settle(self, keys: set[HookKey]) -> None:
        """Update the routes of these hooks after a change of claims."""
        current = {hook.key: hook for hook in self._precedence.hooks() if hook.key in keys}
        added = []
        for key in sorted(keys):
            hook = current.get(key)
            methods = frozenset() if hook is None else frozenset(self._precedence.info(hook).methods)
            kept = []
            for route in self._of_hook.get(key, ()):
                if hook is not None and route.rule == hook.declaration.rule and route.methods <= methods:
                    route.take(hook)
                    methods -= route.methods
                    kept.append(route)
                else:
                    route.hook = None
                    route.current = False
                    del self._routes[route.name]
                    self._stale += 1
            if hook is not None and methods:
                self._number += 1
                route = Route(f"{hook}#{self._number}", hook, methods, self._create_delivery)
                self._routes[route.name] = route
                kept.append(route)
                added.append(route)
            if kept:
                self._of_hook[key] = kept
            else:
                self._of_hook.pop(key, None)
        self._match_cache.clear()
        if self._stale and len(self._routes) <= _AT_ONCE and self._building is None:
            app = Klein()
            for route in self._routes.values():
                _add(app, route)
            self._swap(app)
        else:
            for route in added:
                _add(self.app, route)
            if self._stale > len(self._routes):
                self._rebuild()

    def _rebuild(self) -> None:
        if self._building is None:
            self._building = self._reactor.callLater(0, self._build_slice, Klein(), set())

    def _build_slice(self, app: Klein, done: set[str]) -> None:
        missing = [route for name, route in self._routes.items() if name not in done]
        for route in missing[:_SLICE]:
            _add(app, route)
            done.add(route.name)
        if len(missing) > _SLICE:
            self._building = self._reactor.callLater(0, self._build_slice, app, done)
            return
        self._building = None
        self._swap(app, stale=len(done - set(self._routes)))

    def _swap(self, app: Klein, stale: int = 0) -> None:
        """Use the routes of a new application, of which `stale` are removed already."""
        self.app.take_routes(app)
        self._adapter = app.url_map.bind("")
        self._stale = stale
        self._match_cache.clear()
        waiting, self._rebuilt = self._rebuilt, []
        for rebuilt, context in waiting:
            context.run(rebuilt.callback, None)


def _add(app: Klein, route: Route) -> None:
    _bind(app, route.hook, route.rule, route.methods, route.name, route.endpoint)


def _bind(
    app: Klein, hook: Hook | None, rule: str, methods: Iterable[str], name: str, endpoint: Callable[..., Any]
) -> None:
    """Add a rule to the application; raises RuleError if it is invalid."""
    try:
        app.route(rule, methods=sorted(methods), endpoint=name, strict_slashes=False)(endpoint)
    except Exception as error:
        raise RuleError(rule_error(hook, rule, error, app.url_map.converters)) from error

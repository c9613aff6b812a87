"""The route table, which maps URLs and methods to plugins' webhooks on a Klein application.

Werkzeug's map accepts new rules at any time, but can't remove one, and silently prefers the first of two equal rules. So the
table stores the hooks of each plugin itself, and assigns each URL and method to the hook that claimed it first. When a plugin is
reloaded, a route with the same rule and methods stays and gets the new hook. Other new routes are added to the application.

Removed routes stay in the application until it is rebuilt. It is rebuilt at once if it is small; otherwise when a request matches
no current route, or when more routes are removed than current. A large application is rebuilt in slices between which the
reactor runs. The requests that depend on it wait meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect
from werkzeug.routing.map import MapAdapter

from errklein.running import place
from errklein.web._invalid_rules import rule_error
from errklein.web._precedence import HookKey, RouteInfo, RoutePrecedence
from errklein.webhooks import Hook

_MATCH_CACHE_SIZE = 1024
_AT_ONCE = 24
_SLICE = 12


class RuleError(ValueError):
    """A hook's rule is invalid. `str()` is one line that names the hook."""


class Route:
    """A rule and methods, with the hook that gets their requests. `hook` is None when the route is removed."""

    def __init__(self, endpoint: str, hook: Hook, methods: frozenset[str]) -> None:
        self.endpoint = endpoint
        self.rule = hook.declaration.rule
        self.methods = methods
        self.owner = hook.owner
        self.hook: Hook | None
        self.take(hook)

    def take(self, hook: Hook) -> None:
        """Pass requests to this hook from now on."""
        self.hook = hook
        self.placement = place(hook.handler)


@dataclass(frozen=True, slots=True)
class Match:
    """The route for a request, and the values of the rule's variables."""

    route: Route
    captures: Mapping[str, Any]


@dataclass(eq=False)
class NoRoute(Exception):
    """No route matches. `allowed` are the methods that are allowed at this path."""

    allowed: frozenset[str]


@dataclass(eq=False)
class Rebuilding(Exception):
    """The application is being rebuilt. `until` fires when the request can be matched."""

    until: Deferred[None]


Execute = Callable[[Any, Route, Mapping[str, Any]], Any]
Shadowed = Callable[[Hook, Hook], None]
Endpoint = Callable[..., Any]


class Routes:
    """The routes of all plugins.

    :param execute: Called with the request, the route and the values of the rule's variables.
    :param shadowed: Called with a hook whose URL and method another hook has, and with that hook.
    """

    def __init__(self, reactor: IReactorTime, execute: Execute, shadowed: Shadowed) -> None:
        self._reactor = reactor
        self._execute = execute
        self._shadowed = shadowed
        self._precedence = RoutePrecedence()
        self._routes: dict[str, Route] = {}
        self._of_hook: dict[HookKey, list[Route]] = {}
        self._number = 0
        self._app, self._adapter = _new_app()
        self._match_cache: dict[tuple[bytes, bytes], Match] = {}
        self._stale = 0
        self._building: IDelayedCall | None = None
        self._rebuilt: list[Deferred[None]] = []
        self._held: dict[str, list[Deferred[None]]] = {}

    # Changes.

    @staticmethod
    def refused(hooks: Iterable[Hook]) -> list[str]:
        """Return the errors that `replace` would raise for the hooks' rules, in one line each."""
        errors = []
        for hook in hooks:
            try:
                _bind(_new_app()[0], hook, hook.declaration.rule, hook.declaration.methods, hook.name, hook.handler)
            except RuleError as error:
                errors.append(str(error))
        return errors

    def replace(self, owner: str, hooks: Sequence[Hook], place: int | None = None) -> None:
        """Replace all of the owner's hooks in one step, and end a hold.

        Of two hooks that claim a URL and method, the one with the lower place gets the requests.

        :param place: The owner's number in the order of activation, by default the next one. It is ignored if the owner has
            hooks already; what these don't claim is then queued last.
        :raises RuleError: A rule is invalid. Nothing is changed.
        """
        old = self._precedence.of(owner)
        try:
            self._install(owner, hooks, place)
        except RuleError:
            self._install(owner, old)
            raise
        for hook, by in self._precedence.newly_shadowed(hooks, old):
            self._shadowed(hook, by)
        self.release(owner)

    def _install(self, owner: str, hooks: Sequence[Hook], place: int | None = None) -> None:
        self._settle(self._precedence.replace(owner, hooks, place))

    def remove(self, owner: str) -> None:
        """Remove the owner's hooks, and end a hold."""
        self.replace(owner, ())

    def hold(self, owner: str) -> None:
        """Make requests for the owner's routes wait until `replace`, `remove` or `release`."""
        self._held.setdefault(owner, [])

    def release(self, owner: str) -> None:
        """End a hold."""
        for waiting in self._held.pop(owner, ()):
            waiting.callback(None)

    # Queries.

    def held(self, owner: str) -> bool:
        """Return whether requests for the owner's routes must wait."""
        return owner in self._held

    def when_released(self, owner: str) -> Deferred[None]:
        """Return a Deferred that fires when the owner's hold ends. The owner must be held."""
        waiting: Deferred[None] = Deferred()
        self._held[owner].append(waiting)
        return waiting

    def hooks(self) -> Sequence[RouteInfo]:
        """Return all hooks with their current methods, by plugin in the order of activation."""
        return [self._precedence.info(hook) for hook in self._precedence.hooks()]

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
            endpoint, captures = self._adapter.match(path, method)
            route = self._routes.get(endpoint)
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
            self._rebuilt.append(rebuilt)
            raise Rebuilding(rebuilt)
        raise NoRoute(allowed)

    def run(self, request: Any, match: Match) -> Any:
        """Call the endpoint of a match, as Klein does."""
        return self._app.execute_endpoint(match.route.endpoint, request, **match.captures)

    def url_for(self, hook_key: HookKey, values: Mapping[str, Any]) -> str | None:
        """Return the path of a hook, with values for the rule's variables; None if it has no route."""
        routes = self._of_hook.get(hook_key)
        return self._adapter.build(routes[0].endpoint, values) if routes else None

    # The application.

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
                    del self._routes[route.endpoint]
                    self._stale += 1
            if hook is not None and methods:
                self._number += 1
                route = Route(f"{hook}#{self._number}", hook, methods)
                self._routes[route.endpoint] = route
                kept.append(route)
                added.append(route)
            if kept:
                self._of_hook[key] = kept
            else:
                self._of_hook.pop(key, None)
        self._match_cache.clear()
        if self._stale and len(self._routes) <= _AT_ONCE and self._building is None:
            app, adapter = _new_app()
            for route in self._routes.values():
                self._add(app, route)
            self._swap(app, adapter)
        else:
            for route in added:
                self._add(self._app, route)
            if self._stale > len(self._routes):
                self._rebuild()

    def _add(self, app: Klein, route: Route) -> None:
        def endpoint(request: Any, **captures: Any) -> Any:
            return self._execute(request, route, captures)

        _bind(app, route.hook, route.rule, route.methods, route.endpoint, endpoint)

    def _rebuild(self) -> None:
        if self._building is None:
            self._building = self._reactor.callLater(0, self._build_slice, *_new_app(), set())

    def _build_slice(self, app: Klein, adapter: MapAdapter, done: set[str]) -> None:
        missing = [route for endpoint, route in self._routes.items() if endpoint not in done]
        for route in missing[:_SLICE]:
            self._add(app, route)
            done.add(route.endpoint)
        if len(missing) > _SLICE:
            self._building = self._reactor.callLater(0, self._build_slice, app, adapter, done)
            return
        self._building = None
        self._swap(app, adapter, stale=len(done - set(self._routes)))

    def _swap(self, app: Klein, adapter: MapAdapter, stale: int = 0) -> None:
        """Use a new application, of which `stale` routes are removed already."""
        self._app, self._adapter = app, adapter
        self._stale = stale
        self._match_cache.clear()
        waiting, self._rebuilt = self._rebuilt, []
        for rebuilt in waiting:
            rebuilt.callback(None)


def _new_app() -> tuple[Klein, MapAdapter]:
    app = Klein()
    return app, app.url_map.bind("")


def _bind(app: Klein, hook: Hook | None, rule: str, methods: Iterable[str], endpoint: str, function: Endpoint) -> None:
    """Add a rule to the application; raises RuleError if it is invalid."""
    try:
        app.route(rule, methods=sorted(methods), endpoint=endpoint, strict_slashes=False)(function)
    except Exception as error:
        raise RuleError(rule_error(hook, rule, error, app.url_map.converters)) from error

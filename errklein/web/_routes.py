"""The route table: which plugin's hook answers which URL and method, on a Klein application.

Werkzeug's map can take a rule while it serves, but can't lose one, and the first of two equal rules wins in silence. So
the table keeps the hooks itself, per plugin, and gives each URL and method to the hook that claimed it first. Of a reloaded
plugin, a route whose rule and methods stay is the same route with another hook behind it. Other new routes are added to
the application in place. For routes that have gone the application is built anew: at once if it is small, else when a
request asks for what may have gone, or when more have gone than are there, in slices between which the reactor does its
work. Until that is done such a request waits.
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
from errklein.web._precedence import HookKey, RouteInfo, RoutePrecedence
from errklein.webhooks import Hook

_MATCH_CACHE_SIZE = 1024
_AT_ONCE = 24
_SLICE = 12


class RuleError(ValueError):
    """A hook has a rule that is no rule; str() is one line that names the hook."""


class Route:
    """A rule and some methods, with the hook that answers them now; `hook` is None once the route has gone."""

    def __init__(self, endpoint: str, hook: Hook, methods: frozenset[str]) -> None:
        self.endpoint = endpoint
        self.rule = hook.declaration.rule
        self.methods = methods
        self.owner = hook.owner
        self.hook: Hook | None
        self.take(hook)

    def take(self, hook: Hook) -> None:
        """Be answered by `hook` from now on."""
        self.hook = hook
        self.placement = place(hook.handler)


@dataclass(frozen=True, slots=True)
class Match:
    """The route for a request, and what the rule's variables captured."""

    route: Route
    captures: Mapping[str, Any]


@dataclass(eq=False)
class NoRoute(Exception):
    """No hook answers; `allowed` are the methods that would be answered at this path."""

    allowed: frozenset[str]


@dataclass(eq=False)
class Rebuilding(Exception):
    """It can't be said yet; `until` fires when it can."""

    until: Deferred[None]


Execute = Callable[[Any, Route, Mapping[str, Any]], Any]
Shadowed = Callable[[Hook, Hook], None]
Endpoint = Callable[..., Any]


class Routes:
    """All routes of all plugins.

    `execute` is called by the application's endpoints with the request, the route and the captures; `shadowed` with a
    hook whose URL and method another one has.
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

    # Changing.

    @staticmethod
    def refused(hooks: Iterable[Hook]) -> list[str]:
        """What `replace` would say against the hooks' rules, a line for each."""
        errors = []
        for hook in hooks:
            try:
                _bind(_new_app()[0], hook, hook.declaration.rule, hook.declaration.methods, hook.name, hook.handler)
            except RuleError as error:
                errors.append(str(error))
        return errors

    def replace(self, owner: str, hooks: Sequence[Hook], place: int | None = None) -> None:
        """Make these all of the owner's hooks, in one step, and end a hold. Raises RuleError and changes nothing.

        `place` is the owner's number in the order of activation, by default the next one. Of two hooks that claim a URL
        and method, that of the lower place answers. What an owner that has hooks already claims in addition comes last.
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
        """Forget the owner's hooks, and end a hold."""
        self.replace(owner, ())

    def hold(self, owner: str) -> None:
        """Let requests for the owner's routes wait until `replace`, `remove` or `release`."""
        self._held.setdefault(owner, [])

    def release(self, owner: str) -> None:
        """End a hold."""
        for waiting in self._held.pop(owner, ()):
            waiting.callback(None)

    # Asking.

    def held(self, owner: str) -> bool:
        """Whether requests for the owner's routes have to wait."""
        return owner in self._held

    def when_released(self, owner: str) -> Deferred[None]:
        """Fires when the owner's hold, which there must be, has ended."""
        waiting: Deferred[None] = Deferred()
        self._held[owner].append(waiting)
        return waiting

    def hooks(self) -> Sequence[RouteInfo]:
        """Every hook, by plugin in the order of activation, with what it answers now."""
        return [self._precedence.info(hook) for hook in self._precedence.hooks()]

    def cached_match(self, path: bytes, method: bytes) -> Match | None:
        """The match for an escaped path that was matched before and has no variable in its rule."""
        return self._match_cache.get((path, method))

    def match(self, raw_path: bytes, path: str, raw_method: bytes) -> Match:
        """The route for a path and method. Raises NoRoute or Rebuilding."""
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
        """Call the endpoint of a match, as Klein would."""
        return self._app.execute_endpoint(match.route.endpoint, request, **match.captures)

    def url_for(self, hook_key: HookKey, values: Mapping[str, Any]) -> str | None:
        """The path at which a hook answers, with the rule's variables filled in; None if it has none."""
        routes = self._of_hook.get(hook_key)
        return self._adapter.build(routes[0].endpoint, values) if routes else None

    # How it works.

    def _settle(self, keys: set[HookKey]) -> None:
        """Make the routes of these hooks follow the claims."""
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
        """Use another application, in which `stale` routes are stale already."""
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
    """Add a rule to the application; raises RuleError."""
    try:
        app.route(rule, methods=sorted(methods), endpoint=endpoint, strict_slashes=False)(function)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise RuleError(f"{hook}: the rule {rule!r} can't be used: {reason}") from error

"""The route table, which maps URLs and methods to plugins' webhooks on one Klein application, and names to webhooks of rooms.

Werkzeug's map accepts new rules at any time, but can't remove one, and silently prefers the first of two equal rules. So the
table assigns each URL and method to the hook that claimed it first, and gives the rule of each hook the methods that are its
own. A rule without methods matches no request, so a removed route leaves nothing but its rule, which its plugin's next
activation uses again. Webhooks of rooms come and go, and there may be thousands, so they have no rules, but a table of names below
WEBHOOK_PREFIX. It is asked when no plugin has the URL."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes
from weakref import WeakSet

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from errklein.listening import receive_frames
from errklein.running import NEVER, placement_of
from errklein.running.context import assigned, origin
from errklein.text.suggestions import did_you_mean
from errklein.verify import ADDRESS_SCHEME, digest_of
from errklein.web._error_pages import Problem
from errklein.web.facade.request import endpoint_of
from errklein.web.request import clean_path
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.declaration import RouteInfo, RoutePrecedence, normalise_rule
from errklein.webhooks.option_values import HookError

if TYPE_CHECKING:
    from errklein.web._delivery import WebServices


@dataclass(eq=False)
class Mount:
    """A plugin's resource, which gets the requests for `path` and everything below it that no webhook handles."""

    owner: str
    path: str
    resource: IResource
    max_body = None

    @property
    def label(self) -> str:
        return f"{self.owner}:{self.path}"

    def has(self, path: str) -> bool:
        return self.path == "/" or path == self.path or path.startswith(f"{self.path}/")

    def enter(self, request: Any) -> IResource:
        segments = list(map(unquote_to_bytes, request.path[1:].split(b"/")))
        depth = self.path.count("/") if self.path != "/" else 0
        base = getattr(request, "base_path", "").encode().split(b"/")[1:]
        request.prepath, request.postpath = base + segments[:depth], segments[depth:]
        resource: IResource = getChildForRequest(self.resource, request)
        return resource


class MountedResponse:
    """Renders a mounted resource. The client gets 504 if no response has begun when `deadline` has passed. From the
    head of the response on, the time is up to the resource: it may be a stream of events or a WebSocket."""

    def __init__(self, services: WebServices, mount: Mount, request: Any) -> None:
        self.deadline = request.begun + services.settings.timeout
        self._services, self._mount, self._request = services, mount, request

    def start(self) -> None:
        request, routes, owner = self._request, self._services.routes, self._mount.owner
        if request.finished:
            return
        self._services.open_requests.watch(self)
        routes.streams[owner].add(self)
        request.notifyFinish().addBoth(lambda _: self._services.open_requests.forget(self))
        if owner in routes.held:
            routes.when_released(owner).addCallback(self._route_again)
            return
        request.content.seek(0)
        with assigned(origin, f"plugin:{owner}"):
            request.render(self._mount.enter(request))

    @property
    def endless(self) -> bool:
        """Whether the response is a stream of events, whose client connects again when it ends."""
        kinds = self._request.responseHeaders.getRawHeaders(b"Content-Type", [])
        return any(kind.startswith(b"text/event-stream") for kind in kinds)

    def end(self, problem: Problem) -> None:
        if self._request.startedWriting:
            self._request.fail(problem)

    def deadline_passed(self) -> None:
        self.deadline = NEVER
        if not self._request.startedWriting:
            seconds = self._services.settings.timeout
            self._request.fail(Problem(504, f"the resource did not respond within {seconds:g} s"))

    def _route_again(self, _: object) -> None:
        if not self._request.finished:
            self._services.intake.route(self._request)


def limit_messages(channel: Any) -> None:
    """Limit the messages on a WebSocket that may take over this connection of another site."""

    def upgrade(websocket: Any) -> None:
        type(channel)._protocolUpgradeForWebsockets(channel, websocket)
        channel.dataReceived = partial(receive_frames, websocket)

    channel._protocolUpgradeForWebsockets = upgrade


# Only rules without variables are cached, so a client can add no more than other spellings of their paths.
_MATCH_CACHE_SIZE = 16 * 1024
_NO_MOUNTS: Mapping[str, IResource] = MappingProxyType({})


class Route:
    """The rule of a hook, with the methods of which the hook gets the requests. A removed route has no hook and no methods."""

    hook: Hook | None
    methods: Collection[str]

    def __init__(self, hook: Hook, enter: Enter) -> None:
        self.rule, self.owner = hook.declaration.rule, hook.owner
        self.name = f"{hook} {self.rule}"
        self._enter = enter

    def endpoint(self, request: Any, /, **captures: Any) -> Deferred[None]:
        """Pass on a request of another site. Klein would end it when the Deferred fires, so that one never does."""
        self._enter(self, request, captures)
        return Deferred()

    def take(self, hook: Hook, methods: Collection[str]) -> None:
        self.hook, self.methods, self.label = hook, methods, hook.full_name
        declaration = hook.declaration
        self.max_body = declaration.max_body
        has_checks = declaration.verify or declaration.rate or declaration.dedupe or declaration.source
        self.needs_token = declaration.verify is not None and declaration.verify.scheme == ADDRESS_SCHEME
        is_here = declaration.ack == "after" and not hook.elsewhere
        self.is_plain = not has_checks and is_here and declaration.may_be_recorded
        self.placement = placement_of(hook.handler)

    def remove(self) -> None:
        self.hook, self.methods = None, ()


class Match(NamedTuple):
    """The route or mount for a request, and the values of the rule's variables. It is valid for one version of the table."""

    route: Route | Mount
    captures: Mapping[str, Any]
    version: int


class NamedPath(NamedTuple):
    """The route of a webhook of a room, the token in the path, if there is one, and the path without it, which may be logged."""

    route: Route
    token: bytes
    path: bytes


@dataclass(eq=False)
class NoRoute(Exception):
    """No route matches."""

    allowed: frozenset[str]  # the methods that are allowed at this path


Enter = Callable[["Route | None", Any, Mapping[str, Any]], None]


class Routes:
    """The routes of all plugins, and the webhooks of rooms, which are below the path `prefix`. `enter` is called with the route,
    the request and the values of the rule's variables, for requests of other sites; without a route for those of webhooks of
    rooms. `shadowed` is called with a hook whose URL and method another hook has, and with that hook. `configure` returns a hook
    of a plugin as the operator has configured it, or raises HookError. `prepare` is called with each hook before its requests; it
    returns its secrets."""

    log = Logger(namespace="errklein.web")

    def __init__(
        self,
        enter: Enter,
        shadowed: Callable[[Hook, Hook], None],
        configure: Callable[[Hook], Hook] = lambda hook: hook,
        prepare: Callable[[Hook], Sequence[bytes]] = lambda hook: (),
        prefix: str = "/hooks",
    ) -> None:
        self._enter, self._shadowed, self._prepare = enter, shadowed, prepare
        self.configure, self.prefix = configure, prefix
        self.named: dict[str, Route] = {}  # the routes of the webhooks of rooms, by name
        # The names by the digest of a token, and the digests by name.
        self._by_token: dict[str, str] = {}
        self._tokens: dict[str, Sequence[str]] = {}
        self.mounts: list[Mount] = []  # the resources that plugins have mounted
        self.streams: defaultdict[str, WeakSet[Any]] = defaultdict(WeakSet)  # the streams and WebSockets of each plugin
        self.app = Klein()  # the application; `app.resource()` answers every webhook under any Twisted site
        self.app.handle_errors(NotFound, MethodNotAllowed)(self._enter_mount)
        self.version = 0  # a number that changes with the routes
        self._adapter = self.app.url_map.bind("")
        self._precedence = RoutePrecedence()
        self._known: dict[str, Route] = {}  # all routes that there have been, by name
        self._routes: dict[str, Route] = {}  # the present ones, by the names of their hooks
        self._standby: Mapping[str, Sequence[Hook]] = {}  # the hooks of each owner while its plugin is inactive
        self.declared: dict[str, Sequence[Hook]] = {}  # the hooks of each owner as they were declared
        self.cached: dict[
            tuple[bytes, bytes], Match
        ] = {}  # those of rules without variables, by escaped path and method
        # The owners for whose routes requests must wait, and what waits.
        self.held: dict[str, list[tuple[Deferred[None], Context]]] = {}

    # Changes.

    def refused(self, hooks: Iterable[Hook]) -> list[str]:
        """Return the errors that `replace` would raise for the hooks, in one line each."""
        errors = []
        for hook in hooks:
            try:
                _register(Klein(), self.configure(hook), hook.name, hook.handler)
            except HookError as error:
                errors.append(str(error))
        return errors

    def replace(
        self, owner: str, hooks: Sequence[Hook], rank: int | None = None, mounts: Mapping[str, IResource] = _NO_MOUNTS
    ) -> None:
        """Replace all of the owner's hooks and mounts in one step, and end a hold. Of two hooks that claim a URL and method, the one
        with the lower rank gets the requests. Raises HookError without a change: a rule or the operator's options are invalid."""
        declared, hooks = hooks, [self.configure(hook) for hook in hooks]
        for hook in hooks:
            self._route_of(hook)
        self.declared[owner] = declared
        self._use(owner, hooks, rank)
        self.replace_mounts(owner, mounts)
        self.release(owner)

    def reconfigure(self) -> None:
        """Configure all hooks anew, since `configure` returns others now. Those that don't change stay the same objects."""
        for owner, declared in self.declared.items():
            if not declared:
                self._stand_by(owner)
                continue
            old = {hook.name: hook for hook in self._precedence.by_owner.get(owner, ())}
            new = [self.configure(hook) for hook in declared]
            hooks = [old[hook.name] if old[hook.name].declaration == hook.declaration else hook for hook in new]
            if hooks != list(old.values()):
                self._use(owner, hooks)
        self._changed()

    def _use(self, owner: str, hooks: Sequence[Hook], rank: int | None = None) -> None:
        old = self._precedence.by_owner.get(owner, ())
        if hooks and old and hooks[0].active is not old[0].active:
            # They get another place in the order.
            self._use(owner, ())
            old = ()
        for name in self._precedence.replace(owner, hooks, rank):
            self._update(name)
        for hook, by in self._precedence.newly_shadowed(hooks, old):
            if hook.active and by.active and not hook.elsewhere:
                self._shadowed(hook, by)
        for hook in hooks:
            if hook.active and hook not in old:
                self._prepare(hook)

    def replace_mounts(self, owner: str, resources: Mapping[str, IResource]) -> None:
        others = [mount for mount in self.mounts if mount.owner != owner]
        self.mounts = [*others, *(Mount(owner, normalise_rule(path), one) for path, one in resources.items())]
        self._changed()

    def remove(self, owner: str) -> None:
        """Remove all of the owner's hooks, except those that stand by, and its mounts, and end a hold."""
        self.declared[owner] = ()
        self._stand_by(owner)
        self.replace_mounts(owner, {})
        self.release(owner)

    def stand_by(self, hooks: Iterable[Hook]) -> None:
        """Accept requests for those of these hooks that are verified while their plugins are inactive; active ones take precedence."""
        hooks = list(hooks)
        owners = {*self._standby, *(hook.owner for hook in hooks)}
        self._standby = {owner: [hook for hook in hooks if hook.owner == owner] for owner in owners}
        for owner in owners:
            if not self.declared.setdefault(owner, ()):
                self._stand_by(owner)
        self._changed()

    def _stand_by(self, owner: str) -> None:
        usable = []
        for hook in self._standby.get(owner, ()):
            if errors := self.refused([hook]):
                text = "{webhook} gets 404 while its plugin is inactive: {error}"
                self.log.error(text, webhook=hook.full_name, error=errors[0])
            elif (configured := self.configure(hook)).declaration.verify is not None:
                usable.append(configured)
        self._use(owner, usable)

    def put(self, hook: Hook, tokens: Sequence[str] = ()) -> None:
        name = hook.full_name
        route = self.named[name] = self.named.get(name) or Route(hook, self._enter)
        route.take(hook, hook.declaration.methods)
        self._forget_tokens(name)
        self._precedence.by_name[name] = hook
        secrets = self._prepare(hook)
        if route.needs_token:
            tokens = [*tokens, *map(digest_of, secrets)]
        self._tokens[name] = tokens
        self._by_token.update(dict.fromkeys(tokens, name))
        self._changed()

    def drop(self, name: str) -> None:
        if name in self.named:
            self._forget_tokens(name)
            self._precedence.by_name.pop(name)
            self.named.pop(name).remove()
            self._changed()

    def _forget_tokens(self, name: str) -> None:
        for token in self._tokens.pop(name, ()):
            if self._by_token.get(token) == name:
                del self._by_token[token]

    def hold(self, owner: str) -> None:
        """Make requests for the owner's routes wait until `replace`, `remove` or `release`."""
        self.held.setdefault(owner, [])

    def release(self, owner: str) -> None:
        for waiting, context in self.held.pop(owner, ()):
            context.run(waiting.callback, None)

    def end_streams(self, owner: str) -> None:
        for stream in tuple(self.streams.pop(owner, ())):
            stream.end(Problem(503, "the plugin has been deactivated"))

    def end_event_streams(self) -> None:
        """End streams of events and WebSockets, for which a stop would wait until the end of the grace period."""
        for stream in [stream for streams in self.streams.values() for stream in streams if stream.endless]:
            stream.end(Problem(503, "the service is stopping"))

    # Queries.

    def when_released(self, owner: str) -> Deferred[None]:
        """Return a Deferred that fires, in the caller's context, when the owner's hold ends. The owner must be held."""
        waiting: Deferred[None] = Deferred()
        self.held[owner].append((waiting, copy_context()))
        return waiting

    def hooks(self) -> Sequence[RouteInfo]:
        """Return all hooks with their current methods, by plugin in the order of activation, and the webhooks of rooms."""
        rooms = [route.hook for _, route in sorted(self.named.items()) if route.hook is not None]
        return [
            *(self._precedence.info(hook) for hook in self._precedence.hooks() if hook.active),
            *(RouteInfo(hook, hook.declaration.rule, hook.declaration.methods, None) for hook in rooms),
        ]

    def declarations(self) -> Mapping[str, HookDeclaration]:
        return {name: hook.declaration for name, hook in self._precedence.by_name.items() if not hook.stands_by}

    def hook(self, route: str) -> Hook | None:
        """Return the webhook that is named as "Plugin:method", or the webhook of a room; None if it is not active."""
        hook = self._precedence.by_name.get(route)
        return None if hook is None or hook.stands_by else hook

    def declaration(self, route: str) -> HookDeclaration | None:
        """Return the declaration of a webhook that is named as "Plugin:method"; None if it is not active."""
        return None if (hook := self.hook(route)) is None else hook.declaration

    def match(self, raw_path: bytes, path: str, raw_method: bytes, *, inactive: bool = False) -> Match:
        """Return the route for a path and method; with `inactive`, also that of a webhook whose plugin is inactive. Raises NoRoute."""
        # Methods are case-sensitive (RFC 9110, 9.1), but Werkzeug would take `get` for GET; no route has a method "-".
        method = raw_method.decode("ascii") if raw_method == raw_method.upper() else "-"
        try:
            name, captures = self._adapter.match(path, method)
        except MethodNotAllowed as refused:
            raise NoRoute(frozenset(refused.valid_methods or ())) from None
        except (NotFound, RequestRedirect):
            raise NoRoute(frozenset()) from None
        route = self._known[name]
        match = Match(route, captures, self.version)
        if route.hook is not None and not route.hook.active:
            if not inactive:
                raise NoRoute(frozenset())
        elif not captures:
            if len(self.cached) >= _MATCH_CACHE_SIZE:
                self.cached.clear()
            self.cached[raw_path, raw_method] = match
        return match

    def match_named(self, path: str) -> NamedPath | None:
        """Return the webhook of a room, if there is one: PREFIX/NAME, PREFIX/NAME/TOKEN or PREFIX/TOKEN, with a suffix of the source."""
        if not path.startswith(f"{self.prefix}/"):
            return None
        name, *rest = path.removeprefix(f"{self.prefix}/").removesuffix("/").split("/")
        token = b""
        if name not in self.named:
            token = name.encode()
            name = self._by_token.get(digest_of(token), "")
        route = self.named.get(name)
        if route is None or route.hook is None:
            return None
        source = route.hook.declaration.source
        known = [name, rest.pop()] if rest and source is not None and rest[-1] in source.suffixes else [name]
        if rest and not token:
            token = rest.pop().encode()
        return None if rest else NamedPath(route, token, "/".join([self.prefix, *known]).encode())

    def may_have_token(self, path: bytes) -> bool:
        """Return whether an escaped path, which may be malformed, may have the token of a webhook of a room."""
        text, below = unquote_to_bytes(path).decode("latin-1"), f"{self.prefix}/"
        return text.startswith(below) and text.removeprefix(below) not in self.named

    def mount_at(self, path: str) -> Mount | None:
        return max((mount for mount in self.mounts if mount.has(path)), key=lambda mount: len(mount.path), default=None)

    def url_for(self, owner: str, endpoint: str, values: Mapping[str, Any]) -> str:
        """Return the path of a webhook; see `flask.url_for`. Raises LookupError: there is no such webhook."""
        active = (hook for hook in self._precedence.hooks() if hook.active)
        for candidate in sorted(active, key=lambda other: other.owner != owner):
            short = candidate.name if candidate.owner == owner else None
            if endpoint in (str(candidate), endpoint_of(candidate), short):
                route = self._routes[candidate.full_name]
                if route.methods:
                    return self._adapter.build(route.name, values, next(iter(route.methods)))
        raise LookupError(
            f"no webhook is named {endpoint!r}; use a method's name, or 'Plugin:method' for another plugin"
        )

    # The application.

    def _enter_mount(self, request: Any, failure: Failure) -> Any:
        """Return the resource for a request without a route, if there is one. Klein calls this under another site."""
        named = None
        with suppress(Problem):
            path = clean_path(request.uri.partition(b"?")[0])
            named = self.match_named(path)
            if named is None and (mount := self.mount_at(path)) is not None:
                limit_messages(request.channel)
                return mount.enter(request)
        # Also if the path is malformed, so that the log of the other site doesn't have the token.
        if named is not None or self.may_have_token(request.path):
            self._enter(None, request, {})
            return Deferred()
        return failure

    def _route_of(self, hook: Hook) -> Route:
        """Return the route of the hook's rule, which is added to the application if there was none."""
        route = self._known.get(f"{hook} {hook.declaration.rule}")
        if route is None:
            route = Route(hook, self._enter)
            _register(self.app, hook, route.name, route.endpoint)
            self._known[route.name] = route
        return route

    def _update(self, name: str) -> None:
        """Update the route of the hook of that name, whose claims may have changed."""
        hook = self._precedence.by_name.get(name)
        route = self._routes.pop(name, None)
        if route is not None and (hook is None or route.rule != hook.declaration.rule):
            route.remove()
            _allow(self.app, route)
        if hook is not None:
            route = self._routes[name] = self._route_of(hook)
            route.take(hook, self._precedence.info(hook).methods)
            _allow(self.app, route)

    def _changed(self) -> None:
        self.version += 1
        self.cached.clear()


def _register(app: Klein, hook: Hook, name: str, endpoint: Callable[..., Any]) -> None:
    """Add a hook's rule to the application, without methods; raises HookError if it is invalid."""
    rule = hook.declaration.rule
    try:
        app.route(rule, methods=(), endpoint=name, strict_slashes=False)(endpoint)
    except Exception as error:
        # The first line of a handler is that of its decorator.
        source = getattr(inspect.unwrap(hook.handler), "__code__", None)
        place = "" if source is None else f" in {source.co_filename}, line {source.co_firstlineno}"
        reason = _reason(error, app.url_map.converters)
        raise HookError(f"{hook}: invalid rule {rule!r}{place}; {reason}") from error


def _allow(app: Klein, route: Route) -> None:
    for rule in app.url_map.iter_rules(route.name):
        rule.methods = set(route.methods)


def _reason(error: Exception, converters: Collection[str]) -> str:
    """Return the reason for which Werkzeug rejects a rule, in one line with the converters that it may use."""
    text = " ".join(str(error).split()) or type(error).__name__
    if unknown := re.search("converter '(.*?)' does not exist", text):
        meant = did_you_mean(unknown[1], converters) or "."
        return f"unknown converter {unknown[1]!r}{meant} Converters: {', '.join(sorted(converters))}"
    if text.startswith("malformed url rule"):
        return "each variable must be <name> or <converter:name>, such as <int:number>"
    if twice := re.match("duplicate argument '(.*?)'", text):
        return f"the variable {twice[1]!r} occurs twice"
    return text

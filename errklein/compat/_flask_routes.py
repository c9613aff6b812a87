"""Routes that are no plugin's: of `errbot.core_plugins.flask_app`, and of objects with webhooks.

Whoever makes them doesn't know a bot, as there may be none yet; so they are kept here, for every bot of the process that
serves, and reach its route table as soon as both are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from werkzeug.routing import Map, Rule

from errklein.running import ThreadWaits, in_reactor_thread, on_reactor_soon
from errklein.web import ClientResponse, WebServer
from errklein.web.facade import endpoint_of
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.declaration import normalise_methods, normalise_rule


class FlaskRoutes:
    """Keeps hooks by their owners, and hands them to every server there is. May be used in any thread."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}
        self._servers: dict[WebServer, tuple[Any, ThreadWaits]] = {}

    def serve(self, reactor: Any, web: WebServer, waits: ThreadWaits) -> None:
        """Let the server have all routes, now and when there are more, until `forget`. Called on the reactor."""
        self._servers[web] = reactor, waits
        web.resource.app.url_map = RouteMap()
        for owner, hooks in self._hooks.items():
            web.routes.replace(owner, hooks)

    def forget(self, web: WebServer) -> None:
        """Tell the server no more."""
        self._servers.pop(web, None)

    def add(self, owner: str, name: str, rule: str, methods: Sequence[str] | str, handler: Callable[..., Any]) -> None:
        """Let the handler, in a thread, answer requests for the rule. Raises ValueError or LookupError for a bad rule."""
        Map([Rule(normalise_rule(rule), methods=normalise_methods(methods))])
        declaration = HookDeclaration(normalise_rule(rule), normalise_methods(methods), raw=True, threaded=True)
        self.put(owner, [*self._hooks.get(owner, ()), Hook(owner, name, declaration, handler)])

    def put(self, owner: str, hooks: Iterable[Hook]) -> None:
        """Let these be all of the owner's routes."""
        self._hooks[owner] = kept = list(hooks)
        for web, (reactor, _) in list(self._servers.items()):
            on_reactor_soon(reactor, web.routes.replace, owner, tuple(kept))

    def clear(self) -> None:
        """Forget all routes."""
        for owner in list(self._hooks):
            self.put(owner, ())
        self._hooks.clear()

    def answered(self) -> list[tuple[Hook, tuple[str, ...]]]:
        """Each hook of the newest server, including those of plugins, with the methods that it answers.

        Without a server, the hooks that are kept here. May be called in any thread; other threads than the reactor's wait for
        the reactor, and get Stopping if the bot stops meanwhile.
        """
        if not self._servers:
            return [(hook, hook.declaration.methods) for hooks in list(self._hooks.values()) for hook in hooks]
        web, (reactor, waits) = list(self._servers.items())[-1]
        routes = web.routes.hooks() if in_reactor_thread(reactor) else waits.result_of(web.routes.hooks)
        return [(route.hook, route.methods) for route in routes if route.methods]

    def ask(self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> ClientResponse:
        """What the newest server answers, plugins' webhooks included; waits for it in a thread.

        Raises RuntimeError on the reactor, and where nothing is served.
        """
        if not self._servers:
            raise RuntimeError("flask_app answers while a bot runs, and none does")
        web, (reactor, waits) = list(self._servers.items())[-1]
        if in_reactor_thread(reactor):
            raise RuntimeError("flask_app can be asked in a thread only, since the answer takes the reactor's work")
        response: ClientResponse = waits.result_of(lambda: web.client().request(method, url, headers, body))
        return response


flask_routes = FlaskRoutes()
"""Those of this process."""


class RouteMap(Map):
    """The `url_map` of an application. `iter_rules` lists its own rules, then those of all webhooks.

    Only its own rules are matched, since errklein's server has chosen the route before the application gets a request. `own`
    is the application's name among the owners of hooks.
    """

    own: str | None = None

    def own_rules(self) -> Iterator[Rule]:
        """The rules of the application itself, which are matched."""
        return super().iter_rules()

    def iter_rules(self, endpoint: Any = None) -> Iterator[Rule]:
        """All rules, or those of the endpoint; raises KeyError for an unknown one. The webhooks' are copies."""
        others = Map(
            [
                Rule(
                    hook.declaration.rule,
                    endpoint=endpoint_of(hook),
                    # The server answers OPTIONS for every route.
                    methods=(*methods, "OPTIONS"),
                    strict_slashes=False,
                )
                for hook, methods in flask_routes.answered()
                if hook.owner != self.own
            ]
        )
        found = [rule for rule in chain(self.own_rules(), others.iter_rules()) if endpoint in (None, rule.endpoint)]
        if endpoint is not None and not found:
            raise KeyError(endpoint)
        return iter(found)

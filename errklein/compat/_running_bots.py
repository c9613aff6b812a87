"""The bots of this process, the only global object of that kind: for `flask_app`, whose routes may be added before a bot exists
and are served by every one, and for errbot's functions without a bot as an argument, which use the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from werkzeug.routing import Map, Rule

from errklein.running import in_reactor_thread, on_reactor_soon
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.declaration import normalise_methods, normalise_rule

if TYPE_CHECKING:
    from errklein.compat.bot import ErrbotBot
    from errklein.web import ClientResponse


class RunningBots:
    """The running bots, and the webhooks that all of them serve, by owner. Any thread may use it."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}
        self._bots: list[ErrbotBot] = []

    @property
    def newest(self) -> ErrbotBot | None:
        return self._bots[-1] if self._bots else None

    def add_bot(self, bot: ErrbotBot) -> None:
        """Let the bot serve all present and future hooks until `remove_bot`. Must be called on the reactor thread."""
        self._bots.append(bot)
        bot.web.services.flask.url_map = RouteMap()
        for owner, hooks in self._hooks.items():
            bot.web.routes.replace(owner, hooks)

    def remove_bot(self, bot: ErrbotBot) -> None:
        if bot in self._bots:
            self._bots.remove(bot)

    def add(self, owner: str, name: str, rule: str, methods: Sequence[str] | str, handler: Callable[..., Any]) -> None:
        """Add a route whose handler is called in a thread. Raises ValueError or LookupError for a rule that isn't valid here."""
        rule, methods = normalise_rule(rule), normalise_methods(methods)
        Map([Rule(rule, methods=methods)])
        declaration = HookDeclaration(rule, methods, raw=True, threaded=True, methods_given=True)
        self.put(owner, [*self._hooks.get(owner, ()), Hook(owner, name, declaration, handler)])

    def put(self, owner: str, hooks: Iterable[Hook]) -> None:
        self._hooks[owner] = kept = list(hooks)
        for bot in list(self._bots):
            on_reactor_soon(bot.reactor, bot.web.routes.replace, owner, tuple(kept))

    def clear(self) -> None:
        for owner in list(self._hooks):
            self.put(owner, ())
        self._hooks.clear()

    def answered(self) -> list[tuple[Hook, tuple[str, ...]]]:
        """Return the hooks of the newest bot, or those kept here, with their methods. Raises Stopping if the bot stops."""
        if (bot := self.newest) is None:
            return [(hook, hook.declaration.methods) for hooks in list(self._hooks.values()) for hook in hooks]
        hooks_of = bot.web.routes.hooks
        routes = hooks_of() if in_reactor_thread(bot.reactor) else bot.waits.result_of(hooks_of)
        return [(route.hook, route.methods) for route in routes if route.methods]

    def ask(self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> ClientResponse:
        """Wait for the newest bot's response to a request. Raises RuntimeError on the reactor thread, and if no bot is running."""
        if (bot := self.newest) is None:
            raise RuntimeError("flask_app can't handle requests: no bot is running")
        if in_reactor_thread(bot.reactor):
            raise RuntimeError(
                "flask_app can't be called on the reactor thread, since it waits for the reactor; call it in a thread"
            )
        response: ClientResponse = bot.waits.result_of(lambda: bot.web.request(method, url, headers, body))
        return response


running_bots = RunningBots()  # the registry of this process


class RouteMap(Map):
    """The `url_map` of an application, whose name among the owners of hooks is `own`. It lists its own rules, then those of all
    other webhooks, and matches only its own, since errklein's server has already chosen the route of a request."""

    own: str | None = None

    def own_rules(self) -> Iterator[Rule]:
        return iter(super()._rules)

    @property
    def _rules(self) -> list[Rule]:
        # Libraries read this attribute of Werkzeug's.
        return list(self.iter_rules())

    def iter_rules(self, endpoint: Any = None) -> Iterator[Rule]:
        """Return all rules, or those of the endpoint; raises KeyError for an unknown one. Those of webhooks are copies."""
        # Imported late, since this module is also used by commands that need no web server.
        from errklein.web.facade import endpoint_of

        # The server answers OPTIONS for every route.
        others = [
            Rule(hook.declaration.rule, endpoint=endpoint_of(hook), methods=(*methods, "OPTIONS"), strict_slashes=False)
            for hook, methods in running_bots.answered()
            if hook.owner != self.own
        ]
        rules = chain(self.own_rules(), Map(others).iter_rules())
        found = [rule for rule in rules if endpoint in (None, rule.endpoint)]
        if endpoint is not None and not found:
            raise KeyError(endpoint)
        return iter(found)

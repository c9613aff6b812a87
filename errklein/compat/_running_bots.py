"""The running bots of this process, for code that has no bot: the only global by which errklein reaches one.

errbot's `flask_app` is a module-level application, whose routes may be added before there is a bot. They are kept here and
served by every bot that runs. errbot's functions that have no bot as an argument use the bot that was started last.
"""

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
    """The bots that run, and the hooks that all of them serve, by owner. May be used in any thread."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Hook]] = {}
        self._bots: list[ErrbotBot] = []

    @property
    def newest(self) -> ErrbotBot | None:
        """The bot that was started last, of those that run; None if none does."""
        return self._bots[-1] if self._bots else None

    def add_bot(self, bot: ErrbotBot) -> None:
        """Let the bot serve all hooks, present and future ones, until `remove_bot`. Called on the reactor."""
        self._bots.append(bot)
        bot.web.resource.app.url_map = RouteMap()
        for owner, hooks in self._hooks.items():
            bot.web.routes.replace(owner, hooks)

    def remove_bot(self, bot: ErrbotBot) -> None:
        """Forget the bot, if it was added."""
        if bot in self._bots:
            self._bots.remove(bot)

    def add(self, owner: str, name: str, rule: str, methods: Sequence[str] | str, handler: Callable[..., Any]) -> None:
        """Let the handler, in a thread, answer requests for the rule. Raises ValueError or LookupError for a bad rule."""
        Map([Rule(normalise_rule(rule), methods=normalise_methods(methods))])
        declaration = HookDeclaration(normalise_rule(rule), normalise_methods(methods), raw=True, threaded=True)
        self.put(owner, [*self._hooks.get(owner, ()), Hook(owner, name, declaration, handler)])

    def put(self, owner: str, hooks: Iterable[Hook]) -> None:
        """Let these be all of the owner's routes."""
        self._hooks[owner] = kept = list(hooks)
        for bot in list(self._bots):
            on_reactor_soon(bot.reactor, bot.web.routes.replace, owner, tuple(kept))

    def clear(self) -> None:
        """Forget all routes."""
        for owner in list(self._hooks):
            self.put(owner, ())
        self._hooks.clear()

    def answered(self) -> list[tuple[Hook, tuple[str, ...]]]:
        """Each hook of the newest bot, including those of plugins, with the methods that it answers.

        Without a bot, the hooks that are kept here. May be called in any thread; other threads than the reactor's wait for
        the reactor, and get Stopping if the bot stops meanwhile.
        """
        bot = self.newest
        if bot is None:
            return [(hook, hook.declaration.methods) for hooks in list(self._hooks.values()) for hook in hooks]
        hooks_of = bot.web.routes.hooks
        routes = hooks_of() if in_reactor_thread(bot.reactor) else bot.waits.result_of(hooks_of)
        return [(route.hook, route.methods) for route in routes if route.methods]

    def ask(self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> ClientResponse:
        """What the newest bot answers, plugins' webhooks included; waits for it in a thread.

        Raises RuntimeError on the reactor, and where nothing is served.
        """
        bot = self.newest
        if bot is None:
            raise RuntimeError("flask_app answers while a bot runs, and none does")
        if in_reactor_thread(bot.reactor):
            raise RuntimeError("flask_app can be asked in a thread only, since the answer takes the reactor's work")
        response: ClientResponse = bot.waits.result_of(lambda: bot.web.client().request(method, url, headers, body))
        return response


running_bots = RunningBots()
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
        # Imported late: stored values are read, and environments checked, without a web server.
        from errklein.web.facade import endpoint_of

        others = Map(
            [
                Rule(
                    hook.declaration.rule,
                    endpoint=endpoint_of(hook),
                    # The server answers OPTIONS for every route.
                    methods=(*methods, "OPTIONS"),
                    strict_slashes=False,
                )
                for hook, methods in running_bots.answered()
                if hook.owner != self.own
            ]
        )
        found = [rule for rule in chain(self.own_rules(), others.iter_rules()) if endpoint in (None, rule.endpoint)]
        if endpoint is not None and not found:
            raise KeyError(endpoint)
        return iter(found)

"""The `@webhook` decorator, the declarations that it stores on methods, and the precedence of those that claim the same URL and
method: the plugin that was activated first gets the requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import inf
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from errklein.text.suggestions import did_you_mean
from errklein.verify import ImmediateResponse, Secrets, Verification
from errklein.webhooks.option_values import ARGUMENTS, OPTION_FIELDS, InvalidOption, Rate, check_option, check_together
from errklein.webhooks.source import Source

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_METHODS = ("POST", "GET")
ID_WINDOW = 3 * 86400.0  # the seconds for which ids are remembered: GitHub and Stripe repeat a delivery for three days
CONTENT_WINDOW = 300.0  # the seconds for which content is remembered, since equal content may be a new event

# The response to the source with `ack="now"`: a status, a text, or a JSON object, or one of the latter with a status.
Response = int | str | Mapping[str, Any] | tuple[str | Mapping[str, Any], int]
# When the source gets its response: after the handler has run, or as soon as the request is recorded.
Ack = Literal["after", "now"]


@dataclass(frozen=True)
class HookDeclaration:
    """The arguments of `@webhook`, normalised: None or false where nothing was given, so that the settings apply, or errklein
    decides. `methods_given` is whether the plugin or the operator has named the methods. `secret` are references for the
    verification of `source_name`, whose `source` is known as soon as the webhook is configured. Requests for a webhook that isn't
    `may_be_recorded` are never stored, and so never run later; without a verification, they count for the limit of their
    client."""

    rule: str  # with a leading slash and no trailing one
    methods: tuple[str, ...] = DEFAULT_METHODS  # in upper case
    form_param: str | None = None
    raw: bool = False
    threaded: bool | None = None
    max_body: int | None = None
    timeout: float | None = None
    verify: Verification | None = None
    ack: Ack = "after"
    rate: Rate | None = None
    dedupe: str | None = None
    dedupe_window: float | None = None
    attempts: int | None = None
    ordered: bool = False
    anywhere: bool = False
    methods_given: bool = False
    may_be_recorded: bool = True
    source_name: str = ""
    secret: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    source: Source | None = None
    response: ImmediateResponse | None = None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> HookDeclaration | None:
        """Return the declaration of a function or bound method; None without `@webhook`. It is read from the function's
        attributes, since plugins and their tests read and change these."""
        if (rule := getattr(function, "_err_webhook_uri_rule", None)) is None:
            return None
        methods = tuple(getattr(function, "_err_webhook_methods", DEFAULT_METHODS))
        options = getattr(function, "_errklein_webhook_options", {})
        return cls(
            rule,
            methods,
            form_param=getattr(function, "_err_webhook_form_param", None),
            raw=bool(getattr(function, "_err_webhook_raw", False)),
            threaded=getattr(function, "_errklein_threaded", None),
            may_be_recorded=getattr(function, "_errklein_recorded", True),
            **{**options, "methods_given": options.get("methods_given", False) or methods != DEFAULT_METHODS},
        )

    @cached_property
    def window(self) -> float:
        """The seconds for which the key of a delivery is remembered; 0 without deduplication."""
        if self.dedupe is None:
            return 0.0
        return self.dedupe_window or (CONTENT_WINDOW if self.dedupe == "content" else ID_WINDOW)

    @property
    def summary(self) -> str:
        """The verification, and the response, where it runs and the rate unless they are the default, for operators."""
        parts = [f"verified by {self.verify.scheme}" if self.verify is not None else "not verified"]
        parts = ["all requests get 503"] if self.verify is not None and self.verify.unusable else parts
        parts += ['ack="now"'] if self.ack == "now" else []
        parts += ["anywhere=True"] if self.ack == "now" and self.anywhere else []
        parts += [f"at most {self.rate}"] if self.rate is not None else []
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Hook:
    """A webhook of a plugin's instance, or of a room."""

    owner: str  # the plugin's name; empty for a webhook of a room
    name: str  # that of the bound method `handler`
    declaration: HookDeclaration
    handler: Callable[..., Any]
    active: bool = True  # False for a webhook whose plugin may be inactive; its handler is never called
    since: float = 0.0  # the Unix time before which deliveries are those of an earlier webhook of the same name
    elsewhere: bool = False  # whether it is active in another process, which calls the handler

    @cached_property
    def full_name(self) -> str:
        """The name in settings, lists and the journal, which outlives a reload: "Github:notification", or "grafana" for a room."""
        return f"{self.owner}:{self.name}" if self.owner else self.name

    @property
    def stands_by(self) -> bool:
        """Whether it is that of an inactive plugin, whose requests are recorded or get 503."""
        return not self.active and self.owner != ""

    def __str__(self) -> str:
        return self.full_name


class WebhookOptions(TypedDict, total=False):
    """The options of `webhook`."""

    methods: Sequence[str] | str | None
    form_param: str | None
    raw: bool
    threaded: bool | None
    max_body: int | None
    timeout: float | None
    verify: Verification | None
    ack: Ack
    rate: str | None
    dedupe: str | None
    dedupe_window: float | str | None
    attempts: int | None
    ordered: bool
    anywhere: bool
    source: str | None
    events: Sequence[str]
    secret: Secrets | None
    response: Response | None


# Options that are attributes of the function, each of its own, which plugins and their tests read and change.
_OF_ERRBOT = frozenset({"methods", "form_param", "raw", "threaded"})


@overload
def webhook(uri_rule: F, /) -> F: ...


@overload
def webhook(uri_rule: str | None = None, **options: Unpack[WebhookOptions]) -> Callable[[F], F]: ...


def webhook(uri_rule: Any = None, **options: Any) -> Any:
    """Make a plugin's method the handler of a URL.

    The handler gets the payload and returns the response::

        class Builds(BotPlugin):
            @webhook
            def ping(self, payload):  # GET and POST /ping
                return "pong"

            @webhook("/builds/<int:number>", methods=["POST"])
            def build(self, payload, number):  # POST /builds/7 with JSON
                self.send(self.build_identifier("#builds"), f"build {number}: {payload['status']}")

            @webhook("/github", form_param="payload")
            def github(self, payload):  # the JSON in the form field "payload"
                return payload["zen"]

            @webhook("/signed", raw=True)
            def signed(self, request):  # the request, with headers and unchanged body
                return f"{len(request.get_data())} bytes", 202

    The payload is the decoded JSON, the fields of a form as a dict, or else the text; `""` without a body. The return value
    is converted into a response as in Flask: text, bytes, a dict or list (as JSON), `(body, status)`, a `Response`, a
    generator, a Deferred, or None for an empty response with status 200.

    A request with an invalid payload gets 400, and the handler isn't called. If the handler raises, the client gets 500, and
    administrators are notified of the file, the line and the error.

    A plain method runs in a thread and may block. A coroutine function runs on the reactor.

    :param uri_rule: The path, in the syntax of Werkzeug's rules: the values of `<name>`, `<int:name>`, `<path:name>` and
        other variables are passed by keyword. Without it, the path is the method's name.
    :param methods: The HTTP methods, by default WEBHOOK_METHODS, which is POST and GET. GET includes HEAD.
    :param form_param: The name of a form field that is the payload, decoded if it is JSON. Requests without it get 400.
    :param raw: Pass the request instead of the payload.
    :param threaded: True runs the handler in a thread, False on the reactor, where it must not block. By default, the kind
        of function decides.
    :param max_body: The maximal size of the body in bytes for this handler; by default WEBHOOK_MAX_BODY. Larger bodies get
        413.
    :param timeout: The time in seconds until the client gets 504; by default WEBHOOK_TIMEOUT. The handler runs to its end.
    :param verify: How the source is verified, such as `errklein.verify.github(secret="env:GH_SECRET")`; by default it isn't.
    :param ack: "after": the source gets the response of the handler. "now": it gets 202 when the request is on disk. Then the
        handler runs, and again if it fails.
    :param response: With `ack="now"`, the response in place of 202, for sources that demand another one: a status such as 204, a
        text, a dict, which is sent as JSON, or one of these and a status, such as `("ok", 201)`.
    :param rate: The limit of requests that pass verification, such as "10/s", "100/min" or "1000/h". Further ones get 429.
    :param dedupe: What repeated requests have in common: "id" (the source's id of the delivery, which `verify` knows),
        "content" (the body) or "header:NAME". A repeated request doesn't run again.
    :param dedupe_window: The time for which requests are remembered: seconds, or a text such as "3d"; by default 3 days, and 300
        s for "content".
    :param attempts: With `ack="now"`, the number of attempts until a delivery is given up.
    :param ordered: With `ack="now"`, run the deliveries in their order, one at a time.
    :param anywhere: With `ack="now"`, let any worker of a bot of several processes run the deliveries, on an instance that isn't
        activated. The handler may use `config`, values, `http` and `send`. What needs the networks, such as `ask`, lookups and
        waits for messages, and `self.mutable` raise RuntimeError there, and in a bot of one process, too.
    :param source: The name of the service that sends the requests, such as "github". They are verified as it signs them, and the
        handler gets an `Event`.
    :param events: With `source`, the events for which the handler is called, such as "push" or "pull_request.*"; by default all.
    :param secret: With `source`, the reference to the secret, such as "env:GH_SECRET", or several. Without it, WEBHOOKS must have one.
    :returns: The function itself, which can still be called directly.
    :raises TypeError: Both `form_param` and `raw` are given.
    :raises ValueError: An argument is invalid. The text names the method, the option and the valid values.
    """
    for name in options:
        if name not in ARGUMENTS:
            raise TypeError(f"webhook() got an unexpected keyword argument {name!r}{did_you_mean(name, ARGUMENTS)}")

    def declare(function: F, rule: str | None) -> F:
        form_param, raw, methods = options.get("form_param"), options.get("raw", False), options.get("methods")
        try:
            given = {"uri_rule": rule, **options}
            checked = {name: check_option(name, value, ARGUMENTS) for name, value in given.items()}
            check_together({"ack": "after", **checked, "form_param": form_param, "raw": raw})
        except InvalidOption as error:
            raise ValueError(f"@webhook on {function.__qualname__}: {error}") from None
        if form_param is not None and raw:
            meant = "exclude each other; remove one of them (a raw handler reads the field from request.form)"
            raise TypeError(f"@webhook on {function.__qualname__}: form_param={form_param!r} and raw=True {meant}")
        given = {OPTION_FIELDS.get(name, name): checked[name] for name in options.keys() - _OF_ERRBOT}
        vars(function).update(
            _err_webhook_uri_rule=normalise_rule(function.__name__ if rule is None else rule),
            _err_webhook_methods=normalise_methods(methods or DEFAULT_METHODS),
            _err_webhook_form_param=form_param,
            _err_webhook_raw=raw,
            _errklein_webhook_options={**given, "methods_given": methods is not None},
        )
        if options.get("threaded") is not None:
            vars(function)["_errklein_threaded"] = options["threaded"]
        return function

    if callable(uri_rule):
        return declare(uri_rule, None)
    return lambda function: declare(function, uri_rule)


def normalise_rule(rule: str) -> str:
    """Return the rule with one leading slash and no trailing one; "/" stays as it is."""
    return "/" + rule.strip("/")


def normalise_methods(methods: Sequence[str] | str) -> tuple[str, ...]:
    """Return the methods in upper case. A string is one method."""
    return tuple(method.upper() for method in ((methods,) if isinstance(methods, str) else methods))


_VARIABLE = re.compile(r"<(?:([a-zA-Z_][a-zA-Z0-9_]*(?:\(.*?\))?):)?[a-zA-Z_][a-zA-Z0-9_]*>")
Claim = tuple[str, str]  # a rule without the names of its variables, and an HTTP method


@dataclass(frozen=True)
class RouteInfo:
    """A hook with its rule and the methods of which it gets the requests."""

    hook: Hook
    rule: str
    methods: tuple[str, ...]
    shadowed_by: Hook | None  # a hook that gets the requests of other methods that this one declares


class RoutePrecedence:
    """The hooks of each owner, and for each URL and method the queue of hooks that claim it. The first gets the requests."""

    def __init__(self) -> None:
        self.by_owner: dict[str, tuple[Hook, ...]] = {}
        self.by_name: dict[str, Hook] = {}  # all hooks by their full names
        self._claims: dict[Claim, list[Hook]] = {}
        self._ranks: dict[str, int] = {}

    def hooks(self) -> Iterator[Hook]:
        """Iterate over all hooks, grouped by owner."""
        return chain.from_iterable(self.by_owner.values())

    def replace(self, owner: str, hooks: Sequence[Hook], rank: int | None = None) -> set[str]:
        """Replace all of the owner's hooks. Return the full names of hooks whose methods may have changed. `rank` is the owner's
        number in the order of activation, by default the next one. An owner with hooks keeps its number; what these don't claim
        is queued last."""
        old = self.by_owner.get(owner, ())
        if not old:
            self._ranks[owner] = max(self._ranks.values(), default=-1) + 1 if rank is None else rank
        # Claims of remaining hooks keep their position in the queue.
        new = {hook.name: hook for hook in hooks}
        for hook in old:
            renewed = new.get(hook.name)
            for claim in claims_of(hook):
                queue = self._claims[claim]
                at = queue.index(hook)
                queue[at : at + 1] = [renewed] if renewed is not None and claim in claims_of(renewed) else []
                if not queue:
                    del self._claims[claim]
        for hook in hooks:
            for claim in claims_of(hook):
                queue = self._claims.setdefault(claim, [])
                if hook not in queue:
                    queue.insert(self._position(hook, queue, is_new=not old), hook)
        for hook in old:
            self.by_name.pop(hook.full_name, None)
        self.by_name.update((hook.full_name, hook) for hook in hooks)
        self.by_owner[owner] = tuple(hooks)
        if not hooks:
            del self.by_owner[owner], self._ranks[owner]
        touched = [*old, *hooks]
        rivals = (self._claims.get(claim, ()) for hook in touched for claim in claims_of(hook))
        return {hook.full_name for hook in chain(touched, *rivals)}

    def _position(self, hook: Hook, queue: Sequence[Hook], is_new: bool) -> int:
        """Return the hook's position in the queue: by its rank, or last if its owner has hooks already; of an inactive one, at the end."""
        own = not hook.active, self._ranks.get(hook.owner, inf) if is_new else inf
        places = ((not other.active, self._ranks[other.owner]) for other in queue)
        return next((n for n, place in enumerate(places) if place > own), len(queue))

    def info(self, hook: Hook) -> RouteInfo:
        """Return the methods of which the hook gets the requests."""
        first = {method: self._claims[rule, method][0] for rule, method in claims_of(hook)}
        methods = tuple(method for method, one in first.items() if one is hook)
        others = [one for one in first.values() if one is not hook]
        return RouteInfo(hook, hook.declaration.rule, methods, others[-1] if others else None)

    def newly_shadowed(self, hooks: Sequence[Hook], old: Sequence[Hook]) -> Iterator[tuple[Hook, Hook]]:
        """Iterate over pairs of a shadowed hook and the hook that shadows it, for pairs with a hook that isn't in `old`."""
        known = {hook.name for hook in old}
        losers: dict[str, tuple[Hook, Hook]] = {}
        for hook in [one for one in hooks if one.name not in known]:
            if (by := self.info(hook).shadowed_by) is not None:
                yield hook, by
            for claim in claims_of(hook):
                first, *others = self._claims[claim]
                if first is hook and others and others[0].owner != hook.owner:
                    losers[others[0].full_name] = others[0], hook
        yield from losers.values()


def claims_of(hook: Hook) -> list[Claim]:
    """Return the claims of a hook. Rules that differ only in the names of their variables are the same URL."""
    rule, methods = hook.declaration.rule, hook.declaration.methods
    rule = _VARIABLE.sub(lambda variable: f"<{variable[1] or 'string'}>", rule)
    return [(rule, method) for method in dict.fromkeys((*methods, *(["HEAD"] if "GET" in methods else ())))]

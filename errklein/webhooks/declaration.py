"""`@webhook`: a plugin's method becomes the answer to requests for a URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_METHODS = ("POST", "GET")


@dataclass(frozen=True)
class HookDeclaration:
    """What `@webhook` says about a method.

    `rule` is a path in Werkzeug's rule syntax, without a trailing slash; `methods` are upper-case HTTP methods;
    `form_param` names the form field that is the payload; `raw` asks for the request itself. `threaded` overrides where
    the handler runs (True: a pool thread, False: the reactor), `max_body` (bytes) and `timeout` (seconds) override
    the service's settings for this route alone.
    """

    rule: str
    methods: tuple[str, ...] = DEFAULT_METHODS
    form_param: str | None = None
    raw: bool = False
    threaded: bool | None = None
    max_body: int | None = None
    timeout: float | None = None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> HookDeclaration | None:
        """The declaration that `@webhook` left on a function or bound method; None if there is none.

        The function's attributes are the source, since plugins and their tests read and write them.
        """
        rule = getattr(function, "_err_webhook_uri_rule", None)
        if rule is None:
            return None
        return cls(
            rule=rule,
            methods=tuple(getattr(function, "_err_webhook_methods", DEFAULT_METHODS)),
            form_param=getattr(function, "_err_webhook_form_param", None),
            raw=bool(getattr(function, "_err_webhook_raw", False)),
            threaded=getattr(function, "_errklein_threaded", None),
            max_body=getattr(function, "_errklein_max_body", None),
            timeout=getattr(function, "_errklein_timeout", None),
        )


@dataclass(frozen=True, eq=False)
class Hook:
    """A declaration bound to the method that answers: `handler` of plugin `owner`, known there as `name`."""

    owner: str
    name: str
    declaration: HookDeclaration
    handler: Callable[..., Any]

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same when the plugin is reloaded."""
        return (self.owner, self.name)

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


@overload
def webhook(uri_rule: F, /) -> F: ...


@overload
def webhook(
    uri_rule: str | None = None,
    *,
    methods: Sequence[str] | str = DEFAULT_METHODS,
    form_param: str | None = None,
    raw: bool = False,
    threaded: bool | None = None,
    max_body: int | None = None,
    timeout: float | None = None,
) -> Callable[[F], F]: ...


def webhook(
    uri_rule: Any = None,
    *,
    methods: Sequence[str] | str = DEFAULT_METHODS,
    form_param: str | None = None,
    raw: bool = False,
    threaded: bool | None = None,
    max_body: int | None = None,
    timeout: float | None = None,
) -> Any:
    """Make a plugin's method answer requests for a URL.

    Bare, the URL is the method's name. With `uri_rule`, it is that path, in which `<name>`, `<int:name>` and the other
    converters of Werkzeug's routing capture parts that are passed by keyword. The method gets the decoded JSON, the
    text or the form fields of the request; with `form_param` that one field, decoded if it is JSON; with `raw=True` the
    request. What it returns is the answer, by the rules of Flask.

    `threaded`, `max_body` (bytes) and `timeout` (seconds) override, for this method, where it runs and the service's
    limits. Raises TypeError, naming the method, if both `form_param` and `raw` are given.
    """

    def declare(function: F, rule: str | None) -> F:
        if form_param is not None and raw:
            raise TypeError(
                f"@webhook on {function.__qualname__}: form_param={form_param!r} and raw=True exclude each other; "
                "a raw handler finds its fields in request.form"
            )
        function._err_webhook_uri_rule = normalise_rule(function.__name__ if rule is None else rule)  # type: ignore[attr-defined]
        function._err_webhook_methods = normalise_methods(methods)  # type: ignore[attr-defined]
        function._err_webhook_form_param = form_param  # type: ignore[attr-defined]
        function._err_webhook_raw = raw  # type: ignore[attr-defined]
        if threaded is not None:
            function._errklein_threaded = threaded  # type: ignore[attr-defined]
        function._errklein_max_body = max_body  # type: ignore[attr-defined]
        function._errklein_timeout = timeout  # type: ignore[attr-defined]
        return function

    if callable(uri_rule):
        return declare(uri_rule, None)
    return lambda function: declare(function, uri_rule)


def normalise_rule(rule: str) -> str:
    """The rule with one leading slash and no trailing one; "/" stays as it is."""
    return "/" + rule.strip("/")


def normalise_methods(methods: Sequence[str] | str) -> tuple[str, ...]:
    """The methods in upper case; a single string is that one method."""
    if isinstance(methods, str):
        methods = (methods,)
    return tuple(method.upper() for method in methods)

"""`errbot.core_plugins.flask_app`: an application on which others than plugins put routes.

Backends hand it to their services' libraries, which take nothing but Flask's own class and read Flask's own `request`.
So where Flask is installed it is a Flask, whose requests come from errklein's server and are handled in its threads;
elsewhere it is errklein's own stand-in. Called as a WSGI application, it answers as the server does, for all plugins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partialmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import werkzeug.wrappers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule
from werkzeug.test import Client

from errklein.compat._running_bots import RouteMap, running_bots
from errklein.web.facade import Flask as StandIn
from errklein.web.facade import Response, current_context, make_response, response_of_error
from errklein.webhooks.declaration import normalise_methods

NAME = "flask_app"

F = Callable[..., Any]


class _UrlMap(RouteMap):
    """The map of this application; see `RouteMap`."""

    own = NAME


class _ServedApp:
    """What both kinds of the application have in common."""

    wsgi_app: F

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """A WSGI application: what the server answers."""
        path = quote(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), encoding="latin-1")
        query = environ.get("QUERY_STRING", "")
        request = werkzeug.wrappers.Request(environ)
        answer = running_bots.ask(
            request.method, f"{path}?{query}" if query else path, _end_to_end(request.headers), request.get_data()
        )
        start_response(f"{answer.status} {answer.reason}", _end_to_end(answer.headers))
        return [answer.body]


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers without those of the connection."""
    of_connection = {"connection", "transfer-encoding", "content-length"}
    return [(name, value) for name, value in headers if name.lower() not in of_connection]


class PlainApp(_ServedApp, StandIn):
    """The application without Flask. Its rules are Werkzeug's, its views run within errklein's request context."""

    def __init__(self, import_name: str = "errbot.core_plugins") -> None:
        super().__init__(import_name)
        self.url_map = _UrlMap()
        self.view_functions: dict[str, F] = {}
        self.error_handlers: list[tuple[Any, F]] = []
        self.before: list[F] = []
        self.after: list[F] = []
        self.wsgi_app = self.__call__

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: F | None = None,
        provide_automatic_options: bool | None = None,
        *,
        methods: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        """Have `view_func` answer requests for the rule; its name is the endpoint's, unless one is given.

        Raises ValueError for what is no rule, and AssertionError if another function has the endpoint.
        """
        if endpoint is None:
            if view_func is None:
                raise ValueError(f"{rule}: expected an endpoint or a view function")
            endpoint = view_func.__name__
        if view_func is not None and self.view_functions.setdefault(endpoint, view_func) is not view_func:
            raise AssertionError(f"another view function has the endpoint {endpoint} already")
        defaults = options.get("defaults") or {}
        name = endpoint

        def answer(request: Any, **captures: Any) -> Any:
            return self._dispatch(name, {**defaults, **captures})

        methods = normalise_methods(methods or getattr(view_func, "methods", None) or ("GET",))
        self.url_map.add(Rule("/" + rule.lstrip("/"), endpoint=endpoint, methods=[*methods, "OPTIONS"], **options))
        running_bots.add(NAME, endpoint, rule, methods, answer)

    def route(self, rule: str, **options: Any) -> Any:
        """A decorator for view functions; see `add_url_rule`."""

        def decorate(function: F) -> F:
            self.add_url_rule(rule, options.pop("endpoint", None), function, **options)
            return function

        return decorate

    get = partialmethod(route, methods=["GET"])
    post = partialmethod(route, methods=["POST"])

    def endpoint(self, endpoint: str) -> Any:
        """A decorator for the function of an endpoint."""

        def decorate(function: F) -> F:
            self.view_functions[endpoint] = function
            return function

        return decorate

    def before_request(self, function: F) -> F:
        """Call the function before each view; what it returns, unless None, is the answer."""
        self.before.append(function)
        return function

    def after_request(self, function: F) -> F:
        """Call the function with each answer; what it returns is sent."""
        self.after.append(function)
        return function

    def errorhandler(self, code_or_exception: Any) -> Any:
        """A decorator for functions that answer for an exception's class, or for an HTTP status."""

        def decorate(function: F) -> F:
            self.register_error_handler(code_or_exception, function)
            return function

        return decorate

    def register_error_handler(self, code_or_exception: Any, function: F) -> None:
        """Have the function answer for an exception's class, or for an HTTP status."""
        self.error_handlers.append((code_or_exception, function))

    def test_client(self, **options: Any) -> Client:
        """A client that asks the server, in a thread."""
        return Client(self, Response, **options)

    def _dispatch(self, endpoint: str, captures: dict[str, Any]) -> Any:
        try:
            answer = next((value for function in self.before if (value := function()) is not None), None)
            if answer is None:
                answer = self.view_functions[endpoint](**captures)
            response = make_response(answer)
        except Exception as error:
            response = self._answer_for(error)
        for function in reversed(self.after):
            response = function(response)
        return response

    def _answer_for(self, error: Exception) -> Any:
        for what, function in self.error_handlers:
            if what == getattr(error, "code", None) or (isinstance(what, type) and isinstance(error, what)):
                return make_response(function(error))
        if isinstance(error, HTTPException):
            return response_of_error(error)
        raise error


def _real_app() -> Any:
    """The application as a Flask of the installed one."""
    flask = import_module("flask")

    class FlaskApp(_ServedApp, flask.Flask):  # type: ignore[misc, name-defined]
        """A Flask whose requests come from errklein's server."""

        url_map_class = _UrlMap

        def __init__(self, import_name: str = __name__, **options: Any) -> None:
            super().__init__(import_name, **{"static_folder": None, **options})
            # An error in a view is the server's to log, and to tell administrators of.
            self.config["PROPAGATE_EXCEPTIONS"] = True
            self.logger = logging.getLogger("errbot.core_plugins")

        def add_url_rule(
            self, rule: str, endpoint: Any = None, view_func: Any = None, *args: Any, **options: Any
        ) -> None:
            """As Flask's; the route is served at once, before and after the first request."""
            known = [id(known) for known in self.url_map.own_rules()]
            super().add_url_rule(rule, endpoint, view_func, *args, **options)
            for added in self.url_map.own_rules():
                if id(added) in known:
                    continue
                methods = [method for method in added.methods or () if method not in ("OPTIONS", "HEAD")]
                running_bots.add(NAME, added.endpoint, added.rule, sorted(methods) or ["GET"], self._answer)

        def _answer(self, request: Any, **captures: Any) -> Any:
            return Response.from_app(self.wsgi_app, current_context(NAME).environ)

        def _check_setup_finished(self, f_name: str) -> None:
            """Routes may come at any time."""

    return FlaskApp


if TYPE_CHECKING:
    flask_app: PlainApp


def _make() -> Any:
    try:
        installed = import_module("flask").Flask is not StandIn
    except ImportError:
        installed = False
    return _real_app()() if installed else PlainApp()


def reset_app() -> None:
    """Forget all routes of the application and of objects, as between two tests; it stays the same object."""
    running_bots.clear()
    app = globals().get(NAME)
    if app is not None:
        app.__init__()


def __getattr__(name: str) -> Any:
    if name != NAME:
        raise AttributeError(f"module {__name__} has no {name}")
    # Made when it is asked for: Flask takes time to import.
    app = globals()[NAME] = _make()
    return app

"""The application `errbot.core_plugins.flask_app`, to which backends and libraries add routes, and the rest of errbot's wsview and
webserver. It is a subclass of Flask if that is installed. As a WSGI application, it returns the server's response."""

from __future__ import annotations

import inspect
import json
import logging
import socket
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import werkzeug.wrappers
from werkzeug.test import Client

from errklein.compat._running_bots import RouteMap, running_bots
from errklein.web.facade import Flask as StandIn
from errklein.web.facade import Request, Response, current_context
from errklein.web.facade import request as current_request
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.payload import decode_payload

NAME = "flask_app"
F = Callable[..., Any]


class _UrlMap(RouteMap):
    own = NAME


class _ServedApp:
    wsgi_app: F

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = quote(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""), encoding="latin-1")
        query = environ.get("QUERY_STRING", "")
        request = werkzeug.wrappers.Request(environ)
        url = f"{path}?{query}" if query else path
        answer = running_bots.ask(request.method, url, _end_to_end(request.headers), request.get_data())
        start_response(f"{answer.status} {answer.reason}", _end_to_end(answer.headers))
        return [answer.body]


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    of_connection = {"connection", "transfer-encoding", "content-length"}
    return [(name, value) for name, value in headers if name.lower() not in of_connection]


class PlainApp(_ServedApp, StandIn):
    """The application if Flask isn't installed: it lists the routes of webhooks and passes requests to the server."""

    def __init__(self, import_name: str = "errbot.core_plugins") -> None:
        super().__init__(import_name)
        self.url_map = _UrlMap()
        self.wsgi_app = self.__call__

    def test_client(self, **options: Any) -> Client:
        return Client(self, Response, **options)

    def route(self, *_: Any, **__: Any) -> Any:
        raise ImportError("routes of flask_app require Flask, which the extra errklein[errbot] installs", name="flask")

    add_url_rule = before_request = after_request = errorhandler = register_blueprint = run = route


def _real_app() -> Any:
    flask = import_module("flask")

    class FlaskApp(_ServedApp, flask.Flask):  # type: ignore[misc, name-defined]
        """A Flask application whose requests come from errklein's server."""

        url_map_class = _UrlMap

        def __init__(self, import_name: str = __name__, **options: Any) -> None:
            super().__init__(import_name, **{"static_folder": None, **options})
            # The server logs an error in a view and notifies administrators.
            self.config["PROPAGATE_EXCEPTIONS"] = True
            self.logger = logging.getLogger("errbot.core_plugins")

        def add_url_rule(
            self, rule: str, endpoint: Any = None, view_func: Any = None, *args: Any, **options: Any
        ) -> None:
            """Add a route, as Flask does, and serve it at once, even after the first request."""
            known = [id(known) for known in self.url_map.own_rules()]
            super().add_url_rule(rule, endpoint, view_func, *args, **options)
            for added in self.url_map.own_rules():
                if id(added) in known:
                    continue
                methods = [method for method in added.methods or () if method not in ("OPTIONS", "HEAD")]
                running_bots.add(NAME, added.endpoint, added.rule, sorted(methods) or ["GET"], self._answer)

        def _answer(self, request: Any, **captures: Any) -> Any:
            return Response.from_app(self.wsgi_app, current_context(NAME).request.environ)

        def _check_setup_finished(self, f_name: str) -> None:
            """Allow routes at any time."""

    return FlaskApp


if TYPE_CHECKING:
    flask_app: PlainApp


def reset_app() -> None:
    """Remove all routes of the application and of `route()`, as between two tests. It stays the same object."""
    running_bots.clear()
    if (app := globals().get(NAME)) is not None:
        app.__init__()


def __getattr__(name: str) -> Any:
    if name != NAME:
        raise AttributeError(f"module {__name__} has no {name}")
    # Created at the first access, since importing Flask takes time.
    try:
        is_installed = import_module("flask").Flask is not StandIn
    except ImportError:
        is_installed = False
    app = globals()[NAME] = _real_app()() if is_installed else PlainApp()
    return app


def route(obj: Any) -> None:
    """Serve the methods of an object that are marked with `@webhook`, in place of an earlier one of that name. Not for plugins."""
    owner = str(getattr(obj, "name", None) or type(obj).__name__)
    methods = inspect.getmembers(obj, inspect.ismethod)
    declared = [(name, HookDeclaration.of(method), method) for name, method in methods]
    running_bots.put(owner, [Hook(owner, name, hook, method) for name, hook, method in declared if hook is not None])


class WebView:
    """A view for Flask's `add_url_rule` that calls a function as a webhook. Raises ValueError."""

    def __init__(self, func: Callable[..., Any], form_param: str | None, raw: bool) -> None:
        if form_param is not None and raw:
            raise ValueError("form_param and raw can't be combined")
        self.func = func
        self.form_param = form_param
        self.raw = raw
        self.__name__ = getattr(func, "__name__", type(self).__name__)

    def __call__(self, **captures: Any) -> Any:
        payload: Any = current_request
        if not self.raw:
            context = current_context("WebView")
            kind = context.request.headers.get("Content-Type", "")
            payload = decode_payload(context.read_body(), kind, form_param=self.form_param)
        return self.func(payload, **captures) or ""

    dispatch_request = __call__

    @classmethod
    def as_view(cls, name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        view = cls(*args, **kwargs)
        view.__name__ = name
        return view


def try_decode_json(req: Request) -> Any:
    """Return the value of a JSON body; None if the body isn't JSON. Raises UnicodeDecodeError if it isn't UTF-8."""
    try:
        return json.loads(req.data.decode())
    except json.JSONDecodeError:
        return None


def make_ssl_certificate(key_path: str | Path, cert_path: str | Path) -> None:
    """Write a new private key, and a self-signed certificate for this host and localhost."""
    # Imported late: cryptography takes time.
    from errklein.listening.tls import generate_certificate

    generate_certificate([socket.gethostname()], Path(key_path), Path(cert_path))


def strip_path() -> None:
    """Do nothing: the server ignores a trailing slash."""
    current_context("strip_path")

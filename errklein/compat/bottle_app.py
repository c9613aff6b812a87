"""`errbot.core_plugins.wsview.bottle_app`, and bottle's applications altogether: routes of functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from errklein.compat.flask_routes import flask_routes

F = Callable[..., Any]

_OLD = re.compile(r":([a-zA-Z_]\w*)(?:#[^#]*#)?")
_NEW = re.compile(r"<([a-zA-Z_]\w*)(?::(int|float|path))?(?::[^>]*)?>")


class Bottle:
    """Takes routes, which errklein's server answers; the functions find the request in `bottle.request`."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.routes: list[tuple[str, tuple[str, ...], F]] = []

    def route(
        self,
        path: str | F | None = None,
        method: str | Sequence[str] = "GET",
        callback: F | None = None,
        name: str | None = None,
        **_: Any,
    ) -> Any:
        """Have `callback`, or the decorated function, answer requests for the path, by default of its name."""

        def decorate(function: F) -> F:
            rule = rule_of(path) if isinstance(path, str) else f"/{function.__name__}"
            methods = (method,) if isinstance(method, str) else tuple(method)
            self.routes.append((rule, methods, function))
            flask_routes.add(
                "bottle_app", name or function.__name__, rule, methods, lambda request, **captures: function(**captures)
            )
            return function

        if callable(path):
            function, path = path, None
            return decorate(function)
        return decorate if callback is None else decorate(callback)

    def get(self, path: str | None = None, method: str = "GET", **options: Any) -> Any:
        """A decorator for functions that answer GET."""
        return self.route(path, method, **options)

    def post(self, path: str | None = None, method: str = "POST", **options: Any) -> Any:
        """A decorator for functions that answer POST."""
        return self.route(path, method, **options)

    def put(self, path: str | None = None, method: str = "PUT", **options: Any) -> Any:
        """A decorator for functions that answer PUT."""
        return self.route(path, method, **options)

    def delete(self, path: str | None = None, method: str = "DELETE", **options: Any) -> Any:
        """A decorator for functions that answer DELETE."""
        return self.route(path, method, **options)


def rule_of(path: str) -> str:
    """Bottle's path as a rule of errklein's: `:name` and `<name:int>` become `<name>` and `<int:name>`."""
    if "<" not in path:
        return _OLD.sub(r"<\1>", path)
    return _NEW.sub(lambda found: f"<{found[2]}:{found[1]}>" if found[2] else f"<{found[1]}>", path)


bottle_app = Bottle()
"""The application of this process."""

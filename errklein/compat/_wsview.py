"""What `errbot.core_plugins.wsview` offers, and `errbot.core_plugins.webserver` besides the plugin."""

from __future__ import annotations

import inspect
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from errklein.compat._running_bots import running_bots
from errklein.web.facade import Request, current_context
from errklein.web.facade import request as current_request
from errklein.web.tls import generate_certificate
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.payload import decode_payload


def route(obj: Any) -> None:
    """Answer requests by the methods of `obj` that are marked with @webhook. Of a plugin's, activation sees to it."""
    owner = str(getattr(obj, "name", None) or type(obj).__name__)
    declared = [
        (name, HookDeclaration.of(method), method) for name, method in inspect.getmembers(obj, inspect.ismethod)
    ]
    running_bots.put(owner, [Hook(owner, name, hook, method) for name, hook, method in declared if hook is not None])


class WebView:
    """A view for Flask's `add_url_rule` that calls a webhook's function with what the request holds."""

    def __init__(self, func: Callable[..., Any], form_param: str | None, raw: bool) -> None:
        if form_param is not None and raw:
            raise ValueError("form_param and raw exclude each other")
        self.func = func
        self.form_param = form_param
        self.raw = raw
        self.__name__ = getattr(func, "__name__", type(self).__name__)

    def __call__(self, **captures: Any) -> Any:
        """The function's answer to the current request."""
        payload: Any = current_request
        if not self.raw:
            context = current_context("WebView")
            kind = context.request.headers.get("Content-Type", "")
            payload = decode_payload(context.body, kind, form_param=self.form_param)
        return self.func(payload, **captures) or ""

    dispatch_request = __call__

    @classmethod
    def as_view(cls, name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """A view function of that name."""
        view = cls(*args, **kwargs)
        view.__name__ = name
        return view


def try_decode_json(req: Request) -> Any:
    """The value that the body is the JSON of; None if it isn't JSON. Raises UnicodeDecodeError unless it is UTF-8."""
    try:
        return json.loads(req.data.decode())
    except json.JSONDecodeError:
        return None


def make_ssl_certificate(key_path: str | Path, cert_path: str | Path) -> None:
    """Write a new key, and a certificate for this host and localhost that is signed by it."""
    generate_certificate([socket.gethostname()], Path(key_path), Path(cert_path))


def strip_path() -> None:
    """Nothing: trailing slashes are seen to."""
    current_context("strip_path")

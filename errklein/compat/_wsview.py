"""The content of `errbot.core_plugins.wsview`, and the functions of `errbot.core_plugins.webserver`."""

from __future__ import annotations

import inspect
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from errklein.compat._running_bots import running_bots
from errklein.listening.tls import generate_certificate
from errklein.web.facade import Request, current_context
from errklein.web.facade import request as current_request
from errklein.webhooks import Hook, HookDeclaration
from errklein.webhooks.payload import decode_payload


def route(obj: Any) -> None:
    """Serve the methods of an object that are marked with `@webhook`.

    It replaces the routes of an earlier call for an object of that name. Don't call it for a plugin, whose activation
    does this.

    :param obj: The object. Its attribute `name`, or else its class's name, identifies it.
    """
    owner = str(getattr(obj, "name", None) or type(obj).__name__)
    declared = [
        (name, HookDeclaration.of(method), method) for name, method in inspect.getmembers(obj, inspect.ismethod)
    ]
    running_bots.put(owner, [Hook(owner, name, hook, method) for name, hook, method in declared if hook is not None])


class WebView:
    """A view for Flask's `add_url_rule` that calls a function as a webhook.

    :param func: It gets the payload of the request, and the parts of the URL as keyword arguments.
    :param form_param: The form field that contains the payload; None decodes the whole body.
    :param raw: Whether the function gets the request in place of the payload.
    :raises ValueError: if `form_param` and `raw` are given.
    """

    def __init__(self, func: Callable[..., Any], form_param: str | None, raw: bool) -> None:
        if form_param is not None and raw:
            raise ValueError("form_param and raw can't be combined")
        self.func = func
        self.form_param = form_param
        self.raw = raw
        self.__name__ = getattr(func, "__name__", type(self).__name__)

    def __call__(self, **captures: Any) -> Any:
        """Return the function's response to the current request."""
        payload: Any = current_request
        if not self.raw:
            context = current_context("WebView")
            kind = context.request.headers.get("Content-Type", "")
            payload = decode_payload(context.read_body(), kind, form_param=self.form_param)
        return self.func(payload, **captures) or ""

    dispatch_request = __call__

    @classmethod
    def as_view(cls, name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Return a view function with that name."""
        view = cls(*args, **kwargs)
        view.__name__ = name
        return view


def try_decode_json(req: Request) -> Any:
    """Return the value of a JSON body; None if the body isn't JSON.

    :raises UnicodeDecodeError: if the body isn't UTF-8.
    """
    try:
        return json.loads(req.data.decode())
    except json.JSONDecodeError:
        return None


def make_ssl_certificate(key_path: str | Path, cert_path: str | Path) -> None:
    """Write a new private key, and a self-signed certificate for this host and localhost."""
    generate_certificate([socket.gethostname()], Path(key_path), Path(cert_path))


def strip_path() -> None:
    """Do nothing: the server ignores a trailing slash."""
    current_context("strip_path")

"""Crossing between threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.threadable import isInIOThread


def on_reactor_soon(reactor: Any, function: Callable[..., Any], *args: Any) -> None:
    """Call the function on the reactor: now if this is the reactor's thread, else as soon as the reactor turns."""
    if isInIOThread():
        function(*args)
    else:
        reactor.callFromThread(function, *args)

"""Tools for tests of plugins: a bot in memory, a webhook client, and a test case for trial. `PluginTestCase` is the usual
way to test a plugin. `TestBot` is the bot behind it, for other test frameworks. Requests go through the real web server
and its parser, and commands through the real dispatcher, without a port, a thread or a sleep. The names are imported on
first use, so that importing this package doesn't import a reactor."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errklein.testing._bot import ADMIN, LeftOver, Sent, TestBot
    from errklein.testing._case import PluginTestCase
    from errklein.testing._client import WebhookClient
    from errklein.testing._surroundings import OutgoingRequest, StubHTTP, TestReactor, UnexpectedRequest

__all__ = [
    "ADMIN",
    "LeftOver",
    "OutgoingRequest",
    "PluginTestCase",
    "Sent",
    "StubHTTP",
    "TestBot",
    "TestReactor",
    "UnexpectedRequest",
    "WebhookClient",
]

_NAMES = {
    "_bot": ("ADMIN", "LeftOver", "Sent", "TestBot"),
    # `trial -j` looks up FailedAssertion by its name in the report of a failure.
    "_case": ("FailedAssertion", "PluginTestCase"),
    "_client": ("WebhookClient",),
    "_surroundings": ("OutgoingRequest", "StubHTTP", "TestReactor", "UnexpectedRequest"),
}


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"errklein.testing.{module}"), name)
            return value
    raise AttributeError(f"module 'errklein.testing' has no attribute {name!r}")

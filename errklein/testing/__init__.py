"""What plugin authors test with: a bot in memory, a webhook client, and test cases for trial.

Everything is imported when it is first asked for, since some of it needs a reactor, and which one is not for this module
to choose.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errklein.testing.bot import ADMIN, LeftOver, Sent, TestBot
    from errklein.testing.case import PluginTestCase
    from errklein.testing.client import WebhookClient
    from errklein.testing.reactor import TestReactor

__all__ = ["ADMIN", "LeftOver", "PluginTestCase", "Sent", "TestBot", "TestReactor", "WebhookClient"]

_MODULES = {
    "ADMIN": "bot",
    "LeftOver": "bot",
    "PluginTestCase": "case",
    "Sent": "bot",
    "TestBot": "bot",
    "TestReactor": "reactor",
    "WebhookClient": "client",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"errklein.testing has no {name}")
    value = globals()[name] = getattr(import_module(f"errklein.testing.{_MODULES[name]}"), name)
    return value

"""What plugin authors test with: a bot in memory, a webhook client, and test cases for trial.

Everything is imported when it is first asked for, since some of it needs a reactor, and which one is not for this module
to choose.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errklein.testing._bot import ADMIN, LeftOver, Sent, TestBot
    from errklein.testing._case import PluginTestCase
    from errklein.testing._client import WebhookClient
    from errklein.testing._reactor import TestReactor

__all__ = ["ADMIN", "LeftOver", "PluginTestCase", "Sent", "TestBot", "TestReactor", "WebhookClient"]

_MODULES = {
    "ADMIN": "_bot",
    "LeftOver": "_bot",
    "PluginTestCase": "_case",
    "Sent": "_bot",
    "TestBot": "_bot",
    "TestReactor": "_reactor",
    "WebhookClient": "_client",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"errklein.testing has no {name}")
    value = globals()[name] = getattr(import_module(f"errklein.testing.{_MODULES[name]}"), name)
    return value

"""The wiring: each part gets what it uses when it is created. The settings of webhooks, from the configuration to the response."""

from __future__ import annotations

import ast
import hmac
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, webhook
from errklein.testing import PluginTestCase
from tests.floors import errklein_itself

SECRET = "correct horse battery"


class Pushes(BotPlugin):
    """A plugin without options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.got: list[Any] = []

    @webhook
    def notification(self, payload: Any) -> None:
        """Get a notification."""
        self.got.append(payload)

    @webhook
    def other(self, payload: Any) -> None:
        """Get another one."""


class WebhookSettingsTests(PluginTestCase):
    """A plugin without options, for whose webhook the operator has set some."""

    plugins = (Pushes,)
    config = {
        "WEBHOOKS": {
            "Pushes:notification": {
                "verify": "github",
                "secret": ["env:TEST_WIRING_NEW", "env:TEST_WIRING_OLD"],
                "ack": "now",
                "dedupe": "id",
                "rate": "3/min",
                "methods": ["PUT"],
            }
        },
        "WEBHOOK_METHODS": ("POST",),
        "WEBHOOK_CLIENT_RATE": "2/min",
    }

    def setUp(self) -> None:
        """Start the bot with two secrets in its environment."""
        secrets = {"TEST_WIRING_NEW": "a new secret", "TEST_WIRING_OLD": SECRET}
        self.enterContext(mock.patch.dict(os.environ, secrets))
        super().setUp()

    def push(self, id: str, secret: str = SECRET) -> int:
        """Send a signed request; return the status."""
        body = b'{"a": 1}'
        signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Delivery": id}
        return self.put("/notification", data=body, headers={**headers, "Content-Type": "application/json"}).status

    def test_options(self) -> None:
        """Signed requests with each secret get 202 and run once for each id, up to the rate."""
        self.assertEqual(
            [self.push("1"), self.push("1"), self.push("2", "a new secret"), self.push("3")], [202, 202, 202, 429]
        )
        self.bot.advance(0)
        self.assertEqual(self.bot.plugin("Pushes").got, [{"a": 1}, {"a": 1}])

    def test_client_rate(self) -> None:
        """A client's forged requests are limited; then its signed ones are, too."""
        self.assertEqual([self.push("1", "forged") for _ in range(3)], [401, 401, 429])
        self.assertEqual(self.push("1"), 429)

    def test_methods(self) -> None:
        """The webhook has the methods of its options, and the other one those of WEBHOOK_METHODS."""
        self.assertEqual([self.post("/notification").status, self.get("/notification").status], [405, 405])
        self.assertEqual([self.post("/other").status, self.get("/other").status], [200, 405])


WIRING = ("errklein.wiring", "errklein.tap")
"""The modules that create the parts of a service. In others, constructors create and connect the parts of an object."""

OF_LIBRARIES = {"argtypes", "cachedConnectionTimeout", "clock", "maxPersistentPerHost", "noisy"}
"""Attributes by which Twisted's and ctypes' objects are configured, since their constructors have no parameters for these."""


def assigned_elsewhere(module: str, source: str) -> Iterator[str]:
    """Yield the assignments to attributes of other objects in wiring modules and in constructors."""
    for function in ast.walk(ast.parse(source)):
        is_function = isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        if not is_function or not (module in WIRING or function.name == "__init__"):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr not in OF_LIBRARIES:
                owner = ast.unparse(node.value)
                if owner != "self" and (module in WIRING or owner.startswith("self.")):
                    yield f"{module}: {ast.unparse(node)}"


class OnePhaseTests(SynchronousTestCase):
    """Constructors get everything that the object uses; a cycle is broken by a function that is called later."""

    def test_no_assignments_to_other_objects(self) -> None:
        """Neither the wiring nor a constructor assigns an attribute of another object."""
        found = [
            each for module, source in errklein_itself().sources.items() for each in assigned_elsewhere(module, source)
        ]
        self.assertEqual(found, [])

    def test_assignments_are_found(self) -> None:
        """Each kind of assignment is found."""
        for statement in ("a.b = c", "a.b: int = c", "a.b += c", "x, a.b = c", "for a.b in c: pass"):
            self.assertEqual(len(list(assigned_elsewhere("errklein.tap", f"def f(a):\n    {statement}"))), 1, statement)
        constructor = "class A:\n    def __init__(self, a):\n        self.b = a\n        self.b.c = self"
        self.assertEqual(list(assigned_elsewhere("errklein.bot", constructor)), ["errklein.bot: self.b.c"])

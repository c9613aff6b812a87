"""Tests for the notices about webhooks, without a bot."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._webhook_warnings import WebhookWarnings
from errklein.plugins.plugin import UnknownPlugin
from errklein.webhooks import Hook, HookDeclaration


def handler(payload: object) -> None:
    """Fail."""
    if payload == "other":
        raise KeyError("x")
    int(str(payload))
    raise ValueError("two\nlines")


class WebhookWarningsTests(SynchronousTestCase):
    """The notices that administrators get."""

    def setUp(self) -> None:
        """Collect the notices about a handler."""
        self.clock = Clock()
        self.notices: list[tuple[str, str]] = []

        def unknown(name: str) -> None:
            raise UnknownPlugin(name)

        def notify(text: str, summary: str = "") -> None:
            self.notices.append((text, summary))

        self.warnings = WebhookWarnings(self.clock, notify, unknown)  # type: ignore[arg-type]

    def fail(self, payload: str) -> None:  # type: ignore[override]
        """Call the handler, which raises, and report that."""
        hook = Hook("app", "handler", HookDeclaration("/x"), handler)
        try:
            handler(payload)
        except (ValueError, KeyError):
            self.warnings.handler_failed(hook, "r1", Failure())

    def test_handler_of_an_application(self) -> None:
        """The failure of a handler that belongs to no plugin, such as a Flask application's, has its file and line too."""
        self.fail("1")
        line = handler.__code__.co_firstlineno + 5
        text = f"The webhook app.handler (/x) failed on request r1. {__file__}, line {line}: ValueError: two lines"
        self.assertEqual(self.notices, [(text, "The webhook app.handler (/x) failed with ValueError on request r1")])

    def test_once_a_minute(self) -> None:
        """Each type of exception and line of a handler causes one notice a minute."""
        for payload in ("1", "other", "no number", "1", "other", "no number"):
            self.fail(payload)
        self.assertEqual(
            [text.rpartition(": ")[0].split()[-1] for text, _ in self.notices], ["ValueError", "KeyError", "ValueError"]
        )
        self.clock.advance(60)
        self.fail("other")
        self.assertEqual(len(self.notices), 4)

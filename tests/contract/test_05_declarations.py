"""Chapter 5: `@webhook`."""

from __future__ import annotations

import unittest

from tests.contract.kit import decided
from tests.contract.webhooks import WebhookTest


class DeclarationTests(unittest.TestCase):
    """Declarations with `webhook`."""

    def test_bare(self) -> None:
        """Without arguments the rule is `/` and the function's name, for POST and GET."""
        from errbot import webhook

        @webhook
        def name(self: object, payload: object) -> None:
            """A hook."""

        self.assertEqual(name._err_webhook_uri_rule, "/name")
        self.assertEqual(sorted(name._err_webhook_methods), ["GET", "POST"])

    def test_root(self) -> None:
        """The rule `/` is kept."""
        from errbot import webhook

        @webhook("/")
        def root(self: object, payload: object) -> None:
            """A hook."""

        self.assertEqual(root._err_webhook_uri_rule, "/")

    @decided("form_param with raw is an error of each request")
    def test_contradiction(self) -> None:
        """`form_param` together with `raw` raises an error when the class is defined."""
        from errbot import webhook

        with self.assertRaisesRegex((TypeError, ValueError), "both"):

            @webhook(form_param="payload", raw=True)
            def both(self: object, payload: object) -> None:
                """A hook."""


class CompletedRulesTests(WebhookTest):
    """Incomplete declarations, which errbot refuses when the plugin is activated."""

    plugin = """
        from errbot import BotPlugin, webhook

        class Tried(BotPlugin):
            @webhook("missing", methods="POST")
            def missing(self, payload):
                return "mended"
        """

    @decided("the plugin can't be activated")
    def test_mended(self) -> None:
        """A rule without a leading slash gets one, and `methods` may be a string."""
        self.assertEqual(self.post("/missing"), "mended")
        self.assertEqual(self.send("GET", "/missing").status_code, 405)

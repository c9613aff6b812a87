"""Requests that are signed as by the source of a webhook."""

from __future__ import annotations

import inspect
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from errklein import BotPlugin, webhook
from errklein.testing import PluginTestCase, TestBot
from errklein.verify import SCHEMES, Verification, addresses, github, slack, verification

REF = "env:SOURCE_SECRET"
OPTIONS = {
    "basic": {"user": "ada"},
    "hmac_signature": {"header": "X-Signature", "timestamp_header": "X-Time", "id_header": "X-Id"},
}
SIGNED = [
    verification("gitlab", secret=REF, signed=True),
    *(
        verification(name, secret=REF, **OPTIONS.get(name, {}))
        for name, scheme in SCHEMES.items()
        if "secret" in inspect.signature(scheme).parameters
    ),
]
"""The verifications with a secret, of all schemes."""


class Sources(BotPlugin):
    """Has a webhook for each source, and returns the headers of its requests."""

    @webhook("/github", methods=["POST", "PUT"], verify=github(secret=[REF, "env:SOURCE_SECRET"]), raw=True)
    def of_github(self, request: Any) -> Any:
        return dict(request.headers) | {"body": request.get_data(as_text=True)}

    @webhook("/open/<name>")
    def open(self, payload: Any, name: str) -> str:
        return "ok"

    @webhook("/missing", verify=github(secret="env:SOURCE_MISSING"))
    def missing(self, payload: Any) -> str:
        return "ok"

    @webhook("/slack", verify=slack(secret=REF))
    def of_slack(self, payload: Any) -> str:
        return "ok"

    @webhook("/addresses", verify=addresses(allowed="127.0.0.1"))
    def of_addresses(self, payload: Any) -> str:
        return "ok"

    @webhook("/own", verify=Verification("own", lambda received, secrets: None))
    def of_own(self, payload: Any) -> str:
        return "ok"


class SourceTests(PluginTestCase):
    """The requests of a `PluginTestCase` with `source`."""

    plugins = (Sources,)
    secrets = {"SOURCE_SECRET": "c2VjcmV0IG9mIHNvdXJjZXM="}

    def test_headers(self) -> None:
        """The request has the source's signature, event, id and media type."""
        response = self.post("/github", {"zen": "x"}, source="github", event="ping")
        self.assertEqual(response.status, 200)
        headers = response.json()
        self.assertEqual(headers["X-Github-Event"], "ping")
        self.assertRegex(headers["X-Github-Delivery"], "^[0-9a-f]{8}-")
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(self.post("/github", {"zen": "x"}).status, 401)
        self.assertIn("POST /github: 401, the source could not be verified: ", self.bot.explanation())
        self.assertIn("; source='github' signs a request", self.bot.explanation())

    def test_each_delivery_has_an_id(self) -> None:
        """Two requests are two deliveries, unless the test gives them the same id."""
        ids = {self.put("/github", "{}", source="github").json()["X-Github-Delivery"] for _ in range(2)}
        self.assertEqual(len(ids), 2)
        given = self.post("/github", "{}", source="github", headers={"x-github-delivery": "7"}).json()
        self.assertEqual(given["X-Github-Delivery"], "7")

    def test_given_headers(self) -> None:
        """The test's own headers replace those of the source, also a signature that is wrong."""
        wrong = {"X-Hub-Signature-256": "sha256=00"}
        self.assertEqual(self.post("/github", "{}", source="github", headers=wrong).status, 401)
        text = self.post("/github", "{}", source="github", headers={"content-type": "text/plain"}).json()
        self.assertEqual(text["Content-Type"], "text/plain")

    def test_bodies(self) -> None:
        """Text, bytes, JSON and forms are signed as they are sent."""
        for given, sent in (
            ({"body": [1]}, "[1]"),
            ({"json": None}, "null"),
            ({"data": {"payload": "{}"}}, "payload=%7B%7D"),
            ({"body": b"\xc3\xa4"}, "ä"),
            ({}, ""),
        ):
            self.assertEqual(self.post("/github", source="github", **given).json()["body"], sent)

    def test_no_webhook(self) -> None:
        """A URL without a webhook gets 404, with the usual explanation."""
        self.assertEqual(self.post("/githup", {}, source="github").status, 404)
        self.assertIn("did you mean /github?", self.bot.explanation())
        self.assertEqual(self.get("/github", source="github").status, 405)

    def error(self, *request: Any, **options: Any) -> str:
        """Return the text of the ValueError."""
        return str(self.assertRaises(ValueError, self.post, *request, **options))

    def test_other_source(self) -> None:
        """A source that the webhook doesn't verify is an error that names the right one."""
        self.assertEqual(
            self.error("/github", {}, source="gitlab"),
            "POST /github with source='gitlab': Sources:of_github verifies github; use source='github'",
        )

    def test_no_verification(self) -> None:
        """A webhook that accepts everybody is an error, so that no test passes although `verify` was forgotten."""
        self.assertEqual(
            self.error("/open/door", {}, source="github"),
            "POST /open/door with source='github': Sources:open verifies no source; "
            'add verify=github(secret="env:NAME") to @webhook or WEBHOOKS',
        )

    def test_secret_that_was_missing(self) -> None:
        """A secret that was missing when the bot started is an error that names the remedy."""
        self.assertIn(
            "env:SOURCE_MISSING was missing when Sources:missing was activated; set it with secrets = {",
            self.error("/missing", {}, source="github"),
        )

    def test_event_in_the_body(self) -> None:
        """A source that names the event in the body has no header for it."""
        self.assertIn("slack has no header for the event", self.error("/slack", {}, source="slack", event="paid"))
        self.assertRaises(TypeError, self.post, "/github", {}, event="ping")

    def test_no_signature(self) -> None:
        """A source without a signature, or with a private key, can't be signed for."""
        for source in ("addresses", "own"):
            self.assertIn(f"can't be signed for {source}", self.error(f"/{source}", {}, source=source))

    def test_body_twice(self) -> None:
        """A body that is given twice is an error."""
        for more in ({"json": {}}, {"data": {}}):
            self.assertRaises(TypeError, self.post, "/github", {}, **more)


class EverySourceTests(SynchronousTestCase):
    """All sources with a signature."""

    def accepted(self, config: dict[str, Any]) -> None:
        """Check that each webhook accepts the requests of its source."""
        methods = {
            f"hook{number}": webhook(f"/hook{number}", verify=scheme)(lambda self, payload: "ok")
            for number, scheme in enumerate(SIGNED)
        }
        bot = TestBot([type("Every", (BotPlugin,), methods)], config=config)
        bot.secrets = SourceTests.secrets
        bot.start()
        self.addCleanup(bot.stop)
        for number, scheme in enumerate(SIGNED):
            request = bot.post(f"/hook{number}?a=1", {"b": "ä"}, source=scheme.scheme)
            response = self.successResultOf(request)
            self.assertEqual((response.status, response.text), (200, "ok"), scheme.scheme)
            self.assertEqual(self.successResultOf(bot.post(f"/hook{number}", {})).status, 401, scheme.scheme)

    def test_accepted(self) -> None:
        """The request of each source is accepted by its webhook, and one without its signature isn't."""
        self.assertGreater(len(SIGNED), 16)
        self.accepted({})

    def test_public_url(self) -> None:
        """The same behind a proxy, whose URL Twilio signs."""
        self.accepted({"PUBLIC_URL": "https://bot.example.net", "WEBHOOK_BASE_PATH": "/bot"})


class SecretTests(SynchronousTestCase):
    """Secrets in the environment of a test."""

    def status(self, bot: TestBot) -> int:
        """Return the status of a signed request to the bot."""
        bot.start()
        try:
            return self.successResultOf(bot.post("/github", {}, source="github")).status
        finally:
            bot.stop()

    def test_only_while_the_bot_runs(self) -> None:
        """The variables exist while the bot runs; then they have their earlier values again."""
        os.environ["SOURCE_SECRET"] = "qx-earlier-17"
        self.addCleanup(os.environ.pop, "SOURCE_SECRET")
        bot = TestBot([Sources])
        bot.secrets = {"SOURCE_SECRET": "qx-while-17", "SOURCE_MISSING": "qx-missing-17"}
        self.assertEqual(self.status(bot), 200)
        self.assertEqual(os.environ["SOURCE_SECRET"], "qx-earlier-17")
        self.assertNotIn("SOURCE_MISSING", os.environ)

    def test_replaced_environment(self) -> None:
        """An `os.environ` that a test replaces before the start has an effect."""
        self.patch(os, "environ", {**os.environ, "SOURCE_SECRET": "qx-replaced-17"})
        self.assertEqual(self.status(TestBot([Sources])), 200)

    def test_names(self) -> None:
        """A reference instead of a name is an error."""
        bot = TestBot([Sources])
        self.addCleanup(bot._directory.cleanup)
        bot.secrets = {"env:SOURCE_SECRET": "x"}
        error = self.assertRaises(ValueError, bot.start)
        self.assertEqual(
            str(error), "secrets: invalid name 'env:SOURCE_SECRET'; expected a variable such as 'GH_SECRET'"
        )

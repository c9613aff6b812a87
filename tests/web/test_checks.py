"""When each secret of a webhook has last verified a request."""

from __future__ import annotations

import os
import time

from errklein.verify import digest_of, github, url_token
from errklein.webhooks import Hook, HookDeclaration
from tests.web.test_intake import SIGNED, signed
from tests.web.test_named import OTHER, TOKEN, NamedCase

BEFORE = "env:TEST_CHECKS_BEFORE"


class MatchedTests(NamedCase):
    """After a rotation, an operator sees whether the source still uses the old secret."""

    def setUp(self) -> None:
        """Set the secret before the last rotation."""
        super().setUp()
        os.environ["TEST_CHECKS_BEFORE"] = "battery staple"
        self.addCleanup(os.environ.pop, "TEST_CHECKS_BEFORE")

    def matched(self, name: str) -> list[str]:
        """Return the references or digests by which requests were verified, the latest last."""
        found = self.web.services.checks.matched
        return [secret for webhook, secret in sorted(found, key=lambda key: found[key]) if webhook == name]

    def test_single_secret(self) -> None:
        """The last match has the time of the request. One that is refused isn't noted."""
        self.post("/verified", headers=signed(b"{}", secret="wrong"))
        self.assertEqual(self.matched("Receiver:verified"), [])
        began = time.time()
        self.post("/verified", headers=signed(b"{}"))
        at = self.web.services.checks.matched["Receiver:verified", SIGNED]
        self.assertTrue(began <= at <= time.time())

    def test_each_of_several(self) -> None:
        """Each secret has a time of its own, whichever of them is the first."""
        for references in ((SIGNED, BEFORE), (BEFORE, SIGNED)):
            with self.subTest(references=references):
                self.put("code", verify=github(secret=references))
                self.web.services.checks.matched.clear()
                self.post("/hooks/code", headers=signed(b"{}", secret="battery staple"))
                self.assertEqual(self.matched("code"), [BEFORE])
                self.post("/hooks/code", headers=signed(b"{}"))
                self.assertEqual(self.matched("code"), [BEFORE, SIGNED])
                self.post("/hooks/code", headers=signed(b"{}", secret="battery staple"))
                self.assertEqual(self.matched("code"), [SIGNED, BEFORE])

    def test_tokens(self) -> None:
        """Of tokens in addresses, only the digests are known."""
        digests = [digest_of(TOKEN.encode()), digest_of(OTHER.encode())]
        declaration = HookDeclaration("/hooks/chat", ("POST",), ack="now", verify=url_token(digests=digests))
        self.web.routes.put(Hook("", "chat", declaration, self.room.handle), digests)
        self.statuses(f"/hooks/chat/{OTHER}", "/hooks/chat/ektwrong")
        self.assertEqual(self.matched("chat"), [digests[1]])
        self.statuses(f"/hooks/chat/{TOKEN}")
        self.assertEqual(self.matched("chat"), [digests[1], digests[0]])

    def test_without_secrets(self) -> None:
        """A webhook that verifies the client's address has a last match, too."""
        self.post("/local")
        self.post("/remote")
        self.assertEqual(self.matched("Receiver:local"), [""])
        self.assertEqual(self.matched("Receiver:remote"), [])

    def test_response_of_the_verification(self) -> None:
        """Responses of the verification itself count: the source had the secret."""
        body = b'{"type": "url_verification", "challenge": "x"}'
        headers = self.web.services.checks.sign(
            next(route.hook for route in self.web.routes.hooks() if route.rule == "/slack"),
            "POST",
            "/slack",
            [],
            body,
            "",
        )
        sent = {name.decode(): value.decode() for name, value in headers}
        self.assertEqual(self.post("/slack", body, sent).text, "x")
        self.assertEqual(self.matched("Receiver:slack"), [SIGNED])

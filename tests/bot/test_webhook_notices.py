"""Tests for the notices about webhooks, without a bot."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from errklein.bot._notices import WebhookNotices
from errklein.plugins.plugin import UnknownPlugin
from errklein.testing._surroundings import TestReactor
from errklein.verify import Verification, github, url_token
from errklein.webhooks import Hook, HookDeclaration
from tests.notices import KeptNotices

GITHUB = github(secret="env:SECRET")


def handler(payload: object) -> None:
    """Fail."""
    if payload == "other":
        raise KeyError("x")
    int(str(payload))
    raise ValueError("two\nlines")


class View:
    """An object that handles requests."""

    def __call__(self, *payload: object) -> None:
        """Fail."""
        raise ValueError("no JSON")


class NoticesCase(SynchronousTestCase):
    """A test with a notice board."""

    def setUp(self) -> None:
        """Collect the notices about a handler."""
        self.clock = TestReactor()

        def unknown(name: str) -> None:
            raise UnknownPlugin(name)

        self.board = KeptNotices(self.clock)
        self.notices = self.board.sent
        self.warnings = WebhookNotices(self.board, unknown, "!")  # type: ignore[arg-type]

    def advance(self, seconds: float) -> None:
        """Let time pass, and the board look."""
        self.clock.advance(seconds)
        self.board.look()

    def fail(self, payload: str) -> None:  # type: ignore[override]
        """Call the handler, which raises, and report that."""
        hook = Hook("app", "handler", HookDeclaration("/x"), handler)
        try:
            handler(payload)
        except (ValueError, KeyError):
            self.warnings.handler_failed(hook, "r1", Failure())


class WebhookNoticesTests(NoticesCase):
    """The notices that administrators get."""

    def test_unknown_names(self) -> None:
        """One notice has all unknown names in WEBHOOKS; a name causes another one only after it has existed."""
        self.warnings.hooks_unknown(["WEBHOOKS['A:b']: …", "WEBHOOKS['A:c']: …"])
        self.assertEqual(
            self.notices, [("Options of webhooks have no effect:\nWEBHOOKS['A:b']: …\nWEBHOOKS['A:c']: …", "")]
        )
        self.warnings.hooks_unknown(["WEBHOOKS['A:c']: …"])
        self.assertEqual(len(self.notices), 1)
        self.warnings.hooks_unknown(["WEBHOOKS['A:b']: …", "WEBHOOKS['A:c']: …"])
        self.assertEqual(self.notices[1:], [("Options of webhooks have no effect:\nWEBHOOKS['A:b']: …", "")])

    def test_handler_of_an_application(self) -> None:
        """The failure of a handler that belongs to no plugin, such as a Flask application's, has its file and line too."""
        self.fail("1")
        line = handler.__code__.co_firstlineno + 5
        text = f"The webhook app.handler (/x) failed on request r1. {__file__}, line {line}: ValueError: two lines"
        self.assertEqual(self.notices, [(text, "The webhook app.handler (/x) failed with ValueError on request r1")])

    def test_once_a_minute(self) -> None:
        """Each type of exception and line of a handler causes one notice a minute, the second with the number of the others."""
        for payload in ("1", "other", "no number", "1", "other", "no number"):
            self.fail(payload)
        self.assertEqual(
            [text.rpartition(": ")[0].split()[-1] for text, _ in self.notices], ["ValueError", "KeyError", "ValueError"]
        )
        self.advance(60)
        self.assertEqual(len(self.notices), 6)
        self.assertIn("ValueError: two lines (again since the last notice: 1)", self.notices[3][0])
        self.advance(60)
        self.fail("other")
        self.assertEqual(len(self.notices), 7)

    def test_handlers_of_other_kinds(self) -> None:
        """The place is in the code of the application, also for a partial or an object, or else the handler's class."""
        line = View.__call__.__code__.co_firstlineno + 2
        for called in (View(), partial(View(), "x")):
            try:
                called("x")
            except ValueError as error:
                self.report(called, error)
            self.assertIn(f". {__file__}, line {line}: ValueError: no JSON", self.notices.pop()[0])
            self.advance(60)
        self.report(View(), ValueError("unknown"))
        self.assertIn(". View: ValueError: unknown", self.notices.pop()[0])

    def test_place_of_an_application(self) -> None:
        """The place is neither in errklein nor in a library."""
        namespace: dict[str, Any] = {"json": json}
        exec(compile("def view(payload):\n  return json.loads(payload)", "/srv/app.py", "exec"), namespace)
        hook = Hook("app", "view", HookDeclaration("/x"), namespace["view"])
        try:
            namespace["view"]("no JSON")
        except ValueError:
            self.warnings.handler_failed(hook, "r1", Failure())
        self.assertIn(". /srv/app.py, line 2: json.decoder.JSONDecodeError: ", self.notices.pop()[0])

    def report(self, called: Any, error: Exception) -> None:
        """Report an exception of a handler."""
        self.warnings.handler_failed(Hook("app", "handler", HookDeclaration("/x"), called), "r1", Failure(error))


class RefusedRequestTests(NoticesCase):
    """The notices about refused requests."""

    def refuse(
        self, client: str, kind: str = "signature", path: str = "/x", verify: Verification | None = GITHUB
    ) -> None:
        """Report a refused request."""
        hook = Hook("App", path[1:], HookDeclaration(path, verify=verify), handler)
        self.warnings.request_refused(hook, kind, "the signature doesn't match", client)

    def test_wrong_secret(self) -> None:
        """The first refused request causes a notice with webhook, client, reason and remedy; the others one an hour later."""
        for number in (1, 2, 3, 4, 5, 4):
            self.refuse(f"192.0.2.{number}")
        advice = "If the source is yours, compare its secret with the webhook's, and let it send again. See !delivery list App:x refused"
        first = (
            f"A request for the webhook App:x (/x) from 192.0.2.1 was refused: the signature doesn't match. {advice}"
        )
        self.assertEqual(self.notices, [(first, "")])
        self.advance(3600)
        others = "5, the last ones from 192.0.2.4, 192.0.2.5, 192.0.2.3."
        more = f"More requests for the webhook App:x (/x) were refused (signature): {others} {advice}"
        self.assertEqual(self.notices[1:], [(more, "")])

    def test_kinds(self) -> None:
        """Each webhook and each kind of reason has notices of its own."""
        self.refuse("192.0.2.1")
        self.refuse("192.0.2.1", kind="time")
        self.refuse("192.0.2.1", path="/y")
        self.assertEqual(len(self.notices), 3)

    def test_wrong_token(self) -> None:
        """Nobody can look up the token in an address, so the notice names the command that makes a new one."""
        for kind in ("signature", "malformed", "rate"):
            self.refuse("192.0.2.1", kind=kind, verify=url_token(digests=["a digest"]))
        told = ["!webhook rotate App:x" in text for text, _ in self.notices]
        self.assertEqual(told, [True, True, False])

    def test_noise_of_the_internet(self) -> None:
        """Requests that the internet sends all day cause one notice an hour."""
        for number in range(600):
            self.refuse(f"198.51.100.{number % 200}", kind="malformed")
            self.advance(60)
        self.assertEqual(len(self.notices), 11)
        self.assertLess(max(len(text) for text, _ in self.notices), 400)

    def test_unverified(self) -> None:
        """Requests beyond a limit of a webhook that anybody may use cause none."""
        self.refuse("192.0.2.1", kind="rate", verify=None)
        self.assertEqual(self.notices, [])

    def test_unknown_address(self) -> None:
        """A client on a Unix socket has no address."""
        self.refuse("")
        self.assertIn("from an unknown address was", self.notices[0][0])

"""Tests of the source of Sentry."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from tests.sources.events import Sample, body, changed, in_page, lines, read, received, samples, without_links
from tests.sources.in_a_room import InARoomCase

ISSUE = "[SHOP-1A: ZeroDivisionError: division by zero](https://sentry.io/organizations/example/issues/1117540176/)"
EVENT = (
    "[ZeroDivisionError: division by zero]"
    "(https://sentry.io/organizations/example/issues/1117540176/events/e4874d664c3540c1a32eab185f12c5ab/)"
)
ALERT = "https://sentry.io/organizations/example/alerts/rules/details/4/?alert=4"


def resource(name: str) -> dict[str, str]:
    """Return the header that names the resource of a body."""
    return {"Sentry-Hook-Resource": name.partition(".")[0]}


class SentryContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source; others have no address."""

    source = find_source("sentry")
    every = 10

    def samples(self) -> Iterable[Sample]:
        return samples("sentry", "comment.created", "installation.created")

    def test_page(self) -> None:
        """The page about the source shows messages as they are."""
        self.assertLessEqual(in_page("sentry"), without_links("sentry"))


class SentryTests(SynchronousTestCase):
    """Issues, errors, alerts and comments."""

    def check(self, name: str, *expected: str) -> None:
        """Check the message for a body of the folder, and the name of its event."""
        given = body("sentry", f"{name}.json")
        self.assertEqual(lines("sentry", given, resource(name)), [*expected])
        self.assertEqual(read("sentry", given, resource(name)).name, name)

    def test_issues(self) -> None:
        """What has happened to an issue, in which project, and who has done it."""
        self.check("issue.created", f"🐞 **New issue** {ISSUE} in Shop", "shop.basket in total")
        self.check("issue.resolved", f"✅ **Resolved** {ISSUE} in Shop by Jana", "shop.basket in total")
        self.check("issue.assigned", f"👤 **Assigned** {ISSUE} in Shop to Jana by Jana", "shop.basket in total")
        self.check("issue.archived", f"💤 **Archived** {ISSUE} in Shop by Jana", "shop.basket in total")
        self.check("issue.unresolved", f"🔥 **Unresolved** {ISSUE} in Shop", "shop.basket in total")

    def test_errors(self) -> None:
        """An error, and an alert about one with its rule."""
        head = f"🔥 **error** {EVENT}", "shop.basket in total", "Environment: production"
        self.check("error.created", *head)
        self.check("event_alert.triggered", *head, "Rule: New errors in production")

    def test_metric_alerts(self) -> None:
        """An alert about a metric, with Sentry's own title and text."""
        self.check(
            "metric_alert.critical",
            f"🔥 **Critical** [Critical: Too many errors]({ALERT})",
            "1000 events in the last 10 minutes Filter: level:error",
        )
        self.check(
            "metric_alert.resolved",
            f"✅ **Resolved** [Resolved: Too many errors]({ALERT})",
            "12 events in the last 10 minutes Filter: level:error",
        )

    def test_others(self) -> None:
        """A comment is quoted; other resources have their fields, without the ids."""
        self.check(
            "comment.created",
            "💬 **Jana** created a comment on an issue of shop",
            "> Since the last release. I look at it.",
        )
        # The code of an installation is a secret.
        self.check("installation.created", "**Jana**: created installation of errklein in example")
        given = b'{"action": "done", "data": {"seer": {"step": "fix"}}}'
        self.assertEqual(lines("sentry", given), ["done", "- seer step: fix"])

    def test_unknown_action(self) -> None:
        """An action that isn't known is shown as it is."""
        given = changed("sentry", "issue.created.json", action="merged")
        self.assertEqual(lines("sentry", given)[0], f"**merged** {ISSUE} in Shop")

    def test_missing_parts(self) -> None:
        """An issue without a title or address still has a message."""
        given = changed("sentry", "issue.created.json", "data", issue={"id": "1"})
        self.assertEqual(lines("sentry", given), ["🐞 **New issue** issue"])

    def test_verification(self) -> None:
        """The signature and the id of a delivery are Sentry's."""
        verification = find_source("sentry").verification(secret="env:SENTRY")
        given = body("sentry", "issue.created.json")
        signature = hmac.digest(b"secret", given, "sha256").hex()
        request = received(given, {"Sentry-Hook-Signature": signature, "Request-ID": "7d3a"})
        self.assertIsNone(verification.verify(request, [b"secret"]))
        assert verification.delivery_id is not None
        self.assertEqual(verification.delivery_id(request), "7d3a")


class SentryInARoomTests(InARoomCase):
    """Sentry makes the secret."""

    def test_sentry(self) -> None:
        """An issue is announced once the secret is set, and not again if Sentry repeats it."""
        headers = {"Request-ID": "7d3a", "Sentry-Hook-Resource": "issue"}
        title = "SHOP-1A: ZeroDivisionError: division by zero"
        message = f"🐞 New issue {title} (https://sentry.io/organizations/example/issues/1117540176/) in Shop\nshop.basket in total"
        self.check_issued("sentry", (headers, body("sentry", "issue.created.json")), message)

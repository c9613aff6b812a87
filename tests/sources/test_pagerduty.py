"""Tests of the source of PagerDuty."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from tests.sources.events import ALERTA, Sample, body, changed, in_page, lines, read, received, samples, without_links
from tests.sources.in_a_room import InARoomCase

ADDRESS = "https://example.pagerduty.com/incidents/PINC001"
INCIDENT = f"[#1234 The shop answers with errors]({ADDRESS}) in Shop"
REFERENCE = f"[The shop answers with errors]({ADDRESS})"
FACTS = "assigned to Jana, priority P1, urgency high"


class PagerDutyContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source; others have no address."""

    source = find_source("pagerduty")
    every = 10

    def samples(self) -> Iterable[Sample]:
        return samples("pagerduty", "pagey.ping")

    def test_page(self) -> None:
        """The page about the source shows messages as they are."""
        self.assertLessEqual(in_page("pagerduty"), without_links("pagerduty"))


class PagerDutyTests(SynchronousTestCase):
    """Incidents and what happens to them."""

    def check(self, name: str, *expected: str) -> None:
        """Check the message for a body of the folder, and the name of its event."""
        given = body("pagerduty", f"{name}.json")
        self.assertEqual(lines("pagerduty", given), [*expected])
        self.assertEqual(read("pagerduty", given).name, name)

    def test_incidents(self) -> None:
        """What has happened, to which incident of which service, who has done it, and who has to care."""
        self.check("incident.triggered", f"🔥 **Triggered** {INCIDENT}", FACTS)
        self.check("incident.acknowledged", f"👀 **Acknowledged** {INCIDENT} by Jana", FACTS)
        self.check("incident.resolved", f"✅ **Resolved** {INCIDENT} by Jana", "priority P1, urgency high")
        self.check("incident.reassigned", f"👤 **Reassigned** {INCIDENT} by Jana", FACTS.replace("Jana", "Omar"))

    def test_parts_of_incidents(self) -> None:
        """Notes, updates and requests to responders are quoted below their incident."""
        self.check("incident.annotated", f"📝 **Note** {REFERENCE} by Jana", "> The database is full.")
        self.check("incident.status_update_published", f"📝 **Update** {REFERENCE} by Jana", "> We are adding a disk.")
        self.check(
            "incident.responder.added",
            f"👤 **Responder asked** {REFERENCE} by Jana",
            "> Please help with The shop answers with errors",
        )

    def test_others(self) -> None:
        """Other events have their own name."""
        self.check("pagey.ping", "**pagey.ping**", "> Hello from your friend Pagey!")
        self.check(
            "service.updated",
            "**service.updated** [Shop](https://example.pagerduty.com/service-directory/PSHOP01) by Jana",
        )

    def test_workflows_and_conferences(self) -> None:
        """A workflow is named, with the service that it belongs to; the address of a conference is linked."""
        incident = {"summary": "The shop answers with errors", "html_url": ADDRESS}
        workflow = {"incident": incident, "incident_workflow": {"summary": "Major"}, "service": {"summary": "Shop"}}
        conference = {"incident": incident, "conference_url": "https://meet.example.net/7"}
        for kind, data, shown in (
            ("workflow.started", workflow, f"📝 **Workflow started** {REFERENCE} in Shop\n> Major"),
            (
                "conference_bridge.updated",
                conference,
                f"📞 **Conference** {REFERENCE}\n<https://meet.example.net/7>",
            ),
        ):
            given = json.dumps({"event": {"event_type": f"incident.{kind}", "data": data}}).encode()
            self.assertEqual("\n".join(lines("pagerduty", given)), shown)

    def test_many_assignees(self) -> None:
        """At most five people are listed, by name and without a mention."""
        people = [{"summary": f"@person{number}"} for number in range(9)]
        facts = lines("pagerduty", changed("pagerduty", "incident.triggered.json", "event", "data", assignees=people))[
            1
        ]
        self.assertEqual(facts.count("person"), 5)
        self.assertNotIn("@person", facts)

    def test_version_2(self) -> None:
        """Webhooks of version 2, which PagerDuty doesn't support any longer, have a message without raw JSON."""
        message = lines("pagerduty", (ALERTA / "pagerduty_alert.json").read_bytes())
        self.assertEqual(message[0], "**incident.acknowledge**")
        self.assertNotIn("{", "".join(message))

    def test_verification(self) -> None:
        """One of several signatures must match; the id of a delivery is that of its event."""
        verification = find_source("pagerduty").verification(secret="env:PAGERDUTY")
        given = body("pagerduty", "incident.triggered.json")
        signature = hmac.digest(b"secret", given, "sha256").hex()
        request = received(given, {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={signature}"})
        self.assertIsNone(verification.verify(request, [b"secret"]))
        assert verification.delivery_id is not None
        self.assertEqual(verification.delivery_id(request), "01EXAMPLE0000000000000001")


class PagerDutyInARoomTests(InARoomCase):
    """PagerDuty makes the secret."""

    def test_pagerduty(self) -> None:
        """An incident is announced once the secret is set, and not again if PagerDuty repeats it."""
        message = f"🔥 Triggered #1234 The shop answers with errors ({ADDRESS}) in Shop\n{FACTS}"
        self.check_issued("pagerduty", ({}, body("pagerduty", "incident.triggered.json")), message)

"""Tests of the source of Grafana."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from errklein.verify import Refused
from tests.sources.events import (
    ALERTA,
    NOW,
    Sample,
    body,
    changed,
    in_page,
    lines,
    read,
    received,
    samples,
    without_links,
)
from tests.sources.in_a_room import InARoomCase

RULE = "https://grafana.example.net/alerting/grafana/1afz29v7z/view?orgId=1"
BOARD = "https://grafana.domain.tld/dashboard/db/alarms?fullscreen&edit&tab=alert&panelId=1&orgId=1"


class GrafanaContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source."""

    source = find_source("grafana")
    every = 10

    def samples(self) -> Iterable[Sample]:
        return samples("grafana")

    def test_page(self) -> None:
        """The page about the source shows messages as they are."""
        self.assertLessEqual(in_page("grafana"), without_links("grafana"))


class GrafanaTests(SynchronousTestCase):
    """A group of alerts is one message with a line for each alert."""

    def test_firing_and_resolved(self) -> None:
        """A firing alert can be silenced by a link; one without a summary has its values."""
        firing, resolved = lines("grafana", body("grafana", "firing.json"))
        self.assertEqual(
            firing.partition(" · ")[0],
            f"🔥 **FIRING** [High memory usage]({RULE}): Less than 5 % of memory is free in eu-1. "
            "(grafana_folder = Hosts, zone = eu-1)",
        )
        self.assertRegex(
            firing, r" · \[silence\]\(https://grafana\.example\.net/alerting/silence/new\?[^)]*zone%3Deu-1"
        )
        self.assertEqual(
            resolved,
            f"✅ **Resolved** [High memory usage]({RULE}): A = 12\\.5, C = 0 (grafana_folder = Hosts, zone = us-1)",
        )

    def test_event(self) -> None:
        """The name of the event is the state of the group."""
        names = [read("grafana", body("grafana", file)).name for file in ("firing.json", "resolved.json")]
        self.assertEqual(names, ["firing", "resolved"])

    def test_no_data(self) -> None:
        """An alert about missing data says so, with the name of its rule and a link to its panel."""
        (line,) = lines("grafana", body("grafana", "no-data.json"))
        self.assertIn(
            "❔ **No data** [Requests per second](https://grafana.example.net/d/shop?orgId=1&viewPanel=4)", line
        )

    def test_error(self) -> None:
        """So does an alert about an error in the evaluation of a rule, with the error."""
        labels = {"alertname": "DatasourceError", "rulename": "Requests per second"}
        alert = {"status": "firing", "labels": labels, "annotations": {"Error": "no such host"}}
        given = json.dumps({"status": "firing", "alerts": [alert]}).encode()
        self.assertEqual(lines("grafana", given), ["⚠️ **Error** Requests per second: no such host"])

    def test_runbook(self) -> None:
        """A runbook is linked."""
        (line,) = lines("grafana", body("grafana", "resolved.json"))
        self.assertTrue(line.endswith(" · [runbook](https://runbooks.example.net/memory)"), line)

    def test_older_form(self) -> None:
        """The alerts that Grafana sent up to version 8 have their rule, message and values."""
        firing, resolved = ((ALERTA / f"grafana_alert_{state}.json").read_bytes() for state in ("alerting", "ok"))
        self.assertEqual(
            lines("grafana", firing), [f"🔥 **FIRING** [Zeta CPU alert]({BOARD}): boom!", "- user: 97\\.007606"]
        )
        self.assertEqual(lines("grafana", resolved), [f"✅ **Resolved** [Zeta CPU alert]({BOARD}): boom!"])
        self.assertEqual([read("grafana", given).name for given in (firing, resolved)], ["firing", "resolved"])

    def test_other_states_of_the_older_form(self) -> None:
        """Another state, such as `no_data`, is shown as it is."""
        payload = json.loads((ALERTA / "grafana_alert_ok.json").read_bytes())
        given = json.dumps({**payload, "state": "paused"}).encode()
        self.assertEqual(lines("grafana", given), [f"**paused** [Zeta CPU alert]({BOARD}): boom!"])
        self.assertEqual(read("grafana", given).name, "paused")

    def test_older_test(self) -> None:
        """Its test message and its longer names are read."""
        for file in ("grafana_6.json", "grafana_example.json"):
            message = lines("grafana", (ALERTA / file).read_bytes())
            self.assertTrue(message[0].startswith("🔥 **FIRING** ["), message)

    def test_hostile_summary(self) -> None:
        """A summary can't end the line's link or mention anybody."""
        given = changed(
            "grafana", "firing.json", "alerts", 0, "annotations", summary="](https://evil.example) @channel"
        )
        message = "\n".join(lines("grafana", given))
        self.assertNotIn("https://evil.example", message)
        self.assertNotIn("@channel", message)

    def test_signature(self) -> None:
        """With a secret, the signature over time and body is verified."""
        verification = find_source("grafana").verification(secret="env:GRAFANA")
        given = body("grafana", "firing.json")
        signature = hmac.digest(b"secret", b"%d:" % NOW + given, "sha256").hex()
        headers = {"X-Grafana-Alerting-Signature": signature, "X-Grafana-Alerting-Timestamp": str(int(NOW))}
        self.assertIsNone(verification.verify(received(given, headers), [b"secret"]))
        self.assertRaises(Refused, verification.verify, received(given, headers), [b"other"])
        headers["X-Grafana-Alerting-Timestamp"] = str(int(NOW - 301))
        self.assertRaises(Refused, verification.verify, received(given, headers), [b"secret"])


class GrafanaInARoomTests(InARoomCase):
    """Alerts in a room."""

    def test_grafana(self) -> None:
        """Each group gets 202 and is a message; what can't be read gets 400."""
        path, _ = self.make("grafana")
        status, (message,) = self.send(path, body("grafana", "resolved.json"))
        self.assertEqual(status, 202)
        self.assertTrue(message.startswith("✅ Resolved High memory usage ("), message)
        self.assertEqual(self.send(path, b"not json"), (400, []))

    def test_signed(self) -> None:
        """With `signed`, the address has no token, and Grafana's signature is verified."""
        path, secret = self.make("grafana signed")
        self.assertEqual(path, "/hooks/grafana")
        given = body("grafana", "firing.json")
        for key, status, count in ((secret, 202, 1), ("another", 401, 0)):
            found, messages = self.send(path, given, self.signed("grafana", ({}, given), given, key))
            self.assertEqual((found, len(messages)), (status, count))
        self.assertEqual(self.send(path, given), (401, []))

"""Tests of the source of Alertmanager, with what Alertmanager 0.28.1 has sent."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from errklein.sources import find_source
from errklein.testing.source_contract import SourceContract
from errklein.webhooks.payload import BadPayload
from tests.sources.events import ALERTA, Sample, body, changed, in_page, lines, read, samples, without_links
from tests.sources.in_a_room import InARoomCase

QUERY = "http://prometheus.example.net:9090/graph?g0.expr="
QUERY_OF_2017 = (
    "http://somehost:9090/graph?g0.expr=sum%28irate%28messages_received_total%5B5m%5D%29%29+%3D%3D+0&g0.tab=0"
)
DOWN = f"[InstanceDown]({QUERY}up+%3D%3D+0&g0.tab=1): web-1 has been down for 5 minutes. (web-1.example.net:9100, critical)"


class AlertmanagerContractTests(SourceContract, SynchronousTestCase):
    """What is expected of every source."""

    source = find_source("alertmanager")
    every = 10

    def samples(self) -> Iterable[Sample]:
        return samples("alertmanager")

    def test_page(self) -> None:
        """The page about the source shows messages as they are."""
        self.assertLessEqual(in_page("alertmanager"), without_links("alertmanager"))


class AlertmanagerTests(SynchronousTestCase):
    """A group of alerts is one message with a line for each alert."""

    def message(self, file: str) -> list[str]:
        """Return the lines of the message for a recorded request."""
        return lines("alertmanager", body("alertmanager", file))

    def test_firing_and_resolved(self) -> None:
        """The line has the state, the name with a link to the query, the summary, the instance and the severity."""
        self.assertEqual(self.message("firing.json"), [f"🔥 **FIRING** {DOWN}"])
        self.assertEqual(self.message("resolved.json"), [f"✅ **Resolved** {DOWN}"])

    def test_event(self) -> None:
        """The name of the event is the state of the group, for `events = ["firing"]`."""
        names = [read("alertmanager", body("alertmanager", file)).name for file in ("firing.json", "resolved.json")]
        self.assertEqual(names, ["firing", "resolved"])

    def test_many_alerts(self) -> None:
        """A message has at most ten lines, of which the last one counts the alerts that are left out."""
        message = self.message("many.json")
        self.assertEqual(len(message), 10)
        self.assertEqual(message[-1], "… and 3 more alerts")
        resolved = [line for line in message if line.startswith("✅ **Resolved**")]
        self.assertEqual(len(resolved), 1)
        self.assertIn("The disk of db-2 is 92 % full. (db-2.example.net:9100, warning)", resolved[0])

    def test_truncated(self) -> None:
        """The alerts that Alertmanager left out are counted, and a runbook is linked."""
        message = self.message("truncated.json")
        self.assertEqual(message[2:], ["… and 3 more alerts"])
        self.assertIn(
            "(api-1.example.net:8080, page) · [runbook](https://runbooks.example.net/HighLatency)", message[0]
        )

    def test_alert_without_a_rule(self) -> None:
        """An alert of amtool has neither a name nor a query: Alertmanager itself is linked."""
        self.assertEqual(
            self.message("without-a-rule.json"),
            ["🔥 **FIRING** [alert](http://alertmanager.example.net:9093): old (legacy)"],
        )

    def test_values_with_syntax(self) -> None:
        """The name of an alert adds no mention and no link, and labels that no list knows are shown by name."""
        (line,) = self.message("names-with-syntax.json")
        self.assertNotIn("@here", line)
        self.assertNotIn("http://evil.example", line)
        self.assertTrue(line.endswith("](http://alertmanager.example.net:9093) (team = a\\|b)"), line)

    def test_unsuitable_address(self) -> None:
        """An address that isn't one of the web isn't linked."""
        hostile = changed("alertmanager", "firing.json", "alerts", 0, generatorURL="javascript:alert(1)")
        self.assertIn("[InstanceDown](http://alertmanager.example.net:9093)", lines("alertmanager", hostile)[0])

    def test_no_alerts(self) -> None:
        """A group without alerts is described by what its alerts had in common."""
        (line,) = lines("alertmanager", changed("alertmanager", "firing.json", alerts=[]))
        self.assertEqual(
            line,
            "🔥 **FIRING** [InstanceDown](http://alertmanager.example.net:9093): web-1 has been down for 5 minutes. "
            "(web-1.example.net:9100)",
        )

    def test_something_else(self) -> None:
        """What isn't a group of alerts is described, and isn't called firing."""
        for path in sorted(ALERTA.glob("*.json")):
            if "prometheus" not in path.name:
                self.assertNotIn("FIRING", "".join(lines("alertmanager", path.read_bytes())), path.name)

    def test_older_versions(self) -> None:
        """Alertmanager's form of 2016 and of 2017 is read, too."""
        found = [lines("alertmanager", (ALERTA / f"prometheus_v{number}_alert.json").read_bytes()) for number in (3, 4)]
        self.assertEqual(
            found,
            [
                ["🔥 **FIRING** [failedConnect](http://prometheus.host:9090/...): Connect fail (host2, critical)"],
                [f"🔥 **FIRING** [thing_dead]({QUERY_OF_2017}): No things for over 10 minutes (severity = critical)"],
            ],
        )

    def test_invalid_body(self) -> None:
        """What isn't a JSON object is refused with 400, before the request is acknowledged."""
        for given in (b"", b"not json", b"[]", b"\xff"):
            error = self.assertRaises(BadPayload, read, "alertmanager", given)
            self.assertEqual(error.status, 400)


class AlertmanagerInARoomTests(InARoomCase):
    """Alertmanager repeats a group whose response isn't of the kind 2xx."""

    def test_alertmanager(self) -> None:
        """Each group gets 202 and is a message; what can't be read gets 400."""
        path, _ = self.make("alertmanager")
        summary = "web-1 has been down for 5 minutes. (web-1.example.net:9100, critical)"
        message = f"✅ Resolved InstanceDown ({QUERY}up+%3D%3D+0&g0.tab=1): {summary}"
        for _ in range(2):
            self.assertEqual(self.send(path, body("alertmanager", "resolved.json")), (202, [message]))
        self.assertEqual(self.send(path, b"not json"), (400, []))

    def test_events(self) -> None:
        """With `events`, others are accepted, since Alertmanager would repeat them, and aren't shown."""
        path, _ = self.make("alertmanager")
        self.bot.say("!webhook set alertmanager events firing", room="#ops")
        self.assertEqual(self.send(path, body("alertmanager", "resolved.json")), (202, []))
        status, messages = self.send(path, body("alertmanager", "firing.json"))
        self.assertEqual((status, len(messages)), (202, 1))

    def test_set_up(self) -> None:
        """The private reply has the address where the configuration of Alertmanager needs it."""
        shown = self.bot.say("!webhook new alertmanager", room="#ops")
        private = "\n".join(one.text for one in shown if one.to == "@admin")
        self.assertRegex(
            private, r'receivers: \[\{name: errklein, webhook_configs: \[\{url: "https://[^"]+/ekt[a-z2-7]+"\}'
        )

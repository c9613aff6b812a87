"""The rules and the dashboard for Prometheus and Grafana in the documentation."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from errklein import BotPlugin, webhook
from errklein.bot._health import INTERVAL
from tests.processes import ROOT
from tests.server_program import require_program
from tests.status.kit import StatusCase
from tests.status.test_readiness import Waiting

EXAMPLES = ROOT / "docs" / "examples" / "monitoring"
RULES = EXAMPLES / "errklein.rules.yml"
METRIC = re.compile(r"\b(?:errklein|process)_[a-z_]+\b")

FIRING = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="errklein", instance="a"}}', values: '1 0 0 0'}}
      - {{series: 'errklein_ready{{part="networks", instance="a"}}', values: '1 0 0 0'}}
      - {{series: 'errklein_ready{{part="journal", instance="a"}}', values: '1 1 1 1'}}
      - {{series: 'errklein_dead_deliveries{{webhook="Builds:build", instance="a"}}', values: '2 2 2 3'}}
      - {{series: 'errklein_requests_refused_total{{webhook="Builds:build", reason="signature", instance="a"}}', values: '0 0 0 1'}}
      - {{series: 'errklein_requests_refused_total{{webhook="Builds:build", reason="rate", instance="a"}}', values: '7 7 7 7'}}
      - {{series: 'errklein_certificate_expiry_timestamp_seconds{{file="a.pem", instance="a"}}', values: '600000x4'}}
      - {{series: 'errklein_certificate_expiry_timestamp_seconds{{file="b.pem", instance="a"}}', values: '700000x4'}}
      - {{series: 'errklein_reactor_lag_seconds{{instance="a"}}', values: '0 3 0 0'}}
    alert_rule_test:
      - eval_time: 3m
        alertname: ErrkleinDown
        exp_alerts: [{{exp_labels: {{severity: critical, job: errklein, instance: a}}, exp_annotations: {{summary: "The bot a doesn't respond."}}}}]
      - eval_time: 3m
        alertname: ErrkleinNotReady
        exp_alerts:
          - exp_labels: {{severity: critical, part: networks, instance: a}}
            exp_annotations: {{summary: "The networks of a can't work; /ready shows the reason."}}
      - eval_time: 3m
        alertname: ErrkleinDeadDeliveries
        exp_alerts:
          - exp_labels: {{severity: warning, webhook: "Builds:build", instance: a}}
            exp_annotations: {{summary: "Deliveries of Builds:build were given up after all attempts; !delivery list Builds:build dead lists them."}}
      - eval_time: 3m
        alertname: ErrkleinRequestsRefused
        exp_alerts:
          - exp_labels: {{severity: warning, webhook: "Builds:build", reason: signature, instance: a}}
            exp_annotations: {{summary: "Requests for Builds:build are refused (signature); !delivery list Builds:build refused lists them."}}
      - eval_time: 3m
        alertname: ErrkleinCertificateExpires
        exp_alerts:
          - exp_labels: {{severity: warning, file: a.pem, instance: a}}
            exp_annotations: {{summary: "The certificate in a.pem expires within a week."}}
      - eval_time: 3m
        alertname: ErrkleinReactorBlocked
        exp_alerts:
          - exp_labels: {{severity: warning, instance: a}}
            exp_annotations: {{summary: "A plugin blocks the reactor; the log has its line."}}
      - eval_time: 3m
        alertname: ErrkleinDiskFull
        exp_alerts: []
"""


class Expires:
    """An endpoint's certificate."""

    @staticmethod
    def expiries() -> list[tuple[str, str, datetime]]:
        return [("tls:1", "a.pem", datetime(2027, 1, 1, tzinfo=UTC))]


class Hooks(BotPlugin):
    """A plugin with webhooks."""

    @webhook(rate="10/s", ack="now")
    def limited(self, payload: object) -> str:
        return "ok"

    @webhook
    def plain(self, payload: object) -> str:
        return "ok"


class MonitoringExamplesTests(StatusCase):
    """The files, beside the metrics of a bot."""

    plugins = (Hooks,)

    def metrics(self) -> set[str]:
        """Return the names of the metrics of a bot, whose network has an outbox."""
        self.bot.advance(1)
        self.successResultOf(self.bot.post("/plain"))
        self.bot.command("!webhook pause Hooks:plain")
        self.patch(self.bot.bot.web, "listeners", Expires)
        self.bot.advance(INTERVAL)
        self.patch(self.bot.bot, "backends", {"test": Waiting(0.0)})
        return set(re.findall(r"^([a-z_]+)", self.get("/metrics")[1].decode(), re.MULTILINE))

    def test_metrics_of_the_rules(self) -> None:
        """Each metric that the rules use exists."""
        expressions = re.findall(r"expr:(.*?)\n        \w", RULES.read_text(), re.DOTALL)
        self.assertEqual(len(expressions), RULES.read_text().count("- alert:"))
        used = set(METRIC.findall(" ".join(expressions)))
        self.assertGreater(len(used), 8)
        self.assertEqual(used - self.metrics(), set())

    def test_metrics_of_the_dashboard(self) -> None:
        """Each metric that the dashboard uses exists, and each of errklein's metrics is on it, except for the parts of messages."""
        used = set(
            METRIC.findall(" ".join(_expressions(json.loads((EXAMPLES / "errklein-dashboard.json").read_text()))))
        )
        metrics = self.metrics()
        self.assertEqual(used - metrics, set())
        shown = {name.removesuffix("_bucket").removesuffix("_count") for name in used}
        own = {
            name
            for name in metrics
            if name.startswith("errklein_") and not name.endswith(("_sum", "_bucket", "_count"))
        }
        self.assertEqual(own - shown, {"errklein_outbox_parts"})

    def test_metrics_of_the_guide(self) -> None:
        """The guide describes each metric of errklein, and no others."""
        guide = set(re.findall(r"`(errklein_\w+)`", (ROOT / "docs" / "guides" / "monitoring.md").read_text()))
        own = {re.sub("_(sum|bucket|count)$", "", name) for name in self.metrics() if name.startswith("errklein_")}
        self.assertEqual(guide, own)

    def test_panels(self) -> None:
        """Panels have ids and places of their own, and the variables that their expressions use exist."""
        board = json.loads((EXAMPLES / "errklein-dashboard.json").read_text())
        panels = board["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        self.assertEqual(len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}), len(panels))
        variables = {one["name"] for one in board["templating"]["list"]}
        self.assertEqual(set(re.findall(r"\$\{?(\w+)", json.dumps(panels))), variables)

    def test_promtool_accepts_the_files(self) -> None:
        """Prometheus accepts the rules and its configuration."""
        for kind, file in (("rules", RULES), ("config", EXAMPLES / "prometheus.yml")):
            self.promtool("check", kind, str(file))

    def test_alerts_fire(self) -> None:
        """Alerts fire for a bot that is down, not ready, gives up webhooks or is blocked, and not without values."""
        tests = Path(self.mktemp())
        tests.write_text(FIRING.format(rules=json.dumps(str(RULES))))
        self.promtool("test", "rules", str(tests))

    def promtool(self, *arguments: str) -> None:
        """Run promtool, which must succeed."""
        done = subprocess.run([require_program("promtool"), *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


def _expressions(value: Any) -> Iterator[str]:
    """Yield the queries in a part of the dashboard."""
    if isinstance(value, dict):
        yield from (value[key] for key in ("expr", "query") if isinstance(value.get(key), str))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _expressions(item)

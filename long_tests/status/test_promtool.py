"""Prometheus' own checks of the metrics, and of the rules in the documentation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.processes import ROOT
from tests.server_program import require_program
from tests.status.test_metrics import MetricsCase

EXAMPLES = ROOT / "errklein" / "examples" / "monitoring"
RULES = EXAMPLES / "errklein.rules.yml"

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


class PromtoolTests(MetricsCase):
    """promtool has no objections."""

    def test_metrics(self) -> None:
        """Prometheus reads the metrics."""
        self.successResultOf(self.bot.post("/plain"))
        self.promtool("check", "metrics", text=self.get("/metrics")[1])

    def test_promtool_accepts_the_files(self) -> None:
        """Prometheus accepts the rules and its configuration."""
        for kind, file in (("rules", RULES), ("config", EXAMPLES / "prometheus.yml")):
            self.promtool("check", kind, str(file))

    def test_alerts_fire(self) -> None:
        """Alerts fire for a bot that is down, not ready, gives up webhooks or is blocked, and not without values."""
        tests = Path(self.mktemp())
        tests.write_text(FIRING.format(rules=json.dumps(str(RULES))))
        self.promtool("test", "rules", str(tests))

    def promtool(self, *arguments: str, text: bytes = b"") -> None:
        """Run promtool, which must succeed."""
        done = subprocess.run([require_program("promtool"), *arguments], input=text, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

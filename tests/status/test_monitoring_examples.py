"""The rules and the dashboard for Prometheus and Grafana in the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from errklein import BotPlugin, webhook
from errklein.bot._bot import INTERVAL
from tests.processes import ROOT
from tests.status.kit import StatusCase
from tests.status.test_readiness import Waiting

EXAMPLES = ROOT / "errklein" / "examples" / "monitoring"
RULES = EXAMPLES / "errklein.rules.yml"
METRIC = re.compile(r"\b(?:errklein|process)_[a-z_]+\b")


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
        # As one of several processes.
        self.patch(self.bot.bot, "alone", False)
        return set(re.findall(r"^([a-z_]+)", self.get("/metrics")[1].decode(), re.MULTILINE))

    def test_metrics_of_the_rules(self) -> None:
        """Each metric that the rules use exists."""
        expressions = re.findall(r"expr:(.*?)\n        \w", RULES.read_text(), re.DOTALL)
        self.assertEqual(len(expressions), RULES.read_text().count("- alert:"))
        used = set(METRIC.findall(" ".join(expressions)))
        self.assertGreater(len(used), 8)
        self.assertEqual(used - self.metrics(), set())

    def test_metrics_of_the_dashboard(self) -> None:
        """Each metric that the dashboard uses exists."""
        used = set(
            METRIC.findall(" ".join(_expressions(json.loads((EXAMPLES / "errklein-dashboard.json").read_text()))))
        )
        self.assertEqual(used - self.metrics(), set())

    def test_metrics_of_the_guide(self) -> None:
        """The guide describes each metric of errklein, and no others."""
        guide = set(re.findall(r"`(errklein_\w+)`", (ROOT / "docs" / "reference" / "metrics.md").read_text()))
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


def _expressions(value: Any) -> Iterator[str]:
    """Yield the queries in a part of the dashboard."""
    if isinstance(value, dict):
        yield from (value[key] for key in ("expr", "query") if isinstance(value.get(key), str))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _expressions(item)

"""Prometheus' Alertmanager; see https://prometheus.io/docs/alerting/latest/configuration/#webhook_config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from errklein.verify import Received, bearer
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

_SHOWN = 3
_WORDS = {"firing": "🔥 **FIRING**", "resolved": "✅ **Resolved**"}


def _event(received: Received, payload: Any) -> str:
    status = payload.get("status") if isinstance(payload, dict) else None
    return status if isinstance(status, str) else ""


def _lines(event: str, payload: Any) -> Sequence[str]:
    alerts = payload.get("alerts") if isinstance(payload, dict) else None
    count = len(alerts) if isinstance(alerts, list) else 0
    head = f"{_WORDS.get(event, 'Alertmanager')}: {{commonLabels.alertname}} ({count})"
    shown = [
        f"- {{alerts.{number}.annotations.summary}} {{alerts.{number}.labels.instance}}"
        for number in range(min(count, _SHOWN))
    ]
    return [head, *shown]


SOURCES = {
    "alertmanager": Source(
        name="alertmanager",
        title="Alertmanager",
        lines=_lines,
        verification=bearer,
        event=_event,
        setup=(
            "In alertmanager.yml, below receivers:",
            "- name: errklein",
            "  webhook_configs: [{url: '{url}'}]",
        ),
    )
}

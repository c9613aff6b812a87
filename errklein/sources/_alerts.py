"""The lines of alerts in the form of Alertmanager, which Grafana has taken over."""

from __future__ import annotations

from typing import Any

from errklein.sources._payloads import at, described, found, items, pairs, when

FIRING, RESOLVED = "🔥 **FIRING**", "✅ **Resolved**"
# The names of alerts by which Grafana says that it can't evaluate a rule.
_STATES = {"DatasourceError": "⚠️ **Error**", "DatasourceNoData": "❔ **No data**"}
_MOST = 9


def lines(event: str, payload: Any) -> list[str]:
    shown = items(payload, "alerts", _MOST)
    if not shown:
        return [_line(payload, "")] if at(payload, "status") in ("firing", "resolved") else described(payload)
    truncated = at(payload, "truncatedAlerts")
    more = len(found(payload, "alerts")) - len(shown)
    more += int(truncated) if truncated.isdecimal() and len(truncated) < 6 else 0
    return [
        *(_line(payload, f"{path}.") for path in shown),
        f"… and {more} more alert{'s' * (more > 1)}" if more else "",
    ]


def _line(payload: Any, alert: str) -> str:
    def of(kind: str, *keys: str) -> str:
        places = (f"{alert}{kind.lower()}.", f"common{kind}.")
        return " or ".join(f"{place}{key}" for place in places for key in keys)

    is_resolved = at(payload, f"{alert}status") == "resolved"
    state = RESOLVED if is_resolved else _STATES.get(at(payload, f"{alert}labels.alertname"), FIRING)
    links = " or ".join(f"{alert}{key}" for key in ("panelURL", "dashboardURL", "generatorURL"))
    name = f"[{{{of('Labels', 'rulename', 'alertname')} or 'alert'}}]({{{links} or externalURL}})"
    summary = when(payload, f"{{{of('Annotations', 'summary', 'description', 'message', 'Error')}}}")
    target = when(payload, f"{{{of('Labels', 'instance', 'pod', 'host', 'service', 'job')}}}")
    facts = f"{target}, {{{alert}labels.severity}}" if target else pairs(payload, f"{alert}labels", 3)
    runbook = f" · [runbook]({{{alert}annotations.runbook_url}})"
    silence = "" if is_resolved else f" · [silence]({{{alert}silenceURL}})"
    details = summary or pairs(payload, f"{alert}values", 3)
    facts, details = f" ({facts})" if facts else "", f": {details}" if details else ""
    return f"{state} {name}{details}{facts}{runbook}{silence}"

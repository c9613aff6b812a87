"""Alertmanager of Prometheus. It doesn't sign its requests, so that the address has a token."""

from errklein import verify
from errklein.sources._payloads import alert_lines, at, json_object
from errklein.webhooks.source import Source

__all__ = ["SOURCES"]

SOURCES = {
    "alertmanager": Source(
        "alertmanager",
        "Alertmanager",
        alert_lines,
        verify.bearer,
        event=lambda received, payload: at(payload, "status"),
        parse=json_object,
        setup=(
            "Enter this in alertmanager.yml; if it has receivers already, add this one and a route to it:",
            "`route: {receiver: errklein}`",
            '`receivers: [{name: errklein, webhook_configs: [{url: "{url}"}]}]`',
        ),
        example="firing.json",
    )
}

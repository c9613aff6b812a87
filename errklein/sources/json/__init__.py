"""JSON and forms of any service: a message by the text of the webhook, or a list of what the payload says."""

from collections.abc import Mapping
from typing import Any

from errklein import verify
from errklein.sources._payloads import at, described, json_value
from errklein.verify import Received
from errklein.webhooks.payload import BadPayload
from errklein.webhooks.source import Source, decoded

__all__ = ["SOURCES"]


def values(payload: Any) -> Mapping[str, Any]:
    """Return what placeholders refer to if the payload is no object: the first 100 items of a list by their number, or `{value}`."""
    if isinstance(payload, list):
        return {str(index): item for index, item in enumerate(payload[:100])}
    return {} if isinstance(payload, Mapping) else {"value": payload}


def lines(event: str, payload: Any) -> list[str]:
    """Return the title of the payload with a link, its text, and some of its fields."""
    return ["{value}"] if at({"value": payload}, "value") else described(payload)


def form(received: Received) -> Any:
    """Return the fields of a form. Raises BadPayload: the body is none."""
    fields = decoded(received)
    if not isinstance(fields, Mapping):
        raise BadPayload(400, "the body must be a form (application/x-www-form-urlencoded or multipart/form-data)")
    return fields


SOURCES = {
    name: Source(
        name,
        title,
        lines,
        verify.bearer,
        event=lambda received, payload: at(payload, "event or event_type or type"),
        parse=parse,
        values=values,
        setup=(
            f"The service must send POST requests to this URL. To try it: `curl {options} {{url}}`",
            "For a message of your own, set the text of the webhook.",
        ),
        example="job.json",
    )
    for name, title, parse, options in (
        ("json", "JSON", json_value, '--json \'{"text": "Hello"}\''),
        ("form", "Form", form, "--data text=Hello"),
    )
}
